"""Who a container's program is: ids and groups as asked for, with what its rootfs' /etc/passwd and /etc/group add.

Those files are the image's: they may hold anything, be links to anywhere, and are looked at only inside the rootfs.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import KernelError, SandboxError
from sandbox.linux import native
from sandbox.model import MAX_ID

MAX_BYTES = 1 << 20  # of such a file: many thousand users
MAX_GROUPS = 65536  # NGROUPS_MAX, limits.h
NOWHERE = "/"  # the home of a user whom the rootfs does not know, as runc has it


@dataclass(frozen=True)
class User:
    """`groups` are the supplementary ones, the primary `gid` among them: no group's denial is got round by leaving it
    out."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def find(rootfs: Path, uid: int, gid: int | None, groups: tuple[int, ...]) -> User:
    """The user `uid` in the rootfs, with `gid` in the place of its own group, and with these groups beside its own.

    Raises SandboxError where the rootfs' files are no such files.
    """
    return resolve(uid, gid, groups, passwd=read(rootfs, "/etc/passwd"), group=read(rootfs, "/etc/group"))


def resolve(uid: int, gid: int | None, groups: tuple[int, ...], *, passwd: str, group: str) -> User:
    """As `find`, from the text of the two files.  Pure; raises SandboxError for more groups than a process can have."""
    account = next((each for each in _accounts(passwd) if each.uid == uid), None)
    primary = gid if gid is not None else account.gid if account else 0
    own = _groups_of(account.name, group) if account else ()
    every = tuple(dict.fromkeys((primary, *own, *groups)))
    if len(every) > MAX_GROUPS:
        raise SandboxError(f"user {uid} is in {len(every)} groups, and a process can be in {MAX_GROUPS}")
    return User(uid, primary, every, account.home if account else NOWHERE)


def _groups_of(name: str, text: str) -> tuple[int, ...]:
    # A group of the user's own name is its primary one, if it is any: containerd leaves it out.
    return tuple(each.gid for each in _groups(text) if name in each.members and each.name != name)


def _accounts(text: str) -> Iterator[_Account]:
    """passwd(5); lines that are none are passed over."""
    for fields in _lines(text, 7):
        uid, gid = _id(fields[2]), _id(fields[3])
        if uid is not None and gid is not None:
            yield _Account(fields[0], uid, gid, fields[5] or NOWHERE)


def _groups(text: str) -> Iterator[_Group]:
    """group(5); lines that are none are passed over."""
    for fields in _lines(text, 4):
        gid = _id(fields[2])
        if gid is not None:
            yield _Group(fields[0], gid, tuple(name.strip() for name in fields[3].split(",")))


def _lines(text: str, count: int) -> Iterator[list[str]]:
    """The lines of `count` fields; one with a NUL, which could not be handed on, is none."""
    for line in text.split("\n"):
        fields = line.strip().split(":")
        if len(fields) == count and fields[0] and "\0" not in line:
            yield fields


def _id(text: str) -> int | None:
    """The number of a user or group; None for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return None
    return number if (number := int(text)) <= MAX_ID else None


def read(rootfs: Path, path: str) -> str:
    """The text of a file of the rootfs; empty where there is none.

    Raises SandboxError for one that is no file, is too large or cannot be read.
    """
    with ExitStack() as fds:
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        fds.callback(os.close, root)
        try:
            node = native.open_in_root(root, path, os.O_PATH)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return ""
            raise
        fds.callback(os.close, node)
        # Looked at before it is opened: a device or a pipe of the image's would do something, or never answer.
        if not stat.S_ISREG(os.fstat(node).st_mode):
            raise SandboxError(f"the image's {path} is not a file")
        with Path(f"/proc/self/fd/{node}").open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise SandboxError(f"the image's {path} is larger than {MAX_BYTES} bytes")
    return data.decode("utf-8", "surrogateescape")
