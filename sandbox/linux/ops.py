"""The ops of a spawn: what a child does between clone3 and execve, as data.

A list of ops is compiled once, can be printed (`describe`), compared and tested without root, and is encoded
into a spawn spec that podmon's child walks in C (csrc/child.c).  When one fails, podmon sends its index back and
`failure` says which step it was, on which path, and why.

An op that needs a file descriptor holds it as `fd`; the fds of a list travel beside its spec.  Paths are inside
the container's rootfs unless the op says otherwise.  What the order means is not decided here, see
sandbox.pod.container.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sandbox.errors import SpawnError, Unsupported, quoted, shown
from sandbox.linux import native


@dataclass(frozen=True)
class Log:
    """Where podmon writes a child's output: file `name` in the directory behind fd `directory`.

    `stdout` and `stderr` are the read ends, not blocking, of the pipes whose write ends the ops use; None where it has
    a terminal.  The log is rotated at `size` bytes; `files` of it are kept, the one being written included.  On a full
    disk the output waits for room with `block`, and is lost and counted without.
    """

    directory: int
    name: str
    stdout: int | None
    stderr: int | None
    size: int = 10 << 20
    files: int = 5
    block: bool = False


@dataclass(frozen=True)
class Stdin:
    """A child's stdin that clients may write to.

    `pipe` is the write end, not blocking, of the pipe that is its fd 0; None where it has a terminal.  With `once` the
    first client's end is the end of it, otherwise it has none.
    """

    pipe: int | None
    once: bool = False


@dataclass(frozen=True)
class Spec:
    """An encoded list: `data` for the memfd, and the fds to send with it, in the order that `data` counts on."""

    data: bytes
    fds: tuple[int, ...]


class _Encoder:
    """Collects rows, strings and fds; offset 0 of the string table means "no string"."""

    def __init__(self) -> None:
        self.strings = bytearray(b"\0")
        self.fds: list[int] = []
        self.rows: list[dict[str, int]] = []

    def string(self, text: str) -> int:
        return self.list([text])

    def list(self, texts: Sequence[str]) -> int:
        """The offset of `texts`, one behind the other; 0 for none."""
        if not texts:
            return 0
        offset = len(self.strings)
        for text in texts:
            data = text.encode("utf-8", "surrogateescape")  # whatever the locale of the caller
            if b"\0" in data:
                raise ValueError(f"a NUL byte cannot reach the kernel: {text!r}")
            self.strings += data + b"\0"
        return offset

    def numbers(self, values: Sequence[int]) -> int:
        """The offset of an array of u32, aligned; 0 for none."""
        if not values:
            return 0
        self.strings += b"\0" * (-len(self.strings) % 4)
        offset = len(self.strings)
        self.strings += struct.pack(f"={len(values)}I", *values) + b"\0"
        return offset

    def instructions(self, program: bytes) -> int:
        """The offset of a BPF program, aligned."""
        self.strings += b"\0" * (-len(self.strings) % 8)
        offset = len(self.strings)
        self.strings += program + b"\0"
        return offset

    def fd(self, fd: int) -> int:
        if fd not in self.fds:
            self.fds.append(fd)
        return self.fds.index(fd)

    def optional_fd(self, fd: int | None) -> int:
        return native.NO_FD if fd is None else self.fd(fd)

    def add(self, kind: str, *, fd: int = native.NO_FD, **fields: int) -> None:
        self.rows.append({"kind": native.OP[kind], "fd": fd, **fields})


@dataclass(frozen=True)
class Op:
    """One step of a spawn.  `step` is its name in errors and logs."""

    step: ClassVar[str]

    @property
    def path(self) -> str | None:
        """The path that the op works on, if it has one."""
        return None

    def describe(self) -> str:
        """One line: what the op does."""
        raise NotImplementedError

    def encode(self, encoder: _Encoder) -> None:
        raise NotImplementedError

    def hint(self, number: int) -> str | None:
        """The cure for the errno `number`, where one is known."""
        return None


_NAMESPACES = {
    native.CLONE_NEWNS: "mnt",
    native.CLONE_NEWCGROUP: "cgroup",
    native.CLONE_NEWUTS: "uts",
    native.CLONE_NEWIPC: "ipc",
    native.CLONE_NEWPID: "pid",
    native.CLONE_NEWNET: "net",
}


def namespace_names(flags: int) -> str:
    """The names of CLONE_NEW* bits as /proc/PID/ns has them: "ipc, net"."""
    return ", ".join(name for bit, name in _NAMESPACES.items() if flags & bit)


_ATTRIBUTES = {
    native.MOUNT_ATTR_RDONLY: "ro",
    native.MOUNT_ATTR_NOSUID: "nosuid",
    native.MOUNT_ATTR_NODEV: "nodev",
    native.MOUNT_ATTR_NOEXEC: "noexec",
}


def _attributes(bits: int) -> str:
    names = [name for bit, name in _ATTRIBUTES.items() if bits & bit]
    return f" ({','.join(names)})" if names else ""


@dataclass(frozen=True)
class SetNs(Op):
    """Enter the namespaces (CLONE_NEW* bits) behind an nsfs fd or a pidfd, setns(2)."""

    fd: int
    namespaces: int
    of: str = "another process"
    step = "enter namespaces"

    def describe(self) -> str:
        return f"enter the {namespace_names(self.namespaces)} namespace of {self.of}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("SETNS", fd=encoder.fd(self.fd), a=self.namespaces)


@dataclass(frozen=True)
class Unshare(Op):
    """Leave the shared namespaces for new ones, unshare(2)."""

    namespaces: int
    step = "make namespaces"

    def describe(self) -> str:
        return f"make a new {namespace_names(self.namespaces)} namespace"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("UNSHARE", a=self.namespaces)


@dataclass(frozen=True)
class Gate(Op):
    """Wait until the engine opens this gate; "PREPARE" or "START"."""

    name: str
    step = "wait at gate"

    def describe(self) -> str:
        return f"wait at the gate {self.name}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("GATE", a=native.GATE[self.name])


@dataclass(frozen=True)
class Session(Op):
    """Begin a session of its own: no controlling terminal is inherited, setsid(2)."""

    step = "begin session"

    def describe(self) -> str:
        return "begin a new session"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("SESSION")


@dataclass(frozen=True)
class Keyring(Op):
    """Join a new, empty session keyring, keyctl(2): the engine's may hold the keys of whoever started it."""

    step = "join keyring"

    def describe(self) -> str:
        return "join a new session keyring"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("KEYRING")


@dataclass(frozen=True)
class Signals(Op):
    """Every signal to its default, none blocked: an ignored one would stay ignored through execve."""

    step = "reset signals"

    def describe(self) -> str:
        return "reset every signal to its default"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("SIGNALS")


@dataclass(frozen=True)
class Hostname(Op):
    """Set the hostname of the UTS namespace, at most 64 bytes."""

    name: str
    step = "set hostname"

    def describe(self) -> str:
        return f"set the hostname to {self.name}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("HOSTNAME", s1=encoder.string(self.name))


@dataclass(frozen=True)
class LinkUp(Op):
    """Bring a network link up; for `lo` the kernel adds 127.0.0.1 and ::1 itself."""

    link: str
    step = "bring link up"

    @property
    def path(self) -> str:
        return self.link

    def describe(self) -> str:
        return f"bring the link {self.link} up"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("LINK_UP", s1=encoder.string(self.link))


@dataclass(frozen=True)
class Private(Op):
    """Cut mount propagation at and below a path of the current root (not of the rootfs)."""

    where: str
    step = "make mounts private"

    @property
    def path(self) -> str:
        return self.where

    def describe(self) -> str:
        return f"make {self.where} and all mounts below it private"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("PROPAGATION", s1=encoder.string(self.where), a=native.MS_PRIVATE)


@dataclass(frozen=True)
class Root(Op):
    """Attach the mount that becomes the rootfs at the directory `at` of the current root; without one, `at` is it."""

    fd: int | None
    at: str
    what: str = "the rootfs"
    step = "attach rootfs"

    @property
    def path(self) -> str:
        return self.at

    def describe(self) -> str:
        return f"attach {self.what} at {self.at}" if self.fd is not None else f"use {self.at} as {self.what}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("ROOT", fd=encoder.optional_fd(self.fd), s1=encoder.string(self.at))


@dataclass(frozen=True)
class Pivot(Op):
    """Make the rootfs the root directory and detach the old one: nothing of it can be named any more."""

    step = "pivot root"

    def describe(self) -> str:
        return "make the rootfs the root and detach the old root"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("PIVOT")


@dataclass(frozen=True)
class Mount(Op):
    """Mount a new filesystem; an option is "key=value" or a bare "key"."""

    fstype: str
    target: str
    options: tuple[str, ...] = ()
    attributes: int = 0
    step = "mount"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        options = f" with {','.join(self.options)}" if self.options else ""
        return f"mount {self.fstype} at {self.target}{options}{_attributes(self.attributes)}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add(
            "MOUNT",
            s1=encoder.string(self.fstype),
            s2=encoder.string(self.target),
            s3=encoder.list(self.options),
            a=len(self.options),
            b=self.attributes,
        )


_MISMATCH = dict.fromkeys(
    (errno.EINVAL, errno.ENOTDIR), "a directory can be mounted on a directory only, and a file on a file"
)


@dataclass(frozen=True)
class Attach(Op):
    """Attach a detached mount that the engine made; the target is created where missing, as its kind demands."""

    fd: int
    target: str
    what: str
    is_file: bool = False
    step = "attach"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"attach {self.what} at {self.target}"

    def hint(self, number: int) -> str | None:
        return _MISMATCH.get(number)

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("ATTACH", fd=encoder.fd(self.fd), s1=encoder.string(self.target), flags=int(self.is_file))


@dataclass(frozen=True)
class Bind(Op):
    """Bind `source`, a directory or file of the pod's own root, at `target` in the rootfs."""

    source: str
    target: str
    attributes: int = 0
    is_file: bool = False
    step = "bind"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"bind the pod's {self.source} at {self.target}{_attributes(self.attributes)}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add(
            "BIND",
            s1=encoder.string(self.source),
            s2=encoder.string(self.target),
            a=self.attributes,
            flags=int(self.is_file),
        )


_COVERED = native.MOUNT_ATTR_RDONLY | native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NODEV | native.MOUNT_ATTR_NOEXEC


@dataclass(frozen=True)
class Mask(Op):
    """Hide what is at a path, if there is something: /dev/null over a file, an empty directory over a directory.

    `null` is the /dev/null of the current root, not of the rootfs, where a volume may have been put over it.
    """

    target: str
    null: str
    step = "mask"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"hide {self.target}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("MASK", s1=encoder.string(self.target), s2=encoder.string(self.null), a=_COVERED)


@dataclass(frozen=True)
class ReadOnly(Op):
    """Make the tree at a path read-only, if it is there."""

    target: str
    step = "make read-only"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"make {self.target} read-only"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("READONLY", s1=encoder.string(self.target), a=_COVERED)


@dataclass(frozen=True)
class ReadOnlyRoot(Op):
    """Make the rootfs read-only, and not what is mounted in it.

    The last of all that touches it: a mount's target can no more be made then, and a file of it that is open for
    writing is in the way (EBUSY).
    """

    step = "make rootfs read-only"

    def describe(self) -> str:
        return "make the rootfs read-only"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("READONLY_ROOT")


@dataclass(frozen=True)
class Mknod(Op):
    """Make a device node; `mode` includes its type (stat.S_IFCHR)."""

    target: str
    mode: int
    major: int
    minor: int
    step = "make device"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"make the device {self.target} ({stat.filemode(self.mode)} {self.major}:{self.minor})"

    def encode(self, encoder: _Encoder) -> None:
        device = os.makedev(self.major, self.minor)
        encoder.add("MKNOD", s1=encoder.string(self.target), a=self.mode, b=device)


@dataclass(frozen=True)
class Symlink(Op):
    """Make a symbolic link at `target` that says `text`."""

    text: str
    target: str
    step = "make link"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"link {self.target} to {self.text}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("SYMLINK", s1=encoder.string(self.text), s2=encoder.string(self.target))


@dataclass(frozen=True)
class Chdir(Op):
    """Change into a directory, made where missing, as container runtimes do for workingDir."""

    target: str
    step = "change directory"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"change into {self.target}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("CHDIR", s1=encoder.string(self.target))


@dataclass(frozen=True)
class Open(Op):
    """Open the container's own file as one of the fds 0 to 2."""

    target: str
    number: int
    flags: int = os.O_RDONLY
    step = "open"

    @property
    def path(self) -> str:
        return self.target

    def describe(self) -> str:
        return f"open {self.target} as fd {self.number}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("OPEN", s1=encoder.string(self.target), a=self.flags, b=self.number)


@dataclass(frozen=True)
class Fd(Op):
    """Make a pipe or socket from the engine one of the fds 0 to 2."""

    fd: int
    number: int
    what: str
    step = "set fd"

    def describe(self) -> str:
        return f"make {self.what} fd {self.number}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("FD", fd=encoder.fd(self.fd), b=self.number)


@dataclass(frozen=True)
class OomScoreAdj(Op):
    """Set the place in the OOM killer's queue, which what is forked from here on inherits; `fd` is the host's /proc."""

    fd: int
    value: int
    step = "set oom_score_adj"

    def describe(self) -> str:
        return f"set oom_score_adj to {self.value}"

    def hint(self, number: int) -> str | None:
        return "to lower it needs CAP_SYS_RESOURCE" if number == errno.EACCES else None

    def encode(self, encoder: _Encoder) -> None:
        path = encoder.string("self/oom_score_adj")
        encoder.add("WRITE", fd=encoder.fd(self.fd), s1=path, s2=encoder.string(str(self.value)))


@dataclass(frozen=True)
class Umask(Op):
    """Set the file mode creation mask."""

    mask: int
    step = "set umask"

    def describe(self) -> str:
        return f"set the umask to {self.mask:04o}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("UMASK", a=self.mask)


@dataclass(frozen=True)
class Own(Op):
    """Make fds 0 to 2 a user's own, who may then open them by name (/dev/stdout, /dev/pts/0); /dev/null stays as is."""

    uid: int
    step = "own stdio"

    def describe(self) -> str:
        return f"make fds 0 to 2 those of uid {self.uid}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("OWN", a=self.uid)


@dataclass(frozen=True)
class Ids(Op):
    """Become user `uid` and group `gid` with just these supplementary groups."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    step = "set ids"

    def describe(self) -> str:
        groups = shown(",".join(map(str, self.groups))) or "none"
        return f"become uid {self.uid}, gid {self.gid}, supplementary groups {groups}"

    def encode(self, encoder: _Encoder) -> None:
        # setresuid(2) takes the largest number for "leave it": a program would go on as root.
        if not all(0 <= number < 2**32 - 1 for number in (self.uid, self.gid, *self.groups)):
            raise ValueError(f"not a user or group id: {self.describe()}")
        encoder.add("IDS", a=self.uid, b=self.gid, s1=encoder.numbers(self.groups), flags=len(self.groups))


@dataclass(frozen=True)
class Caps(Op):
    """Limit capabilities to these bits: bounding set, permitted and effective; ambient and inheritable are empty."""

    bounding: int
    permitted: int
    step = "set capabilities"

    def describe(self) -> str:
        return f"set capabilities: bounding {self.bounding:#x}, permitted and effective {self.permitted:#x}"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("CAPS", a=self.bounding, b=self.permitted)


@dataclass(frozen=True)
class NoNewPrivs(Op):
    """From now on execve adds no privileges: set-user-ID bits and capabilities of files are ignored."""

    step = "set no_new_privs"

    def describe(self) -> str:
        return "set no_new_privs: no program gains privileges by execve"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("NO_NEW_PRIVS")


@dataclass(frozen=True)
class Tty(Op):
    """Make a new terminal of the container's own devpts fds 0 to 2.

    Its master goes to whoever asked for the spawn, or is `kept` by podmon, and then does not block.  With `controls` it
    becomes the controlling terminal, of a process that leads a session.
    """

    rows: int = 0  # 0: not known yet
    columns: int = 0
    kept: bool = False
    controls: bool = False
    step = "make terminal"

    @property
    def path(self) -> str:
        return "/dev/ptmx"

    def describe(self) -> str:
        return "make a terminal from /dev/ptmx and use it as fds 0 to 2"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("TTY", a=self.rows, b=self.columns, flags=self.kept + 2 * self.controls)


@dataclass(frozen=True)
class Fork(Op):
    """Go on as a child in the pid namespace that was entered before, in a session of its own; this process ends."""

    terminal: bool = False  # fd 0 becomes its controlling terminal
    step = "join"

    def describe(self) -> str:
        return "go on inside the pid namespace" + (", with fd 0 as the terminal" if self.terminal else "")

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("FORK", flags=int(self.terminal))


@dataclass(frozen=True)
class Ready(Op):
    """Do now what Exec, the last op, would do first: after it nothing but execve is left, for a filter to allow."""

    step = "get ready"

    def describe(self) -> str:
        return "close all other files and get ready to run"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("READY")


BPF_INSTRUCTION = 8  # sizeof(struct sock_filter), linux/filter.h
BPF_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS, linux/bpf_common.h


@dataclass(frozen=True)
class Seccomp(Op):
    """Put a filter on every system call from now on, for good.

    `program` is classic BPF, an array of struct sock_filter; `name` says whose it is, for messages; `flags` are what
    seccomp(2) takes for its mode SECCOMP_SET_MODE_FILTER.  Needs CAP_SYS_ADMIN or no_new_privs.
    """

    program: bytes
    name: str
    flags: int = 0
    step = "set seccomp filter"

    def describe(self) -> str:
        count = len(self.program) // BPF_INSTRUCTION
        return f"filter system calls by the seccomp profile {shown(self.name)} ({count} instructions)"

    def hint(self, number: int) -> str | None:
        return {
            errno.EINVAL: "the kernel takes no such filter: it has bad instructions, more than "
            f"{BPF_MAX_INSTRUCTIONS} of them, or a flag that is newer than this kernel",
            errno.EACCES: "without no_new_privs a filter takes CAP_SYS_ADMIN; "
            "allowPrivilegeEscalation: false sets no_new_privs",
            errno.ENOSYS: "this kernel is built without CONFIG_SECCOMP_FILTER: only the profile Unconfined can be had",
            errno.ENOMEM: "all filters of a process together are too long",
        }.get(number)

    def encode(self, encoder: _Encoder) -> None:
        count, rest = divmod(len(self.program), BPF_INSTRUCTION)
        if rest or not 0 < count <= 0xFFFF:  # sock_fprog counts with 16 bits
            raise ValueError(f"not a BPF program: {len(self.program)} bytes")
        encoder.add("SECCOMP", s1=encoder.instructions(self.program), flags=count, a=self.flags)


@dataclass(frozen=True)
class Reap(Op):
    """Close everything and be the process 1 of a pid namespace that containers share: reap, and nothing else."""

    step = "reap"

    def describe(self) -> str:
        return "close everything and reap for ever"

    def encode(self, encoder: _Encoder) -> None:
        encoder.add("REAP")


@dataclass(frozen=True)
class Exec(Op):
    """Run the program; a name without "/" is looked up in the PATH of `env` ("KEY=value" each)."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    step = "run"

    @property
    def path(self) -> str:
        return self.argv[0]

    def describe(self) -> str:
        return f"run {shown(' '.join(self.argv))}"

    def hint(self, number: int) -> str | None:
        return {
            errno.ENOENT: f"the image has no {quoted(self.argv[0])} (nor, for a script, its interpreter) "
            "where the command or PATH points",
            errno.EACCES: "it is a directory or not executable: check its mode in the image",
            errno.ENOEXEC: "it is neither a program for this machine nor a script that begins with #!",
            errno.E2BIG: "command, args and env are too large together",
        }.get(number)

    def encode(self, encoder: _Encoder) -> None:
        encoder.add(
            "EXEC",
            s1=encoder.list(self.argv),
            a=len(self.argv),
            s2=encoder.list(self.env),
            b=len(self.env),
        )


def encode_setup(
    ops: Sequence[Op], *, listener: int | None, records: int | None, bound: bool, stall: float = 10.0
) -> Spec:
    """The spec of what podmon does in itself.

    `listener` is a bound socket for it to listen on, `records` the directory for its children's ends, both as fds;
    with `bound` podmon ends, and the pod with it, when the connection that it gets this from closes.  A client that
    takes nothing of a container's output for `stall` seconds is no longer attached.
    """
    encoder = _encoded(ops)
    return _finish(
        encoder,
        listener=encoder.optional_fd(listener),
        records=encoder.optional_fd(records),
        bound=int(bound),
        stall_ms=round(stall * 1000),
    )


def encode(
    ops: Sequence[Op],
    *,
    clone_flags: int = 0,
    cgroup: int | None = None,
    cgroup_of: int = 0,
    record: str = "",
    log: Log | None = None,
    stdin: Stdin | None = None,
    vital: bool = False,
    protocol: int | None = None,
) -> Spec:
    """The spec of a child in new namespaces `clone_flags`, for a podmon of `protocol` (None: ours).

    It is born in the cgroup behind fd `cgroup`, or in that of the pod's child number `cgroup_of`.  `record` is the name
    under which podmon writes how it ended.  podmon ends when a `vital` child has.  Raises Unsupported where the list is
    larger than podmon takes.
    """
    encoder = _encoded(ops)
    fields = {
        "cgroup": encoder.optional_fd(cgroup),
        "cgroup_of": cgroup_of,
        "clone_flags": clone_flags,
        "record_name": encoder.string(record) if record else 0,
        "vital": int(vital),
    }
    if protocol is not None:
        fields["protocol"] = protocol
    if log is not None:
        fields |= {
            "log_dir": encoder.fd(log.directory),
            "log_stdout": encoder.optional_fd(log.stdout),
            "log_stderr": encoder.optional_fd(log.stderr),
            "log_name": encoder.string(log.name),
            "log_size": log.size,
            "log_files": log.files,
            "log_block": int(log.block),
        }
    if stdin is not None:
        fields |= {"stdin_pipe": encoder.optional_fd(stdin.pipe), "stdin_open": 1, "stdin_once": int(stdin.once)}
    return _finish(encoder, **fields)


def _encoded(ops: Sequence[Op]) -> _Encoder:
    encoder = _Encoder()
    for op in ops:
        op.encode(encoder)
    return encoder


def _finish(encoder: _Encoder, **fields: int) -> Spec:
    if len(encoder.fds) > native.MAX_FDS:
        raise Unsupported(f"a container with {len(encoder.fds)} mounts", needs=f"at most {native.MAX_FDS} of them")
    data = native.encode_spec(encoder.rows, bytes(encoder.strings), nfds=len(encoder.fds), **fields)
    if len(data) > native.MAX_SPEC or len(encoder.rows) > native.MAX_OPS:
        raise Unsupported("a container whose command and env are this long", needs=f"at most {native.MAX_SPEC} bytes")
    return Spec(data, tuple(encoder.fds))


def failure(ops: Sequence[Op], *, index: int, call: int, number: int) -> SpawnError:
    """The error for an op that podmon reported as failed.

    An index past the end means the clone itself; without a list (it was another engine's) the index has to do.
    """
    name = native.CALL_NAMES.get(call, str(call))
    if index < len(ops):
        op = ops[index]
        hint = op.hint(number) or _of_filter(ops[:index], name)
        return SpawnError(number, op=op.describe(), call=name, step=op.step, filename=op.path, hint=hint)
    if ops:
        return SpawnError(number, op="clone the child", call=name, step="clone")
    return SpawnError(number, op=f"op {index}", call=name, step=f"op {index}")


def _of_filter(done: Sequence[Op], call: str) -> str | None:
    """The hint for a failure under the filter that one of the ops before has put on."""
    for op in done:
        if isinstance(op, Seccomp):
            return f"the seccomp profile {shown(op.name)} may forbid {call}, which starting a container takes"
    return None
