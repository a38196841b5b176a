"""An engine killed before anything that it does to the world: the next one goes on, and what comes of it is what
comes of it without (SEMANTICS A41).

The places register themselves with sandbox.effects; test_layers sees to it that none is forgotten.  Here each is met at
its first and its last time, and every write of a file of one life; SEEDPOD_LONG=1 (`make crashes`) takes every time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.effects import registered
from sandbox.front import serving  # with it come all modules of an engine, and register
from sandbox.pod.client import Client
from sandbox.status import ContainerStatus, Terminated
from tests.runner import TIMEOUT, Manifest, Seedpod
from tests.staying import watched

pytestmark = pytest.mark.root

assert serving

DIARY = "/data/diary"  # in a claim: what the containers say of themselves
CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
MOUNTS = [{"name": "data", "mountPath": "/data"}, {"name": "disk", "mountPath": "/disk"}]
VOLUMES = (
    {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
    {"name": "disk", "emptyDir": {}},
    {"name": "memory", "emptyDir": {"medium": "Memory"}},
)
GROUP = {"fsGroup": 1234}
HOST_PORT = 28000 + os.getpid() % 1000  # nothing listens there, and it is below those that the kernel gives out

# What no pod here has an engine do, and why.
UNMET = {
    "build an image": "the first root of all has it built, and the others share it",
    "tell podmon ATTACH": "a client does that itself",
    "tell podmon REOPEN": "a test does",
    "tell podmon RESIZE": "a client does that itself",
    "tell podmon SHUTDOWN": "for an engine that has no fd left for podmon's pidfd",
    "tell podmon SIGNAL": "for one that has none left for a container's",
}


# ---- lives ----


def says(text: str) -> str:
    return f"echo {text} | tee -a {DIARY}"


def hook(text: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", says(f"hook {text}")]}}


def waits(name: str) -> str:
    """A program that goes on until TERM, and says so."""
    return f"trap '{says(f'term {name}')}; exit 0' TERM; {says(name)}; while :; do sleep 1000 & wait $!; done"


def begun(name: str) -> dict[str, Any]:
    """A hook that is done once the program has its trap: before that, as PID 1, it would not hear of its end."""
    return {
        "exec": {"command": ["sh", "-c", f"until grep -qx {name} {DIARY}; do :; done; {says(f'hook begin {name}')}"]}
    }


def job(seedpod: Seedpod) -> Manifest:
    """It ends by itself, after its second try."""
    tries = (
        f"{says('twice')}; [ -e /disk/tried ] && echo done > /dev/termination-log && exit; touch /disk/tried; exit 3"
    )
    sidecar = seedpod.shell("beside", waits("beside"), volumeMounts=MOUNTS, restartPolicy="Always")
    sidecar["lifecycle"] = {"postStart": begun("beside"), "preStop": hook("end beside")}
    return seedpod.pod(
        seedpod.shell("once", says("once"), volumeMounts=MOUNTS),
        seedpod.shell("twice", tries, volumeMounts=MOUNTS),
        volumes=VOLUMES,
        initContainers=[seedpod.shell("first", says("first"), volumeMounts=MOUNTS), sidecar],
        restartPolicy="OnFailure",
        terminationGracePeriodSeconds=30,
        securityContext=GROUP,
    )


def service(seedpod: Seedpod) -> Manifest:
    """It goes on until it is deleted."""
    ports = [{"containerPort": 80, "hostPort": HOST_PORT, "protocol": "UDP"}]
    one = seedpod.shell("one", waits("one"), volumeMounts=MOUNTS, ports=ports)
    two = seedpod.shell("two", waits("two"), volumeMounts=MOUNTS)
    one["lifecycle"] = {"postStart": begun("one"), "preStop": hook("end one")}
    two["lifecycle"] = {"postStart": begun("two")}
    return seedpod.pod(
        one,
        two,
        volumes=VOLUMES,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
    )


LIVES: dict[str, Callable[[Seedpod], Manifest]] = {"job": job, "service": service, "killed": service}


@dataclass(frozen=True)
class Outcome:
    """What became of a pod."""

    phase: str
    containers: Mapping[str, tuple[object, ...]]
    logs: Mapping[str, Sequence[str]]
    diary: Mapping[str, int]  # how often each line stands in it; hooks and TERM may be there again


def live(seedpod: Seedpod, name: str) -> Outcome:
    """A pod's life, as a client sees it, whichever engine answers; nothing is left of it."""
    with Client(seedpod.root) as client:
        created = client.create_all([LIVES[name](seedpod)], [CLAIM])
        with client.watch(created.uids) as watch:
            status = watched(watch, lambda status: status.over or (name != "job" and status.ready))
        if name != "job":
            client.delete_uid(created.uids[0], hold=True, at_once=name == "killed")
            with client.watch(created.uids) as watch:
                status = watched(
                    watch, lambda status: status.deletion_timestamp is not None and not status.sandbox_ready
                )
        logs = {each.relative_to(logs_of(seedpod)).as_posix(): texts(each) for each in logs_of(seedpod).glob("*/*.log")}
        client.delete_uid(created.uids[0])
        assert client.wait_removed(created.uids[0], TIMEOUT)
        diary = Counter(diary_of(seedpod).read_text().splitlines())
        client.remove_claim("default", "data")
        client.stop(now=False)
    again = {line for line in diary if line.startswith(("hook", "term"))}
    containers = {each.name: summary(each) for each in status.all_containers}
    return Outcome(status.phase, containers, logs, {line: 1 if line in again else diary[line] for line in diary})


def diary_of(seedpod: Seedpod) -> Path:
    return seedpod.root / f"claims/default/data{DIARY}"


def logs_of(seedpod: Seedpod) -> Path:
    (directory,) = (seedpod.root / "logs").iterdir()
    return directory


def texts(log: Path) -> list[str]:
    """What a container wrote; a signal may have come twice."""
    lines = [line.split(" ", 3)[3] for line in log.read_text().splitlines()]
    return [line for line in lines if not line.startswith("term")]


def summary(container: ContainerStatus) -> tuple[object, ...]:
    last = container.last_state.exit_code if container.last_state else None
    if not isinstance(container.state, Terminated):
        return type(container.state).__name__, container.restart_count, last
    end = container.state
    return end.exit_code, end.reason, end.message, end.signal, container.restart_count, last


# ---- and their engines ----


@contextmanager
def engine(seedpod: Seedpod, *before: str) -> Iterator[list[str]]:
    """An engine that serves by now, or was killed already, see tests.crashing.  What it says is there at the end."""
    words = [sys.executable, "-m", "tests.crashing", str(seedpod.root), *before]
    said: list[str] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and not line.startswith("engine ready"):
            said.append(line)
        try:
            yield said
        except BaseException:  # or it would be waited for
            process.kill()
            raise
        said += process.stdout.read().splitlines(keepends=True)
        said.append(f"ended: {process.wait(TIMEOUT)}")


UNCRASHED: dict[
    str, tuple[Outcome, Counter[str]]
] = {}  # of each life what comes of it, and how often it has what effect


def uncrashed(seedpod: Seedpod, life: str) -> tuple[Outcome, Counter[str]]:
    if life not in UNCRASHED:
        with engine(seedpod) as said:
            outcome = live(seedpod, life)
        assert said.pop() == "ended: 0"
        UNCRASHED[life] = outcome, Counter(line.rstrip() for line in said)
    return UNCRASHED[life]


def test_what_becomes_of_them_is_what_is_asked_for(seedpod: Seedpod) -> None:
    job, _ = uncrashed(seedpod, "job")
    assert job.phase == "Succeeded"
    assert job.containers == {
        "first": (0, "Completed", "", None, 0, None),
        "beside": (0, "Completed", "", None, 0, None),
        "once": (0, "Completed", "", None, 0, None),
        "twice": (0, "Completed", "done\n", None, 1, 3),
    }
    assert job.logs == {
        "beside/0.log": ["beside"],
        "first/0.log": ["first"],
        "once/0.log": ["once"],
        "twice/0.log": ["twice"],
        "twice/1.log": ["twice"],
    }
    ended = {"first": 1, "once": 1, "twice": 2}
    assert job.diary == {"beside": 1, "hook begin beside": 1, "hook end beside": 1, "term beside": 1, **ended}

    service, _ = uncrashed(seedpod, "service")
    begun = {"one": 1, "hook begin one": 1, "two": 1, "hook begin two": 1}
    assert set(service.containers.values()) == {(0, "Completed", "", None, 0, None)}
    assert service.diary == {**begun, "hook end one": 1, "term one": 1, "term two": 1}

    killed, _ = uncrashed(seedpod, "killed")
    assert set(killed.containers.values()) == {(137, "Error", "", 9, 0, None)}
    assert killed.diary == begun


STATE = "write a file"


def moments(name: str, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Before which effect of a name an engine is killed: in which life, and which one it is there."""
    if "SEEDPOD_LONG" in os.environ:
        return [(life, number) for life, count in counts.items() for number in range(1, count + 1)]
    if name == STATE:  # most of what can be wrong is wrong there
        return [("job", number) for number in range(1, counts["job"] + 1)]
    met = [life for life, count in counts.items() if count]
    return [(met[0], 1), (met[-1], counts[met[-1]])] if met else []


@pytest.mark.parametrize("name", sorted(registered))
def test_an_engine_that_is_killed_before_it_does_so_makes_no_difference(seedpod: Seedpod, name: str) -> None:
    met = 0
    for life, number in moments(name, {life: uncrashed(seedpod, life)[1][name] for life in LIVES}):
        with engine(seedpod, name, str(number)) as said:
            assert live(seedpod, life) == uncrashed(seedpod, life)[0], f"{life}: killed before the {number}th"
        met += said.pop() == f"ended: {-signal.SIGKILL}"
    assert bool(met) != (name in UNMET), UNMET.get(name, "no engine was killed before it")
