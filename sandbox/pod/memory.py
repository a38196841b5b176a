"""Volumes that are kept in memory: a pod's, as tmpfs in podmon's root, whence its containers bind them.

So they are in no mount table of the host.  They go with the mount namespace that they are in, which is podmon's.
Whoever holds that open, as `Held` does, can hand them on to the podmon that comes after one that has died.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.linux import native
from sandbox.linux.mounts import tmpfs_options
from sandbox.linux.ops import Bind, Mount, Op

POD_VOLUMES = "/volumes"  # in podmon's root


@dataclass(frozen=True)
class MemoryVolume:
    """A tmpfs of the pod's that holds `size` bytes."""

    name: str
    size: int
    mode: int = 0o777
    gid: int = 0

    @property
    def path(self) -> str:
        """In podmon's root."""
        return f"{POD_VOLUMES}/{self.name}"

    @property
    def options(self) -> tuple[str, ...]:
        return (*tmpfs_options(self.size, self.mode), f"gid={self.gid}")


@dataclass(frozen=True)
class MemoryMount:
    """A MemoryVolume of the pod, by its name, shown in a container at `target`."""

    volume: str
    target: str
    read_only: bool = False

    def op(self, *, devices: bool) -> Op:
        """Nothing in it can be opened as a device but with `devices`."""
        inert = 0 if devices else native.MOUNT_ATTR_NODEV
        read_only = native.MOUNT_ATTR_RDONLY if self.read_only else 0
        return Bind(f"{POD_VOLUMES}/{self.volume}", self.target, inert | read_only)


class Held:
    """The memory volumes of one pod, held from one podmon of it to the next."""

    def __init__(self, volumes: Sequence[MemoryVolume]) -> None:
        self.volumes = tuple(volumes)
        self.namespace: int | None = None  # the mount namespace that they are in

    @property
    def ops(self) -> list[Op]:
        """Have them in podmon's new root: empty, or, where it is in the namespace held, those that it finds there."""
        if self.namespace is not None:
            return [Bind(volume.path, volume.path) for volume in self.volumes]
        return [Mount("tmpfs", volume.path, volume.options) for volume in self.volumes]

    def hold(self, podmon: int) -> None:
        """Hold those of a podmon that is set up, by its pidfd."""
        if not self.volumes:
            return
        pid = native.pid_of(podmon)
        try:
            held = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return
        if native.pid_of(podmon) != pid:  # and that may be somebody else's
            os.close(held)
            return
        self.let_go()
        self.namespace = held

    def let_go(self) -> None:
        """Have them end with their podmon.  Idempotent."""
        if self.namespace is not None:
            os.close(self.namespace)
            self.namespace = None


NOTHING = Held(())
