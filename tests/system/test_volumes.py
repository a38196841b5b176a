"""emptyDir on disk and in memory: shared within a pod, for as long as its UID (SEMANTICS A11, A13, A15, A16)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sandbox.pod.slices import Slices
from tests.runner import Manifest, Seedpod, lines_of
from tests.system.test_staying_pods import (
    FOREVER,
    all_running,
    detached,
    kill_engine,
    pod_json,
    podmon_of,
    restarted,
    until,
)

pytestmark = pytest.mark.root

MEDIA = ({}, {"medium": "Memory"}, {"medium": "Memory", "sizeLimit": "1Mi"})
DATA = {"name": "data", "mountPath": "/data"}


def data(**source: Any) -> Manifest:
    return {"name": "data", "emptyDir": source}


def said(seedpod: Seedpod, container: str, script: str) -> str:
    result = seedpod.command("exec", "web", "-c", container, "--", "sh", "-c", script)
    assert result.returncode == 0, result
    return result.stdout


# ---- shared ----


@pytest.mark.parametrize("source", MEDIA)
def test_what_one_container_writes_another_reads_and_where_it_is_read_only_it_cannot_write(
    seedpod: Seedpod, source: Any
) -> None:
    """# A11: at several places of one container, too, and below another mount."""
    two = seedpod.shell(
        "two",
        FOREVER,
        volumeMounts=[
            {**DATA, "readOnly": True},
            {"name": "data", "mountPath": "again"},
            {"name": "data", "mountPath": "/other/deep"},
            {"name": "other", "mountPath": "/other"},
        ],
    )
    pod = seedpod.pod(
        seedpod.shell("one", FOREVER, volumeMounts=[DATA]),
        two,
        volumes=(data(**source), {"name": "other", "emptyDir": {}}),
    )
    detached(seedpod, pod)
    said(seedpod, "one", "echo text > /data/file")
    assert said(seedpod, "two", "cat /data/file /again/file /other/deep/file") == "text\n" * 3
    assert said(seedpod, "two", "echo > /data/file 2>&1 || echo no").splitlines()[-1] == "no"
    refused = seedpod.command("exec", "web", "-c", "two", "--", "touch", "/data/x")
    assert "Read-only file system" in refused.stderr
    said(seedpod, "two", "echo back > /again/file")
    assert said(seedpod, "one", "cat /data/file; stat -c %a /data") == "back\n777\n"


def test_memory_is_a_tmpfs_that_is_as_large_as_its_limit_and_no_larger(seedpod: Seedpod) -> None:
    """# A11, # finding 13: neither in bytes nor in files, of which an empty one takes none."""
    script = "grep ' /data ' /proc/mounts; dd if=/dev/zero of=/data/big bs=64k count=32; ls -l /data/big | tr -s ' '"
    script += "; rm /data/big; i=0; while touch /data/$i 2>/dev/null; do i=$((i+1)); done; echo $i files"
    pod = seedpod.pod(
        seedpod.shell("c", script, volumeMounts=[DATA]), volumes=(data(medium="Memory", sizeLimit="1Mi"),)
    )
    result = seedpod.run(pod)
    mount, listed, files = result.stdout.splitlines()
    assert mount.startswith("tmpfs /data tmpfs rw,nodev,relatime,size=1024k,nr_inodes=256,mode=777")
    assert listed.split(" ")[4] == str(1 << 20)
    assert "No space left on device" in result.stderr
    assert files == "255 files"


def test_memory_without_a_limit_is_no_larger_than_the_machines_and_has_a_limit_of_files(seedpod: Seedpod) -> None:
    """# finding 13"""
    pod = seedpod.pod(
        seedpod.shell("c", "grep ' /data ' /proc/mounts", volumeMounts=[DATA]), volumes=(data(medium="Memory"),)
    )
    options = dict(each.partition("=")[::2] for each in seedpod.run(pod).stdout.split()[3].split(","))
    pages = os.sysconf("SC_PHYS_PAGES")
    assert options["size"] == f"{pages * os.sysconf('SC_PAGE_SIZE') // 1024}k"
    assert int(options["nr_inodes"]) == pages * os.sysconf("SC_PAGE_SIZE") // 4096


def test_memory_is_in_no_mount_table_of_the_host_nor_in_its_files(seedpod: Seedpod) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER, volumeMounts=[DATA]), volumes=(data(medium="Memory"),)))
    said(seedpod, "c", "echo text > /data/file")
    assert Path("/proc/self/mountinfo").read_text() == before
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    assert list((seedpod.root / "pods" / uid).rglob("file")) == []


def test_two_pods_have_each_their_own(seedpod: Seedpod) -> None:
    pods = [
        seedpod.pod(seedpod.shell("c", FOREVER, volumeMounts=[DATA]), name=name, volumes=(data(medium="Memory"),))
        for name in ("web", "app")
    ]
    detached(seedpod, *pods)
    said(seedpod, "c", "echo > /data/file")
    assert seedpod.command("exec", "app", "--", "ls", "/data").stdout == ""


def test_many_volumes_in_memory_are_possible(seedpod: Seedpod) -> None:
    """podmon's root has room for a directory of each."""
    names = [f"v{number}" for number in range(150)]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in names]
    volumes = tuple({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"}} for name in names)
    result = seedpod.run(
        seedpod.pod(seedpod.shell("c", "grep -c ' /v' /proc/mounts", volumeMounts=mounts), volumes=volumes)
    )
    assert result.stdout == "150\n"


# ---- how long they live ----


@pytest.mark.parametrize("source", MEDIA)
def test_a_volume_stays_and_the_containers_own_files_go_when_it_is_restarted(seedpod: Seedpod, source: Any) -> None:
    """# A15, A16"""
    script = "ls /data /own 2>/dev/null; touch /data/kept /own; exit 1"
    container = seedpod.shell("c", script, volumeMounts=[DATA])
    detached(seedpod, seedpod.pod(container, volumes=(data(**source),), restartPolicy="OnFailure"), wait=False)
    until(seedpod, "web", restarted(1))
    until(seedpod, "web", lambda status: getattr(status.containers[0].state, "reason", "") == "CrashLoopBackOff")
    assert seedpod.command("logs", "web").stdout == "/data:\nkept\n"


@pytest.mark.parametrize("source", MEDIA)
def test_a_volume_is_there_whatever_is_killed_and_gone_with_the_pod(seedpod: Seedpod, source: Any) -> None:
    """# A15, A22: a container, podmon and with it the sandbox, twice, the engine, and podmon under the next engine."""
    pod = seedpod.pod(
        seedpod.shell("one", FOREVER, volumeMounts=[DATA]),
        seedpod.shell("two", FOREVER, volumeMounts=[DATA]),
        volumes=(data(**source),),
        restartPolicy="Always",
    )
    detached(seedpod, pod)
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    said(seedpod, "one", "echo text > /data/file; chmod 600 /data/file; chown 5:6 /data/file")
    for round_ in range(1, 5):
        if round_ == 3:
            kill_engine(seedpod)
        elif round_ == 4:
            seedpod.command("agent", "stop")
            seedpod.command("get")
        sandboxes = restarts(seedpod)
        os.kill(podmon_of(seedpod, uid), signal.SIGKILL)
        until_restarted(seedpod, sandboxes)
        assert said(seedpod, "two", "cat /data/file; stat -c '%a %u %g' /data/file") == "text\n600 5 6\n", round_
        said(seedpod, "one", f"echo {round_} > /data/seen")
        assert said(seedpod, "two", "cat /data/seen") == f"{round_}\n", "they still share it"
    assert seedpod.command("delete", "web", "--now").returncode == 0
    detached(seedpod, pod)
    assert pod_json(seedpod, "web")["metadata"]["uid"] != uid
    assert said(seedpod, "one", "ls /data") == ""  # A15: with a new UID it is new


def restarts(seedpod: Seedpod) -> int:
    return sum(each["restartCount"] for each in pod_json(seedpod, "web")["status"]["containerStatuses"])


def until_restarted(seedpod: Seedpod, before: int) -> None:
    """Wait until the containers run again; the back-off of a test's root is a second."""
    until(
        seedpod,
        "web",
        lambda status: all_running(status) and sum(each.restart_count for each in status.containers) > before,
    )


@pytest.fixture(autouse=True)
def _short_back_off(root: Path) -> None:
    (root / "config.toml").write_text('maxContainerRestartPeriod = "1s"\n')


@pytest.mark.parametrize("shared", ["shareProcessNamespace", "hostPID", "hostIPC", "hostNetwork"])
def test_memory_is_the_pods_whatever_namespaces_it_shares(seedpod: Seedpod, shared: str) -> None:
    """# A4, A15"""
    containers = [seedpod.shell(name, FOREVER, volumeMounts=[DATA]) for name in ("one", "two")]
    spec = {"restartPolicy": "Always", shared: True}
    detached(seedpod, seedpod.pod(*containers, volumes=(data(medium="Memory"),), **spec))
    said(seedpod, "one", "echo text > /data/file")
    scope = Slices(seedpod.root).path(pod_json(seedpod, "web")["metadata"]["uid"]) / "podmon.scope"
    podmon, *_ = map(int, (scope / "cgroup.procs").read_text().split())  # and its reaper, where pids are shared
    os.kill(podmon, signal.SIGKILL)
    until_restarted(seedpod, 0)
    assert said(seedpod, "two", "cat /data/file") == "text\n"


def test_memory_is_new_where_nobody_held_it(seedpod: Seedpod) -> None:
    """# A13: as after a reboot.  podmon has it, the engine holds podmon's: without both it is gone, and not wrong."""
    pod = seedpod.pod(
        seedpod.shell("c", FOREVER, volumeMounts=[DATA, {"name": "disk", "mountPath": "/disk"}]),
        volumes=(data(medium="Memory"), {"name": "disk", "emptyDir": {}}),
        restartPolicy="Always",
    )
    detached(seedpod, pod)
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    said(seedpod, "c", "touch /data/file /disk/file")
    kill_engine(seedpod)
    os.kill(podmon_of(seedpod, uid), signal.SIGKILL)
    until(seedpod, "web", lambda status: restarted(1)(status) and all_running(status))
    assert said(seedpod, "c", "ls /data; echo; ls /disk") == "\nfile\n"


def test_a_pod_that_has_finished_gives_its_memory_back(seedpod: Seedpod) -> None:
    detached(
        seedpod,
        seedpod.pod(seedpod.shell("c", "true", volumeMounts=[DATA]), volumes=(data(medium="Memory"),)),
        wait=False,
    )
    until(seedpod, "web", lambda status: status.phase == "Succeeded" and not status.sandbox_ready)
    engine = int((seedpod.root / "agent.pid").read_text())
    seedpod.command("get")  # a turn of the engine's loop later
    held = [str(path.readlink()) for path in Path(f"/proc/{engine}/fd").iterdir() if path.is_symlink()]
    assert not [each for each in held if each.startswith("mnt:")]


def test_what_the_api_server_would_store_is_shown(seedpod: Seedpod) -> None:
    pod = seedpod.pod(
        seedpod.shell("c", FOREVER, volumeMounts=[DATA]), volumes=(data(medium="Memory", sizeLimit="1024Ki"),)
    )
    detached(seedpod, pod)
    volumes = {each["name"]: each for each in pod_json(seedpod, "web")["spec"]["volumes"]}
    assert volumes["data"] == {"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    described = [line.split() for line in seedpod.command("describe", "web").stdout.splitlines()]
    assert ["Medium:", "Memory"] in described
    assert ["SizeLimit:", "1Mi"] in described


def test_lines_of_two_containers_are_told_apart(seedpod: Seedpod) -> None:
    """# A11: in the foreground, with memory between them."""
    one = seedpod.shell("one", "mkfifo /data/p; echo hello > /data/p", volumeMounts=[DATA])
    two = seedpod.shell("two", "until [ -p /data/p ]; do :; done; cat /data/p", volumeMounts=[DATA])
    result = seedpod.run(seedpod.pod(one, two, volumes=(data(medium="Memory"),)))
    assert lines_of(result.stdout, "two") == ["hello"]
