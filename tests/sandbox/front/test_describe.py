"""The layout was compared line for line with what kubectl's describe makes of the same `v1` Pod."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from sandbox.front.describe import describe
from sandbox.manifest import load
from sandbox.status import ContainerStatus, Phase, PodStatus, Terminated
from tests.sandbox.front.pods import BORN, ID, NOW, ago, end, manifest, running, status, waiting


def shown(state: PodStatus, **options: Any) -> str:
    return describe(state, now=NOW, node_name="here", **{"zone": UTC, **options})


def lines(state: PodStatus, **options: Any) -> list[str]:
    return shown(state, **options).splitlines()


WRITTEN = manifest(
    containers=[
        {
            "name": "app",
            "image": "localhost/busybox",
            "command": ["sh", "-c"],
            "args": ["date\nsleep 5"],
            "env": [{"name": "GREETING", "value": "one\ntwo"}, {"name": "E"}],
            "volumeMounts": [
                {"name": "data", "mountPath": "/z"},
                {"name": "host", "mountPath": "/a", "readOnly": True},
            ],
        },
        {"name": "bad", "image": "localhost/busybox"},
    ],
    volumes=[
        {"name": "data", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/srv"}},
        {"name": "strange", "nfs": {}},
    ],
)


def test_a_pod_is_described_in_kubectls_layout() -> None:
    app = running("app", restart_count=1, last_state=end(137, "OOMKilled", signal=9, finished=ago(minutes=1)))
    state = status(
        app,
        waiting("CrashLoopBackOff", "bad"),
        manifest=WRITTEN,
        labels={"b": "2", "app": "x"},
        annotations={"note": "n"},
    )
    assert (
        shown(state)
        == f"""\
Name:         web
Namespace:    default
Node:         here/127.0.0.1
Start Time:   Wed, 04 Mar 2026 05:01:07 +0000
Labels:       app=x
              b=2
Annotations:  note: n
Status:       Running
IP:           10.0.0.2
IPs:
  IP:  10.0.0.2
Containers:
  app:
    Container ID:  seedpod://{ID}
    Image:         localhost/busybox
    Image ID:      {""}
    Port:          <none>
    Host Port:     <none>
    Command:
      sh
      -c
    Args:
      date
      sleep 5
    State:          Running
      Started:      Wed, 04 Mar 2026 05:01:07 +0000
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
      Signal:       9
      Started:      Wed, 04 Mar 2026 05:01:07 +0000
      Finished:     Wed, 04 Mar 2026 05:05:07 +0000
    Ready:          True
    Restart Count:  1
    Environment:
      GREETING:  one
                 two
      E:         {""}
    Mounts:
      /a from host (ro)
      /z from data (rw)
  bad:
    Container ID:   {""}
    Image:          localhost/busybox
    Image ID:       {""}
    Port:           <none>
    Host Port:      <none>
    State:          Waiting
      Reason:       CrashLoopBackOff
    Ready:          False
    Restart Count:  0
    Environment:    <none>
    Mounts:         <none>
Conditions:
  Type                        Status
  PodReadyToStartContainers   True {""}
  Initialized                 True {""}
  Ready                       False {""}
  ContainersReady             False {""}
  PodScheduled                True {""}
Volumes:
  data:
    Type:       EmptyDir (a temporary directory that shares a pod's lifetime)
    Medium:     {""}
    SizeLimit:  <unset>
  host:
    Type:          HostPath (bare host directory volume)
    Path:          /srv
    HostPathType:  {""}
  strange:
  <unknown>
QoS Class:       BestEffort
Node-Selectors:  <none>
Tolerations:     <none>
Events:          <none>
"""
    )


def test_a_pod_that_is_being_deleted_says_since_when() -> None:  # A31, A32
    state = status(running(), deletion_timestamp=ago(seconds=90), deletion_grace_period_seconds=30)
    described = lines(state)
    assert "Status:                    Terminating (lasts 90s)" in described
    assert "Termination Grace Period:  30s" in described


def test_a_final_phase_outlives_the_deletion() -> None:
    state = status(phase=Phase.FAILED, deletion_timestamp=NOW, deletion_grace_period_seconds=30)
    assert not any("Terminati" in line for line in lines(state))


def test_why_a_pod_failed_follows_its_status() -> None:
    described = lines(status(phase=Phase.FAILED, reason="Evicted", message="out of memory"))
    at = described.index("Status:       Failed")
    assert described[at + 1 : at + 3] == ["Reason:       Evicted", "Message:      out of memory"]


def test_why_a_container_ended_is_told() -> None:
    failed = ContainerStatus("app", "i", Terminated(128, "StartError", message="no such file", finished_at=NOW))
    described = shown(status(failed))
    assert (
        "      Message:      no such file\n      Exit Code:    128\n      Started:      Thu, 01 Jan 1970" in described
    )


def test_an_end_that_nobody_saw_has_no_times() -> None:
    lost = ContainerStatus("app", "i", Terminated(137, "ContainerStatusUnknown"))
    assert "      Started:      <unknown>\n      Finished:     <unknown>\n" in shown(status(lost))


def test_a_pod_that_has_not_begun_has_neither_start_nor_address() -> None:
    state = replace(status(), start_time=None, pod_ips=(), phase=Phase.PENDING)
    described = lines(state)
    assert not any(line.startswith("Start Time") for line in described)
    assert "IPs:          <none>" in described
    assert any(line.split() == ["Volumes:", "<none>"] for line in described)


def test_the_seccomp_profiles_of_pod_and_containers_are_shown() -> None:
    profile = {"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}}
    written = manifest(
        securityContext={"seccompProfile": {"type": "RuntimeDefault"}},
        containers=[{"name": "app", "image": "i", "securityContext": profile}, {"name": "b", "image": "i"}],
    )
    text = [line.split() for line in lines(status(running("app"), running("b"), manifest=written))]
    assert text[text.index(["SeccompProfile:", "RuntimeDefault"]) + 1][0] == "IP:"
    inner = text.index(["SeccompProfile:", "Localhost"])
    assert text[inner - 1] == ["Host", "Port:", "<none>"]
    assert text[inner + 1] == ["LocalhostProfile:", "a.json"]
    assert sum(line[:1] == ["SeccompProfile:"] for line in text) == 2


def test_ports_are_shown_in_the_container_and_on_the_host() -> None:
    written = manifest(
        containers=[
            {"name": "app", "image": "i", "ports": [{"containerPort": 80, "hostPort": 8080}]},
            {"name": "b", "image": "i", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 54}]},
        ],
    )
    text = [" ".join(line.split()) for line in lines(status(running("app"), running("b"), manifest=written))]
    shown = [line for line in text if line.startswith(("Port", "Host Port"))]
    assert shown == ["Port: 80/TCP", "Host Port: 8080/TCP", "Ports: 53/UDP, 54/TCP", "Host Ports: 0/UDP, 0/TCP"]


def test_a_container_without_a_status_is_described_from_the_spec() -> None:
    described = shown(status(manifest=manifest("app")))
    assert "  app:\n    Image:        localhost/busybox\n    Port:         <none>\n" in described


def test_long_annotations_are_cut_and_those_of_several_lines_indented() -> None:
    notes = {
        "long": "l" * 200,
        "two": "a\nb\n",
        "z": "1",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    described = lines(status(running(), annotations=notes))
    at = described.index("Annotations:  long:")
    assert described[at + 1 : at + 6] == [
        " " * 16 + "l" * 138 + "...",
        " " * 14 + "two:",
        " " * 16 + "a",
        " " * 16 + "b",
        " " * 14 + "z: 1",
    ]
    assert "last-applied" not in "\n".join(described)


def test_scheduling_wishes_are_shown_sorted() -> None:
    wishes = manifest(
        "app",
        nodeSelector={"disk": "ssd", "arch": ""},
        tolerations=[
            {"key": "k", "operator": "Exists", "effect": "NoSchedule"},
            {"operator": "Exists"},
            {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 30},
        ],
    )
    assert [line.split() for line in lines(status(running(), manifest=wishes))[-6:-1]] == [
        ["Node-Selectors:", "arch="],
        ["disk=ssd"],
        ["Tolerations:", "op=Exists"],
        ["a=b:NoExecute", "for", "30s"],
        ["k:NoSchedule", "op=Exists"],
    ]


def test_events_come_last() -> None:
    events = [
        {
            "type": "Normal",
            "reason": "Started",
            "message": "Started container app\n",
            "source": {"component": "seedpod"},
            "involvedObject": {"fieldPath": "spec.containers{app}"},
            "firstTimestamp": "2026-03-04T05:01:07Z",
            "lastTimestamp": "2026-03-04T05:05:57Z",
            "count": 4,
        },
        {
            "type": "Warning",
            "reason": "BackOff",
            "message": "Back-off restarting failed container app",
            "reportingComponent": "seedpod",
            "firstTimestamp": "2026-03-04T05:06:02Z",
        },
    ]
    assert lines(status(running()), events=events)[-5:] == [
        "Events:",
        "  Type     Reason   Age               From     Message",
        "  ----     ------   ----              ----     -------",
        "  Normal   Started  10s (x4 over 5m)  seedpod  spec.containers{app}: Started container app",
        "  Warning  BackOff  5s                seedpod  Back-off restarting failed container app",
    ]


def test_times_are_shown_in_the_zone_asked_for() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert "Start Time:   Wed, 04 Mar 2026 10:31:07 +0530" in lines(status(running()), zone=india)
    assert BORN.tzinfo is UTC


@pytest.mark.parametrize(("raw", "printed"), [("\x1b[2J", "^[[2J"), ("a\rb", "a\\rb")])
def test_nothing_in_a_pod_commands_the_terminal(raw: str, printed: str) -> None:
    described = shown(status(running(), annotations={"note": raw}))
    assert f"note: {printed}\n" in described


def test_resources_are_shown_as_kubectl_shows_them() -> None:
    asked = {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "250m"}}
    written = manifest(containers=[{"name": "app", "image": "i", "resources": asked}])
    (pod,) = load(json.dumps(written))
    text = shown(replace(status(running()), pod=pod, manifest=written))
    assert (
        """
    Restart Count:  0
    Limits:
      cpu:     1
      memory:  64Mi
    Requests:
      cpu:        250m
      memory:     64Mi
    Environment:  <none>
"""
        in text
    )
    assert [line.split() for line in text.splitlines() if line.startswith("QoS")] == [["QoS", "Class:", "Burstable"]]
