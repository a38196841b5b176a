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
HOST_NETWORK_HEAD = "# Kubernetes-managed hosts file (host network).\n"


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


def create_etc(pod: Pod, hostname: str, directory: Path) -> tuple[BindMount, ...]:
    """Write the pod's files of /etc, where they are missing, and say where they go.

    On the host's network names are looked up as on the host; a pod of its own has nobody to ask yet.
    """
    etc = directory / "etc"
    etc.mkdir(exist_ok=True)
    texts = {"hosts": _hosts(pod, hostname), "hostname": f"{hostname}\n"}
    if pod.host_network:
        texts["resolv.conf"] = _of_host("resolv.conf")
    for name, text in texts.items():
        if not (etc / name).exists():
            fresh = etc / f".{name}.new"
            fresh.write_text(text)
            fresh.chmod(0o644)
            fresh.rename(etc / name)
    return tuple(BindMount(etc / name, f"/etc/{name}", f"the pod's {name} file") for name in texts)


def _hosts(pod: Pod, hostname: str) -> str:
    if not pod.host_network:
        return f"{HOSTS_HEAD}127.0.0.1\t{hostname}\n"
    return HOST_NETWORK_HEAD + _of_host("hosts")


def _of_host(name: str) -> str:
    """The text of the host's own file in /etc; empty where it has none."""
    file = Path("/etc") / name
    return file.read_text(errors="replace") if file.exists() else ""


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
