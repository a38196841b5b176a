"""What a container is made of, compiled into the ordered list of ops that its first process walks.

Pure: it turns values and already prepared fds into ops; nothing is opened, mounted or asked here.  The order is
the design: read `compile_container` from top to bottom.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.linux import native, security
from sandbox.linux.mounts import INERT, tmpfs_options
from sandbox.linux.ops import (
    Attach,
    Bind,
    Caps,
    Chdir,
    Exec,
    Fd,
    Fork,
    Gate,
    Hostname,
    Ids,
    Keyring,
    LinkUp,
    Mask,
    Mknod,
    Mount,
    Op,
    Open,
    Pivot,
    Private,
    ReadOnly,
    Root,
    Session,
    SetNs,
    Signals,
    Symlink,
    Tty,
    Umask,
    Unshare,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Namespaces of a container's own (SEMANTICS A3, A4).  The cgroup namespace is not among them: clone3 would root it
# in podmon's cgroup, so the child makes it itself once it is in its own.
CONTAINER_NAMESPACES = native.CLONE_NEWNS | native.CLONE_NEWPID

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
SHM_SIZE = 64 << 20  # containerd's default


@dataclass(frozen=True)
class BindMount:
    """Something of the host shown in a container: `source` on the host, `target` inside, `what` for messages."""

    source: Path
    target: str
    what: str
    read_only: bool = False


@dataclass(frozen=True)
class Sharing:
    pid: bool = False
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """A container, ready to be made: nothing in it needs a manifest or an image any more.

    `rootfs` is a directory that is only read: what the container writes goes into a layer of its own.
    """

    argv: tuple[str, ...]
    rootfs: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    mounts: tuple[BindMount, ...] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


@dataclass(frozen=True)
class Prepared:
    """The fds that a container's list needs: each made by the engine, each gone when closed."""

    rootfs: int
    mounts: tuple[tuple[BindMount, int, bool], ...]  # the mount, its fd, whether it is a file
    stdout: int
    stderr: int


def compile_pod(*, hostname: str, root: int, at: str) -> list[Op]:
    """What podmon does in itself before any container is there.

    Its root becomes the empty tmpfs `root`, attached for a moment at the host's directory `at`: from then on no
    path of the host can be named in the pod's mount namespaces, and a container's copies three mounts, not the host's
    hundred.
    """
    shm_options = tmpfs_options(SHM_SIZE, 0o1777)
    return [
        Keyring(),
        Unshare(native.CLONE_NEWNS),
        Private("/"),  # or what follows would happen on the host too
        Root(root, at, "the pod's empty root"),
        Mount("tmpfs", POD_SHM, shm_options, INERT),
        Mount(
            "tmpfs", POD_DEVICES, tmpfs_options(64 << 10, 0o755), native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC
        ),
        *(Mknod(f"{POD_DEVICES}/{name}", stat.S_IFCHR | 0o666, *numbers) for name, numbers in DEVICES.items()),
        Pivot(),
        Hostname(hostname),
        LinkUp("lo"),
    ]


# Read-only: a device can still be written to, but its mode and owner are the pod's.
_DEVICE = native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC | native.MOUNT_ATTR_RDONLY

# The filesystems that every container has (OCI runtime-spec, config-linux.md, "Default Filesystems").
DEFAULT_MOUNTS: tuple[Op, ...] = (
    # Of the container's own pid namespace, hence mounted by its first process.
    Mount("proc", "/proc", (), INERT),
    # Nothing in a container but the bound nodes can be opened as a device: a node that it makes itself is inert
    # everywhere, as every other mount is nodev.
    Mount("tmpfs", "/dev", tmpfs_options(64 << 10, 0o755), INERT),
    *(Bind(f"{POD_DEVICES}/{name}", f"/dev/{name}", _DEVICE, is_file=True) for name in DEVICES),
    Symlink("/proc/self/fd", "/dev/fd"),
    Symlink("/proc/self/fd/0", "/dev/stdin"),
    Symlink("/proc/self/fd/1", "/dev/stdout"),
    Symlink("/proc/self/fd/2", "/dev/stderr"),
    # gid 5 is the group tty of every distribution.
    Mount(
        "devpts",
        "/dev/pts",
        ("newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC,
    ),
    Symlink("pts/ptmx", "/dev/ptmx"),
    Bind(POD_SHM, "/dev/shm", INERT),
    # The queues of the pod's IPC namespace.
    Mount("mqueue", "/dev/mqueue", (), INERT),
    Mount("sysfs", "/sys", (), INERT | native.MOUNT_ATTR_RDONLY),
    # From inside the new cgroup namespace: a mount from the first one would reset the host's mount options.
    Mount("cgroup2", "/sys/fs/cgroup", (), INERT | native.MOUNT_ATTR_RDONLY),
)


def compile_container(spec: ContainerSpec, prepared: Prepared) -> list[Op]:
    """The list that makes a container of `spec` and runs its program."""
    default_caps = security.capability_bits(security.DEFAULT_CAPABILITIES)
    # A mount below another must come after it.
    mounts = sorted(prepared.mounts, key=lambda row: row[0].target.rstrip("/").count("/"))
    return [
        Unshare(native.CLONE_NEWCGROUP),
        Session(),
        Keyring(),
        Gate("PREPARE"),
        Root(prepared.rootfs, POD_ROOTFS),
        *DEFAULT_MOUNTS,
        # stdin is the container's own /dev/null: through the host's, it could change the host's mode and owner.  Before
        # the volumes, one of which may cover it with a pipe that nobody writes to.
        Open("/dev/null", 0),
        *(Attach(fd, mount.target, mount.what, is_file) for mount, fd, is_file in mounts),
        # After all mounts, so that none uncovers what these hide.
        *(ReadOnly(path) for path in security.READ_ONLY_PATHS),
        *(Mask(path, f"{POD_DEVICES}/null") for path in security.MASKED_PATHS),
        Pivot(),
        Fd(prepared.stdout, 1, "the stdout pipe"),
        Fd(prepared.stderr, 2, "the stderr pipe"),
        Gate("START"),
        Chdir(spec.cwd),
        Umask(0o022),
        Ids(),
        # Last but one: everything above needs more than what is left after it.
        Caps(default_caps, default_caps),
        Signals(),
        Exec(spec.argv, tuple(f"{name}={value}" for name, value in spec.env.items())),
    ]


@dataclass(frozen=True)
class ExecSpec:
    """A further program in a container that runs: as `kubectl exec`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"


def compile_exec(spec: ExecSpec, *, init: int, stdio: tuple[int, int, int] | None) -> list[Op]:
    """The list that runs a program in the namespaces of the container whose first process is behind pidfd `init`.

    `stdio` are ends of pipes or sockets made for it; None makes a terminal of the container's.  The process that
    enters gives up all privileges before `Fork`: in the container's pid namespace nothing appears that could be
    robbed of any, and being podmon's copy it cannot be ptraced before its execve either.
    """
    caps = security.capability_bits(security.DEFAULT_CAPABILITIES)
    names = ("stdin", "stdout", "stderr")
    fds: list[Op] = [Tty()] if stdio is None else [Fd(fd, number, names[number]) for number, fd in enumerate(stdio)]
    return [
        SetNs(init, native.CLONE_NEWNS | native.CLONE_NEWPID | native.CLONE_NEWCGROUP, "the container"),
        Keyring(),
        *fds,
        Chdir(spec.cwd),
        Umask(0o022),
        Ids(),
        Caps(caps, caps),
        Signals(),
        Fork(terminal=stdio is None),
        Exec(spec.argv, tuple(f"{name}={value}" for name, value in spec.env.items())),
    ]
