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
from pathlib import Path

from cgroups import Cgroup
from sandbox.effects import effect
from sandbox.linux import host, mounts, native
from sandbox.pod import programs, wire
from sandbox.pod.container import ContainerSpec, ExecSpec, compile_container, placed
from sandbox.pod.files import make_directory
from sandbox.pod.ground import POD_ROOTFS, PODMON_OOM_SCORE_ADJ, PRIVATE, Sharing, compile_pod, compile_reaper
from sandbox.pod.memory import NOTHING, Held
from sandbox.pod.podmon import Child, Podmon, Stage
from sandbox.pod.preparation import prepare
from sandbox.pod.privileges import Privileges
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.streams import LogTarget, open_streams
from sandbox.pod.tasks import in_thread
from sandbox.pod.termination import KILL_TIMEOUT, MINIMUM_GRACE

RECORDS = "records"  # below the pod's directory: how its containers ended, a file each, by id
STALL_TIMEOUT = 10.0  # seconds in which an attached client must take something of what waits for it
POD_ROOT_SIZE = 64 << 10  # bytes: the empty root of podmon holds a handful of directories, and one a memory volume
POD_ROOT_INODES = 17
REAPER = 1  # podmon's number for the reaper of a pid namespace that containers share


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
    @effect("make a sandbox")
    async def create(
        cls,
        *,
        name: str,
        hostname: str,
        directory: Path,
        pod_slice: Cgroup,
        bound: bool = True,
        sharing: Sharing = PRIVATE,
        memory: Held = NOTHING,
    ) -> PodSandbox:
        """Make the sandbox: podmon in `pod_slice`/podmon.scope, its namespaces, hostname and loopback.

        `directory` is the pod's own on disk; `pod_slice` exists and is empty.  A `bound` sandbox ends with this
        process; any other goes on until it is removed, and `connect` finds it again.  `memory` are its volumes that are
        kept there.  Raises KernelError or SpawnError, and has then removed what it made.
        """
        scope = pod_slice.create_child("podmon.scope")
        with scope.fd() as cgroup:
            podmon = Podmon.launch(cgroup=cgroup, title=name, namespaces=sharing.of_pod)
        box = cls(name, directory, pod_slice, podmon, sharing)
        try:
            await box._setup(hostname, bound, memory)
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
                own = box._directory_of(identity)
                box.containers[container] = SandboxContainer(container, own, child, podmon, scope)
        return box

    def detach(self) -> None:
        """Leave the sandbox to itself (unless it is bound to this process)."""
        self._podmon.detach()

    async def _setup(self, hostname: str, bound: bool, memory: Held) -> None:
        records = self.directory / RECORDS
        make_directory(records)
        with ExitStack() as fds:
            root = mounts.tmpfs(POD_ROOT_SIZE, 0o755, inodes=POD_ROOT_INODES + len(memory.volumes))
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
                compile_pod(
                    hostname=hostname,
                    root=root,
                    at=str(self.directory),
                    sharing=self.sharing,
                    shm=shm,
                    memory=memory,
                    oom_score_adj=max(PODMON_OOM_SCORE_ADJ, host.lowest_oom_score_adj()),
                    proc=mounts.open_proc(fds),
                ),
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
    def pidfd(self) -> int:
        """podmon's, as long as the sandbox is there: it names the namespaces whatever becomes of the number."""
        return self._podmon.pidfd

    @property
    def namespaces(self) -> dict[str, Path]:
        """The shared namespaces as paths, usable by nsenter and in an OCI config.json while the sandbox lives."""
        return {name: Path(f"/proc/{self._podmon.pid}/ns/{name}") for name in ("net", "ipc", "uts")}

    @effect("make a container")
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
        scope, number = self._slice.create_child(f"{identity}.scope"), self.next_number
        try:
            scope.apply(*spec.limits)
            child = await self._spawn(identity, scope, spec, (stdin, stdout, stderr), log)
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            scope.remove_tree()
            await self._written_off(number)
            raise
        container = SandboxContainer(name, self._directory_of(identity), child, self._podmon, scope)
        self.containers[name] = container
        return container

    async def _written_off(self, number: int) -> None:
        """Wait until podmon has written down how a child ended that is killed: before that something of it is left."""
        child = self._podmon.children.get(number)
        if child is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_TIMEOUT.total_seconds()):
                    await child.ended()

    def _directory_of(self, identity: str) -> Path:
        return self.directory / "containers" / identity

    async def _spawn(
        self, identity: str, scope: Cgroup, spec: ContainerSpec, stdio: tuple[int, int, int], target: LogTarget | None
    ) -> Child:
        layer = self._directory_of(identity)
        with ExitStack() as fds:
            streams = open_streams(spec, target, stdio, fds)
            prepared = prepare(spec, layer, streams, self._reaper(), fds)
            cgroup = fds.enter_context(scope.fd())
            child = await self._podmon.spawn(
                compile_container(placed(spec, host.own_oom_score_adj()), prepared, self.sharing),
                clone_flags=self.sharing.of_container,
                cgroup=cgroup,
                record=identity,
                log=streams.log,
                stdin=streams.input,
            )
            await self._podmon.open_gate(child, "PREPARE")  # nothing to prepare from outside yet
            await child.until(Stage.CREATED)
        if child.stage is Stage.ENDED:
            raise wire.killed_while_made(oom_killed=bool(child.exit and child.exit.oom_killed))
        return child

    async def execute(
        self,
        container: SandboxContainer,
        spec: ExecSpec,
        stdio: tuple[int, int, int] | None,
        *,
        privileges: Privileges | None = None,
    ) -> Child:
        """Start a further program in a running container, with that one's privileges unless others are given.

        `stdio` are ends of pipes or sockets made for it, whose copies here the caller closes, or /dev/null (as -1 is);
        None gives it a terminal, whose master is then `Child.terminal`.  Returns once the program runs.  Raises
        SpawnError, or KernelError where it was stopped on its way for 30 s.
        """
        called, privileges = f"container {container.name}", privileges or container.setting.privileges
        return await programs.execute(self._podmon, container.child, spec, privileges, stdio, called=called)

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

    @effect("remove a sandbox")
    async def remove(self) -> None:
        """Kill what is left and remove namespaces and cgroups.  Idempotent.

        With the host's pid namespace it is the slice's removal that kills: podmon's death is only its own there.
        """
        await self._podmon.close()
        await in_thread(self._slice.remove_tree)
