"""From a pod's manifest to what its containers are made of: images, programs, environment, mounts, refusals.

Looks at the disk and changes nothing but images that are built when first used, volumes and the files of /etc.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.expand import argv, environment
from sandbox.linux import native
from sandbox.model import Container, Pod
from sandbox.pod import etc, images, volumes
from sandbox.pod.container import ContainerSpec, Sharing
from sandbox.pod.images import Image

# A mount travels as a file descriptor beside the container's list, and one message takes so many; the rest is for
# the rootfs, the cgroup, the output and the files of /etc.
MAX_VOLUME_MOUNTS = native.MAX_FDS - 16


def check(pod: Pod, image_store: Path) -> None:
    """Refuse what cannot run here, before anything of the pod is made.

    Raises NotFound for a missing image or host path, SandboxError for a container without a program.
    """
    volumes.check(pod)
    for container in pod.containers:
        count = len(container.volume_mounts)
        if count > MAX_VOLUME_MOUNTS:
            limit = f"at most {MAX_VOLUME_MOUNTS} are possible"
            raise SandboxError(f'container "{container.name}" has {count} volumeMounts: {limit}')
        program(container, images.find(container.image, image_store))


def program(container: Container, image: Image) -> tuple[str, ...]:
    """The container's argv.  Raises SandboxError where neither manifest nor image give it a program."""
    words = argv(container, entrypoint=image.entrypoint, cmd=image.command)
    if not words:
        raise SandboxError(
            f'container "{container.name}": no command, and image "{container.image}" has none of its own',
            hint="give the container a command",
        )
    return words


def hostname(pod: Pod) -> str:
    """What `hostname` prints inside: with hostNetwork the node's own (SEMANTICS A10)."""
    return os.uname().nodename if pod.host_network else pod.effective_hostname


def sharing(pod: Pod) -> Sharing:
    """Which namespaces the pod's containers have in common, and which with the host."""
    return Sharing(
        pid=pod.share_process_namespace,
        host_network=pod.host_network,
        host_pid=pod.host_pid,
        host_ipc=pod.host_ipc,
    )


def container_env(pod: Pod, container: Container, image: Image) -> dict[str, str]:
    """The container's environment.

    HOSTNAME and HOME are there as containerd and runc set them, TERM where there is a terminal; the manifest's env
    comes last and wins.
    """
    term = {"TERM": "xterm"} if container.tty else {}
    return {**image.env, "HOSTNAME": hostname(pod), "HOME": "/root", **term, **environment(container.env)}


def container_spec(
    pod: Pod, container: Container, directory: Path, image_store: Path, ips: Sequence[str] = ()
) -> ContainerSpec:
    """What the container is made of; `directory` and `ips` are the pod's.

    Makes volumes and files of /etc that are missing.
    """
    image = images.find(container.image, image_store)
    files = etc.create(pod, hostname(pod), ips, directory)
    paths = volumes.create(pod, directory)
    return ContainerSpec(
        argv=program(container, image),
        rootfs=image.rootfs,
        env=container_env(pod, container, image),
        cwd=container.working_dir or image.cwd,
        mounts=(*files, *volumes.mounts_of(container, paths)),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
    )
