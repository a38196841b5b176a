"""What a pod's hostPath volumes ask of the host: that something of a type stands there, or that it is made.

The types and the words are kubelet's (pkg/volume/hostpath, checkType).  Looking makes nothing, making looks first.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from sandbox.effects import effect
from sandbox.errors import NotFound, SandboxError, shown
from sandbox.model import HostPath, HostPathType
from sandbox.pod.files import make_directory

DIRECTORY_MODE, FILE_MODE = 0o755, 0o644  # of what is made, whatever our umask

_IS: Mapping[HostPathType, tuple[Callable[[int], bool], str]] = {
    HostPathType.DIRECTORY_OR_CREATE: (stat.S_ISDIR, "a directory"),
    HostPathType.DIRECTORY: (stat.S_ISDIR, "a directory"),
    HostPathType.FILE_OR_CREATE: (stat.S_ISREG, "a file"),
    HostPathType.FILE: (stat.S_ISREG, "a file"),
    HostPathType.SOCKET: (stat.S_ISSOCK, "a socket file"),
    HostPathType.CHAR_DEVICE: (stat.S_ISCHR, "a character device"),
    HostPathType.BLOCK_DEVICE: (stat.S_ISBLK, "a block device"),
}
_MADE = (HostPathType.DIRECTORY_OR_CREATE, HostPathType.FILE_OR_CREATE)


def check(volume: str, source: HostPath) -> None:
    """Refuse what is not of its type and will not be.  Raises NotFound, SandboxError."""
    mode = _mode(volume, source.path)
    if mode is None and source.type in _MADE:
        _check_that_it_can_be_made(volume, source)
    elif mode is None and source.type is HostPathType.UNCHECKED:
        raise NotFound(
            "hostPath",
            source.path,
            f'volume "{volume}": hostPath {shown(source.path)} does not exist',
            hint=f"create it first: mkdir -p {shlex.quote(shown(source.path))}",
        )
    elif source.type is not HostPathType.UNCHECKED:
        fits, what = _IS[source.type]
        if mode is None or not fits(mode):
            reason = f"hostPath type check failed: {shown(source.path)} is not {what}"
            hint = "there is nothing: create it first, or correct the path" if mode is None else None
            raise SandboxError(f'volume "{volume}": {reason}', hint=hint)


def _check_that_it_can_be_made(volume: str, source: HostPath) -> None:
    """kubelet makes a directory with its parents, a file without."""
    parent = Path(source.path).parent
    if source.type is HostPathType.DIRECTORY_OR_CREATE:
        while not os.path.lexists(parent):
            parent = parent.parent
    if os.path.lexists(source.path) or not parent.is_dir():  # a link that leads nowhere is in the way, too
        blocker = source.path if os.path.lexists(source.path) else str(parent)
        what = "there" if blocker == source.path else "not a directory"
        raise SandboxError(
            f'volume "{volume}": hostPath {shown(source.path)} cannot be created: {shown(blocker)} is {what}'
        )


def _mode(volume: str, path: str) -> int | None:
    """The st_mode of what stands at `path`, links followed; None where nothing does."""
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SandboxError(f'volume "{volume}": hostPath {shown(path)}: {error.strerror}') from error


@effect("make a host path")
def create(volume: str, source: HostPath) -> Path:
    """Make it where its type says so and it is missing; where it is.  Raises as `check`, and OSError."""
    check(volume, source)
    path = Path(source.path)
    if source.type in _MADE and not path.exists():
        if source.type is HostPathType.DIRECTORY_OR_CREATE:
            _make_directories(path)
        else:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
            try:
                os.fchmod(fd, FILE_MODE)
            finally:
                os.close(fd)
    return path


def _make_directories(path: Path) -> None:
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for each in reversed(missing):
        make_directory(each)
        each.chmod(DIRECTORY_MODE)
