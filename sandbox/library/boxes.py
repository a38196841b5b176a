"""A pod sandbox without an engine, for programs that use asyncio: namespaces and a cgroup, and containers in them.

For other runtimes: there is no lifecycle, no manifest and no image.  What stands where is in places.py, and what a
container is made of in sandbox.pod.sandbox, whose classes these wrap.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from sandbox.errors import AlreadyExists, KernelError, TimedOut, WrongState
from sandbox.library import places
from sandbox.library.containers import words
from sandbox.library.places import Made, Place
from sandbox.library.streams import Input, Output, Stdio, Streams
from sandbox.linux import host
from sandbox.model import Pod
from sandbox.pod import sandbox as inner
from sandbox.pod import sandbox_container
from sandbox.pod.container import DEFAULT_PATH, ContainerSpec, ExecSpec
from sandbox.pod.ground import Sharing
from sandbox.pod.paths import root_of
from sandbox.pod.podmon import Stage
from sandbox.pod.programs import Completed
from sandbox.pod.tasks import in_thread
from sandbox.status import ExitStatus

AnyPath = str | os.PathLike[str]
Standing = list[Path]


class PodSandbox:
    """The namespaces and the cgroup that the containers of a pod share.  Made by `create`, found again by `connect`.

    A *bound* one (the default) dies with this program, however that ends; any other goes on until it is removed.  As a
    context manager it is removed at the end of the block, unless it was detached.
    """

    def __init__(self, box: inner.PodSandbox, place: Place, containers: Mapping[str, SandboxContainer]) -> None:
        """Not for callers: `create` and `connect` make one."""
        self._box = box
        self._place: Place | None = place
        self._directory = place.directory
        self._containers = dict(containers)
        self._names = set(containers)  # those that are being made included

    @classmethod
    async def create(
        cls,
        *,
        name: str,
        network: Literal["host"] | None = None,
        hostname: str | None = None,
        share_process_namespace: bool = False,
        bound: bool = True,
        directory: AnyPath | None = None,
        root: AnyPath | None = None,
    ) -> Self:
        """Make one.

        `network` None is a namespace of its own with nothing but its loopback up, "host" the host's.  `hostname` is
        what `hostname` says inside, else the `name`, cut to 63 characters.  With `share_process_namespace` its
        containers see each other's processes.  `directory` is where its files go: it must be empty, and is made if it
        is missing; else they are below the `root` (SEEDPOD_ROOT, else /var/lib/seedpod).  First what sandboxes of
        programs that were killed have left in the root is removed.  Raises SandboxError, and has then removed what it
        made.
        """
        host.require_privileges()
        if network not in (None, "host"):
            raise ValueError(f"network is None or 'host', not {network!r}")
        sharing = Sharing(pid=share_process_namespace, host_network=network == "host")
        where = None if directory is None else Path(directory)
        make = partial(places.make, root_of(root), name, where, bound=bound, sharing=sharing)
        async with AsyncExitStack() as undo:
            place = await in_thread(make, undo=Place.remove)
            undo.push_async_callback(in_thread, place.remove)
            box = await inner.PodSandbox.create(
                name=name,
                hostname=Pod(name, hostname=hostname).effective_hostname,
                directory=place.directory,
                pod_slice=place.cgroup,
                bound=bound,
                sharing=sharing,
            )
            undo.pop_all()
        return cls(box, place, {})

    @classmethod
    async def connect(cls, directory: AnyPath) -> Self:
        """The sandbox that stands in `directory`, which another program has made unbound and left.

        Its containers are known by their names again; of what they read and write nothing is.  Raises NotFound where
        there is none or its podmon has ended, WrongState where another program drives it.
        """
        host.require_privileges()
        place = await in_thread(places.take, Path(os.path.realpath(directory)), undo=Place.let_go)
        note = place.note
        try:
            box = await inner.PodSandbox.connect(
                name=note.name,
                directory=place.directory,
                pod_slice=place.cgroup,
                containers={each.number: (each.name, each.identity) for each in note.containers},
                sharing=note.sharing,
            )
        except BaseException:  # undo, then let it pass
            place.let_go()
            raise
        self = cls(box, place, {})
        for known in note.containers:
            if known.name in box.containers:
                made = box.containers[known.name]
                self._containers[known.name] = SandboxContainer(self, made, None)
                self._names.add(known.name)
        return self

    @classmethod
    async def list(cls, *, root: AnyPath | None = None) -> Standing:
        """The directories of the sandboxes that stand in the root, in use or left; what dead ones left is removed."""
        return await in_thread(places.standing, root_of(root))

    # ---- what it is ----

    @property
    def name(self) -> str:
        """What `ps` shows behind its podmon."""
        return self._box.name

    @property
    def directory(self) -> Path:
        """Where its files are; what `connect` wants to know."""
        return self._directory

    @property
    def pid(self) -> int:
        """The process number, on the host, of its podmon, which holds the namespaces."""
        return self._box.pid

    @property
    def namespaces(self) -> dict[str, str]:
        """What its containers share, "net", "ipc" and "uts", as paths: for nsenter, and for an OCI config.json.

        They lead there as long as the sandbox lives.
        """
        return {name: str(path) for name, path in self._box.namespaces.items()}

    @property
    def containers(self) -> Mapping[str, SandboxContainer]:
        """Its containers by name, those included that have ended and are not removed."""
        return MappingProxyType(self._containers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} in {self.directory}>"

    # ---- its life ----

    async def create_container(
        self,
        name: str,
        spec: ContainerSpec,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
    ) -> SandboxContainer:
        """Make a container up to its gate: everything is there but its program, which `start` runs.

        `stdout` and `stderr` are as with subprocess: None is our own, PIPE makes `.stdout` and `.stderr`, and there are
        DEVNULL, STDOUT (for stderr), an fd and a file.  `stdin` None is nothing to read, not our own.  A spec without a
        PATH gets the usual one.  Raises AlreadyExists, SpawnError, KernelError, and has then removed what it made.
        """
        self._standing()
        if name in self._names:
            raise AlreadyExists("container", name, hint="remove it first")
        spec = replace(spec, env={"PATH": DEFAULT_PATH, **spec.env})
        identity = secrets.token_hex(32)
        async with AsyncExitStack() as undo:
            self._names.add(name)
            undo.callback(self._names.discard, name)
            streams = Streams(stdin, stdout, stderr)
            undo.callback(streams.close)
            undo.push_async_callback(in_thread, places.remove_layer, self._directory, identity)
            ours, out, err = streams.its
            made = await self._box.create_container(name, spec, identity=identity, stdin=ours, stdout=out, stderr=err)
            streams.begin()
            undo.pop_all()
        self._containers[name] = container = SandboxContainer(self, made, streams)
        self._note_containers()
        return container

    async def stop(self, timeout: float = 5.0) -> None:
        """TERM to every container; what is left after `timeout` seconds (2 at least) is killed.  Idempotent.

        The sandbox stays.
        """
        await self._box.stop(timeout)

    async def remove(self) -> None:
        """Kill what is left in it, and remove its namespaces, its cgroup and its files.  Pipes are closed.

        Idempotent.  Where it fails this program lets go of it all the same: what is left the next that is made in the
        root removes, if not a further call.
        """
        if self._place is None:
            return
        try:
            try:
                await self._box.remove()
            finally:
                for container in self._containers.values():
                    await container._closed()
            await in_thread(self._place.remove)
        finally:
            self._place.let_go()
        self._place = None
        self._containers.clear()
        self._names.clear()

    async def detach(self) -> None:
        """Leave it to itself: it goes on, unless it is bound, and `connect` finds it again.  Idempotent."""
        if self._place is not None:
            place, self._place = self._place, None
            self._box.detach()
            for container in self._containers.values():
                await container._closed()
            place.let_go()

    def _standing(self) -> Place:
        if self._place is None:
            raise WrongState(f"sandbox {self.name} is removed or left", current="gone", wanted="driven")
        return self._place

    def _note_containers(self) -> None:
        """For who connects to it later."""
        place = self._standing()
        if not place.note.bound:
            known = tuple(each._known() for each in self._containers.values())
            place.write(replace(place.note, containers=known))

    async def _remove_container(self, container: SandboxContainer, made: sandbox_container.SandboxContainer) -> None:
        if self._place is None or self._containers.get(container.name) is not container:
            return
        await in_thread(made.scope.remove_tree)
        with suppress(WrongState):  # podmon has ended: it has forgotten all
            await made.forget()
        await in_thread(places.remove_layer, self._directory, made.id)
        held: tuple[MutableMapping[str, Any], ...] = (self._containers, self._box.containers)
        for known in held:
            known.pop(container.name, None)
        self._names.discard(container.name)
        self._note_containers()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.remove()


class SandboxContainer:
    """One container of a sandbox: created, then running, then ended."""

    def __init__(self, box: PodSandbox, made: sandbox_container.SandboxContainer, streams: Streams | None) -> None:
        """Not for callers: PodSandbox.create_container makes one."""
        self._box = box
        self._made = made
        self._streams = streams
        self._stdin = Input(streams.stdin) if streams and streams.stdin else None
        self._stdout = Output(streams.stdout) if streams and streams.stdout else None
        self._stderr = Output(streams.stderr) if streams and streams.stderr else None

    @property
    def name(self) -> str:
        """What its sandbox calls it."""
        return self._made.name

    @property
    def id(self) -> str:
        """64 hex digits, its alone."""
        return self._made.id

    @property
    def pid(self) -> int | None:
        """The process number of its first process on the host; None once that has ended."""
        return self._made.pid

    @property
    def stdin(self) -> Input | None:
        """What it reads, where PIPE was asked for."""
        return self._stdin

    @property
    def stdout(self) -> Output | None:
        """What it writes, where PIPE was asked for."""
        return self._stdout

    @property
    def stderr(self) -> Output | None:
        """What it writes there, where PIPE was asked for."""
        return self._stderr

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self._made.stage.name.lower()}>"

    async def start(self) -> None:
        """Run its program.  Raises SpawnError where the kernel will not, WrongState where it is not created."""
        await self._made.start()

    def poll(self) -> ExitStatus | None:
        """How it has ended; None where it has not."""
        return self._made.exit

    async def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait for its end, and until what it wrote is relayed.

        Raises TimedOut after `timeout` seconds, SpawnError where it never ran.
        """
        try:
            async with asyncio.timeout(timeout):
                status = await self._made.wait()
        except TimeoutError:
            raise TimedOut(f"container {self.name} has not ended after {timeout:g} s") from None
        if self._streams is not None and self._streams.relayed:
            await in_thread(self._streams.finish)
        return status

    def signal(self, number: int) -> None:
        """Send a signal to its first process.  One that has ended is no error."""
        self._made.signal(number)

    def kill(self) -> None:
        """SIGKILL to all its processes.  Idempotent."""
        self._made.kill()

    async def exec(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
    ) -> Completed:
        """Run a further program in it, to its end: its exit code and what it wrote.

        `input` is what it reads; `env` is added to the container's own.  Raises WrongState where the container does not
        run, SpawnError where the program cannot be started, and TimedOut after `timeout` seconds.  Then, and where this
        is cancelled, the program is killed.
        """
        command, setting = words(argv), self._made.setting
        spec = ExecSpec(command, {**setting.env, **(env or {})}, cwd or setting.cwd)
        stdin = input.encode() if isinstance(input, str) else input
        return await self._made.run(spec, stdin=stdin, timeout=timeout)

    async def remove(self) -> None:
        """Kill what is left of it, and remove its cgroup and its files; its pipes are closed.  Idempotent."""
        if self._made.stage is not Stage.ENDED:
            self.kill()
            await self._made.ended()
        await self._closed()
        await self._box._remove_container(self, self._made)

    def _known(self) -> Made:
        return Made(self._made.number, self.name, self.id)

    async def _closed(self) -> None:
        """What is still to be relayed is; nobody reads or writes here any more."""
        for output in (self._stdout, self._stderr):
            if output is not None:
                output.close()
        if self._streams is not None:
            try:
                await in_thread(self._streams.close)
            except KernelError:  # there is no thread to be had: it blocks here, for a moment
                self._streams.close()
                raise
