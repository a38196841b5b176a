"""The tables of a Pod manifest: what is accepted, and each refusal with its place and words."""

from __future__ import annotations

import pytest

from sandbox import manifest
from sandbox.errors import ManifestError
from sandbox.model import Container, EmptyDir, EnvVar, HostPath, Pod, RestartPolicy, Volume, VolumeMount
from tests.sandbox.manifests import GOOD, changed, in_container, in_metadata, in_spec, pod, refusals

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


# ---- what is accepted ----


def test_the_smallest_manifest_gets_every_default() -> None:
    expected = Pod("web", containers=(Container("app", "busybox"),))
    assert pod(changed("  restartPolicy: Never\n", "")) == expected
    assert expected.restart_policy is RestartPolicy.ALWAYS


def test_a_manifest_with_every_implemented_field_comes_through_whole() -> None:
    text = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web, example.com/tier: ""}
  annotations: {Example.com/Note: "any text, ü"}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  hostname: front
  shareProcessNamespace: true
  hostNetwork: true
  hostPID: false
  hostIPC: true
  volumes:
  - name: data
    emptyDir: {}
  - name: etc
    hostPath: {path: /etc, type: ""}
  containers:
  - name: app
    image: localhost/busybox
    command: [sh, -c]
    args: ["echo $(A)", ""]
    workingDir: /tmp
    env:
    - {name: A, value: "1"}
    - {name: B}
    - {name: "odd name-", value: x=y}
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: etc, mountPath: /host/etc, readOnly: true}
    stdin: true
    stdinOnce: true
    tty: true
  - name: side
    image: localhost/busybox
"""
    assert pod(text) == Pod(
        name="web",
        namespace="shop",
        labels={"app": "web", "example.com/tier": ""},
        annotations={"Example.com/Note": "any text, ü"},
        hostname="front",
        restart_policy=RestartPolicy.NEVER,
        termination_grace_period_seconds=0,
        share_process_namespace=True,
        host_network=True,
        host_ipc=True,
        containers=(
            Container(
                name="app",
                image="localhost/busybox",
                command=("sh", "-c"),
                args=("echo $(A)", ""),
                working_dir="/tmp",
                env=(EnvVar("A", "1"), EnvVar("B", ""), EnvVar("odd name-", "x=y")),
                volume_mounts=(VolumeMount("data", "/data"), VolumeMount("etc", "/host/etc", read_only=True)),
                stdin=True,
                stdin_once=True,
                tty=True,
            ),
            Container("side", "localhost/busybox"),
        ),
        volumes=(Volume("data", EmptyDir()), Volume("etc", HostPath("/etc"))),
    )


def test_what_kubectl_run_writes_is_accepted_as_it_is() -> None:
    text = """\
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  labels:
    run: web
  name: web
spec:
  containers:
  - image: busybox
    name: web
    resources: {}
  dnsPolicy: ClusterFirst
  restartPolicy: Never
status: {}
"""
    assert pod(text) == Pod(
        "web", labels={"run": "web"}, restart_policy=RestartPolicy.NEVER, containers=(Container("web", "busybox"),)
    )


@pytest.mark.parametrize(
    "text",
    [
        in_spec("hostname: null"),
        in_spec('hostname: ""'),
        in_spec("volumes:"),
        in_spec("volumes: []"),
        in_spec("affinity: null"),
        in_metadata("namespace: ~"),
        in_metadata("labels:"),
        in_container("command: null"),
        in_container('workingDir: ""'),
        in_container("livenessProbe:"),
        in_spec("terminationGracePeriodSeconds: 30.0"),
        in_spec("terminationGracePeriodSeconds: 036"),
    ],
)
def test_null_and_empty_mean_absent_and_a_number_is_one_in_any_spelling(text: str) -> None:
    assert pod(text) == pod(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        changed("name: web", f"name: {'a' * 253}"),
        changed("name: app", f"name: {'a' * 63}"),
        in_spec(f"hostname: {'a' * 63}"),
        in_metadata(f"labels: {{{'a.' * 126}b/{'c' * 63}: {'d' * 63}}}"),
        in_metadata(f"annotations: {{a: {'b' * ((256 << 10) - 1)}}}"),
        in_spec("terminationGracePeriodSeconds: 9223372036854775807"),
    ],
)
def test_a_value_at_its_limit_is_accepted(text: str) -> None:
    assert pod(text)


def test_a_null_label_value_is_the_empty_string() -> None:
    assert pod(in_metadata("labels: {run: }")).labels == {"run": ""}


def test_a_volume_without_a_source_is_an_empty_dir_as_the_api_server_makes_it() -> None:
    assert pod(in_spec("volumes: [{name: a}, {name: b, emptyDir: }]")).volumes == (
        Volume("a", EmptyDir()),
        Volume("b", EmptyDir()),
    )


def test_two_containers_may_mount_at_the_same_path_and_one_volume_may_be_mounted_twice() -> None:
    mounts = "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b}]"
    text = in_spec("volumes: [{name: v}]") + f"    {mounts}\n  - {{name: two, image: i, {mounts}}}\n"
    assert [len(container.volume_mounts) for container in pod(text).containers] == [2, 2]


def test_several_documents_give_several_pods_in_order() -> None:
    other = in_metadata("namespace: other")
    assert [(each.namespace, each.name) for each in manifest.load(f"---\n{GOOD}---\n---\n{other}...\n")] == [
        ("default", "web"),
        ("other", "web"),
    ]


def test_a_manifest_in_json_is_accepted() -> None:
    assert pod(
        '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},\n'
        ' "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "busybox"}]}}'
    ) == pod(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "status: {phase: Running}\n",
        in_metadata("creationTimestamp: 2026-01-01"),
        in_metadata("uid: 7c8c5a4b-0000-4000-8000-000000000001"),
        in_spec("nodeName: here"),
        in_container("imagePullPolicy: IfNotPresent"),
        in_container("terminationMessagePath: /dev/termination-log"),
    ],
)
def test_what_the_api_server_sets_itself_and_its_defaults_say_nothing(text: str) -> None:
    assert pod(text) == pod(GOOD)


def test_a_list_is_its_items() -> None:
    """As `kubectl get -o yaml` prints several objects."""
    items = "- " + GOOD.replace("\n", "\n  ").rstrip(" ")
    assert manifest.load(f"apiVersion: v1\nkind: List\nitems:\n{items}") == (pod(GOOD),)


# ---- what is refused: one finding each, with its place ----


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        # apiVersion, kind
        (changed("v1", "v2"), '1:13: apiVersion: Unsupported value: "v2": supported values: "v1"'),
        (changed("apiVersion: v1\n", ""), "1:1: apiVersion: Required value"),
        (
            changed("Pod", "Deployment"),
            '2:7: kind: Unsupported value: "Deployment": supported values: "Pod", "PersistentVolumeClaim"',
        ),
        (changed("kind: Pod\n", ""), "1:1: kind: Required value"),
        (changed("Pod", "5"), '2:7: kind: Invalid value: 5: must be a string, not a number; quote it: "5"'),
        # metadata
        (changed("  name: web\n", "  labels: {}\n"), "3:1: metadata.name: Required value"),
        (changed("name: web", 'name: ""'), "4:9: metadata.name: Required value"),
        (changed("name: web", "name: we_b"), f'4:9: metadata.name: Invalid value: "we_b": {SUBDOMAIN}'),
        (
            changed("name: web", "name: " + "a" * 254),
            f'4:9: metadata.name: Invalid value: "{"a" * 128}…": must be no more than 253 characters',
        ),
        (in_metadata("namespace: a.b"), f'4:14: metadata.namespace: Invalid value: "a.b": {LABEL}'),
        (in_metadata("labels: {-a: b}"), f'4:12: metadata.labels: Invalid value: "-a": {NAME_PART}'),
        (in_metadata("labels: {a/: b}"), '4:12: metadata.labels: Invalid value: "a/": name part must be non-empty'),
        (in_metadata("labels: {/a: b}"), '4:12: metadata.labels: Invalid value: "/a": prefix part must be non-empty'),
        (in_metadata("labels: {A/a: b}"), f'4:12: metadata.labels: Invalid value: "A/a": prefix part {SUBDOMAIN}'),
        (
            in_metadata(f"labels: {{{'a' * 64}: b}}"),
            f'4:12: metadata.labels: Invalid value: "{"a" * 64}": name part must be no more than 63 characters',
        ),
        (
            in_metadata(f"labels: {{a: {'b' * 64}}}"),
            f'4:15: metadata.labels.a: Invalid value: "{"b" * 64}": must be no more than 63 characters',
        ),
        (in_metadata("labels: {a: b-}"), f'4:15: metadata.labels.a: Invalid value: "b-": {LABEL_VALUE}'),
        (
            in_metadata("labels: {a/b: no}"),
            '4:17: metadata.labels["a/b"]: Invalid value: no: must be a string, not a boolean; quote it: "no"',
        ),
        (in_metadata("annotations: {a b: c}"), f'4:17: metadata.annotations: Invalid value: "a b": {NAME_PART}'),
        (
            in_metadata(f"annotations: {{a: {'b' * (256 << 10)}}}"),
            "4:3: metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            in_metadata("annotations: []"),
            "4:16: metadata.annotations: Invalid value: […]: must be an object, not a list",
        ),
        (
            in_metadata("generateName: Web-"),
            f'4:17: metadata.generateName: Invalid value: "Web-": {SUBDOMAIN}',
        ),
        (
            in_metadata("ownerReferences: [{apiVersion: v1, kind: Job, name: a}]"),
            '4:21: metadata.ownerReferences[0].uid: Invalid value: "": must not be empty',
        ),
        (
            in_metadata("finalizers: [example.com/a]"),
            '4:3: metadata.finalizers: field "finalizers" is known but not implemented: there is nobody to remove them',
        ),
        # spec
        (
            changed("Never", "never"),
            '6:18: spec.restartPolicy: Unsupported value: "never": supported values: "Always", "OnFailure", "Never"',
        ),
        (
            in_spec("hostPID: true\n  shareProcessNamespace: true"),
            "7:26: spec.shareProcessNamespace: Invalid value: true: "
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ),
        (
            in_spec("terminationGracePeriodSeconds: -1"),
            "6:34: spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            in_spec("terminationGracePeriodSeconds: 1.5"),
            "6:34: spec.terminationGracePeriodSeconds: Invalid value: 1.5: must be a 64-bit integer",
        ),
        (
            in_spec("terminationGracePeriodSeconds: 9223372036854775808"),
            "6:34: spec.terminationGracePeriodSeconds: Invalid value: 9223372036854775808: must be a 64-bit integer",
        ),
        (
            in_spec('terminationGracePeriodSeconds: "5"'),
            '6:34: spec.terminationGracePeriodSeconds: Invalid value: "5": must be an integer, not a string',
        ),
        (
            in_spec("terminationGracePeriodSeconds: true"),
            "6:34: spec.terminationGracePeriodSeconds: Invalid value: true: must be an integer, not a boolean",
        ),
        (in_spec("hostname: a.b"), f'6:13: spec.hostname: Invalid value: "a.b": {LABEL}'),
        (in_spec("hostUsers: false"), '6:3: spec.hostUsers: field "hostUsers" is known but not implemented yet'),
        (
            in_spec("hostNetwork: 'true'"),
            '6:16: spec.hostNetwork: Invalid value: "true": must be a boolean, not a string',
        ),
        (
            in_spec("dnsPolicy: None"),
            '6:14: spec.dnsPolicy: Unsupported value: "None": known but not implemented yet; '
            'supported values: "ClusterFirst"',
        ),
        (
            in_spec("dnsPolicy: Nobody"),
            '6:14: spec.dnsPolicy: Unsupported value: "Nobody": supported values: "ClusterFirst"',
        ),
        (
            in_container("imagePullPolicy: Sometimes"),
            '10:22: spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": '
            'supported values: "Always", "IfNotPresent", "Never"',
        ),
        (in_spec("hostnam: x"), '6:3: spec.hostnam: unknown field "hostnam", did you mean "hostname"?'),
        (
            in_spec("hostnetwork: true"),
            '6:3: spec.hostnetwork: unknown field "hostnetwork", did you mean "hostNetwork"?',
        ),
        (in_spec("HOSTNAME: x"), '6:3: spec.HOSTNAME: unknown field "HOSTNAME", did you mean "hostname"?'),
        (in_spec("frobnicate: x"), '6:3: spec.frobnicate: unknown field "frobnicate"'),
        # volumes
        (in_spec("volumes: [{emptyDir: {}}]"), "6:13: spec.volumes[0].name: Required value"),
        (in_spec("volumes: [{name: A}]"), f'6:20: spec.volumes[0].name: Invalid value: "A": {LABEL}'),
        (in_spec("volumes: [{name: a}, {name: a}]"), '6:31: spec.volumes[1].name: Duplicate value: "a"'),
        (
            in_spec("volumes: [{name: a, emptyDir: {}, hostPath: {path: /a}}]"),
            "6:37: spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            in_spec("volumes: [{name: a, secret: {}}]"),
            '6:23: spec.volumes[0].secret: field "secret" is known but not implemented yet',
        ),
        (in_spec("volumes: [{name: a, hostPath: {}}]"), "6:23: spec.volumes[0].hostPath.path: Required value"),
        (
            in_spec("volumes: [{name: a, hostPath: {path: a}}]"),
            '6:40: spec.volumes[0].hostPath.path: Invalid value: "a": must be an absolute path',
        ),
        (
            in_spec("volumes: [{name: a, hostPath: {path: /a/..}}]"),
            "6:40: spec.volumes[0].hostPath.path: Invalid value: \"/a/..\": must not contain '..'",
        ),
        (in_spec("volumes: [null]"), "6:13: spec.volumes[0]: Invalid value: null: must be an object, not null"),
        # containers
        (
            changed("  - name: app\n    image: busybox\n", "    []\n"),
            "8:5: spec.containers: Required value",
        ),
        (changed("name: app", "name: App"), f'8:11: spec.containers[0].name: Invalid value: "App": {LABEL}'),
        (
            changed("name: app", "name: " + "a" * 64),
            f'8:11: spec.containers[0].name: Invalid value: "{"a" * 64}": must be no more than 63 characters',
        ),
        (changed("name: app", "args: [a]"), "8:5: spec.containers[0].name: Required value"),
        (changed("    image: busybox\n", ""), "8:5: spec.containers[0].image: Required value"),
        (
            changed("image: busybox", 'image: " busybox"'),
            '9:12: spec.containers[0].image: Invalid value: " busybox": must not have leading or trailing whitespace',
        ),
        (GOOD + "  - {name: app, image: i}\n", '10:12: spec.containers[1].name: Duplicate value: "app"'),
        (in_container("imagee: x"), '10:5: spec.containers[0].imagee: unknown field "imagee", did you mean "image"?'),
        (
            in_container("envFrom: [{}]"),
            '10:5: spec.containers[0].envFrom: field "envFrom" is known but not implemented yet',
        ),
        (
            in_container("resources: {claims: [{name: gpu}]}"),
            '10:17: spec.containers[0].resources.claims: field "claims" is known but not implemented: '
            "there are no drivers of devices",
        ),
        (
            in_container("command: sh"),
            '10:14: spec.containers[0].command: Invalid value: "sh": must be a list, not a string',
        ),
        (
            in_container("args: [a, 8080]"),
            '10:15: spec.containers[0].args[1]: Invalid value: 8080: must be a string, not a number; quote it: "8080"',
        ),
        (
            in_container("args: [~]"),
            "10:12: spec.containers[0].args[0]: Invalid value: null: must be a string, not null",
        ),
        (
            in_container('args: ["a\\0b"]'),
            '10:12: spec.containers[0].args[0]: Invalid value: "a\\u0000b": must not contain a NUL character',
        ),
        # env
        (
            in_container("env: [{name: A, value: yes}]"),
            "10:28: spec.containers[0].env[0].value: Invalid value: yes: must be a string, not a boolean; "
            'quote it: "yes"',
        ),
        (
            in_container("env: [{name: A, value: 1.50}]"),
            "10:28: spec.containers[0].env[0].value: Invalid value: 1.50: must be a string, not a number; "
            'quote it: "1.50"',
        ),
        (
            in_container("env: [{name: A, value: {b: c}}]"),
            "10:28: spec.containers[0].env[0].value: Invalid value: {…}: must be a string, not an object",
        ),
        (
            in_container("env: [{name: A=B}]"),
            '10:18: spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must '
            "consist only of printable ASCII characters other than '='",
        ),
        (in_container("env: [{value: a}]"), "10:11: spec.containers[0].env[0].name: Required value"),
        (
            in_container("env: [{name: A, valueFrom: {}}]"),
            '10:21: spec.containers[0].env[0].valueFrom: field "valueFrom" is known but not implemented yet',
        ),
        (
            in_container("ports: [{containerPort: 80, hostPort: false}]"),
            "10:43: spec.containers[0].ports[0].hostPort: Invalid value: false: must be an integer, not a boolean",
        ),
        # volumeMounts
        (
            in_container("volumeMounts: [{name: v, mountPath: /v}]"),
            '10:27: spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
    ],
)
def test_a_manifest_with_one_fault_is_refused_with_its_place_and_reason(text: str, refusal: str) -> None:
    assert refusals(text) == [refusal]


@pytest.mark.parametrize(
    ("mounts", "refusal"),
    [
        ("{mountPath: /v}", "11:20: spec.containers[0].volumeMounts[0].name: Required value"),
        ("{name: v}", "11:20: spec.containers[0].volumeMounts[0].mountPath: Required value"),
        (
            "{name: v, mountPath: '/v:w'}",
            "11:41: spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"/v:w\": must not contain ':'",
        ),
        (
            "{name: v, mountPath: /v}, {name: v, mountPath: /v}",
            '11:67: spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique',
        ),
        (
            "{name: v, mountPath: /v, readOnly: 'true'}",
            '11:55: spec.containers[0].volumeMounts[0].readOnly: Invalid value: "true": must be a boolean, '
            "not a string",
        ),
        (
            "{name: v, mountPath: /v, subPath: x}",
            '11:45: spec.containers[0].volumeMounts[0].subPath: field "subPath" is known but not implemented yet',
        ),
    ],
)
def test_a_faulty_mount_of_an_existing_volume_is_refused(mounts: str, refusal: str) -> None:
    assert refusals(in_spec("volumes: [{name: v}]") + f"    volumeMounts: [{mounts}]\n") == [refusal]


def test_every_finding_of_a_text_is_told_at_once_in_the_order_of_the_text() -> None:
    text = in_container("envFrom: [{}]").replace("web", "Web").replace("busybox", "[]") + "---\nkind: Job\n"
    assert refusals(text) == [
        f'4:9: metadata.name: Invalid value: "Web": {SUBDOMAIN}',
        "9:12: spec.containers[0].image: Invalid value: […]: must be a string, not a list",
        '10:5: spec.containers[0].envFrom: field "envFrom" is known but not implemented yet',
        '12:7: kind: Unsupported value: "Job": supported values: "Pod", "PersistentVolumeClaim"',
    ]


def test_a_missing_spec_and_metadata_are_told_at_the_top() -> None:
    assert refusals("# a comment\napiVersion: v1\nkind: Pod\n") == [
        "2:1: metadata: Required value",
        "2:1: spec: Required value",
    ]


def test_a_pod_of_the_same_namespace_and_name_in_one_text_is_a_duplicate() -> None:
    again = in_metadata("namespace: default")
    assert refusals(f"{GOOD}---\n{again}") == ['15:9: metadata.name: Duplicate value: "default/web"']


def test_a_name_that_is_wrong_or_of_another_kind_is_no_duplicate() -> None:
    wrong = changed("name: web", "name: 5")
    service = changed("Pod", "Service")
    assert [line.split(": ", 1)[1] for line in refusals(f"{wrong}---\n{wrong}---\n{GOOD}---\n{service}")] == [
        'metadata.name: Invalid value: 5: must be a string, not a number; quote it: "5"',
        'metadata.name: Invalid value: 5: must be a string, not a number; quote it: "5"',
        'kind: Unsupported value: "Service": supported values: "Pod", "PersistentVolumeClaim"',
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "null", b"\xef\xbb\xbf"])
def test_a_text_without_an_object_is_refused(text: str | bytes) -> None:
    assert refusals(text) == ["1:1: no object in it"]


@pytest.mark.parametrize(
    ("text", "shown"), [("5", "5: must be an object, not a number"), ("[]", "[…]: must be an object, not a list")]
)
def test_a_document_that_is_no_object_is_refused(text: str, shown: str) -> None:
    assert refusals(text) == [f"1:1: Invalid value: {shown}"]


def test_findings_past_a_thousand_are_not_looked_for() -> None:
    found = refusals(in_container(f"args: [{'1, ' * 2000}]"))
    assert len(found) == 1001
    assert found[-1].endswith("more than 1000 findings, the rest of the text was not checked")


# ---- from a dict ----


def as_dict() -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"restartPolicy": "Never", "containers": ({"name": "app", "image": "busybox"},)},
    }


def test_a_parsed_manifest_gives_the_same_pod_as_its_text() -> None:
    assert manifest.from_dict(as_dict()) == pod(GOOD)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"x": object()}, "<dict>:0:1: x: a manifest cannot hold a Python object"),
        ({1: 2}, '<dict>:0:1: a key must be a string; quote it: "1"'),
        ({"kind": True}, '<dict>:0:1: kind: Invalid value: true: must be a string, not a boolean; quote it: "true"'),
        (
            {"metadata": {"name": "web", "annotations": {"a": "\ud800"}}},
            '<dict>:0:1: metadata.annotations.a: Invalid value: "\\ud800": must be valid UTF-8: '
            "it has half of a surrogate pair",
        ),
    ],
)
def test_a_parsed_manifest_that_is_wrong_is_refused_without_a_line(more: dict[str, object], message: str) -> None:
    with pytest.raises(ManifestError) as refused:
        manifest.from_dict({**as_dict(), **more})
    assert message in [str(finding) for finding in refused.value.findings]


def test_a_dict_or_list_that_contains_itself_is_refused() -> None:
    endless_dict: dict[str, object] = {}
    endless_dict["spec"] = endless_dict
    endless_list: list[object] = []
    endless_list.append(endless_list)
    for endless in (endless_dict, {"spec": endless_list}):
        with pytest.raises(ManifestError, match="nested deeper than 100 levels"):
            manifest.from_dict(endless)


# ---- the tables ----


# ---- names that Kubernetes would make ----


def test_a_name_to_be_made_is_refused_where_there_is_none() -> None:
    assert refusals(changed("name: web", "generateName: web-")) == [
        "3:1: metadata.name: Required value",
        '4:3: metadata.generateName: field "generateName" is known but not implemented: '
        "a pod has the name that its manifest gives it; use `name`",
    ]


def test_a_name_comes_before_one_that_would_be_made() -> None:
    assert pod(in_metadata("generateName: web-")) == pod(GOOD)
