"""Affinity, tolerations and the spread over a topology: nothing comes of them, and what is wrong in them is told as the
API server tells it."""

from __future__ import annotations

import pytest

from sandbox.manifest import check
from tests.sandbox.manifests import in_metadata, in_spec, refusals

RIGHT = """affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: disk, operator: In, values: [ssd, ""]}, {key: cpus, operator: Gt, values: ["4"]}]
          matchFields: [{key: metadata.name, operator: In, values: [node-1]}]
      preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 100, preference: {matchExpressions: [{key: zone, operator: In, values: ["odd value!"]}]}}
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: zone, namespaces: [shop], namespaceSelector: {}, labelSelector: {matchLabels: {app: db}}}
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 1
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector: {matchExpressions: [{key: app, operator: Exists}]}
          matchLabelKeys: [hash]
          mismatchLabelKeys: [tenant]
  tolerations:
  - {operator: Exists}
  - {key: gpu, value: "yes", effect: NoSchedule}
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}
  topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, minDomains: 2, labelSelector: {}}
  - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, nodeTaintsPolicy: Honor}"""


def test_what_is_right_is_accepted_with_a_warning_each() -> None:
    findings, objects = check(in_spec(RIGHT))
    assert [finding.field for finding in findings] == [
        "spec.affinity",
        "spec.tolerations",
        "spec.topologySpreadConstraints",
    ]
    assert all(finding.warning for finding in findings)
    assert len(objects) == 1


def in_term(expression: str) -> str:
    return (
        "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
        f"{{nodeSelectorTerms: [{{{expression}}}]}}}}}}"
    )


def in_pod_term(term: str) -> str:
    return f"affinity: {{podAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{{{term}}}]}}}}"


def in_weighted(what: str) -> str:
    return f"affinity: {{nodeAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: [{{{what}}}]}}}}"


TERM = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"
POD_TERM = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
WEIGHTED = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]"
NO_NAME = "name part must be non-empty"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}}",
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
                "Required value: must have at least one node selector term"
            ],
        ),
        (
            in_term("matchExpressions: [{key: a, operator: In}]"),
            [
                f"{TERM}.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or "
                "'NotIn'"
            ],
        ),
        (
            in_term("matchExpressions: [{key: a, operator: Exists, values: [b]}]"),
            [
                f"{TERM}.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or "
                "'DoesNotExist'"
            ],
        ),
        (
            in_term("matchExpressions: [{key: a, operator: Lt, values: ['1', '2']}]"),
            [
                f"{TERM}.matchExpressions[0].values: Required value: must be specified single value when `operator` is "
                "'Lt' or 'Gt'"
            ],
        ),
        (
            in_term("matchExpressions: [{key: '', operator: Is, values: [b]}]"),
            [
                f'{TERM}.matchExpressions[0].key: Invalid value: "": {NO_NAME}',
                f'{TERM}.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
            ],
        ),
        (
            in_term("matchExpressions: [{}]"),
            [
                f'{TERM}.matchExpressions[0].key: Invalid value: "": {NO_NAME}',
                f'{TERM}.matchExpressions[0].operator: Invalid value: "": not a valid selector operator',
            ],
        ),
        (
            in_term("matchFields: [{key: spec.x, operator: Exists}]"),
            [
                f'{TERM}.matchFields[0].key: Invalid value: "spec.x": not a valid field selector key',
                f'{TERM}.matchFields[0].operator: Invalid value: "Exists": not a valid selector operator',
            ],
        ),
        (
            in_term("matchFields: [{key: metadata.name, operator: In, values: [a, b]}]"),
            [
                f"{TERM}.matchFields[0].values: Required value: must be only one value when `operator` is 'In' or "
                "'NotIn' for node field selector"
            ],
        ),
        (
            in_weighted("weight: 101, preference: {}"),
            [f"{WEIGHTED}.weight: Invalid value: 101: must be in the range 1-100"],
        ),
        (in_weighted("preference: {}"), [f"{WEIGHTED}.weight: Invalid value: 0: must be in the range 1-100"]),
        (in_pod_term("labelSelector: {}"), [f"{POD_TERM}.topologyKey: Required value: can not be empty"]),
        (
            in_pod_term("topologyKey: zone, matchLabelKeys: [a]"),
            [f"{POD_TERM}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"],
        ),
        (
            in_pod_term("topologyKey: zone, labelSelector: {}, matchLabelKeys: [a], mismatchLabelKeys: [b, a]"),
            [
                f'{POD_TERM}.mismatchLabelKeys[1]: Invalid value: "a": exists in both matchLabelKeys and '
                "mismatchLabelKeys"
            ],
        ),
        (
            in_pod_term("topologyKey: zone, labelSelector: {matchLabel: {a: b}}"),
            [f'{POD_TERM}.labelSelector.matchLabel: unknown field "matchLabel", did you mean "matchLabels"?'],
        ),
        (
            "tolerations: [{key: ''}]",
            [
                'spec.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty, which '
                'means "match all values and all keys"'
            ],
        ),
        (
            "tolerations: [{key: a, tolerationSeconds: 5, effect: NoSchedule}]",
            [
                "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
                "`tolerationSeconds` is set"
            ],
        ),
        (
            "tolerations: [{key: a, operator: Exists, value: b}]",
            ["spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"],
        ),
        (
            "topologySpreadConstraints: [{}]",
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                "spec.topologySpreadConstraints[0].whenUnsatisfiable: Required value",
            ],
        ),
        (
            "topologySpreadConstraints: "
            "[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}]",
            [
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if "
                "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
            ],
        ),
        (
            "topologySpreadConstraints: [&a {maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}, *a]",
            [
                "spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "
                '"{a, ScheduleAnyway}"'
            ],
        ),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_the_api_server(text: str, found: list[str]) -> None:
    told = refusals(in_spec(text))
    assert sorted(each.split(": ", 1)[1] for each in told) == sorted(found)
    assert all(each.startswith("6:") for each in told)


# ---- annotations ----

APP_ARMOR = "container.apparmor.security.beta.kubernetes.io"


@pytest.mark.parametrize(
    ("annotation", "reasons"),
    [
        ("controller.kubernetes.io/pod-deletion-cost: '-5'", []),
        *(
            (
                f"controller.kubernetes.io/pod-deletion-cost: {cost}",
                [f'Invalid value: "{value}": must be a 32bit integer'],
            )
            for cost, value in (("'2147483648'", "2147483648"), ("low", "low"), ("'+1'", "+1"), ("''", ""))
        ),
        (
            "kubernetes.io/config.mirror: abc",
            ['Invalid value: "abc": must set spec.nodeName if mirror pod annotation is set'],
        ),
        ("seccomp.security.alpha.kubernetes.io/pod: runtime/default", []),
        (
            "seccomp.security.alpha.kubernetes.io/pod: none",
            ['Invalid value: "none": must be a valid seccomp profile'],
        ),
        (
            "container.seccomp.security.alpha.kubernetes.io/app: localhost/../x",
            ["Invalid value: \"localhost/../x\": must not contain '..'"],
        ),
        (f"{APP_ARMOR}/app: unconfined", []),
        (
            f"{APP_ARMOR}/app: runtime/default",
            [f'field "{APP_ARMOR}/app" is known but not implemented yet'],
        ),
        (f"{APP_ARMOR}/nobody: ''", ['Invalid value: "": container not found']),
        (
            f"{APP_ARMOR}/app: other",
            [
                f'field "{APP_ARMOR}/app" is known but not implemented yet',
                'Invalid value: "other": invalid AppArmor profile name: "other"',
            ],
        ),
    ],
)
def test_annotations_that_the_api_server_reads(annotation: str, reasons: list[str]) -> None:
    text = in_metadata(f"annotations:\n    {annotation}")
    findings, _ = check(text)
    name = annotation.split(": ", maxsplit=1)[0]
    assert [(each.line, each.field) for each in findings] == [(5, f'metadata.annotations["{name}"]')] * len(reasons)
    assert [each.message for each in findings] == reasons
