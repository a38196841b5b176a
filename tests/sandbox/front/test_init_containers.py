"""What users see of init containers and sidecars: describe was compared with kubectl 1.32, rows follow printPod."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient

from sandbox.front.describe import describe
from sandbox.front.table import table
from sandbox.front.v1 import events_of, to_v1
from sandbox.status import Condition, ContainerStatus, Event, Phase, PodStatus, Waiting
from tests.sandbox.front.engine import CommandLine
from tests.sandbox.front.pods import BORN, NOW, ago, end, manifest, running, status, terminated, waiting
from tests.sandbox.front.test_logs import Logs

QUEUED = ContainerStatus("app", "localhost/busybox", Waiting("PodInitializing"))


def done(name: str = "setup", **more: Any) -> ContainerStatus:
    return replace(terminated(0, "Completed", name), ready=True, **more)


def queued(name: str) -> ContainerStatus:
    return ContainerStatus(name, "localhost/busybox", Waiting("PodInitializing"))


def working(name: str = "setup", **more: Any) -> ContainerStatus:
    """A regular init container that runs: it is started, and never ready."""
    return running(name, ready=False, **more)


def initializing(*inits: ContainerStatus, **more: Any) -> PodStatus:
    return status(more.pop("app", QUEUED), inits=inits, initialized=False, phase=Phase.PENDING, **more)


def initialized(*inits: ContainerStatus, app: ContainerStatus | None = None, **more: Any) -> PodStatus:
    return status(app or running(), inits=inits, **more)


def row(state: PodStatus) -> list[str]:
    """READY, STATUS and RESTARTS."""
    line = table([state], now=NOW, node_name="here", headers=False)
    return [cell.strip() for cell in line.split("   ") if cell.strip()][1:4]


CRASHED = end(1, finished=ago(minutes=5))
GONE = {"deletion_timestamp": NOW, "deletion_grace_period_seconds": 30}


@pytest.mark.parametrize(
    ("state", "ready", "word", "restarts"),
    [
        (initializing(queued("a"), queued("b")), "0/1", "Init:0/2", "0"),
        (initializing(working("a"), queued("b")), "0/1", "Init:0/2", "0"),
        (initializing(done("a"), working("b")), "0/1", "Init:1/2", "0"),
        (initializing(done("a"), done("b")), "0/1", "PodInitializing", "0"),
        (initializing(terminated(1, "Error", "a"), queued("b")), "0/1", "Init:Error", "0"),
        (initializing(terminated(137, "OOMKilled", "a")), "0/1", "Init:OOMKilled", "0"),
        (initializing(terminated(3, "", "a")), "0/1", "Init:ExitCode:3", "0"),
        (initializing(terminated(137, "", "a", signal=9)), "0/1", "Init:Signal:9", "0"),
        (
            initializing(waiting("CrashLoopBackOff", "a", restart_count=4, last_state=CRASHED)),
            "0/1",
            "Init:CrashLoopBackOff",
            "4 (5m ago)",
        ),
        (initializing(done("a"), waiting("ErrImagePull", "b")), "0/1", "Init:ErrImagePull", "0"),
        (initializing(waiting("CreateContainerConfigError", "a")), "0/1", "Init:CreateContainerConfigError", "0"),
        # Restarts of what has done its work do not count any more, nor does the time of the last one.
        (initialized(done("a", restart_count=3, last_state=CRASHED)), "1/1", "Running", "0"),
        (initializing(done("a", restart_count=3, last_state=CRASHED), working("b")), "0/1", "Init:1/2", "3 (5m ago)"),
        # Sidecars count: in READY both sides, and in RESTARTS.
        (initializing(running("s"), working("b"), sidecars=["s"]), "1/2", "Init:1/2", "0"),
        (initializing(running("s", ready=False), working("b"), sidecars=["s"]), "0/2", "Init:1/2", "0"),
        (initializing(replace(working("s"), started=False), queued("b"), sidecars=["s"]), "0/2", "Init:0/2", "0"),
        (initialized(running("s"), sidecars=["s"]), "2/2", "Running", "0"),
        (initialized(running("s", ready=False), sidecars=["s"]), "1/2", "Running", "0"),
        (
            initialized(running("s", restart_count=2, last_state=CRASHED), done("b", restart_count=7), sidecars=["s"]),
            "2/2",
            "Running",
            "2 (5m ago)",
        ),
        (
            initialized(running("s", restart_count=1), app=running(restart_count=2, last_state=CRASHED), sidecars="s"),
            "2/2",
            "Running",
            "3 (5m ago)",
        ),
        # A sidecar that crashes once the pod is initialized; kubectl looks no further than to it.
        (
            initialized(waiting("CrashLoopBackOff", "s", restart_count=1, last_state=CRASHED), sidecars=["s"]),
            "1/2",
            "Init:CrashLoopBackOff",
            "1 (5m ago)",
        ),
        (initialized(running("s"), app=waiting("CrashLoopBackOff"), sidecars=["s"]), "1/2", "CrashLoopBackOff", "0"),
        (
            status(running("a", ready=False), terminated(0, "Completed", "b"), inits=[running("s")], sidecars=["s"]),
            "1/3",
            "Completed",
            "0",
        ),
        (status(running("a"), terminated(0, "Completed", "b"), inits=[done()]), "1/2", "NotReady", "0"),
        # The end of all.
        (
            status(terminated(0, "Completed"), inits=[done()], phase=Phase.SUCCEEDED),
            "0/1",
            "Completed",
            "0",
        ),
        (
            status(QUEUED, inits=[terminated(1, "Error", "a")], initialized=False, phase=Phase.FAILED),
            "0/1",
            "Init:Error",
            "0",
        ),
        (initializing(working("a"), **GONE), "0/1", "Terminating", "0"),
        (initialized(running("s"), sidecars=["s"], **GONE), "2/2", "Terminating", "0"),
    ],
)
def test_the_row_is_the_one_that_kubectl_prints(state: PodStatus, ready: str, word: str, restarts: str) -> None:  # A32
    assert row(state) == [ready, word, restarts]


# ---- the object ----


def v1(state: PodStatus) -> dict[str, Any]:
    return to_v1(state, node_name="here")


def condition(state: PodStatus, kind: str) -> tuple[str, str | None, str | None]:
    (found,) = [each for each in v1(state)["status"]["conditions"] if each["type"] == kind]
    return found["status"], found.get("reason"), found.get("message")


def test_init_containers_have_statuses_in_the_order_of_the_spec() -> None:  # A23
    shown = v1(initializing(done("z"), running("b"), queued("a"), sidecars=["b"]))
    assert [each["name"] for each in shown["spec"]["initContainers"]] == ["z", "b", "a"]
    assert [each.get("restartPolicy") for each in shown["spec"]["initContainers"]] == [None, "Always", None]
    statuses = shown["status"]["initContainerStatuses"]
    assert [(each["name"], each["ready"], each["started"]) for each in statuses] == [
        ("z", True, False),
        ("b", True, True),
        ("a", False, False),
    ]
    assert statuses[2]["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_without_init_containers_there_is_no_word_of_them() -> None:
    shown = v1(status(running()))
    assert "initContainers" not in shown["spec"]
    assert "initContainerStatuses" not in shown["status"]


ALL = ["ContainersReady", "Ready"]


def gate(kind: str, said: str) -> Condition:
    """The condition of a readiness gate."""
    return Condition(kind, said, BORN)


@pytest.mark.parametrize(
    ("state", "kinds", "said"),
    [
        (initialized(done()), ["Initialized", *ALL], ("True", None, None)),
        (
            initializing(done("a"), working("b"), queued("c")),
            ["Initialized"],
            ("False", "ContainersNotInitialized", "containers with incomplete status: [b c]"),
        ),
        (
            initializing(replace(running("s"), started=False), queued("b"), sidecars=["s"]),
            ["Initialized"],
            ("False", "ContainersNotInitialized", "containers with incomplete status: [s b]"),
        ),
        # A sidecar has to have started, and no more than that, for the pod to go on.
        (
            initializing(running("s", ready=False), working("b"), sidecars=["s"]),
            ["Initialized"],
            ("False", "ContainersNotInitialized", "containers with incomplete status: [b]"),
        ),
        (
            replace(initializing(working("a")), init_containers=()),
            ["Initialized"],
            ("False", "ContainersNotInitialized", "containers with unknown status: [a]"),
        ),
        (initializing(working("a")), ALL, ("False", "ContainersNotReady", "containers with unready status: [app]")),
        (
            initialized(running("s", ready=False), app=running(ready=False), sidecars=["s"]),
            ALL,
            ("False", "ContainersNotReady", "containers with unready status: [s app]"),
        ),
        (
            status(terminated(0, "Completed"), inits=[done()], phase=Phase.SUCCEEDED),
            ["Initialized"],
            ("True", "PodCompleted", None),
        ),
        (
            status(QUEUED, inits=[terminated(1, "Error", "a")], initialized=False, phase=Phase.FAILED),
            ["Initialized"],
            ("False", "ContainersNotInitialized", "containers with incomplete status: [a]"),
        ),
        (
            status(QUEUED, inits=[terminated(1, "Error", "a")], initialized=False, phase=Phase.FAILED),
            ALL,
            ("False", "PodFailed", None),
        ),
        (status(running(), readiness_gates=("x/y",)), ["ContainersReady"], ("True", None, None)),
        (
            status(running(), readiness_gates=("x/y", "z")),
            ["Ready"],
            (
                "False",
                "ReadinessGatesNotReady",
                'corresponding condition of pod readiness gate "x/y" does not exist., '
                'corresponding condition of pod readiness gate "z" does not exist.',
            ),
        ),
        (
            status(running(), readiness_gates=("x/y", "z"), conditions=(gate("x/y", "True"), gate("z", "Unknown"))),
            ["Ready"],
            ("False", "ReadinessGatesNotReady", 'the status of pod readiness gate "z" is not "True", but Unknown'),
        ),
        (status(running(), readiness_gates=("x/y",), conditions=(gate("x/y", "True"),)), ALL, ("True", None, None)),
        (
            status(running(ready=False), readiness_gates=("x/y",)),
            ["Ready"],
            ("False", "ContainersNotReady", "containers with unready status: [app]"),
        ),
    ],
)
def test_conditions_say_what_is_missing_as_kubelet_does(state: PodStatus, kinds: Sequence[str], said: object) -> None:
    assert [condition(state, kind) for kind in kinds] == [said] * len(kinds)


PROBED = manifest(
    initContainers=[
        {
            "name": "proxy",
            "image": "i",
            "restartPolicy": "Always",
            "startupProbe": {"tcpSocket": {"port": "http"}, "failureThreshold": 30, "periodSeconds": 0},
        }
    ],
    containers=[
        {
            "name": "app",
            "image": "i",
            "livenessProbe": {"httpGet": {"port": 8080, "host": "", "scheme": ""}, "initialDelaySeconds": 0},
            "readinessProbe": {
                "httpGet": {"port": "web", "path": "health?x", "host": "::1", "scheme": "HTTPS"},
                "timeoutSeconds": 0,
                "initialDelaySeconds": 5,
            },
            "startupProbe": {"exec": {"command": ["sh", "-c", "true it is"]}},
            "lifecycle": {
                "postStart": {"exec": {"command": ["true"]}},
                "preStop": {"httpGet": {"port": 80}},
                "stopSignal": "SIGUSR1",
            },
        },
        {"name": "rpc", "image": "i", "livenessProbe": {"grpc": {"port": 9}}},
    ],
)


def probed() -> PodStatus:
    state = initialized(running("proxy"), sidecars=["proxy"])
    return replace(state, manifest=PROBED, containers=(running("app"), running("rpc")))


def test_probes_and_hooks_have_the_api_servers_defaults() -> None:
    counts = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    spec = v1(probed())["spec"]
    (proxy,), (app, rpc) = spec["initContainers"], spec["containers"]
    assert proxy["startupProbe"] == {**counts, "tcpSocket": {"port": "http"}, "failureThreshold": 30}
    assert app["livenessProbe"] == {**counts, "httpGet": {"port": 8080, "path": "/", "scheme": "HTTP"}}
    assert app["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert app["lifecycle"]["preStop"] == {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}}
    assert app["lifecycle"]["stopSignal"] == "SIGUSR1"
    assert rpc["livenessProbe"] == {**counts, "grpc": {"port": 9, "service": ""}}


def test_the_official_client_reads_it() -> None:
    pod = ApiClient().deserialize(json.dumps(v1(probed())), "V1Pod", "application/json")
    assert pod.spec.init_containers[0].restart_policy == "Always"
    assert pod.spec.containers[0].liveness_probe.http_get.path == "/"
    assert [each.name for each in pod.status.init_container_statuses] == ["proxy"]


# ---- describe ----


def described(state: PodStatus) -> list[str]:
    return describe(state, events_of(state), now=NOW, node_name="here", zone=UTC).splitlines()


def test_init_containers_are_described_before_the_others() -> None:
    crashed = waiting("CrashLoopBackOff", "setup", restart_count=2, last_state=CRASHED)
    lines = described(initializing(crashed))
    begin, end_ = lines.index("Init Containers:"), lines.index("Containers:")
    assert begin < end_ < lines.index("Conditions:")
    assert lines[begin + 1 : end_] == [
        "  setup:",
        "    Container ID:   ",
        "    Image:          localhost/busybox",
        "    Image ID:       ",
        "    Port:           <none>",
        "    Host Port:      <none>",
        "    State:          Waiting",
        "      Reason:       CrashLoopBackOff",
        "    Last State:     Terminated",
        "      Reason:       Error",
        "      Exit Code:    1",
        "      Started:      Wed, 04 Mar 2026 05:01:07 +0000",
        "      Finished:     Wed, 04 Mar 2026 05:01:07 +0000",
        "    Ready:          False",
        "    Restart Count:  2",
        "    Environment:    <none>",
        "    Mounts:         <none>",
    ]
    assert "  Initialized                 False " in lines
    assert "Init Containers:" not in described(status(running()))


def test_probes_are_a_line_each() -> None:
    lines = [" ".join(line.split()) for line in described(probed())]
    shown = [line for line in lines if line.startswith(("Liveness", "Readiness:", "Startup"))]
    counts = "timeout=1s period=10s #success=1 #failure=3"
    assert shown == [
        "Startup: tcp-socket :http delay=0s timeout=1s period=10s #success=1 #failure=30",
        f"Liveness: http-get http://:8080/ delay=0s {counts}",
        f"Readiness: http-get https://[::1]:web/health%3Fx delay=5s {counts}",
        f"Startup: exec [sh -c true it is] delay=0s {counts}",
        f"Liveness: grpc <pod>:9 delay=0s {counts}",
    ]


def test_readiness_gates_stand_above_the_conditions() -> None:
    gates = [{"conditionType": "x/y"}, {"conditionType": "Ready"}]
    lines = described(status(running(), manifest=manifest("app", readinessGates=gates)))
    begin = lines.index("Readiness Gates:")
    assert [line.split() for line in lines[begin : begin + 5]] == [
        ["Readiness", "Gates:"],
        ["Type", "Status"],
        ["x/y", "<none>"],
        ["Ready", "True"],
        ["Conditions:"],
    ]


@pytest.mark.parametrize(
    ("container", "path"),
    [("s", "spec.initContainers{s}"), ("app", "spec.containers{app}"), ("", None)],
)
def test_an_event_says_which_kind_of_container_it_is_about(container: str, path: str | None) -> None:
    event = Event("Started", "Started container", BORN, BORN, container=container)
    (shown,) = events_of(initialized(running("s"), sidecars=["s"], events=(event,)))
    assert shown["involvedObject"].get("fieldPath") == path


# ---- logs ----


def test_the_logs_of_all_begin_with_those_of_init_containers(command: CommandLine) -> None:
    """kubectl's order: init containers, then the others, each in the order of the spec."""
    web = Logs(Path(command.root), initialized(done("z"), running("s"), sidecars=["s"]))
    for name in ("app", "s", "z"):
        web.write(name, f"of {name}")
    out = "[pod/web/z] of z\n[pod/web/s] of s\n[pod/web/app] of app\n"
    assert command([web.pod], "logs", "web", "--all-containers", "--prefix") == (0, out, "")


def test_an_init_container_whose_turn_has_not_come_has_no_log(command: CommandLine) -> None:
    web = Logs(Path(command.root), initializing(working("a"), queued("b")))
    web.write("a", "of a")
    said = 'Error from server (BadRequest): container "b" in pod "web" is waiting to start: PodInitializing\n'
    assert command([web.pod], "logs", "web", "--all-containers") == (1, "of a\n", said)
