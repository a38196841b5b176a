"""From a pod's manifest to what its containers are made of: images, programs, environment, mounts, refusals.

Looks at the disk and changes nothing but images that are built when first used, volumes and the files of /etc.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cgroups import page_sizes
from sandbox.errors import SandboxError
from sandbox.expand import argv, environment
from sandbox.linux import host, native
from sandbox.model import Container, Pod
from sandbox.pod import images, resources, volumes
from sandbox.pod.claims import Claims
from sandbox.pod.container import ContainerSpec, Sharing
from sandbox.pod.images import Image
from sandbox.pod.resources import Means
from sandbox.status import OOM_SCORE_NOT_SET, REQUESTS_NOT_ENFORCED

# A mount travels as a file descriptor beside the container's list, and one message takes so many; the rest is for
# the rootfs, the cgroup, the output and the files of /etc.
MAX_VOLUME_MOUNTS = native.MAX_FDS - 16


def check(pod: Pod, image_store: Path, why_not: resources.Why, pids_limit: int) -> None:
    """Refuse what cannot run here, before anything of the pod is made.

    `why_not` says of a controller why it cannot be had, `pids_limit` is the configuration's.  Raises Unsupported for a
    limit that cannot be held, NotFound for a missing image or host path, SandboxError for a container with no program.
    """
    resources.check(pod, why_not, pids_limit=pids_limit, page_sizes=page_sizes)
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


def oom_score_adj(pod: Pod, container: Container) -> int:
    """The container's place in the OOM killer's queue: what is due to it, or the nearest that can be had here."""
    return max(resources.oom_score_adj(pod, container, host.memory()), host.lowest_oom_score_adj())


def resource_warnings(pod: Pod, why_not: resources.Why) -> Iterator[tuple[str, str]]:
    """What of the pod's resources has no effect on this host, as reasons and messages of events."""
    if unheld := resources.unheld_requests(pod, why_not):
        yield REQUESTS_NOT_ENFORCED, unheld
    due = min((resources.oom_score_adj(pod, each, host.memory()) for each in pod.containers), default=0)
    if due < (lowest := host.lowest_oom_score_adj()):
        message = f"oom_score_adj is {lowest} instead of {due}: to lower it, the engine needs CAP_SYS_RESOURCE"
        yield OOM_SCORE_NOT_SET, message


def container_spec(
    pod: Pod, container: Container, directory: Path, image_store: Path, *, claims: Claims, means: Means
) -> ContainerSpec:
    """What the container is made of; `directory` is the pod's.  Makes volumes and files of /etc that are missing."""
    image = images.find(container.image, image_store)
    etc = volumes.create_etc(pod, hostname(pod), directory)
    paths = volumes.create(pod, directory, claims)
    return ContainerSpec(
        argv=program(container, image),
        rootfs=image.rootfs,
        env=container_env(pod, container, image),
        cwd=container.working_dir or image.cwd,
        mounts=(*etc, *volumes.mounts_of(pod, container, paths)),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        limits=resources.container_knobs(pod, container, means),
        oom_score_adj=oom_score_adj(pod, container),
    )
