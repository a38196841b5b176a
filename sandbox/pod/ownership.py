"""What belongs to whom in a volume: a tree given to a group, as kubelet gives it to a pod's fsGroup.

The tree may be some container's, and change while we walk it: what is found is opened first, without following links,
and only then changed, through its descriptor.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sandbox.effects import effect
from sandbox.errors import SandboxError

MAX_DEPTH = 256  # directories that are open at once; a container decides how deep it goes

# kubelet's rwMask, execMask and setgid (pkg/volume/volume_linux.go).
_FILE = 0o660
_DIRECTORY = 0o660 | 0o110 | stat.S_ISGID


@effect("give a volume to a group")
def give_to_group(directory: Path, gid: int) -> None:
    """Have the tree belong to the group, which may then read and write all of it; new files will be its, too.

    Owners stay.  Raises OSError, and SandboxError where the tree is deeper than MAX_DEPTH.
    """
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    _give(top, gid)
    levels: list[tuple[int, Iterator[str]]] = [(top, _names(top))]
    try:
        while levels:
            fd, names = levels[-1]
            name = next(names, None)
            if name is None:
                os.close(fd)
                levels.pop()
            elif (below := _give_entry(fd, name, gid)) is not None:
                levels.append((below, _names(below)))
                if len(levels) > MAX_DEPTH:
                    raise SandboxError(f"{directory} cannot be given to a group: it is deeper than {MAX_DEPTH} levels")
    finally:
        for fd, _ in levels:
            os.close(fd)


def _names(directory: int) -> Iterator[str]:
    with os.scandir(directory) as entries:
        return iter([entry.name for entry in entries])


def _give_entry(directory: int, name: str, gid: int) -> int | None:
    """Give one thing away; a directory's fd."""
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:  # it has just gone
        return None
    try:
        if not stat.S_ISDIR(_give(fd, gid)):
            return None
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    finally:
        os.close(fd)


def _give(fd: int, gid: int) -> int:
    """Give what is behind the descriptor away, unless it is already; its mode before."""
    path, before = f"/proc/self/fd/{fd}", os.fstat(fd)
    mode = before.st_mode
    more = 0 if stat.S_ISLNK(mode) else _DIRECTORY if stat.S_ISDIR(mode) else _FILE  # a link's says nothing
    if before.st_gid != gid:
        os.chown(path, -1, gid)
    elif mode & more == more:
        return mode
    if more:
        Path(path).chmod(stat.S_IMODE(mode) | more)  # chown has taken the bits of set-user-ID, too
    return mode
