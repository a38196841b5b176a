"""Mounts that the engine makes and hands over as fds.

Each is detached: it is in no mount table until a container's child attaches it, and it is gone with its last
fd.  So a crash at any moment leaves no mount behind.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from pathlib import Path

from sandbox.errors import KernelError
from sandbox.linux import native

INERT = native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NODEV | native.MOUNT_ATTR_NOEXEC
PAGE = 4096


def tmpfs_options(size: int, mode: int, *, inodes: int | None = None) -> tuple[str, ...]:
    """Options of a tmpfs of `size` bytes that holds at most `inodes`, or else one a page.

    The inode limit is no luxury: an empty file costs a tmpfs none of its bytes, so a million fit into any size.
    """
    return (f"size={size}", f"nr_inodes={inodes or max(size // PAGE, 16)}", f"mode={mode:o}")


def tmpfs(size: int, mode: int, *, inodes: int | None = None) -> int:
    """The fd of a detached tmpfs of `size` bytes whose root has `mode`; no devices, no setuid, no programs."""
    options = dict(option.split("=", 1) for option in tmpfs_options(size, mode, inodes=inodes))
    return native.new_mount("tmpfs", options, INERT)


def open_proc(fds: ExitStack) -> int:
    """An fd of the host's /proc, until `fds` closes it: for what a process can only be told by way of its files."""
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    fds.callback(os.close, proc)
    return proc


def overlay(lower: Path, upper: Path, work: Path, *, devices: bool = False) -> int:
    """The fd of a detached overlay: `lower` read-only below, writes into `upper`.

    Without `devices` it is nodev, as every mount of a container is, because that may make device nodes (CAP_MKNOD).
    The three are named as /proc/self/fd/N: no length, comma or colon of a path gets into the options, and a
    container reads nothing of the host's layout in its mount table.  volatile: the upper layer is never used
    again, so nothing need be synced when it goes.
    """
    with ExitStack() as layers:
        names = []
        for path in (lower, upper, work):
            layer = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            layers.callback(os.close, layer)
            names.append(f"/proc/self/fd/{layer}")
        options: dict[str, str | None] = {
            "source": "overlay",
            "lowerdir": names[0],
            "upperdir": names[1],
            "workdir": names[2],
            "volatile": None,
        }
        try:
            fd = native.new_mount("overlay", options, 0 if devices else native.MOUNT_ATTR_NODEV)
        except KernelError as error:
            error.hint = error.hint or f"{upper} must be on a filesystem that overlayfs can write to (ext4, xfs, tmpfs)"
            raise
    with ExitStack() as undo:
        undo.callback(os.close, fd)
        _require_writable(fd, work)
        undo.pop_all()
    return fd


def _require_writable(fd: int, work: Path) -> None:
    """overlayfs becomes read-only, and says so in the kernel's log alone, where it cannot use its work directory."""
    if os.statvfs(fd).f_flag & os.ST_RDONLY:
        hint = "the kernel could not write there and fell back to read-only: a full disk, or no extended attributes"
        raise KernelError(errno.EROFS, step="mount overlay", filename=str(work), hint=hint)


def bind(path: Path, *, read_only: bool = False, devices: bool = False) -> int:
    """The fd of a detached, private copy of the mount tree at `path`, nodev all the way down but for `devices`.

    With those a mount that is nodev on the host still is here.  `read_only` is that of a volumeMount: of the mount
    itself, not of those below it, which would be recursiveReadOnly.
    """
    fd = native.open_tree(str(path), native.OPEN_TREE_CLONE | native.AT_RECURSIVE)
    try:
        inert = 0 if devices else native.MOUNT_ATTR_NODEV
        native.mount_setattr(fd, set_=inert, propagation=native.MS_PRIVATE, recursive=True)
        if read_only:
            native.mount_setattr(fd, set_=native.MOUNT_ATTR_RDONLY)
    except KernelError:
        os.close(fd)
        raise
    return fd
