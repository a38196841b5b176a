"""Pods on their way through life, for real: what starts when, what ends how, and when (issue "Lifecycle").

Containers write down what they do and when, by the clock of the machine, in a directory of the host.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cgroups import Cgroup
from sandbox.pod.slices import Slices
from sandbox.status import Phase, PodStatus, Running, Terminated
from tests.runner import Manifest, Seedpod
from tests.staying import detached, kill_engine, pod_json, until

pytestmark = pytest.mark.root

NOTE = "note() { read up _ < /proc/uptime; echo $up $1 >> /diary/all; }; "
FOREVER = "while :; do sleep 0.05; done"
DEAF = "trap 'note term' TERM; note start; while :; do sleep 0.05; note alive; done"
EXACT = 0.2  # seconds by which a promise may come early or late


@dataclass
class Diary:
    """What containers have written down."""

    directory: Path

    @property
    def volume(self) -> Manifest:
        return {"name": "diary", "hostPath": {"path": str(self.directory)}}

    def entries(self) -> list[tuple[float, str]]:
        lines = (self.directory / "all").read_text().splitlines()
        return [(float(when), what) for when, _, what in (line.partition(" ") for line in lines)]

    def what(self, *without: str) -> list[str]:
        return [what for _, what in self.entries() if what not in without]

    def first(self, what: str) -> float:
        return next(when for when, each in self.entries() if each == what)

    def last(self, what: str) -> float:
        return [when for when, each in self.entries() if each == what][-1]


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    (tmp_path / "diary").mkdir()
    return Diary(tmp_path / "diary")


def container(seedpod: Seedpod, name: str, script: str, **fields: Any) -> Manifest:
    mounts = [{"name": "diary", "mountPath": "/diary"}, *fields.pop("volumeMounts", [])]
    return seedpod.shell(name, NOTE + script, volumeMounts=mounts, **fields)


def hook(script: str) -> Manifest:
    return {"exec": {"command": ["sh", "-c", NOTE + script]}}


def ended(status: PodStatus) -> bool:
    return status.over


def events(seedpod: Seedpod, name: str = "web") -> list[tuple[str, str]]:
    result = seedpod.command("events", "--for", f"pod/{name}", "-o", "json")
    assert result.returncode == 0, result
    return [(each["reason"], each["message"]) for each in json.loads(result.stdout)["items"]]


def about(when: float, promised: float) -> bool:
    return abs(when - promised) <= EXACT


# ---- beginnings ----


def test_init_containers_sidecars_and_containers_start_in_their_order(
    seedpod: Seedpod, diary: Diary
) -> None:  # A2, A23
    sidecar = container(
        seedpod, "side", f"note side; sleep 0.6; touch /up; {FOREVER}", restartPolicy="Always",
        startupProbe={"exec": {"command": ["test", "-e", "/up"]}, "periodSeconds": 1, "failureThreshold": 60},
    )  # fmt: skip
    pod = seedpod.pod(
        container(seedpod, "a", f"note a; {FOREVER}", lifecycle={"postStart": hook("sleep 1; note hooked")}),
        container(seedpod, "b", f"note b; {FOREVER}"),
        initContainers=[
            container(seedpod, "i", "note i; sleep 0.3; note i-done"),
            sidecar,
            container(seedpod, "j", "note j"),
        ],
        volumes=(diary.volume,),
    )
    detached(seedpod, pod)
    assert diary.what() == ["i", "i-done", "side", "j", "a", "hooked", "b"]
    assert diary.first("j") - diary.first("side") >= 0.6, "it waits for the sidecar's startup probe"
    assert diary.first("b") - diary.first("a") >= 1, "it waits for the hook"
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[1:3] == ["3/3", "Running"]


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_an_init_container_that_fails_is_the_pods_failure_or_is_tried_again(
    seedpod: Seedpod, diary: Diary, policy: str
) -> None:  # A20, A22
    init = container(seedpod, "i", "note i; test $(wc -l < /diary/all) -ge 2 || exit 3")
    pod = seedpod.pod(
        container(seedpod, "a", "note a"), initContainers=[init], restartPolicy=policy, volumes=(diary.volume,)
    )
    detached(seedpod, pod, wait=False)
    status = until(seedpod, "web", ended)
    again = policy == "OnFailure"
    assert diary.what() == (["i", "i", "a"] if again else ["i"])
    assert status.phase is (Phase.SUCCEEDED if again else Phase.FAILED)
    shown = seedpod.command("get", "web", "--no-headers").stdout.split()
    assert shown[2] == ("Completed" if again else "Init:Error")


# ---- ends of containers ----


def test_a_pod_whose_work_is_done_ends_its_sidecars_the_last_first(seedpod: Seedpod, diary: Diary) -> None:  # A23, A35
    def sidecar(name: str) -> Manifest:
        script = f"trap 'note {name}; exit 1' TERM; touch /up; {FOREVER}"
        ready = {"exec": {"command": ["test", "-e", "/up"]}, "periodSeconds": 1, "failureThreshold": 60}
        return container(seedpod, name, script, restartPolicy="Always", startupProbe=ready)

    pod = seedpod.pod(
        container(seedpod, "a", "note a"), initContainers=[sidecar("s"), sidecar("t")], volumes=(diary.volume,)
    )
    detached(seedpod, pod, wait=False)
    status = until(seedpod, "web", ended)
    assert diary.what() == ["a", "t", "s"]
    assert status.phase is Phase.SUCCEEDED, "how a sidecar ends is not counted"


def test_a_rule_restarts_a_container_that_never_would_be(seedpod: Seedpod, diary: Diary) -> None:  # A20
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    script = "note run; case $(wc -l < /diary/all) in 1) exit 42;; *) exit 7;; esac"
    pod = seedpod.pod(
        container(seedpod, "a", script, restartPolicy="Never", restartPolicyRules=rules), volumes=(diary.volume,)
    )
    detached(seedpod, pod, wait=False)
    (status,) = until(seedpod, "web", ended).containers
    assert diary.what() == ["run", "run"]
    assert isinstance(status.state, Terminated) and status.state.exit_code == 7
    assert status.restart_count == 1


def test_a_rule_runs_all_containers_anew_in_the_sandbox_that_is_there(
    seedpod: Seedpod, diary: Diary
) -> None:  # A15, A20
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
    mounts = [{"name": "kept", "mountPath": "/kept"}]
    again = "note a; [ -e /kept/x ] && exec sleep 600; touch /kept/x; sleep 0.3; exit 42"
    pod = seedpod.pod(
        container(seedpod, "a", again, restartPolicy="Never", restartPolicyRules=rules, volumeMounts=mounts),
        container(seedpod, "b", f"trap 'note b-term' TERM; note b; {FOREVER}"),
        initContainers=[container(seedpod, "i", "note i")],
        volumes=(diary.volume, {"name": "kept", "emptyDir": {}}),
    )
    detached(seedpod, pod, wait=False)
    first = until(seedpod, "web", lambda status: bool(status.pod_ips))
    status = until(seedpod, "web", lambda status: status.ready and status.containers[1].restart_count == 1)
    assert sorted(diary.what()) == ["a", "a", "b", "b", "i", "i"], "without grace: no TERM"
    assert (status.uid, status.pod_ips) == (first.uid, first.pod_ips)
    assert not any(reason == "SandboxChanged" for reason, _ in events(seedpod))


def test_a_pod_that_is_active_for_too_long_fails(seedpod: Seedpod, diary: Diary) -> None:  # A22
    script = f"trap 'note term; exit 0' TERM; note start; {FOREVER}"
    pod = seedpod.pod(container(seedpod, "a", script), activeDeadlineSeconds=1, volumes=(diary.volume,))
    detached(seedpod, pod, wait=False)
    status = until(seedpod, "web", ended)
    assert (status.phase, status.reason) == (Phase.FAILED, "DeadlineExceeded")
    assert diary.what() == ["start", "term"]
    shown = pod_json(seedpod, "web")["status"]
    assert shown["message"] == "Pod was active on the node longer than the specified deadline"


# ---- probes ----


def test_a_container_that_fails_its_liveness_probe_is_restarted_alone(seedpod: Seedpod, diary: Diary) -> None:  # A22
    probe = {"exec": {"command": ["test", "!", "-e", "/sick"]}, "periodSeconds": 1, "failureThreshold": 2}
    sick = container(
        seedpod, "a", f"trap 'note term; exit 0' TERM; note start; {FOREVER}",
        livenessProbe=probe, lifecycle={"preStop": hook("note bye; exit 1")},
    )  # fmt: skip
    pod = seedpod.pod(
        sick, container(seedpod, "b", f"note b; {FOREVER}"), restartPolicy="OnFailure", volumes=(diary.volume,)
    )
    detached(seedpod, pod)
    assert seedpod.command("exec", "web", "-c", "a", "--", "touch", "/sick").returncode == 0
    status = until(seedpod, "web", lambda status: status.ready and status.containers[0].restart_count == 1)
    assert diary.what("b") == ["start", "bye", "term", "start"]
    assert status.containers[1].restart_count == 0
    said = events(seedpod)
    assert ("Unhealthy", "Liveness probe failed: ") in [(reason, text[:23]) for reason, text in said]
    assert ("Killing", "Container a failed liveness probe, will be restarted") in said
    assert ("FailedPreStopHook", "PreStopHook failed") in said


def test_readiness_by_http_comes_from_outside_and_goes_with_the_answer(seedpod: Seedpod, diary: Diary) -> None:  # A27
    serving = container(
        seedpod, "a", f"mkdir /www; touch /www/ok; httpd -p 8080 -h /www; {FOREVER}",
        ports=[{"name": "web", "containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/ok", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1},
    )  # fmt: skip
    detached(seedpod, seedpod.pod(serving, volumes=(diary.volume,)))
    assert seedpod.command("exec", "web", "--", "rm", "/www/ok").returncode == 0
    status = until(seedpod, "web", lambda status: not status.ready)
    assert isinstance(status.containers[0].state, Running)
    assert status.containers[0].started
    conditions = {each["type"]: each["status"] for each in pod_json(seedpod, "web")["status"]["conditions"]}
    assert (conditions["Ready"], conditions["ContainersReady"], conditions["Initialized"]) == ("False", "False", "True")
    assert ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404") in events(seedpod)
    assert seedpod.command("exec", "web", "--", "touch", "/www/ok").returncode == 0
    until(seedpod, "web", lambda status: status.ready)


def test_a_failed_post_start_hook_ends_its_container(seedpod: Seedpod, diary: Diary) -> None:  # A33
    script = f"trap 'note term; exit 0' TERM; note start; {FOREVER}"
    waits = "until [ -e /diary/all ]; do sleep 0.05; done; exit 1"
    pod = seedpod.pod(container(seedpod, "a", script, lifecycle={"postStart": hook(waits)}), volumes=(diary.volume,))
    detached(seedpod, pod, wait=False)
    until(seedpod, "web", ended)
    assert diary.what() == ["start", "term"]
    assert [each for each in events(seedpod) if "PostStart" in each[0]] == [
        ("FailedPostStartHook", "PostStartHook failed")
    ]


# ---- the end of a pod ----


def test_a_pre_stop_hook_has_the_grace_then_comes_term_and_kill_two_seconds_later(
    seedpod: Seedpod, diary: Diary
) -> None:  # A33, A34, A37
    deaf = container(seedpod, "a", DEAF, lifecycle={"preStop": hook("note hook; exec sleep 1000")})
    detached(seedpod, seedpod.pod(deaf, terminationGracePeriodSeconds=5, volumes=(diary.volume,)))
    assert seedpod.command("delete", "web").returncode == 0
    began = diary.first("hook")
    assert about(diary.first("term") - began, 5)
    assert about(diary.last("alive") - began, 7)


@pytest.mark.parametrize(("grace", "kill"), [(0, 2), (1, 2), (3, 3)])
def test_what_ignores_term_is_killed_after_the_grace(seedpod: Seedpod, diary: Diary, grace: int, kill: int) -> None:
    """# A30, A34: two seconds at least."""
    pod = seedpod.pod(container(seedpod, "a", DEAF), terminationGracePeriodSeconds=grace, volumes=(diary.volume,))
    detached(seedpod, pod)
    assert seedpod.command("delete", "web").returncode == 0
    assert about(diary.last("alive") - diary.first("term"), kill)


def test_a_hook_that_is_done_leaves_the_rest_of_the_grace(seedpod: Seedpod, diary: Diary) -> None:  # A33
    deaf = container(seedpod, "a", DEAF, lifecycle={"preStop": hook("note hook; sleep 1; note done")})
    detached(seedpod, seedpod.pod(deaf, terminationGracePeriodSeconds=4, volumes=(diary.volume,)))
    assert seedpod.command("delete", "web").returncode == 0
    began = diary.first("hook")
    assert about(diary.first("term"), diary.first("done"))
    assert about(diary.last("alive") - began, 4)


def test_a_second_deletion_shortens_the_first(seedpod: Seedpod, diary: Diary) -> None:  # A31
    deaf = container(seedpod, "a", DEAF, lifecycle={"preStop": hook("note hook; exec sleep 1000")})
    detached(seedpod, seedpod.pod(deaf, terminationGracePeriodSeconds=600, volumes=(diary.volume,)))
    assert seedpod.command("delete", "web", "--wait=false").returncode == 0
    until(seedpod, "web", lambda _: (diary.directory / "all").exists() and "hook" in diary.what())
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[2] == "Terminating"
    assert seedpod.command("delete", "web", "--grace-period=700", "--wait=false").returncode == 0
    assert seedpod.command("delete", "web", "--grace-period=1").returncode == 0
    assert about(diary.last("alive") - diary.first("term"), 2)


def test_the_manager_is_killed_while_a_hook_runs_and_all_of_it_comes_once_more(
    seedpod: Seedpod, diary: Diary
) -> None:  # A41
    deaf = container(seedpod, "a", DEAF, lifecycle={"preStop": hook("note hook; exec sleep 1000")})
    detached(seedpod, seedpod.pod(deaf, terminationGracePeriodSeconds=3, volumes=(diary.volume,)))
    assert seedpod.command("delete", "web", "--wait=false").returncode == 0
    until(seedpod, "web", lambda _: "hook" in diary.what())
    kill_engine(seedpod)
    assert seedpod.command("delete", "web").returncode == 0
    assert diary.what("alive") == ["start", "hook", "hook", "term"]
    assert about(diary.first("term") - diary.last("hook"), 3), "the full grace"
    assert about(diary.last("alive") - diary.last("hook"), 5)


def test_sidecars_end_after_the_others_and_their_hooks_run_at_once(seedpod: Seedpod, diary: Diary) -> None:  # A35
    def sidecar(name: str) -> Manifest:
        script = f"trap 'note {name}; exit 0' TERM; {FOREVER}"
        return container(
            seedpod, name, script, restartPolicy="Always", lifecycle={"preStop": hook(f"note {name}-hook")}
        )

    app = container(seedpod, "a", f"trap 'note a; sleep 0.5; exit 0' TERM; note start; {FOREVER}")
    pod = seedpod.pod(
        app, initContainers=[sidecar("s"), sidecar("t")], terminationGracePeriodSeconds=10, volumes=(diary.volume,)
    )
    detached(seedpod, pod)
    assert seedpod.command("delete", "web").returncode == 0
    assert [each for each in diary.what("start") if not each.endswith("-hook")] == ["a", "t", "s"]
    assert diary.last("s-hook") < diary.first("t"), "all hooks run at once"
    assert diary.first("t") - diary.first("a") >= 0.5


def test_a_container_gets_the_signal_that_it_asks_for(seedpod: Seedpod, diary: Diary) -> None:  # A35
    script = f"trap 'note usr1; exit 0' USR1; trap 'note term' TERM; note start; {FOREVER}"
    pod = seedpod.pod(
        container(seedpod, "a", script, lifecycle={"stopSignal": "SIGUSR1"}),
        os={"name": "linux"},
        volumes=(diary.volume,),
    )
    detached(seedpod, pod)
    assert seedpod.command("delete", "web").returncode == 0
    assert diary.what() == ["start", "usr1"]


@pytest.mark.parametrize("pick", [lambda cgroup: cgroup, lambda cgroup: cgroup.parent], ids=["container", "pod"])
def test_what_is_frozen_is_thawed_to_hear_its_signal(
    seedpod: Seedpod, diary: Diary, pick: Callable[[Path], Path]
) -> None:  # A42
    pod = seedpod.pod(
        container(seedpod, "a", f"trap 'note term; exit 0' TERM; note start; {FOREVER}"),
        terminationGracePeriodSeconds=30,
        volumes=(diary.volume,),
    )
    detached(seedpod, pod)
    status = until(seedpod, "web", lambda status: status.ready)
    scope = Slices(seedpod.root).path(status.uid) / f"{status.containers[0].container_id}.scope"
    Cgroup(pick(scope)).freeze()
    assert seedpod.command("delete", "web", "--timeout=20s").returncode == 0
    assert diary.what() == ["start", "term"]
