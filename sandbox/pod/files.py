"""Files and directories of ours, below a root.

A file is replaced whole, so whoever writes it may be killed at any moment; what is to outlive a power cut, too, is
synced.
"""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.effects import effect


@effect("make a directory")
def make_directory(path: Path, mode: int = 0o700, *, exist_ok: bool = False) -> None:
    """Make it, and those above it that are missing where it may exist already."""
    path.mkdir(mode=mode, parents=exist_ok, exist_ok=exist_ok)


@effect("rename")
def rename(path: Path, target: Path) -> None:
    """Have it take the target's place."""
    path.rename(target)


@effect("remove a file")
def remove_file(path: Path) -> None:
    """Remove it.  Idempotent."""
    path.unlink(missing_ok=True)


def write_file(path: Path, data: str, *, mode: int | None = None, synced: bool = False) -> None:
    """Put a file there whole, in the place of what stood there; if `synced`, for good.

    Raises OSError, and has then left what stood there, or, where only the last sync failed, put it there.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        _write(fresh, data, mode, synced)
        rename(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        error.filename = error.filename or str(path)  # of a full disk it does not say which file
        raise
    if synced:
        sync(path.parent)


@effect("write a file")
def _write(path: Path, data: str, mode: int | None, synced: bool) -> None:
    with path.open("w") as file:
        file.write(data)
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        if synced:
            file.flush()
            os.fsync(file.fileno())


@effect("sync")
def sync(path: Path) -> None:
    """Have a file, or what a directory has in it, outlive a power cut.  Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
