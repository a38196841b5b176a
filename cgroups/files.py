"""The one opener of cgroup files.

A `Directory` is a cgroup's directory, held open and proven to lie on a cgroup2 filesystem; whatever is read, written,
made or removed goes through its fd.  So a path that is wrong, or that changes under the caller, can end in an error
but never in a write or an rmdir somewhere else.  This module knows how the kernel says no and what that means; it
must not know what any file is for.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import select
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cgroups.errors import CgroupError, NoSuchCgroup, Unsupported

CGROUP2_SUPER_MAGIC = 0x63677270  # linux/magic.h

# O_PATH needs only search permission, and CLONE_INTO_CGROUP takes such a descriptor (clone3, "CLONE_INTO_CGROUP").
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Seconds.  A waiter looks again this often even without a notification: rmdir cancels one that the kernel still
# holds back (it sends at most one per file in 10 ms), and removal itself wakes nobody.
_LOOK_AGAIN = 0.25

# How the kernel, or `opened`, says that a path does not lead to a cgroup for this process.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG}

_STATFS_BYTES = 256  # more than struct statfs has on any architecture

_libc = ctypes.CDLL(None, use_errno=True)

# openat2(2), which neither os nor the C library has: its number on every architecture but alpha.
_SYS_OPENAT2 = 437
_AT_FDCWD, _RESOLVE_NO_SYMLINKS = -100, 0x04  # linux/fcntl.h, linux/openat2.h
_HOW = struct.pack("=QQQ", _DIRECTORY, 0, _RESOLVE_NO_SYMLINKS)  # struct open_how: flags, mode, resolve
_libc.syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_libc.syscall.restype = ctypes.c_long

# What a file that is absent from a cgroup other than the root would need, though its controller is on.
_NEEDS = {
    "cgroup.freeze": "kernel >= 5.2",
    "cgroup.kill": "kernel >= 5.14",
    "cgroup.pressure": "kernel >= 6.1 with CONFIG_PSI",
    "hugetlb": "huge pages of this size: see /sys/kernel/mm/hugepages",
    "memory.oom.group": "kernel >= 4.19",
    "memory.swap.max": "a kernel with CONFIG_SWAP that was not booted with swapaccount=0",
    "cpu.pressure": "a kernel with CONFIG_PSI that was not booted with psi=0",
    "io.pressure": "a kernel with CONFIG_PSI that was not booted with psi=0",
    "memory.pressure": "a kernel with CONFIG_PSI that was not booted with psi=0",
}

# (file, or None for any; errno): the kernel's rule behind the refusal and the cure.  Sources: cgroup-v2.rst "Threads",
# "No Internal Process Constraint", "Delegation Containment", "Core Interface Files".
_HINTS: dict[tuple[str | None, int], str] = {
    ("cgroup.procs", errno.EBUSY): "a cgroup with controllers in cgroup.subtree_control holds no processes itself; "
    "use a child cgroup",
    ("cgroup.procs", errno.EOPNOTSUPP): "the cgroup is threaded or an invalid domain; see its cgroup.type",
    ("cgroup.procs", errno.ESRCH): "no process of this pid namespace has that pid",
    ("cgroup.procs", errno.EINVAL): "not a pid, or a kernel thread that is bound to a CPU",
    ("cgroup.procs", errno.EACCES): "moving a process needs write access to cgroup.procs of the target and of the "
    "common ancestor; be root, or stay inside one delegated subtree",
    ("cgroup.procs", errno.ENOENT): "the process is in a cgroup outside of this cgroup namespace",
    ("cgroup.subtree_control", errno.EBUSY): "the cgroup holds processes itself; move them into a child cgroup first",
    (
        "cgroup.subtree_control",
        errno.EOPNOTSUPP,
    ): "the cgroup is threaded; only threaded controllers can be on below it",
    ("cpu.weight", errno.ERANGE): "a weight is 1 to 10000",
    ("cpu.max", errno.EINVAL): "a quota is 1000 microseconds at least, a period 1000 to 1000000",
    ("pids.max", errno.EINVAL): "at most 4194304, or max",
    ("cgroup.kill", errno.EOPNOTSUPP): "the cgroup is threaded; kill its domain cgroup",
    (None, errno.EACCES): "be root, or use a subtree that was delegated to this user",
    (None, errno.EPERM): "be root, or use a subtree that was delegated to this user",
    (None, errno.EROFS): "cgroup2 is mounted read-only here; remount it read-write",
    (None, errno.EINVAL): "the kernel does not take this value",
    (None, errno.ENODEV): "the device that the value names does not exist",
    (None, errno.EAGAIN): "cgroup.max.descendants or cgroup.max.depth of this cgroup or of one above is reached",
    (None, errno.ENOMEM): "memory.max of a cgroup above may be too low for one more",
    (None, errno.EEXIST): "a cgroup or a cgroup file of this name is there already",
}


@dataclass(frozen=True)
class Directory:
    """A cgroup directory held open: `fd` (O_PATH) stays the caller's to borrow, not to close; see `opened`."""

    fd: int
    path: Path

    def read(self, name: str) -> str:
        """The whole text of the cgroup file `name`.  Raises Unsupported where this cgroup has no such file."""
        with self._file(name, os.O_RDONLY) as fd:
            return self._text(fd, name)

    def keyed(self, name: str) -> dict[str, int]:
        """A flat keyed file (cgroup-v2.rst "Format") as a dict, e.g. `cgroup.events`."""
        return parse_keyed(self.read(name))

    def number(self, name: str) -> int:
        """A file that holds one number."""
        return int(self.read(name))

    def write(self, name: str, value: str) -> None:
        """Writes `value` to the cgroup file `name` in one call: the kernel takes a value whole or not at all."""
        with self._file(name, os.O_WRONLY, value) as fd:
            try:
                os.write(fd, os.fsencode(value))
            except OSError as error:
                raise self._error(error, name, value) from None

    def wait(self, name: str, until: Callable[[str], bool], timeout: float | None) -> bool:
        """Waits until the text of `name`, a file that notifies, satisfies `until`; False after `timeout` seconds.

        Looks at once, at every notification and at the deadline; None waits for ever.  The kernel sends at most one
        notification per file in 10 ms, the last one included.  Raises NoSuchCgroup when the cgroup is removed.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        with self._file(name, os.O_RDONLY) as fd:
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            while not until(self._text(fd, name)):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                poll.poll(math.ceil(min(remaining, _LOOK_AGAIN) * 1000))
        return True

    def children(self) -> list[str]:
        """The names of the child cgroups, sorted."""
        try:
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                with os.scandir(fd) as entries:
                    names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(error, None) from None
        if not names and not self.has("cgroup.procs"):  # a removed directory lists as an empty one
            raise NoSuchCgroup(errno.ENOENT, "no such cgroup", str(self.path))
        return names

    def make(self, name: str) -> None:
        """Makes the child cgroup `name` (mode 0755 less the umask); EEXIST where it is there already."""
        try:
            os.mkdir(name, 0o755, dir_fd=self.fd)
        except OSError as error:
            raise self._error(error, name) from None

    def remove(self, name: str) -> None:
        """Removes the child cgroup `name`; EBUSY while it holds processes or cgroups.  Never follows a symlink."""
        try:
            os.rmdir(name, dir_fd=self.fd)
        except FileNotFoundError:
            raise NoSuchCgroup(errno.ENOENT, "no such cgroup", str(self.path / name)) from None
        except OSError as error:
            raise self._error(error, name) from None

    @contextmanager
    def _file(self, name: str, mode: int, value: str | None = None) -> Iterator[int]:
        try:
            fd = os.open(name, mode | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            raise self._absent(name, value) from None
        except OSError as error:
            raise self._error(error, name, value) from None
        try:
            yield fd
        finally:
            os.close(fd)

    def _text(self, fd: int, name: str) -> str:
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            return os.fsdecode(b"".join(iter(lambda: os.read(fd, 65536), b"")))
        except OSError as error:
            raise self._error(error, name) from None

    def has(self, name: str) -> bool:
        """Whether there is a file `name`: of a controller that is on, in a kernel that knows it."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _absent(self, name: str, value: str | None) -> CgroupError:
        """Why there is no file `name`: no cgroup any more, the root cgroup, or a host that lacks it."""
        if not self.has("cgroup.procs"):  # every cgroup has it
            return NoSuchCgroup(errno.ENOENT, "no such cgroup", str(self.path))
        controller = name.partition(".")[0]
        if not self.has("cgroup.type"):  # every cgroup but the root has it
            needs = "a cgroup below the root cgroup"
        elif controller == "cgroup" or controller in self.read("cgroup.controllers").split():
            needs = _NEEDS.get(name) or _NEEDS.get(controller, "a newer kernel")
        else:
            enabled = f"the cgroup v2 controller {controller}, in cgroup.subtree_control of the parent"
            needs = _NEEDS[name] if name.endswith(".pressure") else enabled
        return Unsupported(errno.ENOENT, "no such cgroup file", str(self.path / name), needs=needs, value=value)

    def _error(self, error: OSError, name: str | None, value: str | None = None) -> CgroupError:
        code = error.errno or 0
        # Both also have meanings of their own (io.max: no such device), so look whether the cgroup is still there.
        if code in (errno.ENODEV, errno.ENOENT) and not self.has("cgroup.procs"):
            return NoSuchCgroup(code, "no such cgroup", str(self.path))
        path = self.path if name is None else self.path / name
        hint = _HINTS.get((name, code)) or _HINTS.get((None, code))
        return CgroupError(code, None, str(path), value=value, hint=hint)


@contextmanager
def opened(path: Path) -> Iterator[Directory]:
    """The cgroup directory at the absolute `path`, closed at the end of the block.

    No component may be a symlink.  Raises NoSuchCgroup where it is missing from a cgroup2 filesystem, and CgroupError
    EINVAL where it is, or would have to be, on any other.
    """
    fd = _opened_at_once(path)
    if fd < 0:
        fd = _walk(path)  # which finds out why; or this kernel cannot, or may not, do it in one call
    try:
        if not _on_cgroup2(fd):
            raise _foreign(path)
        yield Directory(fd, path)
    finally:
        os.close(fd)


def is_cgroup2(path: Path) -> bool:
    """Whether `path` is a directory on a cgroup2 filesystem; False too where it is missing or out of reach.

    Raises OSError where that cannot be known: no descriptor is left, or no memory.
    """
    try:
        with opened(path):
            return True
    except CgroupError as error:
        if error.errno not in _NOT_THERE:
            raise
        return False


def parse_keyed(text: str) -> dict[str, int]:
    """`populated 1\\nfrozen 0\\n` as `{"populated": 1, "frozen": 0}`."""
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def _opened_at_once(path: Path) -> int:
    """What `_walk` gives, by one system call; -1 where that fails, whatever the reason."""
    return int(_libc.syscall(_SYS_OPENAT2, _AT_FDCWD, os.fsencode(path), _HOW, len(_HOW)))


def _walk(path: Path) -> int:
    """An O_PATH fd of the absolute `path`, opened one component at a time so that none can be a symlink."""
    fd = os.open("/", _DIRECTORY)
    for part in path.parts[1:]:
        try:
            inner = os.open(part, _DIRECTORY, dir_fd=fd)
        except OSError as error:
            raise _unreachable(error, path, part, fd) from None
        finally:
            os.close(fd)
        fd = inner
    return fd


def _unreachable(error: OSError, path: Path, part: str, fd: int) -> CgroupError:
    """What it means that `part` of `path` could not be opened in the directory `fd`."""
    if error.errno == errno.ENOENT:
        if _on_cgroup2(fd):
            return NoSuchCgroup(errno.ENOENT, "no such cgroup", str(path))
        return _foreign(path)
    hint = _HINTS.get((None, error.errno or 0))
    if error.errno == errno.ENOTDIR:
        hint = f"{part!r} is a symbolic link or a file; name a cgroup by its real path"
    return CgroupError(error.errno or 0, None, str(path), hint=hint)


def _foreign(path: Path) -> CgroupError:
    hint = "a cgroup lies below the root of a cgroup2 mount, which itself is neither made nor removed"
    return CgroupError(errno.EINVAL, "not on a cgroup2 filesystem", str(path), hint=hint)


def _on_cgroup2(fd: int) -> bool:
    """fstatfs(2): the kernel's own word for the filesystem, which os.statvfs leaves out.

    f_type is the first member on every architecture; its first 32 bits are the magic on all that are little-endian
    and on s390x, where it is no wider.
    """
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, buffer) != 0:
        code = ctypes.get_errno()
        raise CgroupError(code, None, f"/proc/self/fd/{fd}")
    (magic,) = struct.unpack_from("=I", buffer)
    return bool(magic == CGROUP2_SUPER_MAGIC)
