"""A pod sandbox and its containers: namespaces, cgroup and processes, without manifest, image or lifecycle.

What it makes it also removes: `remove` is idempotent, is what every failed creation calls, and leaves nothing of
the pod but its directory, which belongs to the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from cgroups import Cgroup, NoSuchCgroup
from sandbox.errors import SandboxError, WrongState
from sandbox.linux import mounts, native
from sandbox.pod import programs, wire
from sandbox.pod.container import (
    POD_ROOTFS,
    PRIVATE,
    ContainerSpec,
    ExecSpec,
    Prepared,
    Sharing,
    compile_container,
    compile_pod,
    compile_reaper,
)
from sandbox.pod.lifecycle import KILL_TIMEOUT, MINIMUM_GRACE
from sandbox.pod.podmon import Child, Podmon, Stage
from sandbox.pod.programs import Completed
from sandbox.pod.streams import LogTarget, Streams, open_streams
from sandbox.status import ExitStatus

__all__ = ["RECORDS", "LogTarget", "PodSandbox", "SandboxContainer"]

RECORDS = "records"  # below the pod's directory: how its containers ended, a file each, by id
STALL_TIMEOUT = 10.0  # seconds in which an attached client must take something of what waits for it
POD_ROOT_SIZE = 64 << 10  # bytes: the empty root of podmon holds a handful of directories
REAPER = 1  # podmon's number for the reaper of a pid namespace that containers share


class SandboxContainer:
    """One container of a sandbox: created (waiting at its gate), running, or ended.

    `number` is podmon's name for it, `id` (64 hex digits) everybody else's.
    """

    def __init__(self, name: str, identity: str, child: Child, podmon: Podmon, scope: Cgroup) -> None:
        self.name = name
        self.id = identity
        self.scope = scope
        self._child = child
        self._podmon = podmon

    @property
    def number(self) -> int:
        return self._child.number

    @property
    def stage(self) -> Stage:
        return self._child.stage

    @property
    def pid(self) -> int | None:
        """The process number of the first process on the host; None once it has ended."""
        return self._child.pid

    @property
    def pidfd(self) -> int | None:
        return self._child.pidfd

    @property
    def started(self) -> datetime | None:
        """When its program began to run."""
        return self._child.started

    @property
    def exit(self) -> ExitStatus | None:
        """How it ended, once it has, unless its program could not be started: then `failure` says why."""
        return self._child.exit

    @property
    def failure(self) -> SandboxError | None:
        return self._child.failure

    async def forget(self) -> None:
        """Have podmon drop what it keeps of it; it has ended."""
        await self._podmon.forget(self._child)

    async def start(self) -> None:
        """Run the program.  Raises SpawnError where the kernel will not (a missing command, …).

        Also where whoever made the container died before it was created: the gate START opens those before it.
        """
        if not Stage.SPAWNED <= self.stage <= Stage.CREATED:
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

    async def run(self, spec: ExecSpec, *, stdin: bytes | None = None, timeout: float | None = None) -> Completed:
        """Run a further program in it, to its end: see sandbox.pod.programs."""
        return await programs.run(self._podmon, self._child, spec, stdin=stdin, timeout=timeout)

    def signal(self, number: int) -> None:
        """Send a signal to the first process; one that has ended is no error."""
        self._child.signal(number)

    def kill(self) -> None:
        """SIGKILL every process of the container, in whatever pid namespace.  Idempotent."""
        with contextlib.suppress(NoSuchCgroup):
            self.scope.kill()

    def kill_rest(self) -> None:
        """SIGKILL what the first process left behind when it ended.  Idempotent.

        There can be any only where that was not the first of its pid namespace, with which the kernel kills all others.
        """
        if self.stage is Stage.ENDED:
            self.kill()


class PodSandbox:
    """The namespaces and the cgroup slice of a pod, held by its podmon."""

    def __init__(self, name: str, directory: Path, pod_slice: Cgroup, podmon: Podmon, sharing: Sharing) -> None:
        self.name = name
        self.sharing = sharing
        self.directory = directory
        self.containers: dict[str, SandboxContainer] = {}
        self._slice = pod_slice
        self._podmon = podmon

    @classmethod
    async def create(
        cls,
        *,
        name: str,
        hostname: str,
        directory: Path,
        pod_slice: Cgroup,
        bound: bool = True,
        sharing: Sharing = PRIVATE,
    ) -> PodSandbox:
        """Make the sandbox: podmon in `pod_slice`/podmon.scope, its namespaces, hostname and loopback.

        `directory` is the pod's own on disk; `pod_slice` exists and is empty.  A `bound` sandbox ends with this
        process; any other goes on until it is removed, and `connect` finds it again.  Raises KernelError or SpawnError,
        and has then removed what it made.
        """
        scope = pod_slice.create_child("podmon.scope")
        with scope.fd() as cgroup:
            podmon = Podmon.launch(cgroup=cgroup, title=name, namespaces=sharing.of_pod)
        box = cls(name, directory, pod_slice, podmon, sharing)
        try:
            await box._setup(hostname, bound)
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            await box.remove()
            raise
        return box

    @classmethod
    async def connect(
        cls,
        *,
        name: str,
        directory: Path,
        pod_slice: Cgroup,
        containers: Mapping[int, tuple[str, str]],
        sharing: Sharing = PRIVATE,
    ) -> PodSandbox:
        """The sandbox that another process made and left, with all that has happened to its containers meanwhile.

        `containers` are those of interest: number to name and id; `sharing` is as it was made.  Raises NotFound where
        its podmon has ended.
        """
        podmon = await Podmon.connect(directory)
        box = cls(name, directory, pod_slice, podmon, sharing)
        for number, (container, identity) in containers.items():
            child = podmon.children.get(number)
            if child is not None:
                scope = pod_slice.child(f"{identity}.scope")
                box.containers[container] = SandboxContainer(container, identity, child, podmon, scope)
        return box

    def detach(self) -> None:
        """Leave the sandbox to itself (unless it is bound to this process)."""
        self._podmon.detach()

    async def _setup(self, hostname: str, bound: bool) -> None:
        records = self.directory / RECORDS
        records.mkdir(mode=0o700)
        with ExitStack() as fds:
            root = mounts.tmpfs(POD_ROOT_SIZE, 0o755)
            fds.callback(os.close, root)
            os.mkdir(POD_ROOTFS.lstrip("/"), dir_fd=root)
            directory = os.open(records, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fds.callback(os.close, directory)
            listener = fds.enter_context(wire.bound_listener(self.directory))
            shm = None
            if self.sharing.host_ipc:
                shm = mounts.bind(Path("/dev/shm"))
                fds.callback(os.close, shm)
            await self._podmon.setup(
                compile_pod(hostname=hostname, root=root, at=str(self.directory), sharing=self.sharing, shm=shm),
                listener=listener.fileno(),
                records=directory,
                bound=bound,
                stall=STALL_TIMEOUT,
            )
        if self.sharing.pid:
            await self._start_reaper()

    async def _start_reaper(self) -> None:
        """podmon ends when it does, and so does the sandbox: without it nothing could run in that pid namespace."""
        root = mounts.tmpfs(mounts.PAGE, 0o555)
        try:
            reaper = await self._podmon.spawn(compile_reaper(root=root), clone_flags=native.CLONE_NEWPID, vital=True)
            await reaper.until(Stage.RUNNING)
        finally:
            os.close(root)

    def _reaper(self) -> int | None:
        """The pidfd of the reaper, where there is one."""
        if not self.sharing.pid:
            return None
        pidfd = self._podmon.children[REAPER].pidfd
        if pidfd is None:
            raise wire.podmon_ended()
        return pidfd

    @property
    def next_number(self) -> int:
        """podmon's number for the container that `create_container` makes next."""
        return self._podmon.next_number

    @property
    def alive(self) -> bool:
        """Whether podmon, and with it the sandbox, was still there when it was last heard of."""
        return self._podmon.alive

    async def gone(self) -> None:
        """Wait until podmon has ended."""
        await self._podmon.gone()

    @property
    def pid(self) -> int:
        """podmon's process number on the host."""
        return self._podmon.pid

    @property
    def namespaces(self) -> dict[str, Path]:
        """The shared namespaces as paths, usable by nsenter and in an OCI config.json while the sandbox lives."""
        return {name: Path(f"/proc/{self._podmon.pid}/ns/{name}") for name in ("net", "ipc", "uts")}

    async def create_container(
        self,
        name: str,
        spec: ContainerSpec,
        *,
        identity: str | None = None,
        stdin: int = -1,
        stdout: int = -1,
        stderr: int = -1,
        log: LogTarget | None = None,
    ) -> SandboxContainer:
        """Make a container up to its gate: everything but the program is there.

        It reads `stdin` and writes to `stdout` and `stderr`, ends of pipes whose copies here the caller closes (-1:
        /dev/null); or its output goes to a `log` that podmon writes.  `identity` is 64 hex digits, never used before.
        Raises SpawnError or KernelError, and has then removed what it made.
        """
        identity = identity or secrets.token_hex(32)
        if not re.fullmatch("[0-9a-f]{64}", identity):
            raise ValueError(f"not the id of a container: {identity!r}")
        scope = self._slice.create_child(f"{identity}.scope")
        try:
            child = await self._spawn(identity, scope, spec, (stdin, stdout, stderr), log)
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            scope.remove_tree()
            raise
        container = SandboxContainer(name, identity, child, self._podmon, scope)
        self.containers[name] = container
        return container

    async def _spawn(
        self, identity: str, scope: Cgroup, spec: ContainerSpec, stdio: tuple[int, int, int], target: LogTarget | None
    ) -> Child:
        layer = self.directory / "containers" / identity
        with ExitStack() as fds:
            streams = open_streams(spec, target, stdio, fds)
            prepared = self._prepare(spec, layer, streams, fds)
            cgroup = fds.enter_context(scope.fd())
            child = await self._podmon.spawn(
                compile_container(spec, prepared, self.sharing),
                clone_flags=self.sharing.of_container,
                cgroup=cgroup,
                record=identity,
                log=streams.log,
                stdin=streams.input,
            )
            await self._podmon.open_gate(child, "PREPARE")  # nothing to prepare from outside yet
            await child.until(Stage.CREATED)
        if child.stage is Stage.ENDED:
            raise WrongState("the container was killed while it was made", current="ended", wanted="created")
        return child

    async def execute(self, container: SandboxContainer, spec: ExecSpec, stdio: tuple[int, int, int] | None) -> Child:
        """Start a further program in a running container.

        `stdio` are ends of pipes or sockets made for it, whose copies here the caller closes, or /dev/null (as -1 is);
        None gives it a terminal, whose master is then `Child.terminal`.  Returns once the program runs.  Raises
        SpawnError, or KernelError where it was stopped on its way for 30 s.
        """
        called = f"container {container.name}"
        return await programs.execute(self._podmon, container._child, spec, stdio, called=called)

    def _prepare(self, spec: ContainerSpec, layer: Path, streams: Streams, fds: ExitStack) -> Prepared:
        """Make the mounts that need the host's paths.  Their fds close with `fds`: attached or not, none stays."""
        upper, work = layer / "upper", layer / "work"
        upper.mkdir(parents=True)
        work.mkdir()
        upper.chmod(0o755)  # it becomes the mode of the container's root directory
        rootfs = mounts.overlay(Path(spec.rootfs), upper, work)
        fds.callback(os.close, rootfs)
        attached = []
        for mount in spec.mounts:
            source = Path(mount.source)
            fd = mounts.bind(source, read_only=mount.read_only)
            fds.callback(os.close, fd)
            attached.append((mount, fd, not source.is_dir()))
        return Prepared(
            rootfs, tuple(attached), streams.stdout, streams.stderr, stdin=streams.stdin, reaper=self._reaper()
        )

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
        _, late = await asyncio.wait(ends, timeout=max(timeout, MINIMUM_GRACE.total_seconds()))
        if late:
            for container in alive:
                container.kill()
            _, late = await asyncio.wait(late, timeout=KILL_TIMEOUT.total_seconds())
            for end in late:  # podmon is not there to tell, or they cannot die: `remove` is what is left to do
                end.cancel()

    async def remove(self) -> None:
        """Kill what is left and remove namespaces and cgroups.  Idempotent.

        With the host's pid namespace it is the slice's removal that kills: podmon's death is only its own there.
        """
        await self._podmon.close()
        await asyncio.to_thread(self._slice.remove_tree)
