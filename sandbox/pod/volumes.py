"""The pod's volumes, as directories and files on the host."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Mapping
from pathlib import Path

from sandbox.model import ClaimVolume, Container, EmptyDir, HostPath, Medium, Pod, Volume
from sandbox.pod import host_paths
from sandbox.pod.claims import Claims
from sandbox.pod.container import BindMount
from sandbox.pod.files import make_directory, rename
from sandbox.pod.memory import MemoryMount, MemoryVolume
from sandbox.pod.ownership import give_to_group
from sandbox.pod.tasks import in_thread

EMPTY_DIR_MODE = 0o777  # as kubelet makes it: any user of any container may write


def check(pod: Pod) -> None:
    """Refuse what cannot be mounted, before anything of the pod is made.  Raises SandboxError."""
    for volume in pod.volumes:
        if isinstance(volume.source, HostPath):
            host_paths.check(volume.name, volume.source)


def in_memory(pod: Pod) -> tuple[MemoryVolume, ...]:
    """Those of the pod's volumes that are kept in memory, for its sandbox to have."""
    sources = [(volume.name, volume.source) for volume in pod.volumes]
    return tuple(
        MemoryVolume(name, _memory_size(source), _empty_dir_mode(pod), pod.security_context.fs_group or 0)
        for name, source in sources
        if isinstance(source, EmptyDir) and source.medium is Medium.MEMORY
    )


def _memory_size(source: EmptyDir) -> int:
    """In bytes: its limit, and no more than there is; a limit of 0 is none, as to kubelet."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = source.size_limit.to_int() if source.size_limit else 0
    return min(limit or machine, machine)


def create(pod: Pod, directory: Path, claims: Claims) -> dict[str, Path]:
    """Make the pod's volumes, where they are missing; the path of each by its name, but for those in memory.

    `directory` is the pod's.  Raises SandboxError where something has become of a host path or a claim.
    """
    paths = {}
    for volume in pod.volumes:
        match volume.source:
            case HostPath() as source:
                paths[volume.name] = host_paths.create(volume.name, source)
            case ClaimVolume(claim):
                paths[volume.name] = claims.volume(pod.namespace, claim)
            case EmptyDir(Medium.DISK):
                path = directory / "volumes" / volume.name
                if not path.is_dir():  # kept from one instance and one sandbox to the next (SEMANTICS A15)
                    _make_empty_dir(path, pod)
                paths[volume.name] = path
    return paths


def _empty_dir_mode(pod: Pod) -> int:
    """With an fsGroup all that is made in it is that group's, as kubelet has it."""
    return EMPTY_DIR_MODE if pod.security_context.fs_group is None else EMPTY_DIR_MODE | stat.S_ISGID


def _make_empty_dir(path: Path, pod: Pod) -> None:
    """It is there with its group and mode, or not at all: whoever makes it may be killed at any moment."""
    fresh = path.with_name(f".{path.name}.new")
    make_directory(fresh, exist_ok=True)
    os.chown(fresh, 0, pod.security_context.fs_group or 0)
    fresh.chmod(_empty_dir_mode(pod))
    rename(fresh, path)


async def give_claims_to_group(pod: Pod, claims: Claims) -> None:
    """Have what its claims hold belong to the pod's fsGroup, before any container of it runs.

    That may take long, for there may be much.  Neither a host path nor a claim that is only read is anybody's to give.
    """
    gid = pod.security_context.fs_group
    if gid is None:
        return
    for volume in pod.volumes:
        if isinstance(volume.source, ClaimVolume) and not volume.source.read_only:
            path = claims.volume(pod.namespace, volume.source.claim_name)
            await in_thread(give_to_group, path, gid)


def mounts_of(pod: Pod, container: Container, paths: Mapping[str, Path]) -> tuple[BindMount | MemoryMount, ...]:
    """The container's volumeMounts, with the paths that `create` gave the volumes.

    A relative mountPath is taken from the container's root, as kubelet takes it.
    """
    volumes = {volume.name: volume for volume in pod.volumes}
    mounts: list[BindMount | MemoryMount] = []
    for mount in container.volume_mounts:
        target, read_only = inside(mount.mount_path), mount.read_only or _is_read_only(volumes[mount.name])
        if mount.name in paths:
            mounts.append(BindMount(paths[mount.name], target, f"volume {mount.name}", read_only))
        else:
            mounts.append(MemoryMount(mount.name, target, read_only))
    return tuple(mounts)


def _is_read_only(volume: Volume) -> bool:
    return isinstance(volume.source, ClaimVolume) and volume.source.read_only


def inside(path: str) -> str:
    """The absolute path that a manifest means inside a container."""
    return posixpath.normpath(f"/{path.lstrip('/')}")
