"""Probes and hooks: every field, its default, and each refusal with its place and the API server's words."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.manifest import from_dict
from sandbox.model import (
    ExecAction,
    GrpcAction,
    HookAction,
    HttpGetAction,
    HttpHeader,
    Lifecycle,
    Pod,
    Probe,
    ProbeAction,
    SleepAction,
    TcpSocketAction,
)
from sandbox.pod import codec
from sandbox.signals import STOP_SIGNALS
from tests.sandbox.manifests import changed, in_container, in_spec, pod, refusals

EXEC = "exec: {command: [x]}"


def startup(text: str) -> Probe:
    probe = pod(in_container(f"startupProbe: {text}")).containers[0].startup_probe
    assert probe
    return probe


def hook(text: str) -> HookAction:
    action = pod(in_container(f"lifecycle: {{preStop: {text}}}")).containers[0].lifecycle.pre_stop
    assert action
    return action


# ---- probes ----


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("{exec: {command: [cat, /ready]}}", ExecAction(("cat", "/ready"))),
        ("{httpGet: {port: 80}}", HttpGetAction(80)),
        ('{httpGet: {port: web, path: "", host: "", scheme: "", httpHeaders: []}}', HttpGetAction("web")),
        (
            "{httpGet: {port: 1, path: /a?b, host: h, scheme: HTTPS, httpHeaders: [{name: X-A, value: b}, {name: c}]}}",
            HttpGetAction(1, "/a?b", "h", "HTTPS", (HttpHeader("X-A", "b"), HttpHeader("c"))),
        ),
        ("{tcpSocket: {port: 65535, host: '::1'}}", TcpSocketAction(65535, "::1")),
        ("{tcpSocket: {port: a-very-long-1d}}", TcpSocketAction("a-very-long-1d")),
        ("{grpc: {port: 50051}}", GrpcAction(50051)),
        ("{grpc: {port: 50051, service: health}}", GrpcAction(50051, "health")),
        ("{exec: {command: [x]}, httpGet: , grpc: null}", ExecAction(("x",))),
    ],
)
def test_a_probe_has_one_handler_of_four(text: str, action: ProbeAction) -> None:
    assert startup(text) == Probe(action)


def test_the_three_probes_are_kept_apart_with_all_their_numbers() -> None:
    numbers = "initialDelaySeconds: 1, periodSeconds: 2, timeoutSeconds: 3, failureThreshold: 4"
    grace = "terminationGracePeriodSeconds: 6"
    container = pod(
        in_container(
            f"startupProbe: {{exec: {{command: [s]}}, {numbers}, {grace}}}\n"
            f"    livenessProbe: {{exec: {{command: [l]}}, {numbers}, {grace}, successThreshold: 1}}\n"
            f"    readinessProbe: {{exec: {{command: [r]}}, {numbers}, successThreshold: 5}}"
        )
    ).containers[0]
    assert container.startup_probe == Probe(ExecAction(("s",)), 1, 2, 3, 1, 4, 6)
    assert container.liveness_probe == Probe(ExecAction(("l",)), 1, 2, 3, 1, 4, 6)
    assert container.readiness_probe == Probe(ExecAction(("r",)), 1, 2, 3, 5, 4, None)


def test_a_0_in_a_probe_is_an_absent_number() -> None:
    names = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold")
    zeros = ", ".join(f"{name}: 0" for name in names)
    assert startup(f"{{{EXEC}, {zeros}}}") == Probe(ExecAction(("x",)), 0, 10, 1, 1, 3, None)


RANGE = "must be between 1 and 65535, inclusive"
HEADER = (
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
    "validation is '[-A-Za-z0-9]+')"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", ["10:5: spec.containers[0].startupProbe: Required value: must specify a handler type"]),
        (
            "{exec: {command: [x]}, tcpSocket: {port: 1}, grpc: {port: 1}}",
            [
                "10:42: spec.containers[0].startupProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                "10:64: spec.containers[0].startupProbe.grpc: Forbidden: may not specify more than 1 handler type",
            ],
        ),
        ("{exec: {}}", ["10:20: spec.containers[0].startupProbe.exec.command: Required value"]),
        ("{exec: {command: []}}", ["10:36: spec.containers[0].startupProbe.exec.command: Required value"]),
        ("{httpGet: {}}", [f"10:20: spec.containers[0].startupProbe.httpGet.port: Invalid value: 0: {RANGE}"]),
        ("{tcpSocket: {}}", [f"10:20: spec.containers[0].startupProbe.tcpSocket.port: Invalid value: 0: {RANGE}"]),
        ("{grpc: {port: 0}}", [f"10:33: spec.containers[0].startupProbe.grpc.port: Invalid value: 0: {RANGE}"]),
        (
            "{httpGet: {port: 65536}}",
            [f"10:36: spec.containers[0].startupProbe.httpGet.port: Invalid value: 65536: {RANGE}"],
        ),
        (
            "{httpGet: {port: '80'}}",
            [
                '10:36: spec.containers[0].startupProbe.httpGet.port: Invalid value: "80": must contain at least one '
                "letter (a-z)"
            ],
        ),
        (
            "{tcpSocket: {port: a-port-of-16-chr}}",
            [
                '10:38: spec.containers[0].startupProbe.tcpSocket.port: Invalid value: "a-port-of-16-chr": must be no '
                "more than 15 characters"
            ],
        ),
        (
            "{grpc: {port: web}}",
            [
                '10:33: spec.containers[0].startupProbe.grpc.port: Invalid value: "web": must be an integer, '
                "not a string"
            ],
        ),
        (
            "{tcpSocket: {port: true}}",
            [
                "10:38: spec.containers[0].startupProbe.tcpSocket.port: Invalid value: true: must be the number or the "
                "name of a port, not a boolean"
            ],
        ),
        (
            "{httpGet: {port: 1, scheme: https}}",
            [
                '10:47: spec.containers[0].startupProbe.httpGet.scheme: Unsupported value: "https": supported values: '
                '"HTTP", "HTTPS"'
            ],
        ),
        (
            "{httpGet: {port: 1, httpHeaders: [{name: a_b}, {value: c}]}}",
            [
                f'10:60: spec.containers[0].startupProbe.httpGet.httpHeaders[0].name: Invalid value: "a_b": {HEADER}',
                f'10:66: spec.containers[0].startupProbe.httpGet.httpHeaders[1].name: Invalid value: "": {HEADER}',
            ],
        ),
        (
            f"{{{EXEC}, initialDelaySeconds: -1, periodSeconds: -2, timeoutSeconds: -3, failureThreshold: -4}}",
            [
                f"{where}: spec.containers[0].startupProbe.{name}: Invalid value: {value}: "
                "must be greater than or equal to 0"
                for where, name, value in (
                    ("10:63", "initialDelaySeconds", -1),
                    ("10:82", "periodSeconds", -2),
                    ("10:102", "timeoutSeconds", -3),
                    ("10:124", "failureThreshold", -4),
                )
            ],
        ),
        (
            f"{{{EXEC}, periodSeconds: 2147483648}}",
            [
                "10:57: spec.containers[0].startupProbe.periodSeconds: Invalid value: 2147483648: "
                "must be a 32-bit integer"
            ],
        ),
        (
            f"{{{EXEC}, successThreshold: 2}}",
            ["10:60: spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            f"{{{EXEC}, successThreshold: -1}}",
            [
                "10:60: spec.containers[0].startupProbe.successThreshold: Invalid value: -1: must be 1",
                "10:60: spec.containers[0].startupProbe.successThreshold: Invalid value: -1: "
                "must be greater than or equal to 0",
            ],
        ),
        (
            f"{{{EXEC}, terminationGracePeriodSeconds: 0}}",
            [
                "10:73: spec.containers[0].startupProbe.terminationGracePeriodSeconds: Invalid value: 0: "
                "must be greater than 0"
            ],
        ),
        (f"{{{EXEC}, sleep: {{}}}}", ['10:42: spec.containers[0].startupProbe.sleep: unknown field "sleep"']),
        ("[]", ["10:19: spec.containers[0].startupProbe: Invalid value: […]: must be an object, not a list"]),
    ],
)
def test_what_is_wrong_with_a_probe_is_told_with_its_place(text: str, found: list[str]) -> None:
    assert refusals(in_container(f"startupProbe: {text}")) == found
    # And so it is for the probe of a container's life, which has the same rules.
    same = [
        each.replace("startupProbe", "livenessProbe").replace(f"10:{column}:", f"10:{int(column) + 1}:")
        for each in found
        for column in [each.split(":")[1]]
    ]
    if found[0].startswith("10:5:"):  # told where the field's name stands
        same = [each.replace("10:6:", "10:5:", 1) for each in same]
    assert refusals(in_container(f"livenessProbe: {text}")) == same


def test_a_readiness_probe_may_want_more_than_one_success_and_has_no_grace() -> None:
    text = f"readinessProbe: {{{EXEC}, successThreshold: 2, terminationGracePeriodSeconds: 5}}"
    (found,) = refusals(in_container(text))
    assert found == (
        "10:96: spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for "
        "readinessProbes"
    )


# ---- hooks ----


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("{exec: {command: [x, z]}}", ExecAction(("x", "z"))),
        ("{httpGet: {port: web, path: /stop}}", HttpGetAction("web", "/stop")),
        ("{tcpSocket: {port: 80}}", TcpSocketAction(80)),  # accepted, and fails when it is run
        ("{sleep: {seconds: 30}}", SleepAction(30)),
        ("{sleep: {seconds: 0}}", SleepAction(0)),
        ("{sleep: {}}", SleepAction(0)),
    ],
)
def test_a_hook_has_one_handler_of_four(text: str, action: HookAction) -> None:  # A33
    assert hook(text) == action


def test_a_lifecycle_comes_through_whole() -> None:
    text = in_container(f"lifecycle: {{postStart: {{{EXEC}}}, preStop: {{sleep: {{seconds: 1}}}}, stopSignal: SIGINT}}")
    found = pod(text.replace("spec:\n", "spec:\n  os: {name: linux}\n", 1)).containers[0].lifecycle
    assert found == Lifecycle(ExecAction(("x",)), SleepAction(1), "SIGINT")
    assert pod(in_container("lifecycle: {}")).containers[0].lifecycle == Lifecycle()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "{postStart: {}}",
            ["10:17: spec.containers[0].lifecycle.postStart: Required value: must specify a handler type"],
        ),
        (
            "{preStop: {sleep: {seconds: 1}, exec: {command: [x]}}}",
            ["10:27: spec.containers[0].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            "{preStop: {exec: {command: [x]}, grpc: {port: 1}}}",
            ['10:49: spec.containers[0].lifecycle.preStop.grpc: unknown field "grpc"'],
        ),
        (
            "{preStop: {sleep: {seconds: 31}}}",
            [
                "10:44: spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less "
                "than terminationGracePeriodSeconds (30)"
            ],
        ),
        (
            "{postStart: {sleep: {seconds: -1}}}",
            [
                "10:46: spec.containers[0].lifecycle.postStart.sleep: Invalid value: -1: must be non-negative and less "
                "than terminationGracePeriodSeconds (30)"
            ],
        ),
        (
            "{preStop: {sleep: {seconds: 1s}}}",
            [
                '10:44: spec.containers[0].lifecycle.preStop.sleep.seconds: Invalid value: "1s": '
                "must be an integer, not a string"
            ],
        ),
        (
            "{stopSignal: SIGTERM}",
            [
                "10:29: spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty "
                "`spec.os.name`"
            ],
        ),
        ("{stop: x}", ['10:17: spec.containers[0].lifecycle.stop: unknown field "stop"']),
    ],
)
def test_what_is_wrong_with_a_lifecycle_is_told_with_its_place(text: str, found: list[str]) -> None:
    said = refusals(in_container(f"lifecycle: {text}"))
    assert [each.split(", did you mean")[0] for each in said] == found


@pytest.mark.parametrize(("grace", "seconds"), [(0, 0), (60, 60)])
def test_a_hook_may_sleep_as_long_as_the_grace_period_is(grace: int, seconds: int) -> None:
    text = in_container(f"lifecycle: {{preStop: {{sleep: {{seconds: {seconds}}}}}}}")
    with_grace = text.replace("spec:\n", f"spec:\n  terminationGracePeriodSeconds: {grace}\n", 1)
    assert pod(with_grace).containers[0].lifecycle.pre_stop == SleepAction(seconds)
    (found,) = refusals(with_grace.replace(f"seconds: {seconds}", f"seconds: {seconds + 1}"))
    assert found.endswith(f"must be non-negative and less than terminationGracePeriodSeconds ({grace})")


def test_a_sleep_is_not_measured_by_a_grace_period_that_is_wrong_itself() -> None:
    text = in_container("lifecycle: {preStop: {sleep: {seconds: 5}}}")
    (found,) = refusals(text.replace("spec:\n", "spec:\n  terminationGracePeriodSeconds: true\n", 1))
    assert "spec.terminationGracePeriodSeconds: Invalid value: true" in found


# ---- stop signals and the operating system ----


def on_linux(signal: str) -> str:
    text = in_container(f"lifecycle: {{stopSignal: {signal}}}")
    return text.replace("spec:\n", "spec:\n  os: {name: linux}\n", 1)


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL", "SIGRTMIN", "SIGRTMIN+15", "SIGRTMAX-14", "SIGRTMAX"])
def test_a_stop_signal_has_the_name_that_the_api_has(signal: str) -> None:  # A35
    assert pod(on_linux(signal)).containers[0].lifecycle.stop_signal == signal
    assert 1 <= STOP_SIGNALS[signal] <= 64


def test_there_are_65_stop_signals_and_the_real_time_ones_meet_in_the_middle() -> None:
    assert len(STOP_SIGNALS) == 65
    assert STOP_SIGNALS["SIGRTMAX-14"] == STOP_SIGNALS["SIGRTMIN+15"] + 1
    assert sorted(set(STOP_SIGNALS.values())) == [*range(1, 32), *range(34, 65)]


@pytest.mark.parametrize("signal", ["TERM", "sigterm", '""', "SIGRTMIN+16", "SIGRTMAX-0"])
def test_another_signal_is_refused_with_the_names_that_there_are(signal: str) -> None:
    (found,) = refusals(on_linux(signal))
    shown = signal if signal == '""' else f'"{signal}"'
    start = f'11:29: spec.containers[0].lifecycle.stopSignal: Unsupported value: {shown}: supported values: "SIGABRT"'
    assert found.startswith(start)
    assert '"SIGRTMAX", "SIGRTMAX-1", "SIGRTMAX-10"' in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", "6:3: spec.os.name: Required value: cannot be empty"),
        ('{name: ""}', "6:14: spec.os.name: Required value: cannot be empty"),
        ("{name: windows}", '6:14: spec.os.name: Unsupported value: "windows": supported values: "linux"'),
        ("linux", '6:7: spec.os: Invalid value: "linux": must be an object, not a string'),
    ],
)
def test_there_is_one_operating_system(text: str, found: str) -> None:
    assert refusals(in_spec(f"os: {text}")) == [found]


def test_its_name_changes_nothing() -> None:
    assert pod(in_spec("os: {name: linux}")) == pod(changed("  restartPolicy: Never\n", "  restartPolicy: Never\n"))


# ---- all together ----


def everything() -> dict[str, Any]:
    probe = {"httpGet": {"port": "web", "httpHeaders": [{"name": "a", "value": "b"}]}}
    container = {
        "name": "c",
        "image": "i",
        "ports": [{"name": "web", "containerPort": 80}],
        "startupProbe": {"exec": {"command": ["x"]}},
        "livenessProbe": {"grpc": {"port": 1}},
        "readinessProbe": probe,
        "lifecycle": {"postStart": {"tcpSocket": {"port": 2}}, "preStop": {"sleep": {"seconds": 3}}},
        "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}],
    }
    spec = {"containers": [container], "initContainers": [{"name": "a", "image": "i", "restartPolicy": "Always"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def test_a_pod_with_all_of_it_crosses_the_engines_socket() -> None:
    made = from_dict(everything())
    assert codec.decode(Pod, codec.encode(made)) == made
