"""What a container is made of, compiled into the ordered list of ops that its first process walks.

Pure: it turns values and already prepared fds into ops; nothing is opened, mounted or asked here.  The order is
the design: read `compile_container` from top to bottom.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
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
    Reap,
    Root,
    Session,
    SetNs,
    Symlink,
    Tty,
    Umask,
    Unshare,
)
from sandbox.pod.privileges import DEFAULT_PRIVILEGES, Privileges, compile_program

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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
_DEVICE = native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC | native.MOUNT_ATTR_RDONLY


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


@dataclass(frozen=True)
class BindMount:
    """Something of the host shown in a container: `source` on the host, `target` inside, `what` for messages."""

    source: str | os.PathLike[str]
    target: str
    what: str = "a mount"
    read_only: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """A container, ready to be made: nothing in it needs a manifest or an image any more.

    `rootfs` is a directory that is only read: what the container writes goes into a layer of its own.
    """

    argv: Sequence[str]
    rootfs: str | os.PathLike[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    mounts: Sequence[BindMount] = ()
    stdin: bool = False  # clients may attach to its stdin; otherwise that is at its end from the start
    stdin_once: bool = False  # the first one's end is the end of it; otherwise it has none
    tty: bool = False  # stdin, stdout and stderr are one terminal
    privileges: Privileges = DEFAULT_PRIVILEGES

    def __post_init__(self) -> None:
        """Whatever sequences and paths it was given: they are held as values that nobody changes."""
        if isinstance(self.argv, str) or not self.argv:
            raise ValueError(f"argv is a list of at least one string, not {self.argv!r}")
        object.__setattr__(self, "argv", tuple(self.argv))
        object.__setattr__(self, "mounts", tuple(self.mounts))
        object.__setattr__(self, "rootfs", Path(self.rootfs))


@dataclass(frozen=True)
class Prepared:
    """The fds that a container's list needs: each made by the engine, each gone when closed.

    Of stdin, stdout and stderr None stands for the container's own /dev/null.  `reaper` is the pidfd of the process 1
    of the pid namespace that the pod's containers share, if they do.
    """

    rootfs: int
    mounts: tuple[tuple[BindMount, int, bool], ...]  # the mount, its fd, whether it is a file
    stdout: int | None
    stderr: int | None
    stdin: int | None = None
    reaper: int | None = None


def compile_pod(*, hostname: str, root: int, at: str, sharing: Sharing = PRIVATE, shm: int | None = None) -> list[Op]:
    """What podmon does in itself before any container is there.

    Its root becomes the empty tmpfs `root`, attached for a moment at the host's directory `at`: from then on no
    path of the host can be named in the pod's mount namespaces, and a container's copies three mounts, not the host's
    hundred.  `shm` is the host's /dev/shm, where the pod shares it.
    """
    shm_options = tmpfs_options(SHM_SIZE, 0o1777)
    return [
        Keyring(),
        Unshare(native.CLONE_NEWNS),
        Private("/"),  # or what follows would happen on the host too
        Root(root, at, "the pod's empty root"),
        Mount("tmpfs", POD_SHM, shm_options, INERT) if shm is None else Attach(shm, POD_SHM, "the host's /dev/shm"),
        Mount(
            "tmpfs", POD_DEVICES, tmpfs_options(64 << 10, 0o755), native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC
        ),
        *(Mknod(f"{POD_DEVICES}/{name}", stat.S_IFCHR | 0o666, *numbers) for name, numbers in DEVICES.items()),
        Pivot(),
        # Read-only: a device can still be written to, but its mode and owner are no container's to change.
        Bind(POD_DEVICES, POD_DEVICES, _DEVICE),
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


# The filesystems that every container has (OCI runtime-spec, config-linux.md, "Default Filesystems").
DEFAULT_MOUNTS: tuple[Op, ...] = (
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


def _proc(sharing: Sharing) -> Op:
    """A proc shows the pid namespace of who mounts it: the container's first process, or the reaper before it."""
    return Bind(POD_PROC, "/proc", INERT) if sharing.pid else Mount("proc", "/proc", (), INERT)


def _own_stdio(spec: ContainerSpec, prepared: Prepared, sharing: Sharing) -> list[Op]:
    """What of its stdio is made of the container's own devices.

    /dev/null is its own, too: through the host's, it could change the host's mode and owner.
    """
    if spec.tty:
        # Where a sibling goes on (Fork), the terminal is to be that one's.
        return [Tty(kept=True, controls=not sharing.pid)]
    fds = (prepared.stdin, prepared.stdout, prepared.stderr)
    return [Open("/dev/null", number, _null_flags(number)) for number, fd in enumerate(fds) if fd is None]


def _null_flags(number: int) -> int:
    return os.O_RDONLY if number == 0 else os.O_WRONLY


def _given_stdio(spec: ContainerSpec, prepared: Prepared) -> list[Op]:
    fds = () if spec.tty else (prepared.stdin, prepared.stdout, prepared.stderr)
    return [Fd(fd, number, f"the {_STDIO[number]} pipe") for number, fd in enumerate(fds) if fd is not None]


_STDIO = ("stdin", "stdout", "stderr")


def _environment(env: Mapping[str, str], *, terminal: bool) -> tuple[str, ...]:
    """The strings of the environment; a program on a terminal is told its kind, as containerd does."""
    full = {"TERM": "xterm", **env} if terminal else env
    return tuple(f"{name}={value}" for name, value in full.items())


def compile_container(spec: ContainerSpec, prepared: Prepared, sharing: Sharing = PRIVATE) -> list[Op]:
    """The list that makes a container of `spec` and runs its program."""
    # A mount below another must come after it.
    mounts = sorted(prepared.mounts, key=lambda row: row[0].target.rstrip("/").count("/"))
    into_shared: list[Op] = []
    if prepared.reaper is not None:
        into_shared = [SetNs(prepared.reaper, native.CLONE_NEWPID, "the pod's reaper")]
    return [
        Unshare(native.CLONE_NEWCGROUP),
        *into_shared,  # for the sibling that Fork makes: until then nothing of this shows up in there
        Session(),
        Keyring(),
        Gate("PREPARE"),
        Root(prepared.rootfs, POD_ROOTFS),
        _proc(sharing),
        *DEFAULT_MOUNTS,
        # Before the volumes, one of which may cover a device with a pipe that nobody writes to.
        *_own_stdio(spec, prepared, sharing),
        *(Attach(fd, mount.target, mount.what, is_file) for mount, fd, is_file in mounts),
        # After all mounts, so that none uncovers what these hide.
        *(ReadOnly(path) for path in security.READ_ONLY_PATHS),
        *(Mask(path, f"{POD_DEVICES}/null") for path in security.MASKED_PATHS),
        Pivot(),
        *_given_stdio(spec, prepared),
        Gate("START"),
        Chdir(spec.cwd),
        Umask(0o022),
        # Everything above needs more than what is left after it.
        *compile_program(
            spec.privileges,
            Exec(tuple(spec.argv), _environment(spec.env, terminal=spec.tty)),
            fork=Fork(terminal=spec.tty) if sharing.pid else None,
        ),
    ]


@dataclass(frozen=True)
class ExecSpec:
    """A further program in a container that runs: as `kubectl exec`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    privileges: Privileges = DEFAULT_PRIVILEGES


def compile_exec(
    spec: ExecSpec,
    *,
    init: int,
    stdio: tuple[int | None, int | None, int | None] | None,
    size: tuple[int, int] = (0, 0),
) -> list[Op]:
    """The list that runs a program in the namespaces of the container whose first process is behind pidfd `init`.

    `stdio` are ends of pipes or sockets made for it, or None for the pod's /dev/null, the container's own being the
    container's to cover.  No `stdio` at all makes a terminal of `size` (rows, columns).  The process that enters gives
    up all privileges before `Fork`: in the container's pid namespace nothing appears that could be robbed of any, and
    being podmon's copy it cannot be ptraced before its execve either.
    """
    null: list[Op] = []
    given: list[Op] = [Tty(*size)]
    if stdio is not None:
        null = [
            Root(None, "/", "the pod's root"),
            *(Open(f"{POD_DEVICES}/null", n, _null_flags(n)) for n, fd in enumerate(stdio) if fd is None),
        ]
        given = [Fd(fd, number, _STDIO[number]) for number, fd in enumerate(stdio) if fd is not None]
    return [
        *null,
        SetNs(init, native.CLONE_NEWNS | native.CLONE_NEWPID | native.CLONE_NEWCGROUP, "the container"),
        Keyring(),
        *given,
        Chdir(spec.cwd),
        Umask(0o022),
        *compile_program(
            spec.privileges,
            Exec(spec.argv, _environment(spec.env, terminal=stdio is None)),
            fork=Fork(terminal=stdio is None),
        ),
    ]
