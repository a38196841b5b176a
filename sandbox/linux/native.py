"""The extension as Python sees it: the only importer of `_native`.

Every function here is one system call, or the one clone; a failure is a KernelError that names the step and
the path.  Numbers that C and Python share come from csrc/spawn.h through cffi, so none is typed twice; those
below are Linux's own, with their header.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import select
import struct
import termios
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.errors import KernelError, Unsupported
from sandbox.linux._native import ffi, lib

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
OPEN_TREE_CLONE = 0x1
AT_RECURSIVE = 0x8000  # linux/fcntl.h
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MS_PRIVATE = 1 << 18

# linux/wait.h: also wait for children whose exit sends no SIGCHLD, as podmon's does not before its execve
WALL = 0x40000000

MFD_EXEC = 0x10  # linux/memfd.h, since 6.3
F_ADD_SEALS = 1033  # linux/fcntl.h
SEALS = 0x2 | 0x4 | 0x8  # F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE

PODMON = Path(__file__).parent / "podmon"


def _enum(name: str, prefix: str) -> dict[str, int]:
    """The members of a C enum without their prefix: {"GATE": 2, …}."""
    return {member.removeprefix(prefix): value for member, value in ffi.typeof(f"enum {name}").relements.items()}


OP = _enum("sp_op_kind", "SP_OP_")
CALL_NAMES = {value: name.lower() for name, value in _enum("sp_call", "SP_CALL_").items()}
GATE = _enum("sp_gate", "SP_GATE_")
MESSAGE = _enum("sp_message_type", "SP_")
SCOPE = _enum("sp_scope", "SP_")
STREAM = _enum("sp_stream", "SP_STREAM_")
PROTOCOL: int = lib.SP_PROTOCOL
PROTOCOL_OLDEST: int = lib.SP_PROTOCOL_OLDEST
MAX_FDS: int = lib.SP_MAX_FDS
MAX_SPEC: int = lib.SP_MAX_SPEC
MAX_OPS: int = lib.SP_MAX_OPS
NO_FD: int = lib.SP_NO_FD
MESSAGE_SIZE: int = ffi.sizeof("struct sp_message")
MESSAGE_OLDEST: int = lib.SP_MESSAGE_OLDEST
MESSAGE_ROOM = 4096  # bytes: for a message of any podmon, a newer one's too


@dataclass(frozen=True)
class Launched:
    """A podmon that has been cloned: `pidfd` is the caller's to close.

    The times are taken in C, so the interpreter's lock is in none: `exec_ns` from the call to the child's execve,
    `elapsed_ns` to the return, with execve itself and the caller's waking up; `cpu_ns` is the caller's processor time.
    """

    pidfd: int
    pid: int
    exec_ns: int
    elapsed_ns: int
    cpu_ns: int


@functools.cache
def _podmon_program() -> bytes:
    try:
        return PODMON.read_bytes()
    except FileNotFoundError as missing:
        raise Unsupported("starting a pod", needs=f"{PODMON.name}, built", hint="run `make setup`") from missing


def podmon_memfd() -> int:
    """A sealed memfd with podmon in it, for one launch.

    From a memfd, because a container can have podmon's executable re-opened (`#!/proc/self/exe` in an image): what it
    gets must be nobody's file, and unwritable.  One for each, because seals do not stop chmod and chown: root in a
    container could keep a shared one from being executed ever again.
    """
    return sealed_memfd("podmon", _podmon_program(), executable=True)


def sealed_memfd(name: str, data: bytes, *, executable: bool = False) -> int:
    """A close-on-exec memfd that holds `data` and that nobody can change any more."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create(name, flags | MFD_EXEC if executable else flags)
    except OSError as error:
        if not executable or error.errno != errno.EINVAL:  # before 6.3 every memfd was executable
            raise KernelError(error.errno or 0, step="memfd_create", filename=name) from None
        fd = os.memfd_create(name, flags)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    except OSError as error:
        os.close(fd)
        raise KernelError(error.errno or 0, step="fill memfd", filename=name) from None
    return fd


def launch(*, namespaces: int, control: int, cgroup: int, title: str) -> Launched:
    """Clone podmon into new `namespaces` (CLONE_NEW* bits) and the cgroup directory `cgroup`.

    `control` becomes its control socket.  Raises KernelError; nothing is left then.
    """
    with ExitStack() as fds:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        fds.callback(os.close, null)
        exe = podmon_memfd()
        fds.callback(os.close, exe)
        title_text = ffi.new("char[]", os.fsencode(title))
        fields = {"namespaces": namespaces, "exe": exe, "control": control, "cgroup": cgroup, "null": null}
        request = ffi.new("struct sp_launch *", {**fields, "title": title_text})
        result = ffi.new("struct sp_launched *")
        failed = lib.sp_launch(request, result)
    if failed:
        raise KernelError(-failed, step=f"start podmon: {CALL_NAMES[result.call]}", hint=_launch_hint(-failed))
    return Launched(result.pidfd, result.pid, result.exec_ns, result.elapsed_ns, result.cpu_ns)


def _launch_hint(number: int) -> str | None:
    return {
        errno.EPERM: "seedpod needs root with CAP_SYS_ADMIN in the first user namespace",
        errno.ENOSPC: "a limit of /proc/sys/user/max_*_namespaces is reached",
        errno.EAGAIN: "a limit on processes is reached (ulimit -u, pids.max, kernel.pid_max)",
    }.get(number)


def pump(source: int, sink: int, *, stop: int, drain: bool) -> bool:
    """Move bytes until `source` ends (True), or until `stop` is readable or nobody takes them any more (False).

    With `drain` what is in `source` when `stop` becomes readable is moved still.  For a thread of its own: it blocks,
    without the interpreter's lock, and takes no signals.  Raises KernelError.
    """
    result = lib.sp_pump(source, sink, stop, int(drain))
    if result < 0 and result != -errno.EPIPE:
        raise KernelError(-result, step="relay")
    return bool(result == lib.SP_PUMPED_ALL)


def pipe() -> tuple[int, int]:
    """A pipe, close-on-exec: the ends to read and to write."""
    try:
        return os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(error.errno or 0, step="make a pipe") from None


def resize(terminal: int, rows: int, columns: int) -> None:
    """Set the size of the terminal behind its master; its foreground processes get SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def pid_of(pidfd: int) -> int:
    """The process number behind a pidfd as this process sees it; -1 once it has been reaped."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return -1


def has_ended(pidfd: int) -> bool:
    """Whether the process is no more, or a zombie."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _fd(result: int, step: str, path: str | None = None) -> int:
    if result < 0:
        raise KernelError(-result, step=step, filename=path)
    return result


def setns(fd: int, namespaces: int) -> None:
    """Move the calling thread into the namespace(s) behind `fd`, setns(2)."""
    _fd(lib.sp_setns(fd, namespaces), "setns")


def open_in_root(root: int, path: str, flags: int) -> int:
    """openat2(2): `path` as who has the directory `root` for a root would find it, no link leading out of it."""
    return _fd(lib.sp_open_in_root(root, os.fsencode(path), flags), "open", path)


def open_tree(path: str, flags: int = 0, dirfd: int = -100) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a detached copy of the mount at `path`, which dies with its last fd."""
    return _fd(lib.sp_open_tree(dirfd, os.fsencode(path), flags), "open_tree", path)


def mount_setattr(fd: int, *, set_: int = 0, clear: int = 0, propagation: int = 0, recursive: bool = False) -> None:
    """mount_setattr(2) on the mount behind `fd`; MOUNT_ATTR_* bits."""
    _fd(lib.sp_mount_setattr(fd, AT_RECURSIVE if recursive else 0, set_, clear, propagation), "mount_setattr")


def new_mount(fstype: str, options: Mapping[str, str | None], attributes: int) -> int:
    """The fd of a detached mount of a new filesystem; an option whose value is None is a flag.

    Raises KernelError with what the kernel wrote into the context's log as its note.
    """
    with _filesystem(fstype) as context:
        for key, value in options.items():
            if value is None:
                made = lib.sp_fsconfig_flag(context, key.encode())
            else:
                made = lib.sp_fsconfig_string(context, key.encode(), os.fsencode(value))
            _said(context, made, f"mount {fstype}: option {key}", value)
        _said(context, lib.sp_fsconfig_create(context), f"mount {fstype}", None)
        return _said(context, lib.sp_fsmount(context, attributes), f"mount {fstype}", None)


@contextmanager
def _filesystem(fstype: str) -> Iterator[int]:
    context = lib.sp_fsopen(fstype.encode())
    if context < 0:
        hint = f"the kernel lacks {fstype}: modprobe {fstype}" if context == -errno.ENODEV else None
        raise KernelError(-context, step="fsopen", filename=fstype, hint=hint)
    try:
        yield context
    finally:
        os.close(context)


def _said(context: int, result: int, step: str, path: str | None) -> int:
    """`result`, or a KernelError with the filesystem's own words, which fsopen(2) leaves to be read."""
    if result >= 0:
        return result
    words = []
    try:
        while text := os.read(context, 4096):
            words.append(text.decode(errors="replace").strip())
    except OSError as end:  # ENODATA: nothing more was logged
        if end.errno != errno.ENODATA:
            raise
    raise KernelError(-result, step=step, filename=path, hint="; ".join(words) or None)


def encode_message(**fields: int) -> bytes:
    """A `struct sp_message` with `fields` set, the rest 0.

    What the oldest podmon has no room for comes along only where it is set.
    """
    data = bytes(ffi.buffer(ffi.new("struct sp_message *", fields)))
    return data if any(data[MESSAGE_OLDEST:]) else data[:MESSAGE_OLDEST]


def decode_message(data: bytes) -> Any:
    """The `struct sp_message` in `data`, of which an older podmon sends less, and a newer one more."""
    message = ffi.new("struct sp_message *")
    ffi.memmove(message, data, min(len(data), MESSAGE_SIZE))
    return message


_FDS = ("cgroup", "listener", "records", "log_dir", "log_stdout", "log_stderr", "stdin_pipe")


def encode_spec(rows: list[dict[str, int]], strings: bytes, **fields: int) -> bytes:
    """A spawn spec as podmon reads it: header, ops, string table.

    An fd that `fields` leave out is none, and the protocol is ours unless they name an older one.
    """
    ops = ffi.new("struct sp_op[]", rows)
    header = ffi.new(
        "struct sp_spec *",
        {
            "magic": lib.SP_MAGIC,
            "protocol": PROTOCOL,
            "size": ffi.sizeof("struct sp_spec") + ffi.sizeof(ops) + len(strings),
            "nops": len(rows),
            "strings": len(strings),
            **dict.fromkeys(_FDS, NO_FD),
            **fields,
        },
    )
    return bytes(ffi.buffer(header)) + bytes(ffi.buffer(ops)) + strings
