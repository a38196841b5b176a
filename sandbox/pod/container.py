"""What a container is made of, compiled into the ordered list of ops that its first process walks.

Pure: it turns values and already prepared fds into ops; nothing is opened, mounted or asked here.  The order is
the design: read `compile_container` from top to bottom.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sandbox.linux import native, security
from sandbox.linux.mounts import INERT, tmpfs_options
from sandbox.linux.ops import (
    Attach,
    Bind,
    Chdir,
    Exec,
    Fd,
    Fork,
    Gate,
    Keyring,
    Mask,
    Mount,
    Op,
    Open,
    Pivot,
    ReadOnly,
    ReadOnlyRoot,
    Root,
    Session,
    SetNs,
    Symlink,
    Tty,
    Umask,
    Unshare,
)
from sandbox.pod.ground import (
    DEVICE_ATTRIBUTES,
    DEVICES,
    POD_DEVICES,
    POD_PROC,
    POD_ROOTFS,
    POD_SHM,
    PRIVATE,
    Sharing,
    oom_score,
)
from sandbox.pod.memory import MemoryMount
from sandbox.pod.privileges import DEFAULT_PRIVILEGES, Privileges, compile_program

if TYPE_CHECKING:
    from cgroups import Knobs  # not for those who only join a container: its import would take longer than that

DEV_INODES = 32  # what stands there, the message file and links of the manifest's included, and some to spare
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
    mounts: Sequence[BindMount | MemoryMount] = ()
    stdin: bool = False  # clients may attach to its stdin; otherwise that is at its end from the start
    stdin_once: bool = False  # the first one's end is the end of it; otherwise it has none
    tty: bool = False  # stdin, stdout and stderr are one terminal
    limits: tuple[Knobs, ...] = ()  # of its cgroup
    oom_score_adj: int | None = None  # None: that of the process that asks for it
    privileges: Privileges = DEFAULT_PRIVILEGES
    privileged: bool = False  # it has the host's devices, and the kernel's files unmasked and writable (SEMANTICS A43)
    read_only_rootfs: bool = False  # but not what is mounted in it
    message_path: str = ""  # where the file for its last words is mounted (sandbox.pod.messages); "": it has none

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
    of the pid namespace that the pod's containers share, if they do; `proc` is the host's /proc, and `devices` the /dev
    of a privileged container.
    """

    rootfs: int
    mounts: tuple[tuple[BindMount, int, bool], ...]  # the mount, its fd, whether it is a file
    stdout: int | None
    stderr: int | None
    stdin: int | None = None
    reaper: int | None = None
    proc: int | None = None
    devices: int | None = None


def _dev(prepared: Prepared) -> list[Op]:
    """Nothing in a container but the bound nodes can be opened as a device: a node that it makes itself is inert
    everywhere, as every other mount is nodev.  A privileged one may make and open any."""
    if prepared.devices is not None:
        return [Attach(prepared.devices, "/dev", "the host's devices")]
    return [
        Mount("tmpfs", "/dev", tmpfs_options(64 << 10, 0o755, inodes=DEV_INODES), INERT),
        *(Bind(f"{POD_DEVICES}/{name}", f"/dev/{name}", DEVICE_ATTRIBUTES, is_file=True) for name in DEVICES),
    ]


def _filesystems(spec: ContainerSpec, prepared: Prepared) -> list[Op]:
    """Those that every container has (OCI runtime-spec, config-linux.md, "Default Filesystems")."""
    kernels = INERT if spec.privileged else INERT | native.MOUNT_ATTR_RDONLY
    return [
        *_dev(prepared),
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
        Mount("sysfs", "/sys", (), kernels),
        # From inside the new cgroup namespace: a mount from the first one would reset the host's mount options.
        Mount("cgroup2", "/sys/fs/cgroup", (), kernels),
    ]


def _covers(spec: ContainerSpec) -> list[Op]:
    """What hides and protects the kernel's files that are the whole machine's."""
    if spec.privileged:
        return []
    return [
        *(ReadOnly(path) for path in security.READ_ONLY_PATHS),
        *(Mask(path, f"{POD_DEVICES}/null") for path in security.MASKED_PATHS),
    ]


def _sealed(spec: ContainerSpec) -> list[Op]:
    """The last change to the rootfs, where it is to be read-only; a missing working directory is made before."""
    return [Chdir(spec.cwd), ReadOnlyRoot()] if spec.read_only_rootfs else []


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


def _mounts(spec: ContainerSpec, prepared: Prepared) -> list[Op]:
    """What is mounted into the container; a mount below another must come after it."""
    rows = [(mount.target, Attach(fd, mount.target, mount.what, is_file)) for mount, fd, is_file in prepared.mounts]
    in_memory = [
        (each.target, each.op(devices=spec.privileged)) for each in spec.mounts if isinstance(each, MemoryMount)
    ]
    return [op for _, op in sorted([*rows, *in_memory], key=lambda row: row[0].rstrip("/").count("/"))]


def compile_container(spec: ContainerSpec, prepared: Prepared, sharing: Sharing = PRIVATE) -> list[Op]:
    """The list that makes a container of `spec` and runs its program."""
    into_shared: list[Op] = []
    if prepared.reaper is not None:
        into_shared = [SetNs(prepared.reaper, native.CLONE_NEWPID, "the pod's reaper")]
    return [
        Unshare(native.CLONE_NEWCGROUP),
        *into_shared,  # for the sibling that Fork makes: until then nothing of this shows up in there
        Session(),
        Keyring(),
        *oom_score(spec.oom_score_adj, prepared.proc),
        Gate("PREPARE"),
        Root(prepared.rootfs, POD_ROOTFS),
        _proc(sharing),
        *_filesystems(spec, prepared),
        # Before the volumes, one of which may cover a device with a pipe that nobody writes to.
        *_own_stdio(spec, prepared, sharing),
        *_mounts(spec, prepared),
        # After all mounts, so that none uncovers what these hide.
        *_covers(spec),
        *_sealed(spec),
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
    oom_score_adj: int | None = None  # as a container's


def compile_exec(
    spec: ExecSpec,
    privileges: Privileges,
    *,
    init: int,
    stdio: tuple[int | None, int | None, int | None] | None,
    size: tuple[int, int] = (0, 0),
    proc: int | None = None,
) -> list[Op]:
    """The list that runs a program in the namespaces of the container whose first process is behind pidfd `init`.

    `privileges` are the container's: who joins it is what it is.  `stdio` are ends of pipes or sockets made for it, or
    None for the pod's /dev/null, the container's own being the container's to cover.  No `stdio` at all makes a
    terminal of `size` (rows, columns).  The process that enters gives up all privileges before `Fork`: in the
    container's pid namespace nothing appears that could be robbed of any, and being podmon's copy it cannot be ptraced
    before its execve either.
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
        *oom_score(spec.oom_score_adj, proc),
        *null,
        SetNs(init, native.CLONE_NEWNS | native.CLONE_NEWPID | native.CLONE_NEWCGROUP, "the container"),
        Keyring(),
        *given,
        Chdir(spec.cwd),
        Umask(0o022),
        *compile_program(
            privileges,
            Exec(spec.argv, _environment(spec.env, terminal=stdio is None)),
            fork=Fork(terminal=stdio is None),
        ),
    ]


Spec = TypeVar("Spec", ContainerSpec, ExecSpec)


def placed(spec: Spec, own: int) -> Spec:
    """With a place in the OOM killer's queue: the caller's `own`, where the spec has none."""
    return spec if spec.oom_score_adj is not None else replace(spec, oom_score_adj=own)
