"""From a pod's manifest to what its containers are made of: images, programs, environment, mounts, refusals.

Looks at the disk and changes nothing but images that are built when first used, volumes and the files of /etc.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgroups import page_sizes
from sandbox.errors import SandboxError
from sandbox.expand import argv, environment
from sandbox.linux import host, native
from sandbox.linux.ops import Seccomp
from sandbox.model import Container, Pod
from sandbox.pod import confinement, etc, images, resources, users, volumes
from sandbox.pod.claims import Claims
from sandbox.pod.confinement import Policy
from sandbox.pod.container import ContainerSpec
from sandbox.pod.ground import Sharing
from sandbox.pod.images import Image
from sandbox.pod.slices import Slices
from sandbox.status import OOM_SCORE_NOT_SET, REQUESTS_NOT_ENFORCED

# A mount travels as a file descriptor beside the container's list, and one message takes so many; the rest is for
# the rootfs, the cgroup, the output and the files of /etc.
MAX_VOLUME_MOUNTS = native.MAX_FDS - 16


@dataclass(frozen=True)
class Supplies:
    """What an engine has to make containers of: its images, claims and cgroups, the privileges that it can give, and
    how many processes a pod may have."""

    images: Path
    claims: Claims
    slices: Slices
    policy: Policy
    pids_limit: int


def check(pod: Pod, supplies: Supplies) -> None:
    """Refuse what cannot run here, before anything of the pod is made.

    Raises Unsupported for a limit that cannot be held or privileges that this engine cannot give, NotFound for a
    missing image or host path, SandboxError for a container without a program.
    """
    resources.check(pod, supplies.slices.why_not, pids_limit=supplies.pids_limit, page_sizes=page_sizes)
    volumes.check(pod)
    confinement.check(pod, supplies.policy)
    for container in pod.all_containers:
        count = len(container.volume_mounts)
        if count > MAX_VOLUME_MOUNTS:
            limit = f"at most {MAX_VOLUME_MOUNTS} are possible"
            raise SandboxError(f'container "{container.name}" has {count} volumeMounts: {limit}')
    check_images(pod.all_containers, supplies)


def check_images(containers: Iterable[Container], supplies: Supplies) -> None:
    """As `check`, of the images alone."""
    for container in containers:
        program(container, images.find(container.image, supplies.images))


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


def seccomp_filter(pod: Pod, container: Container, policy: Policy, full_name: str) -> Seccomp | None:
    """The filter of the container's system calls.

    Raises Hindered where that, or anything else that may change without the pod, keeps the container from being made.
    `full_name` is the pod's, as kubelet has it in messages.
    """
    confinement.require_non_root(pod, container, full_name)
    return confinement.seccomp_filter(pod, container, policy)


def container_env(pod: Pod, container: Container, image: Image, home: str) -> dict[str, str]:
    """The container's environment, of a user whose home is `home`.

    HOSTNAME and HOME are there as containerd and runc set them, TERM where there is a terminal; the manifest's env
    comes last and wins.
    """
    term = {"TERM": "xterm"} if container.tty else {}
    return {**image.env, "HOSTNAME": hostname(pod), "HOME": home, **term, **environment(container.env)}


def oom_score_adj(pod: Pod, container: Container) -> int:
    """The container's place in the OOM killer's queue: what is due to it, or the nearest that can be had here."""
    return max(resources.oom_score_adj(pod, container, host.memory()), host.lowest_oom_score_adj())


def resource_warnings(pod: Pod, why_not: resources.Why) -> Iterator[tuple[str, str]]:
    """What of the pod's resources has no effect on this host, as reasons and messages of events."""
    if unheld := resources.unheld_requests(pod, why_not):
        yield REQUESTS_NOT_ENFORCED, unheld
    due = min((resources.oom_score_adj(pod, each, host.memory()) for each in pod.all_containers), default=0)
    if due < (lowest := host.lowest_oom_score_adj()):
        message = f"oom_score_adj is {lowest} instead of {due}: to lower it, the engine needs CAP_SYS_RESOURCE"
        yield OOM_SCORE_NOT_SET, message


def container_spec(
    pod: Pod,
    container: Container,
    supplies: Supplies,
    *,
    directory: Path,
    ips: Sequence[str],
    system_calls: Seccomp | None,
) -> ContainerSpec:
    """What the container is made of.  Makes volumes and files of /etc that are missing.

    `directory` and `ips` are the pod's, `system_calls` is what `seccomp_filter` said.
    """
    image = images.find(container.image, supplies.images)
    who = confinement.asked(pod, container)
    user = users.find(image.rootfs, confinement.IMAGE_USER if who.uid is None else who.uid, who.gid, who.groups)
    files = etc.create(pod, hostname(pod), ips, directory)
    paths = volumes.create(pod, directory, supplies.claims)
    return ContainerSpec(
        argv=program(container, image),
        rootfs=image.rootfs,
        env=container_env(pod, container, image, user.home),
        cwd=container.working_dir or image.cwd,
        mounts=(*files, *volumes.mounts_of(pod, container, paths)),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        limits=resources.container_knobs(pod, container, supplies.slices.means),
        oom_score_adj=oom_score_adj(pod, container),
        privileges=confinement.privileges(container, user, held=supplies.policy.held, system_calls=system_calls),
        privileged=container.security_context.privileged,
        read_only_rootfs=container.security_context.read_only_root_filesystem,
        message_path=volumes.inside(container.termination_message_path),
    )
