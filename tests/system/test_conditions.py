"""Conditions of pods that probes and other programs decide, with the times of their changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

import sandbox
from tests.runner import Seedpod
from tests.staying import all_running, detached, kill_engine, pod_json, until

pytestmark = pytest.mark.root

GATE = "example.com/ready"


def conditions(seedpod: Seedpod) -> dict[str, Any]:
    return {each["type"]: each for each in pod_json(seedpod, "web")["status"]["conditions"]}


def since(seedpod: Seedpod, kind: str) -> datetime:
    return datetime.fromisoformat(conditions(seedpod)[kind]["lastTransitionTime"])


def test_a_readiness_probe_moves_the_time_of_ready_and_an_engine_that_is_killed_does_not(seedpod: Seedpod) -> None:
    probe = {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    detached(seedpod, seedpod.pod(seedpod.shell("app", "exec sleep 1000", readinessProbe=probe)), wait=False)
    until(seedpod, "web", all_running)
    assert since(seedpod, "Ready") == since(seedpod, "PodScheduled"), "it was never ready"
    assert seedpod.command("exec", "web", "--", "touch", "/ready").returncode == 0
    until(seedpod, "web", lambda status: status.ready)
    known = conditions(seedpod)
    assert known["Ready"]["lastTransitionTime"] == known["ContainersReady"]["lastTransitionTime"]
    # The file was made before it was found, and it all began before: by the clock of the one machine that there is.
    made = int(seedpod.command("exec", "web", "--", "stat", "-c", "%Y", "/ready").stdout)
    assert since(seedpod, "Ready").timestamp() >= made
    assert since(seedpod, "Initialized") <= since(seedpod, "PodReadyToStartContainers") <= since(seedpod, "Ready")
    kill_engine(seedpod)
    again = conditions(seedpod)
    assert {kind: each["lastTransitionTime"] for kind, each in again.items()} == {
        kind: each["lastTransitionTime"] for kind, each in known.items()
    }


def test_a_pod_is_ready_with_its_gates_and_they_outlive_the_engine(loop: None, seedpod: Seedpod) -> None:
    gates = [{"conditionType": GATE}]
    app = seedpod.shell("app", "exec sleep 1000")
    detached(seedpod, seedpod.pod(app, readinessGates=gates), wait=False)
    until(seedpod, "web", lambda status: status.containers_ready)
    assert conditions(seedpod)["Ready"]["message"] == (
        f'corresponding condition of pod readiness gate "{GATE}" does not exist.'
    )
    with sandbox.Pod.get("web", root=seedpod.root) as pod:
        with pytest.raises(sandbox.SandboxError, match="nobody sets it"):
            pod.set_condition("Ready")
        pod.set_condition(GATE, False, reason="Warming", message="the cache is cold")
        held = conditions(seedpod)
        assert (held[GATE]["reason"], held[GATE]["message"]) == ("Warming", "the cache is cold")
        assert held["Ready"]["message"] == f'the status of pod readiness gate "{GATE}" is not "True", but False'
        assert seedpod.command("get", "endpoints", "--no-headers").stdout.split()[2:] == ["false", "false", "false"]
        pod.set_condition(GATE)
        pod.wait_ready(timeout=60)
    assert seedpod.command("wait", "web", f"--for=condition={GATE}", "--timeout=60s").returncode == 0
    assert seedpod.command("get", "web", "-o", "wide", "--no-headers").stdout.split()[-1] == "1/1"
    before = conditions(seedpod)
    kill_engine(seedpod)
    assert conditions(seedpod) == before
    assert before["Ready"]["status"] == "True"
