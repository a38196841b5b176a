"""A pod sandbox and its containers: namespaces, cgroup and processes, without manifest, image or lifecycle.

What it makes it also removes: `remove` is idempotent, is what every failed creation calls, and leaves nothing of
the pod but its directory, which belongs to the caller.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from contextlib import ExitStack
from pathlib import Path

from cgroups import Cgroup
from sandbox.errors import WrongState
from sandbox.linux import mounts
from sandbox.pod.container import (
    CONTAINER_NAMESPACES,
    POD_ROOTFS,
    ContainerSpec,
    Prepared,
    compile_container,
    compile_pod,
)
from sandbox.pod.podmon import Child, Podmon, Stage
from sandbox.status import ExitStatus

MINIMUM_GRACE = 2.0  # seconds; kubelet's minimumGracePeriodInSeconds (SEMANTICS A34)
KILL_TIMEOUT = 10.0  # seconds in which the kernel and podmon are given to report what was killed
POD_ROOT_SIZE = 64 << 10  # bytes: the empty root of podmon holds a handful of directories


class SandboxContainer:
    """One container of a sandbox: created (waiting at its gate), running, or ended."""

    def __init__(self, name: str, identity: str, child: Child, podmon: Podmon, scope: Cgroup) -> None:
        self.name = name
        self.id = identity  # 64 hex digits
        self.scope = scope
        self._child = child
        self._podmon = podmon

    @property
    def stage(self) -> Stage:
        return self._child.stage

    @property
    def pid(self) -> int | None:
        """The process number of the first process on the host; None once it has ended."""
        return self._child.pid

    async def start(self) -> None:
        """Run the program.  Raises SpawnError where the kernel will not (a missing command, …)."""
        if self.stage is not Stage.CREATED:
            raise WrongState(
                f"container {self.name} is {self.stage.name.lower()}", current=self.stage.name.lower(), wanted="created"
            )
        await self._podmon.open_gate(self._child, "START")
        await self._child.until(Stage.RUNNING)

    async def wait(self) -> ExitStatus:
        """Wait for the end of the first process.  Raises SpawnError where it never ran."""
        await self._child.until(Stage.ENDED)
        if self._child.exit is None:
            raise WrongState(f"container {self.name} has no exit status", current="setup", wanted="ended")
        return self._child.exit

    async def ended(self) -> None:
        """Wait for the end, whatever it is."""
        await self._child.ended()

    def signal(self, number: int) -> None:
        """Send a signal to the first process; one that has ended is no error."""
        self._child.signal(number)

    def kill(self) -> None:
        """SIGKILL every process of the container."""
        self._child.signal(signal.SIGKILL)  # PID 1 of its namespace: the kernel kills the rest


class PodSandbox:
    """The namespaces and the cgroup slice of a pod, held by its podmon."""

    def __init__(self, name: str, directory: Path, pod_slice: Cgroup, podmon: Podmon) -> None:
        self.name = name
        self.directory = directory
        self.containers: dict[str, SandboxContainer] = {}
        self._slice = pod_slice
        self._podmon = podmon

    @classmethod
    async def create(cls, *, name: str, hostname: str, directory: Path, pod_slice: Cgroup) -> PodSandbox:
        """Make the sandbox: podmon in `pod_slice`/podmon.scope, its namespaces, hostname and loopback.

        `directory` is the pod's own on disk; `pod_slice` exists and is empty.  Raises KernelError or SpawnError, and
        has then removed what it made.
        """
        scope = pod_slice.create_child("podmon.scope")
        with scope.fd() as cgroup:
            podmon = Podmon.launch(cgroup=cgroup, title=name)
        box = cls(name, directory, pod_slice, podmon)
        try:
            await box._setup(hostname)
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            await box.remove()
            raise
        return box

    async def _setup(self, hostname: str) -> None:
        root = mounts.tmpfs(POD_ROOT_SIZE, 0o755)
        try:
            os.mkdir(POD_ROOTFS.lstrip("/"), dir_fd=root)
            await self._podmon.setup(compile_pod(hostname=hostname, root=root, at=str(self.directory)))
        finally:
            os.close(root)

    @property
    def pid(self) -> int:
        """podmon's process number on the host."""
        return self._podmon.pid

    @property
    def namespaces(self) -> dict[str, Path]:
        """The shared namespaces as paths, usable by nsenter and in an OCI config.json while the sandbox lives."""
        return {name: Path(f"/proc/{self._podmon.pid}/ns/{name}") for name in ("net", "ipc", "uts")}

    async def create_container(self, name: str, spec: ContainerSpec, *, stdout: int, stderr: int) -> SandboxContainer:
        """Make a container up to its gate: everything but the program is there.

        `stdout` and `stderr` are write ends of pipes; the caller closes its copies.  Raises SpawnError or KernelError,
        and has then removed what it made.
        """
        identity = secrets.token_hex(32)
        scope = self._slice.create_child(f"{identity}.scope")
        try:
            child = await self._spawn(identity, scope, spec, stdout, stderr)
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            scope.remove_tree()
            raise
        container = SandboxContainer(name, identity, child, self._podmon, scope)
        self.containers[name] = container
        return container

    async def _spawn(self, identity: str, scope: Cgroup, spec: ContainerSpec, stdout: int, stderr: int) -> Child:
        layer = self.directory / "containers" / identity
        with ExitStack() as fds:
            prepared = self._prepare(spec, layer, stdout, stderr, fds)
            cgroup = fds.enter_context(scope.fd())
            child = await self._podmon.spawn(
                compile_container(spec, prepared), clone_flags=CONTAINER_NAMESPACES, cgroup=cgroup
            )
            await self._podmon.open_gate(child, "PREPARE")  # nothing to prepare from outside yet
            await child.until(Stage.CREATED)
        if child.stage is Stage.ENDED:
            raise WrongState("the container was killed while it was made", current="ended", wanted="created")
        return child

    @staticmethod
    def _prepare(spec: ContainerSpec, layer: Path, stdout: int, stderr: int, fds: ExitStack) -> Prepared:
        """Make the mounts that need the host's paths.  Their fds close with `fds`: attached or not, none stays."""
        upper, work = layer / "upper", layer / "work"
        upper.mkdir(parents=True)
        work.mkdir()
        upper.chmod(0o755)  # it becomes the mode of the container's root directory
        rootfs = mounts.overlay(spec.rootfs, upper, work)
        fds.callback(os.close, rootfs)
        attached = []
        for mount in spec.mounts:
            fd = mounts.bind(mount.source, read_only=mount.read_only)
            fds.callback(os.close, fd)
            attached.append((mount, fd, not mount.source.is_dir()))
        return Prepared(rootfs, tuple(attached), stdout, stderr)

    async def stop(self, timeout: float) -> None:
        """TERM to every container at once; what is still there after `timeout` seconds (2 at least) is killed.

        SEMANTICS A34, A35, A37.  Returns when all have ended, or 10 s after the kill.
        """
        alive = [container for container in self.containers.values() if container.stage is not Stage.ENDED]
        for container in alive:
            container.signal(signal.SIGTERM)
        ends = [asyncio.ensure_future(container.ended()) for container in alive]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=max(timeout, MINIMUM_GRACE))
        if late:
            for container in alive:
                container.kill()
            _, late = await asyncio.wait(late, timeout=KILL_TIMEOUT)
            for end in late:  # podmon is not there to tell, or they cannot die: `remove` is what is left to do
                end.cancel()

    async def remove(self) -> None:
        """Kill what is left and remove namespaces and cgroups.  Idempotent."""
        await self._podmon.close()
        self._slice.remove_tree()
