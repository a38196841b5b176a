"""What a pod's programs leave running or unreaped, issue 5: its deletion ends all of it, whatever it ignores."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cgroups import Cgroup
from sandbox.pod.slices import Slices
from sandbox.status import Terminated
from tests.program import fds_of
from tests.runner import TIMEOUT, Seedpod
from tests.staying import detached, pod_json, until
from tests.system.contained import SHARING, executed

pytestmark = pytest.mark.root

DAEMONS, ZOMBIES = 50, 2000

each_sharing = pytest.mark.parametrize("sharing", SHARING.values(), ids=list(SHARING))


def standing(seedpod: Seedpod, sharing: dict[str, Any], question: str) -> str:
    """A pod with containers "c" and "d", in which the probe has answered that question and stays; its uid."""
    asks = (seedpod.shell(name, f"exec /probe/probe {question} > /dev/shm/{name}") for name in ("c", "d"))
    detached(seedpod, seedpod.pod(*asks, seedpod.shell("other", "exec sleep 1000"), **sharing))
    for name in ("c", "d"):
        waits = f"until grep -q . /dev/shm/{name} 2> /dev/null; do sleep 0.02; done; cat /dev/shm/{name}"
        assert executed(seedpod, waits, container="other") == "ok\n"
    uid: str = pod_json(seedpod, "web")["metadata"]["uid"]
    return uid


def scope_of(seedpod: Seedpod, uid: str, container: str) -> Cgroup:
    (status,) = (each for each in pod_json(seedpod, "web")["status"]["containerStatuses"] if each["name"] == container)
    return Cgroup(Slices(seedpod.root).path(uid)).child(f"{status['containerID'].rpartition('/')[2]}.scope")


@contextmanager
def pidfds(pids: list[int]) -> Iterator[list[int]]:
    with ExitStack() as stack:
        fds = [os.pidfd_open(pid) for pid in pids]
        for fd in fds:
            stack.callback(os.close, fd)
        yield fds


def have_ended(fds: list[int], timeout: float) -> bool:
    """Whether every one of these processes has, or does in so many seconds."""
    return all(select.select([fd], [], [], timeout)[0] for fd in fds)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def states_of(pids: list[int]) -> set[str]:
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids}


def field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (value,) = (line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))
    return value


def first_ends(seedpod: Seedpod, first: int) -> None:
    """Kill the first process of container "c"; the pod's others go on."""
    with pidfds([first]) as (leader,):
        signal.pidfd_send_signal(leader, signal.SIGKILL)
    state = until(seedpod, "web", lambda pod: isinstance(pod.containers[0].state, Terminated)).containers[0].state
    assert isinstance(state, Terminated) and state.exit_code == 137
    assert executed(seedpod, "echo on", container="other") == "on\n"


def deleted(seedpod: Seedpod, uid: str) -> None:
    result = seedpod.command("delete", "web", "--now")
    assert (result.returncode, result.stderr) == (0, ""), result
    assert not Slices(seedpod.root).path(uid).exists()


@each_sharing
def test_daemons_that_ignore_every_signal_end_with_their_container_and_their_pod(
    seedpod: Seedpod, sharing: dict[str, Any]
) -> None:
    """# A37: forked twice, in sessions of their own.  The first process of each container ignores all signals, too."""
    uid = standing(seedpod, sharing, f"daemons {DAEMONS}")
    ends, stays = (scope_of(seedpod, uid, name) for name in ("c", "d"))
    with pidfds(ends.procs()) as ending, pidfds(stays.procs()) as staying:
        assert len(ending) == len(staying) == DAEMONS + 1
        for fd in (*ending, *staying):
            signal.pidfd_send_signal(fd, signal.SIGTERM)
        (first,) = (pid for pid in ends.procs() if list(Path(f"/proc/{pid}/fd").iterdir()))
        first_ends(seedpod, first)
        assert have_ended(ending, TIMEOUT), "what it leaves behind is not left to the pod"
        assert len(stays.procs()) == DAEMONS + 1, "they have ignored what the first process of the others was killed by"
        deleted(seedpod, uid)
        assert have_ended(staying, 0), "when the pod is said to be deleted they are no more"


@each_sharing
def test_thousands_of_zombies_hinder_nothing_and_are_reaped_by_who_inherits_them(
    seedpod: Seedpod, sharing: dict[str, Any]
) -> None:
    """A container's first process never waits for its children; then it ends, and they are the kernel's, as their pid
    namespace is gone, or the pod's reaper's, or podmon's.  Those of the other container are there still when the pod is
    deleted."""
    uid = standing(seedpod, sharing, f"zombies {ZOMBIES}")
    named = {field(pid, "Name"): pid for pid in Cgroup(Slices(seedpod.root).path(uid)).child("podmon.scope").procs()}
    assert set(named) == {"podmon", *(["podmon:reaper"] if "shareProcessNamespace" in sharing else [])}
    (first,), (last,) = (scope_of(seedpod, uid, name).procs() for name in ("c", "d"))
    podmon = named["podmon"]
    assert executed(seedpod, "echo on") == "on\n"
    fds, memory = kept_by(podmon), memory_of(podmon)
    zombies = children_of(first)
    assert len(zombies) == ZOMBIES == len(children_of(last)) and states_of(zombies) == {"Z"}
    for code in (7, 0):
        assert seedpod.command("exec", "web", "-c", "c", "--", "sh", "-c", f"exit {code}").returncode == code
    assert kept_by(podmon) == fds and memory_of(podmon) <= memory + (64 << 10)
    with pidfds(zombies[:200]) as some:
        first_ends(seedpod, first)
        assert have_ended(some, TIMEOUT)
    left = [child for heir in named.values() for child in children_of(heir)]
    assert not set(left) & set(zombies) and "Z" not in states_of(left)
    assert len(children_of(last)) == ZOMBIES
    with pidfds([last]) as ending:
        deleted(seedpod, uid)
        assert have_ended(ending, 0)


def kept_by(pid: int) -> list[str]:
    """Its fds but for sockets: the connection of an exec is closed a moment after that has ended."""
    return [target for target in fds_of(pid) if not target.startswith("socket:")]


def memory_of(pid: int) -> int:
    """Resident bytes, counted page by page: what status says may be off by some dozen pages on each processor."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("Rss:"))
    return int(kib) << 10
