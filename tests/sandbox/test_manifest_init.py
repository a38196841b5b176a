"""Init containers, sidecars and restart policies of containers: what the API server takes, and its words for what it
does not, each with its place."""

from __future__ import annotations

import pytest

from sandbox.model import (
    Container,
    ContainerPort,
    ExecAction,
    ExitCodes,
    ExitCodesOperator,
    Lifecycle,
    MessagePolicy,
    Probe,
    RestartAction,
    RestartPolicy,
    RestartRule,
    SleepAction,
    VolumeMount,
)
from tests.sandbox.manifests import GOOD, changed, in_container, in_pod_with_init_container, in_spec, pod, refusals

EXEC = "{exec: {command: [x]}}"

# ---- init containers ----


def test_init_containers_are_containers_that_come_before_them_in_their_order() -> None:  # A1, A23
    text = changed(
        "  containers:\n",
        "  initContainers:\n"
        "  - {name: one, image: i, command: [a], resources: {}, tty: true, imagePullPolicy: Never}\n"
        "  - {name: two, image: i, restartPolicy: Always}\n"
        "  - {name: three, image: i, restartPolicy: OnFailure}\n"
        "  containers:\n",
    )
    found = pod(text)
    assert found.init_containers == (
        Container("one", "i", ("a",), tty=True),
        Container("two", "i", restart_policy=RestartPolicy.ALWAYS),
        Container("three", "i", restart_policy=RestartPolicy.ON_FAILURE),
    )
    assert found.containers == pod(GOOD).containers
    assert [each.name for each in found.all_containers] == ["one", "two", "three", "app"]
    assert [each.name for each in found.sidecars] == ["two"]


@pytest.mark.parametrize("text", ["initContainers:", "initContainers: []"])
def test_no_init_containers_are_absent_ones(text: str) -> None:
    assert pod(in_spec(text)) == pod(GOOD)


def test_a_sidecar_has_probes_and_a_lifecycle() -> None:  # A23
    text = (
        f"restartPolicy: Always, startupProbe: {EXEC}, livenessProbe: {EXEC}, readinessProbe: {EXEC}, "
        "lifecycle: {preStop: {sleep: {seconds: 1}}}"
    )
    (found,) = pod(in_pod_with_init_container(text)).init_containers
    probe = Probe(ExecAction(("x",)))
    assert (found.startup_probe, found.liveness_probe, found.readiness_probe) == (probe, probe, probe)
    assert found.lifecycle == Lifecycle(pre_stop=SleepAction(1))


@pytest.mark.parametrize("policy", ["", "restartPolicy: Never, ", "restartPolicy: OnFailure, "])
@pytest.mark.parametrize("field", ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"])
def test_an_init_container_that_is_none_has_not(policy: str, field: str) -> None:
    column = 34 + len(policy)
    assert refusals(in_pod_with_init_container(f"{policy}{field}: {{}}")) == [
        f"8:{column}: spec.initContainers[0].{field}: Forbidden: may not be set for init containers without "
        "restartPolicy=Always"
    ]
    pod(in_pod_with_init_container(f"{policy}{field}: null"))


def test_what_a_sidecars_handlers_lack_is_told_as_of_a_container() -> None:
    text = "restartPolicy: Always, livenessProbe: {}, lifecycle: {stopSignal: SIGTERM, preStop: {sleep: {seconds: 99}}}"
    assert refusals(in_pod_with_init_container(text)) == [
        "8:57: spec.initContainers[0].livenessProbe: Required value: must specify a handler type",
        "8:100: spec.initContainers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty "
        "`spec.os.name`",
        "8:136: spec.initContainers[0].lifecycle.preStop.sleep: Invalid value: 99: must be non-negative and less than "
        "terminationGracePeriodSeconds (30)",
    ]


def test_and_of_another_init_container_only_that_it_has_them() -> None:
    text = "lifecycle: {stopSignal: SIGTERM, preStop: {sleep: {seconds: 99}}}"
    (found,) = refusals(in_pod_with_init_container(text))
    assert found.startswith("8:34: spec.initContainers[0].lifecycle: Forbidden: may not be set")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            in_spec("initContainers: [{name: app, image: i}]"),
            '6:27: spec.initContainers[0].name: Duplicate value: "app"',
        ),
        (
            in_spec("initContainers: [{name: a, image: i}, {name: a, image: i}]"),
            '6:48: spec.initContainers[1].name: Duplicate value: "a"',
        ),
        (in_spec("initContainers: [{name: a}]"), "6:20: spec.initContainers[0].image: Required value"),
        (in_spec("initContainers: [{image: i}]"), "6:20: spec.initContainers[0].name: Required value"),
        (
            in_spec("initContainers: {}"),
            "6:19: spec.initContainers: Invalid value: {…}: must be a list, not an object",
        ),
        (
            in_pod_with_init_container("volumeMounts: [{name: v, mountPath: /v}]"),
            '8:56: spec.initContainers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            in_pod_with_init_container("resources: {limits: {cpu: 1}, requests: {cpu: 2}}"),
            '8:80: spec.initContainers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu '
            "limit of 1",
        ),
        (
            in_pod_with_init_container("ports: [{containerPort: 0}]"),
            "8:58: spec.initContainers[0].ports[0].containerPort: Required value",
        ),
    ],
)
def test_what_is_wrong_with_an_init_container_is_told_with_its_place(text: str, found: str) -> None:
    assert refusals(text) == [found]


def test_an_init_container_mounts_the_pods_volumes() -> None:
    text = in_pod_with_init_container("volumeMounts: [{name: v, mountPath: /v}]")
    found = pod(text.replace("spec:\n", "spec:\n  volumes: [{name: v}]\n"))
    assert found.init_containers[0].volume_mounts == (VolumeMount("v", "/v"),)


# ---- ports of the host ----

PORT = "ports: [{containerPort: 80, hostPort: 8080}]"
TAKEN = 'hostPort: Duplicate value: "TCP//8080"'


def test_sidecars_and_containers_share_the_ports_of_the_host() -> None:
    text = in_pod_with_init_container(f"restartPolicy: Always, {PORT}") + f"    {PORT}\n"
    assert refusals(text) == [f"12:43: spec.containers[0].ports[0].{TAKEN}"]


def test_an_init_container_that_is_none_runs_while_they_do_not() -> None:
    text = in_pod_with_init_container(PORT) + f"    {PORT}\n"
    again = f"  - {{name: second, image: i, {PORT}}}\n"
    assert len(pod(text.replace("  containers:\n", f"{again}  containers:\n")).all_containers) == 3


def test_one_port_of_the_host_is_one_of_its_own_ports() -> None:
    text = in_pod_with_init_container(
        "ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 81, hostPort: 8080}]"
    )
    assert refusals(text) == [f"8:109: spec.initContainers[0].ports[1].{TAKEN}"]


def test_with_host_network_the_ports_of_init_containers_are_filled_in() -> None:
    text = in_pod_with_init_container("ports: [{containerPort: 80}]")
    (found,) = pod(text.replace("spec:\n", "spec:\n  hostNetwork: true\n")).init_containers
    assert found.ports == (ContainerPort(80, 80),)


# ---- restart policies ----


@pytest.mark.parametrize("policy", RestartPolicy)
def test_a_container_may_have_a_policy_of_its_own(policy: RestartPolicy) -> None:  # A20
    found = pod(in_container(f"restartPolicy: {policy}"))
    assert (found.restart_policy, found.containers[0].restart_policy) == (RestartPolicy.NEVER, policy)


RULES = """\
restartPolicy: Never
    restartPolicyRules:
    - action: Restart
      exitCodes: {operator: In, values: [42, 0]}
    - action: RestartAllContainers
      exitCodes: {operator: NotIn}
"""


def test_rules_come_through_in_their_order() -> None:  # A20
    assert pod(in_container(RULES)).containers[0].restart_policy_rules == (
        RestartRule(RestartAction.RESTART, ExitCodes(ExitCodesOperator.IN, (42, 0))),
        RestartRule(RestartAction.RESTART_ALL_CONTAINERS, ExitCodes(ExitCodesOperator.NOT_IN, ())),
    )
    assert pod(in_container("restartPolicyRules: []")) == pod(GOOD)


@pytest.mark.parametrize("policy", RestartPolicy)
def test_init_containers_and_sidecars_have_rules_too(policy: RestartPolicy) -> None:
    rules = "restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [1]}}]"
    (found,) = pod(in_pod_with_init_container(f"restartPolicy: {policy}, {rules}")).init_containers
    assert len(found.restart_policy_rules) == 1


def one_rule(text: str) -> str:
    return in_container(f"restartPolicy: Never\n    restartPolicyRules: [{text}]")


RULE = "{action: Restart, exitCodes: {operator: In, values: [1]}}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            in_container("restartPolicy: always"),
            '10:20: spec.containers[0].restartPolicy: Unsupported value: "always": supported values: "Always", '
            '"Never", "OnFailure"',
        ),
        (
            in_container('restartPolicy: ""'),
            '10:20: spec.containers[0].restartPolicy: Unsupported value: "": supported values: "Always", "Never", '
            '"OnFailure"',
        ),
        (
            in_pod_with_init_container("restartPolicy: Sometimes"),
            '8:49: spec.initContainers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
            '"Never", "OnFailure"',
        ),
        (
            in_container(f"restartPolicyRules: [{RULE}]"),
            "10:5: spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are "
            "used",
        ),
        (
            in_pod_with_init_container(f"restartPolicyRules: [{RULE}]"),
            "8:34: spec.initContainers[0].restartPolicy: Required value: must specify restartPolicy when restart rules "
            "are used",
        ),
        (
            one_rule(", ".join([RULE] * 21)),
            "11:5: spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items",
        ),
        (
            one_rule("{action: Stop, exitCodes: {operator: In}}"),
            '11:35: spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Stop": supported values: '
            '"Restart", "RestartAllContainers"',
        ),
        (
            one_rule("{exitCodes: {operator: In}}"),
            '11:26: spec.containers[0].restartPolicyRules[0].action: Unsupported value: "": supported values: '
            '"Restart", "RestartAllContainers"',
        ),
        (
            one_rule("{action: Restart}"),
            "11:26: spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
        ),
        (
            one_rule("{action: Restart, exitCodes: {values: [1]}}"),
            '11:44: spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "": supported '
            'values: "In", "NotIn"',
        ),
        (
            one_rule("{action: Restart, exitCodes: {operator: in}}"),
            '11:66: spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "in": supported '
            'values: "In", "NotIn"',
        ),
        (
            one_rule("{action: Restart, exitCodes: {operator: In, values: ['1']}}"),
            '11:79: spec.containers[0].restartPolicyRules[0].exitCodes.values[0]: Invalid value: "1": must be an '
            "integer, not a string",
        ),
        (
            one_rule(f"{{action: Restart, exitCodes: {{operator: In, values: {[*range(256)]}}}}}"),
            "11:70: spec.containers[0].restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 "
            "items",
        ),
    ],
)
def test_what_is_wrong_with_a_policy_or_a_rule_is_told_with_its_place(text: str, found: str) -> None:
    assert refusals(text) == [found]


def test_as_many_rules_and_exit_codes_as_there_may_be_are_accepted() -> None:
    rule = f"{{action: Restart, exitCodes: {{operator: In, values: {[*range(1, 256)]}}}}}"
    assert len(pod(one_rule(", ".join([rule] * 20))).containers[0].restart_policy_rules) == 20


# ---- messages, deadline, readiness gates ----


def test_where_a_containers_message_comes_from() -> None:
    text = in_container("terminationMessagePath: /log\n    terminationMessagePolicy: FallbackToLogsOnError")
    (found,) = pod(text).containers
    assert found.termination_message_path == "/log"
    assert found.termination_message_policy is MessagePolicy.FALLBACK_TO_LOGS_ON_ERROR
    assert pod(in_container('terminationMessagePath: ""\n    terminationMessagePolicy: ""')) == pod(GOOD)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "terminationMessagePolicy: Logs",
            '10:31: spec.containers[0].terminationMessagePolicy: Unsupported value: "Logs": supported values: "File", '
            '"FallbackToLogsOnError"',
        ),
        (
            "terminationMessagePath: /.",
            '10:29: spec.containers[0].terminationMessagePath: Invalid value: "/.": must not be the root directory',
        ),
    ],
)
def test_what_is_wrong_with_it(text: str, found: str) -> None:
    assert refusals(in_container(text)) == [found]


@pytest.mark.parametrize("seconds", [1, 2**31 - 1])
def test_a_pod_may_have_a_deadline(seconds: int) -> None:  # A22
    assert pod(in_spec(f"activeDeadlineSeconds: {seconds}")).active_deadline_seconds == seconds


@pytest.mark.parametrize("seconds", [0, -1, 2**31])
def test_a_deadline_is_between_a_second_and_68_years(seconds: int) -> None:
    assert refusals(in_spec(f"activeDeadlineSeconds: {seconds}")) == [
        f"6:26: spec.activeDeadlineSeconds: Invalid value: {seconds}: must be between 1 and 2147483647, inclusive"
    ]


def test_readiness_gates_are_types_of_conditions() -> None:
    text = in_spec("readinessGates: [{conditionType: example.com/gate}, {conditionType: Other}]")
    assert pod(text).readiness_gates == ("example.com/gate", "Other")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[{}]", '6:20: spec.readinessGates[0].conditionType: Invalid value: "": name part must be non-empty'),
        (
            "[{conditionType: a/}]",
            '6:36: spec.readinessGates[0].conditionType: Invalid value: "a/": name part must be non-empty',
        ),
        ("[{type: a}]", '6:21: spec.readinessGates[0].type: unknown field "type"'),
        ("[gate]", '6:20: spec.readinessGates[0]: Invalid value: "gate": must be an object, not a string'),
    ],
)
def test_what_is_wrong_with_a_readiness_gate_is_told_with_its_place(text: str, found: str) -> None:
    assert refusals(in_spec(f"readinessGates: {text}"))[-1] == found
