"""Pods that share more: shareProcessNamespace, hostNetwork, hostPID, hostIPC (SEMANTICS A4, A8, A10, A24)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from sandbox.pod.client import Client
from sandbox.status import Terminated
from tests.runner import TIMEOUT, Seedpod, lines_of

pytestmark = pytest.mark.root


def namespace(kind: str) -> str:
    return str(Path(f"/proc/self/ns/{kind}").readlink())


def test_containers_see_each_other_where_they_share_a_pid_namespace(seedpod: Seedpod) -> None:
    """# A4: and PID 1 is none of them and has no capabilities (what else it has not: tests of the sandbox)."""
    look = (
        "readlink /proc/self/ns/pid; for p in /proc/[0-9]*; do cat $p/comm; done | sort | tr '\\n' ' '; echo;"
        "grep CapEff /proc/1/status"
    )
    wait = "mkfifo /data/f; exec 3<> /data/f; read _ <&3"
    mounts = [{"name": "data", "mountPath": "/data"}]
    done = f"while [ ! -p /data/f ]; do sleep 0.02; done; {look}; echo > /data/f"
    pod = seedpod.pod(
        seedpod.shell("sibling", wait, volumeMounts=mounts),
        seedpod.shell("looker", done, volumeMounts=mounts),
        volumes=({"name": "data", "emptyDir": {}},),
        shareProcessNamespace=True,
    )
    result = seedpod.run(pod)
    pid, programs, caps = lines_of(result.stdout, "looker")
    assert result.returncode == 0, result
    assert pid != namespace("pid")
    assert programs.split().count("sh") >= 2, "the sibling's and its own"
    assert [word for word in programs.split() if "podmon" in word] == ["podmon:reaper"]
    assert caps.split() == ["CapEff:", "0" * 16]


@pytest.mark.parametrize(
    ("shared", "trap", "code"),
    [(False, "", 137), (False, "trap 'exit 9' TERM; ", 9), (True, "", 143), (True, "trap 'exit 9' TERM; ", 9)],
)
def test_what_a_container_ends_with_when_it_is_told_to(seedpod: Seedpod, shared: bool, trap: str, code: int) -> None:
    """# A24: the first process of a pid namespace does not die of a TERM that it does not handle."""
    script = f"{trap}mkfifo /tmp/f; exec 3<> /tmp/f; read _ <&3"
    pod = seedpod.pod(seedpod.shell("c", script), shareProcessNamespace=shared)
    assert seedpod.command("run", "-d", "--wait", "-", input=json.dumps(pod)).returncode == 0
    with Client(seedpod.root) as client:
        uid = client.find("default", "web")
        with client.watch([uid]) as watch:
            client.delete_uid(uid, hold=True)
            ends = (each.containers[0].state for (each,) in watch.until(time.monotonic() + TIMEOUT) if each)
            end = next(each for each in ends if isinstance(each, Terminated))
        assert end.exit_code == code


def test_what_a_first_process_left_ends_with_it_in_a_shared_pid_namespace(seedpod: Seedpod) -> None:
    """As runtimes have it: a container is over when its first process is."""
    leave = "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 600; done' & exit 3"
    pod = seedpod.pod(seedpod.shell("leaves", leave), seedpod.shell("stays", "sleep 0.2"), shareProcessNamespace=True)
    assert seedpod.run(pod).returncode == 3
    # The fixture no_leaks looks at the cgroups and processes of the whole machine.


def test_a_pod_on_the_hosts_network_has_its_links_and_its_name(seedpod: Seedpod) -> None:
    """# A8, A10"""
    pod = seedpod.pod(
        seedpod.shell("c", "readlink /proc/self/ns/net; hostname; readlink /proc/self/ns/uts; head -n 1 /etc/hosts"),
        hostNetwork=True,
    )
    net, name, uts, hosts = seedpod.run(pod).stdout.splitlines()
    assert net == namespace("net")
    assert name == os.uname().nodename
    assert uts != namespace("uts"), "the name is the host's, the namespace that could change it is not"
    assert hosts == "# Kubernetes-managed hosts file (host network)."


def test_a_pod_with_the_hosts_ipc_sees_its_shared_memory(seedpod: Seedpod, tmp_path: Path) -> None:
    """# A8"""
    shared = Path("/dev/shm") / f"seedpod-test-{os.getpid()}"
    shared.write_text("the host's")
    try:
        pod = seedpod.pod(seedpod.shell("c", f"readlink /proc/self/ns/ipc; cat {shared}"), hostIPC=True)
        assert seedpod.run(pod).stdout.splitlines() == [namespace("ipc"), "the host's"]
        private = seedpod.pod(seedpod.shell("c", f"readlink /proc/self/ns/ipc; cat {shared} || echo none"))
        ipc, none = seedpod.run(private).stdout.splitlines()
        assert (ipc != namespace("ipc"), none) == (True, "none")
    finally:
        shared.unlink()


def test_a_pod_with_the_hosts_pids_sees_us_and_leaves_nothing(seedpod: Seedpod) -> None:
    """# A4"""
    leave = f"readlink /proc/self/ns/pid; cat /proc/{os.getpid()}/comm; setsid sleep 600 & exit 0"
    pid, comm = seedpod.run(seedpod.pod(seedpod.shell("c", leave), hostPID=True)).stdout.splitlines()
    assert pid == namespace("pid")
    assert comm == Path("/proc/self/comm").read_text().strip()
