"""Pods that stay, as tests look at them: started, watched until something holds, their engine and podmon killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.linux import sysctl
from sandbox.pod.client import Client, Watch
from sandbox.pod.root_network import read_book
from sandbox.pod.slices import Slices
from sandbox.status import PodStatus, Running
from tests.power import Disk
from tests.runner import TIMEOUT, Manifest, Seedpod


def detached(seedpod: Seedpod, *pods: Manifest, wait: bool = True) -> None:
    """`run -d` of these pods, which must succeed."""
    words = ["run", "-d", *(["--wait"] if wait else []), "-"]
    result = seedpod.command(*words, input="\n---\n".join(json.dumps(pod) for pod in pods))
    assert (result.returncode, result.stderr) == (0, ""), result


def pod_json(seedpod: Seedpod, name: str) -> dict[str, Any]:
    result = seedpod.command("get", name, "-o", "json")
    assert result.returncode == 0, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def engine_pid(seedpod: Seedpod) -> int:
    return int((seedpod.root / "agent.pid").read_text())


def kill_engine(seedpod: Seedpod) -> None:
    """SIGKILL, and wait for its end."""
    pidfd = os.pidfd_open(engine_pid(seedpod))
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    wait_and_close(pidfd)


def wait_and_close(pidfd: int) -> None:
    assert select.select([pidfd], [], [], TIMEOUT)[0], "a process did not end"
    os.close(pidfd)


def until(seedpod: Seedpod, name: str, holds: Callable[[PodStatus], bool]) -> PodStatus:
    """Watch the pod until it holds."""
    with Client(seedpod.root) as client, client.watch([client.find("default", name)]) as watch:
        return watched(watch, holds)


def watched(watch: Watch, holds: Callable[[PodStatus], bool]) -> PodStatus:
    for (status,) in watch.until(time.monotonic() + TIMEOUT):
        assert status is not None, "the pod is gone"
        if holds(status):
            return status
    raise AssertionError("it never came to hold")


def restarted(times: int) -> Callable[[PodStatus], bool]:
    return lambda status: status.containers[0].restart_count >= times


def all_running(status: PodStatus) -> bool:
    return all(isinstance(each.state, Running) for each in status.containers)


def podmon_of(seedpod: Seedpod, uid: str) -> int:
    return int((Slices(seedpod.root).path(uid) / "podmon.scope" / "cgroup.procs").read_text())


def reboot(seedpod: Seedpod, *names: str, disk: Disk | None = None) -> None:
    """The end of a boot: with the power of the `disk`, if one is given that the root stands on.

    What each pod's namespaces hold goes with its processes.
    """
    slices, opened = Slices(seedpod.root), read_book(seedpod.root).opened
    uids = [str(pod_json(seedpod, name)["metadata"]["uid"]) for name in names]
    ending = [*users_of(seedpod.root), *(os.pidfd_open(podmon_of(seedpod, uid)) for uid in uids)]
    if disk is not None:
        disk.cut_the_power()
    for each in ending:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(each, signal.SIGKILL)
    for each in ending:
        wait_and_close(each)
    for uid in uids:
        slices.remove(uid)
    slices.remove_parents()
    name = slices.name.removesuffix(".slice")
    subprocess.run(["ip", "link", "delete", name], check=True, timeout=TIMEOUT)
    subprocess.run(["nft", "delete", "table", "inet", name], check=True, timeout=TIMEOUT)
    put_back(opened)
    if disk is not None:
        disk.unmount()
        disk.mount()
    (seedpod.root / "boot").write_text("00000000-0000-4000-8000-000000000000\n")


def put_back(opened: Mapping[str, str]) -> None:
    """What a root has changed of forwarding is as before, as after a boot: no engine does that then."""
    for parameter, value in opened.items():
        sysctl.write_where_known(parameter, value)


def users_of(root: Path) -> list[int]:
    """The pidfds of processes that have something below the root open: its engine, and what is beside that."""
    found = {}
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        pid = int(fd.parts[2])
        with contextlib.suppress(OSError):  # it has gone meanwhile
            if pid not in found and pid != os.getpid() and fd.readlink().is_relative_to(root):
                found[pid] = os.pidfd_open(pid)
    return list(found.values())
