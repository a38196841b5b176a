"""Hundreds of pods made and removed while their engine and their podmons are killed: nothing of them is left.

With SEEDPOD_LONG=1 (`make soak`) they are thousands.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from cgroups import NoSuchCgroup
from sandbox.pod.client import Client
from sandbox.pod.slices import Slices
from tests.runner import TIMEOUT, Manifest, Seedpod

pytestmark = pytest.mark.root

CYCLES = 2000 if "SEEDPOD_LONG" in os.environ else 200
SEED = 20261124  # which pods are killed and when the engine is: the same in every run, as far as threads allow
AT_ONCE = 4


class Killer:
    """Kills what cycles tell it to, and counts."""

    def __init__(self, root: Path) -> None:
        self._slices = Slices(root)
        self._root = root
        self.podmons = self.engines = 0

    def kill_podmon(self, uid: str) -> None:
        """That of the pod, if it has one just now."""
        with suppress(NoSuchCgroup):
            for pid in self._slices.handle(uid).child("podmon.scope").procs():
                self.podmons += _killed(pid)

    def kill_engine(self) -> None:
        with suppress(FileNotFoundError, ValueError):
            self.engines += _killed(int((self._root / "agent.pid").read_text()))


def _killed(pid: int) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


VOLUMES = ({"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}})
MOUNTS = [{"name": name, "mountPath": f"/{name}"} for name in ("disk", "memory")]
TRUE = {"exec": {"command": ["true"]}}


def service(seedpod: Seedpod, number: int) -> Manifest:
    """Volumes and a port of the host's."""
    app = seedpod.shell("app", "echo > /disk/f; echo > /memory/f; sleep 1000", volumeMounts=MOUNTS)
    app["ports"] = [{"containerPort": 80, "hostPort": 20000 + number}]
    return seedpod.pod(app, volumes=VOLUMES, restartPolicy="Always")


def ordered(seedpod: Seedpod, _: int) -> Manifest:
    """Init container, sidecar, hooks, a probe."""
    first = seedpod.container("first", "true")
    beside = seedpod.container("beside", "sleep", "1000", restartPolicy="Always", lifecycle={"preStop": TRUE})
    hooks = {"postStart": TRUE, "preStop": TRUE}
    app = seedpod.container("app", "sleep", "1000", lifecycle=hooks, readinessProbe={**TRUE, "periodSeconds": 1})
    return seedpod.pod(app, initContainers=[first, beside], restartPolicy="Always", shareProcessNamespace=True)


def job(seedpod: Seedpod, _: int) -> Manifest:
    """It ends by itself."""
    return seedpod.pod(seedpod.container("app", "true"), restartPolicy="OnFailure")


KINDS = (service, service, ordered, job)


def test_cycles_with_random_kills_leave_nothing(seedpod: Seedpod) -> None:
    """Links, network namespaces, addresses, nft rules, leases, mounts, cgroups, processes and files: `no_leaks`, and
    the root's own directory, are as before."""
    chance, lock = random.Random(SEED), threading.Lock()
    killer = Killer(seedpod.root)

    def cycle(number: int) -> None:
        with lock:
            kill_podmon, kill_engine = chance.random() < 0.2, chance.random() < 0.03
            wait_for_it, at_once = chance.random() < 0.7, chance.random() < 0.9
            make = chance.choice(KINDS)
        pod = make(seedpod, number)
        pod["metadata"]["name"] = f"pod-{number}"
        with Client(seedpod.root) as client:
            (uid,) = client.create([pod])
            if wait_for_it:
                with client.watch([uid]) as watch:
                    for (status,) in watch.until():
                        if status is None or status.over or status.containers[0].started:
                            break
            if kill_podmon:
                killer.kill_podmon(uid)
            if kill_engine:
                killer.kill_engine()
            client.delete_uid(uid, grace=0, force=True, at_once=at_once)
            assert client.wait_removed(uid, TIMEOUT), f"{pod['metadata']['name']} was not removed"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(cycle, range(CYCLES)):
            pass
    assert killer.podmons > CYCLES / 20
    assert killer.engines >= CYCLES / 100
    print(f"{CYCLES} pods, {killer.podmons} podmons and {killer.engines} engines killed")
    seedpod.end_all()
    files = {path.name for path in seedpod.root.iterdir()} - {"images", "lock", "start.lock", "agent.log"}
    left = {str(path.relative_to(seedpod.root)) for name in files for path in (seedpod.root / name).rglob("*")}
    assert left == set()
