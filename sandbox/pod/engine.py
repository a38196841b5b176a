"""Runs the pods of one root: from a manifest's values to a sandbox with volumes, images and containers, and back.

The engine decides nothing about life and death (sandbox.pod.lifecycle) and prints nothing: it is told where a
container's output goes and whom to tell of a container that could not be started.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.expand import argv, environment
from sandbox.linux import native
from sandbox.model import Container, Pod
from sandbox.pod import images, volumes
from sandbox.pod.container import BindMount, ContainerSpec
from sandbox.pod.images import Image
from sandbox.pod.lifecycle import Ended
from sandbox.pod.sandbox import PodSandbox, SandboxContainer
from sandbox.pod.store import Claim, Store

# A mount travels as a file descriptor beside the container's list, and one message takes so many; the rest is for
# the rootfs, the cgroup, the output and the files of /etc.
MAX_VOLUME_MOUNTS = native.MAX_FDS - 16

# Makes the write ends of pipes for a container's stdout and stderr; the engine closes its copies.
OpenOutput = Callable[[Pod, Container], tuple[int, int]]
# Hears of a container that could not be started.
OnStartError = Callable[[Pod, Container, SandboxError | OSError], None]


class RunningPod:
    """A pod that this engine made.  `remove` undoes all of it, whatever state it is in."""

    def __init__(self, pod: Pod, claim: Claim, store: Store) -> None:
        self.pod = pod
        self.uid = claim.uid
        self.ended: dict[str, Ended] = {}  # by container name, filled in by `wait` and where a start failed
        self.box: PodSandbox | None = None
        self._claim: Claim | None = claim
        self._store = store

    async def wait(self) -> None:
        """Wait until every container has ended."""
        containers = self.box.containers.values() if self.box else ()
        await asyncio.gather(*(self._wait(container) for container in containers))

    async def _wait(self, container: SandboxContainer) -> None:
        if container.name in self.ended:
            return
        status = await container.wait()
        self.ended[container.name] = Ended(status, status.finished)

    async def stop(self) -> None:
        """End the containers: TERM, the pod's grace period, KILL."""
        if self.box is not None:
            await self.box.stop(self.pod.termination_grace_period_seconds)

    async def remove(self) -> None:
        """Kill what still runs and remove everything that was made.  Idempotent."""
        if self.box is not None:
            await self.box.remove()
            self.box = None
        if self._claim is not None:
            claim, self._claim = self._claim, None
            self._store.release(claim)


class Engine:
    """The pods of one root directory."""

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        """`warn` is told what could not be cleaned up of pods whose engine was killed."""
        self.store = Store(root, warn)

    def check(self, pod: Pod) -> dict[str, Image]:
        """Refuse what cannot run here, before anything of the pod is made; the images by container name.

        Raises NotFound for a missing image or host path, SandboxError for a container without a program.
        """
        volumes.check(pod)
        _limit_mounts(pod)
        found = {container.name: images.find(container.image, self.store.images) for container in pod.containers}
        _require_programs(pod, found)
        return found

    async def run(self, pod: Pod, open_output: OpenOutput, on_start_error: OnStartError) -> RunningPod:
        """Make the pod and start its containers in order (SEMANTICS A2).

        Raises what refuses or fails the pod as a whole, with everything undone.  A container whose program cannot be
        started is no such failure: `on_start_error` hears of it and the others are started, as kubelet does.
        """
        found = self.check(pod)
        running = RunningPod(pod, claim := self.store.claim(pod), self.store)
        try:
            running.box = await PodSandbox.create(
                name=pod.name, hostname=pod.effective_hostname, directory=claim.directory, pod_slice=claim.pod_slice
            )
            etc = volumes.create_etc(pod, claim.directory)
            paths = volumes.create(pod, claim.directory)
            for container in pod.containers:
                mounts = (*etc, *volumes.mounts_of(container, paths))
                spec = _spec(pod, container, found[container.name], mounts)
                await self._start(running, container, spec, open_output, on_start_error)
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            await running.remove()
            raise
        return running

    async def _start(
        self,
        running: RunningPod,
        container: Container,
        spec: ContainerSpec,
        open_output: OpenOutput,
        on_start_error: OnStartError,
    ) -> None:
        assert running.box is not None
        stdout, stderr = open_output(running.pod, container)
        try:
            made = await running.box.create_container(container.name, spec, stdout=stdout, stderr=stderr)
            await made.start()
        except (SandboxError, OSError) as error:
            error.add_note(f"pod {running.pod.name}, container {container.name}")
            running.ended[container.name] = Ended(None, datetime.now(UTC))
            on_start_error(running.pod, container, error)
        finally:
            os.close(stdout)
            os.close(stderr)


def _spec(pod: Pod, container: Container, image: Image, mounts: tuple[BindMount, ...]) -> ContainerSpec:
    """The container with its image's defaults filled in.

    HOSTNAME and HOME are there as containerd and runc set them; the manifest's env comes last and wins.
    """
    env = {**image.env, "HOSTNAME": pod.effective_hostname, "HOME": "/root", **environment(container.env)}
    return ContainerSpec(
        argv=argv(container, entrypoint=image.entrypoint, cmd=image.command),
        rootfs=image.rootfs,
        env=env,
        cwd=container.working_dir or image.cwd,
        mounts=mounts,
    )


def _limit_mounts(pod: Pod) -> None:
    for container in pod.containers:
        count = len(container.volume_mounts)
        if count > MAX_VOLUME_MOUNTS:
            limit = f"at most {MAX_VOLUME_MOUNTS} are possible"
            raise SandboxError(f'container "{container.name}" has {count} volumeMounts: {limit}')


def _require_programs(pod: Pod, found: Mapping[str, Image]) -> None:
    """Refuse a container that neither manifest nor image give a program to run."""
    for container in pod.containers:
        image = found[container.name]
        if not argv(container, entrypoint=image.entrypoint, cmd=image.command):
            raise SandboxError(
                f'container "{container.name}": no command, and image "{container.image}" has none of its own',
                hint="give the container a command",
            )
