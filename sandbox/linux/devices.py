"""The host's device nodes, as the /dev of a privileged container (SEMANTICS A43)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from sandbox.linux import native

DEV = Path("/dev")

# What containerd leaves out of it: filesystems that a container has of its own, and other runtimes' places.
_OTHERS = {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"}
_TERMINALS = {"console", "ptmx"}  # a container's own devpts has the latter
_SIZE = 64 << 10  # bytes, of files that somebody puts there; nodes take none
_SPARE = 1024  # inodes, for nodes that the container makes


@dataclass(frozen=True)
class Node:
    """A device node: `path` is relative to /dev, `mode` includes its type."""

    path: PurePath
    mode: int
    uid: int
    gid: int
    device: int


def find(directory: Path = DEV) -> list[Node]:
    """The device nodes at and below a directory of one filesystem, sorted; one that goes meanwhile is left out."""
    return sorted(_find(directory, PurePath(), directory.stat().st_dev), key=lambda node: node.path)


def _find(directory: Path, below: PurePath, filesystem: int) -> Iterator[Node]:
    for entry in os.scandir(directory):
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(found.st_mode):
            if found.st_dev == filesystem and entry.name not in _OTHERS:
                yield from _find(Path(entry.path), below / entry.name, filesystem)
        elif (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)) and entry.name not in _TERMINALS:
            yield Node(below / entry.name, found.st_mode, found.st_uid, found.st_gid, found.st_rdev)


def filesystem(nodes: list[Node]) -> int:
    """The fd of a detached tmpfs with nodes like these, and room for others.

    Nodes of its own: their modes and owners are the container's to change, not the host's.  And not the host's /dev
    bound: a container that may write there could take away the host's.
    """
    directories = sorted({parent for node in nodes for parent in node.path.parents} - {PurePath()})
    inodes = len(nodes) + len(directories) + _SPARE
    options = {"size": str(_SIZE), "nr_inodes": str(inodes), "mode": "755"}
    fd = native.new_mount("tmpfs", options, native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NOEXEC)
    try:
        for path in directories:
            os.mkdir(path, dir_fd=fd)
            os.chmod(path, 0o755, dir_fd=fd)
        for node in nodes:
            os.mknod(node.path, node.mode, node.device, dir_fd=fd)
            os.chown(node.path, node.uid, node.gid, dir_fd=fd, follow_symlinks=False)
            os.chmod(node.path, stat.S_IMODE(node.mode), dir_fd=fd)  # chown and our umask take bits away
    except OSError:
        os.close(fd)
        raise
    return fd
