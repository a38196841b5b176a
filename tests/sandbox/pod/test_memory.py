"""Volumes in memory: where they stand in the lists of podmon and of a container, and who holds them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandbox.linux import native
from sandbox.linux.ops import Attach, Bind, Mount, Op, Pivot, Private, Root, SetNs, Unshare
from sandbox.model import EmptyDir, HostPath, Medium, Pod, PodSecurityContext, Volume
from sandbox.pod import volumes
from sandbox.pod.container import BindMount, ContainerSpec, Prepared, compile_container
from sandbox.pod.ground import compile_pod
from sandbox.pod.memory import Held, MemoryMount, MemoryVolume
from sandbox.quantity import parse

CACHE = MemoryVolume("cache", 1 << 20)
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def pod_ops(held: Held) -> list[Op]:
    return compile_pod(hostname="web", root=5, at="/at", memory=held)


def test_podmon_mounts_each_in_its_new_root_with_a_size() -> None:
    ops = pod_ops(Held([CACHE]))
    options = ("size=1048576", "nr_inodes=256", "mode=777", "gid=0")  # finding 13
    mount = Mount("tmpfs", "/volumes/cache", options)
    assert mount in ops
    assert ops.index(mount) < next(i for i, op in enumerate(ops) if isinstance(op, Pivot))


def test_the_podmon_after_one_that_died_finds_them_in_its_namespace_and_nothing_of_the_host() -> None:
    """# A15"""
    held = Held([CACHE])
    held.namespace = 9
    ops = pod_ops(held)
    assert ops[1:5] == [
        SetNs(9, native.CLONE_NEWNS, "the former podmon"),
        Unshare(native.CLONE_NEWNS),
        Private("/"),
        Root(5, "/rootfs", "the pod's empty root"),
    ]
    assert Bind("/volumes/cache", "/volumes/cache") in ops
    assert not [op for op in ops if isinstance(op, Mount) and op.target == "/volumes/cache"]


def test_a_container_binds_it_in_the_order_of_depth_among_its_other_mounts() -> None:
    mounts = (MemoryMount("cache", "/a/b"), MemoryMount("cache", "/", True))
    spec = ContainerSpec(argv=("app",), rootfs=Path("/image"), mounts=mounts)
    rows = tuple((BindMount(Path("/host"), target, "volume"), 20, False) for target in ("/a/b/c", "/a"))
    ops = compile_container(spec, Prepared(rootfs=10, mounts=rows, stdout=11, stderr=12))
    made = [op for op in ops if isinstance(op, Attach | Bind) and not op.target.startswith(("/dev", "/proc"))]
    assert [op.target for op in made] == ["/", "/a", "/a/b", "/a/b/c"]
    nodev = native.MOUNT_ATTR_NODEV
    assert [op.attributes for op in made if isinstance(op, Bind)] == [nodev | native.MOUNT_ATTR_RDONLY, nodev]


def test_a_privileged_container_may_open_devices_in_it() -> None:
    """# A43"""
    spec = ContainerSpec(argv=("app",), rootfs=Path("/image"), mounts=(MemoryMount("cache", "/a"),), privileged=True)
    ops = compile_container(spec, Prepared(rootfs=10, mounts=(), stdout=11, stderr=12, devices=13))
    assert Bind("/volumes/cache", "/a", 0) in ops


def test_with_an_fs_group_it_is_that_groups() -> None:
    pod = Pod(
        "web",
        volumes=(Volume("cache", EmptyDir(Medium.MEMORY)),),
        security_context=PodSecurityContext(fs_group=2000),
    )
    (volume,) = volumes.in_memory(pod)
    assert volume.options[2:] == ("mode=2777", "gid=2000")


@pytest.mark.parametrize(
    ("limit", "size"),
    [(None, MACHINE), ("0", MACHINE), ("64Mi", 64 << 20), ("1", 1), ("100m", 1), ("1Ei", MACHINE)],
)
def test_its_size_is_its_limit_and_at_most_the_machines_memory(limit: str | None, size: int) -> None:
    sources = [EmptyDir(Medium.MEMORY, parse(limit) if limit else None), EmptyDir(), HostPath("/")]
    pod = Pod("web", volumes=tuple(Volume(f"v{i}", source) for i, source in enumerate(sources)))
    assert volumes.in_memory(pod) == (MemoryVolume("v0", size, 0o777),)


@pytest.mark.root
def test_the_namespace_of_a_process_is_held_beyond_its_end_and_let_go_once() -> None:
    held, none = Held([CACHE]), Held([])
    with subprocess.Popen(["unshare", "-m", "sh", "-c", "echo; read _"], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        pidfd = os.pidfd_open(process.pid)
        its = Path(f"/proc/{process.pid}/ns/mnt").readlink()
        held.hold(pidfd)
        none.hold(pidfd)
        process.stdin.close()
        process.wait()
    assert none.namespace is None
    assert held.namespace is not None
    assert Path(f"/proc/self/fd/{held.namespace}").readlink() == its
    held.hold(pidfd)  # of one that is gone: what is held stays
    assert Path(f"/proc/self/fd/{held.namespace}").readlink() == its
    os.close(pidfd)
    fd = held.namespace
    held.let_go()
    held.let_go()
    assert held.namespace is None
    assert not Path(f"/proc/self/fd/{fd}").exists()
