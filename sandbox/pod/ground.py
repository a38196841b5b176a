"""What the containers of a pod stand on: which namespaces they share, and podmon's root, compiled into its list of ops.

Pure, as sandbox.pod.container is.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass

from sandbox.linux import native
from sandbox.linux.mounts import INERT, tmpfs_options
from sandbox.linux.ops import (
    Attach,
    Bind,
    Caps,
    Hostname,
    Ids,
    Keyring,
    LinkUp,
    Mknod,
    Mount,
    OomScoreAdj,
    Op,
    Pivot,
    Private,
    Reap,
    Root,
    Session,
    SetNs,
    Unshare,
)
from sandbox.pod.memory import NOTHING, Held

# Every container's devices (OCI runtime-spec, config-linux.md, "Default Devices"): name, major and minor number.
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}

# Directories in the empty root that podmon gives itself.
POD_ROOTFS = "/rootfs"  # where a container's rootfs is attached before it is pivoted to
POD_SHM = "/shm"  # the pod's /dev/shm (SEMANTICS A7)
POD_DEVICES = "/dev"  # the device nodes that its containers have
POD_PROC = "/proc"  # that of the pid namespace which its containers share, if they do
SHM_SIZE = 64 << 20  # containerd's default
PODMON_OOM_SCORE_ADJ = -998  # as kubelet has it for what holds a pod together
DEVICE_ATTRIBUTES = native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC | native.MOUNT_ATTR_RDONLY


@dataclass(frozen=True)
class Sharing:
    """Which namespaces a pod's containers share with each other or the host beyond what every pod's do (SEMANTICS A4).

    The UTS namespace is always the pod's own.  Raises ValueError for what the API server refuses too.
    """

    pid: bool = False  # shareProcessNamespace
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False

    def __post_init__(self) -> None:
        if self.pid and self.host_pid:
            raise ValueError("shareProcessNamespace and hostPID cannot both be true")

    @property
    def of_pod(self) -> int:
        """CLONE_NEW* bits of the namespaces that podmon is made in."""
        return (
            native.CLONE_NEWUTS
            | (0 if self.host_network else native.CLONE_NEWNET)
            | (0 if self.host_ipc else native.CLONE_NEWIPC)
            | (0 if self.host_pid else native.CLONE_NEWPID)
        )

    @property
    def of_container(self) -> int:
        """CLONE_NEW* bits of those that a container's first process is made in (SEMANTICS A3).

        The cgroup namespace is not among them: clone3 would root it in podmon's cgroup, so the child makes it itself
        once it is in its own.
        """
        return native.CLONE_NEWNS | (0 if self.pid or self.host_pid else native.CLONE_NEWPID)


PRIVATE = Sharing()  # what a manifest that says nothing asks for


def oom_score(value: int | None, proc: int | None) -> list[Op]:
    """First of all, or it would be podmon's, which is the last to go."""
    return [] if value is None or proc is None else [OomScoreAdj(proc, value)]


def compile_pod(
    *,
    hostname: str,
    root: int,
    at: str,
    sharing: Sharing = PRIVATE,
    shm: int | None = None,
    oom_score_adj: int | None = None,
    proc: int | None = None,
    memory: Held = NOTHING,
) -> list[Op]:
    """What podmon does in itself before any container is there.

    Its root becomes the empty tmpfs `root`, attached for a moment at the host's directory `at`: from then on no
    path of the host can be named in the pod's mount namespaces, and a container's copies three mounts, not the host's
    hundred.  `shm` is the host's /dev/shm, where the pod shares it; `proc` its /proc.  The volumes in `memory` are new
    and empty, or those of a podmon that has died: they are the pod's, whichever podmon it has (SEMANTICS A15).
    """
    shm_options = tmpfs_options(SHM_SIZE, 0o1777)
    begin: list[Op] = [Unshare(native.CLONE_NEWNS)]
    if memory.namespace is not None:  # a copy of it, then: its root has a place for ours, and nothing of the host
        begin, at = [SetNs(memory.namespace, native.CLONE_NEWNS, "the former podmon"), *begin], POD_ROOTFS
    return [
        *oom_score(oom_score_adj, proc),
        Keyring(),
        *begin,
        Private("/"),  # or what follows would happen on the host too
        Root(root, at, "the pod's empty root"),
        Mount("tmpfs", POD_SHM, shm_options, INERT) if shm is None else Attach(shm, POD_SHM, "the host's /dev/shm"),
        *memory.ops,
        Mount(
            "tmpfs", POD_DEVICES, tmpfs_options(64 << 10, 0o755), native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC
        ),
        *(Mknod(f"{POD_DEVICES}/{name}", stat.S_IFCHR | 0o666, *numbers) for name, numbers in DEVICES.items()),
        Pivot(),
        # Read-only: a device can still be written to, but its mode and owner are no container's to change.
        Bind(POD_DEVICES, POD_DEVICES, DEVICE_ATTRIBUTES),
        Hostname(hostname),
        *(() if sharing.host_network else (LinkUp("lo"),)),
    ]


def compile_reaper(*, root: int) -> list[Op]:
    """The process 1 of the pid namespace that the containers of a pod share (SEMANTICS A4).

    Not podmon, which could be traced and killed there: a process that has nothing.  Before it gives up what it is, it
    mounts the /proc of its namespace in podmon's root, whence containers bind it: only a member can.  `root` is the
    empty tmpfs that becomes its root directory.
    """
    return [
        Session(),
        Keyring(),
        Root(None, "/", "the pod's root"),
        Mount("proc", POD_PROC, (), INERT),
        Unshare(native.CLONE_NEWNS),
        Root(root, POD_ROOTFS, "the reaper's empty root"),
        Pivot(),
        Ids(),
        Caps(0, 0),
        Reap(),
    ]
