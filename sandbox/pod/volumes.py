"""The pod's volumes and the files of /etc that are the pod's, as directories and files on the host."""

from __future__ import annotations

import posixpath
import shlex
from pathlib import Path

from sandbox.errors import NotFound, shown
from sandbox.model import Container, HostPath, Pod
from sandbox.pod.container import BindMount

EMPTY_DIR_MODE = 0o777  # as kubelet makes it: any user of any container may write

# The lines that kubelet writes (SEMANTICS A10); the pod's own address joins them with its network.
HOSTS_HEAD = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


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
    """Make the pod's volumes below its `directory`; the path of each volume by its name."""
    paths = {}
    for volume in pod.volumes:
        if isinstance(volume.source, HostPath):
            paths[volume.name] = Path(volume.source.path)
            continue
        path = directory / "volumes" / volume.name
        path.mkdir(parents=True)
        path.chmod(EMPTY_DIR_MODE)
        paths[volume.name] = path
    return paths


def create_etc(pod: Pod, directory: Path) -> tuple[BindMount, ...]:
    """Write the pod's /etc/hosts and /etc/hostname and say where they go."""
    etc = directory / "etc"
    etc.mkdir()
    hostname = pod.effective_hostname
    texts = {"hosts": f"{HOSTS_HEAD}127.0.0.1\t{hostname}\n", "hostname": f"{hostname}\n"}
    for name, text in texts.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o644)
    return tuple(BindMount(etc / name, f"/etc/{name}", f"the pod's {name} file") for name in texts)


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
