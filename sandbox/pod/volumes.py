"""The pod's volumes, as directories and files on the host."""

from __future__ import annotations

import posixpath
import shlex
from pathlib import Path

from sandbox.errors import NotFound, shown
from sandbox.model import Container, HostPath, Pod
from sandbox.pod.container import BindMount

EMPTY_DIR_MODE = 0o777  # as kubelet makes it: any user of any container may write


def check(pod: Pod) -> None:
    """Refuse what cannot be mounted, before anything of the pod is made.  Raises NotFound."""
    for volume in pod.volumes:
        if isinstance(volume.source, HostPath) and not Path(volume.source.path).exists():
            raise NotFound(
                "hostPath",
                volume.source.path,
                f'volume "{volume.name}": hostPath {shown(volume.source.path)} does not exist',
                hint=f"create it first: mkdir -p {shlex.quote(shown(volume.source.path))}",
            )


def create(pod: Pod, directory: Path) -> dict[str, Path]:
    """Make the pod's volumes below its `directory`, where they are missing; the path of each by its name."""
    paths = {}
    for volume in pod.volumes:
        if isinstance(volume.source, HostPath):
            paths[volume.name] = Path(volume.source.path)
            continue
        path = directory / "volumes" / volume.name
        if not path.is_dir():  # kept from one instance and one sandbox to the next (SEMANTICS A15)
            _make_empty_dir(path)
        paths[volume.name] = path
    return paths


def _make_empty_dir(path: Path) -> None:
    """It is there with its mode, or not at all: whoever makes it may be killed at any moment."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.mkdir(parents=True, exist_ok=True)
    fresh.chmod(EMPTY_DIR_MODE)
    fresh.rename(path)


def mounts_of(container: Container, paths: dict[str, Path]) -> tuple[BindMount, ...]:
    """The container's volumeMounts, with the paths that `create` gave the volumes.

    A relative mountPath is taken from the container's root, as kubelet takes it.
    """
    return tuple(
        BindMount(paths[mount.name], _inside(mount.mount_path), f"volume {mount.name}", mount.read_only)
        for mount in container.volume_mounts
    )


def _inside(path: str) -> str:
    return posixpath.normpath(f"/{path.lstrip('/')}")
