"""One container of a pod, for programs that use asyncio: looked at, joined, read, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sandbox.errors import NotFound, SandboxError, TimedOut, WrongState
from sandbox.library.engine import Engine
from sandbox.library.lines import Lines, Source
from sandbox.pod import attempts, programs, requests
from sandbox.pod.container import ExecSpec
from sandbox.pod.entries import Stream
from sandbox.pod.logs import Options, read
from sandbox.pod.paths import log_directory
from sandbox.pod.podmon import Podmon
from sandbox.pod.programs import Completed
from sandbox.pod.tasks import in_thread
from sandbox.status import CREATING, ContainerStatus, PodStatus, Terminated, Waiting


@dataclass(frozen=True)
class Identity:
    """Which pod it is, and who knows of it."""

    engine: Engine
    namespace: str
    name: str
    uid: str

    async def status(self) -> PodStatus:
        return await self.engine.until(self.uid, self.there)

    def there(self, status: PodStatus | None) -> PodStatus:
        """The status of a pod that is not gone.  Raises NotFound."""
        if status is None:
            raise NotFound("pods", self.name)
        return status


def words(argv: Sequence[str]) -> tuple[str, ...]:
    """A command as a list of strings: a string alone would be one of letters.  Raises TypeError."""
    if isinstance(argv, str):
        raise TypeError(f"argv is a list of strings, not {argv!r}")
    return tuple(argv)


class Container:
    """One container of a pod."""

    def __init__(self, pod: Identity, name: str) -> None:
        self._pod = pod
        self._name = name

    @property
    def name(self) -> str:
        """What the pod calls it."""
        return self._name

    @property
    def status(self) -> Coroutine[Any, Any, ContainerStatus]:
        """Its status now.  Raises NotFound where it or its pod is not there."""
        return self._status()

    async def _status(self) -> ContainerStatus:
        return self._of(await self._pod.status())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of pod {self._pod.namespace}/{self._pod.name}>"

    def _of(self, status: PodStatus | None) -> ContainerStatus:
        for each in self._pod.there(status).containers:
            if each.name == self._name:
                return each
        raise NotFound("container", self._name)

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
        command, pod = words(argv), self._pod
        target = await pod.engine.ask(requests.target(pod.namespace, pod.name, self._name))
        if target.directory.parent.name != pod.uid:
            raise NotFound("pods", pod.name)  # another one has its name by now
        spec = ExecSpec(command, {**target.env, **(env or {})}, cwd or target.cwd, target.oom_score_adj)
        podmon = await Podmon.connect(target.directory)
        try:
            child = podmon.children.get(target.number)
            if child is None:
                raise WrongState(f"container {self._name} has ended", current="ended", wanted="running")
            stdin = input.encode() if isinstance(input, str) else input
            return await programs.run(podmon, child, spec, target.privileges, stdin=stdin, timeout=timeout)
        finally:
            podmon.detach()

    def logs(
        self,
        *,
        follow: bool = False,
        previous: bool = False,
        tail: int | None = None,
        since: datetime | timedelta | None = None,
    ) -> Lines:
        """The lines that it wrote, stdout and stderr in one: of its newest instance, or of the one before.

        With `follow` they go on until that instance has ended, and its start is waited for.  Otherwise WrongState is
        raised where it has not run yet.
        """
        options = Options(tail=tail, since=since, follow=follow and not previous)

        def begun(status: PodStatus | None) -> int | None:
            known = self._of(status)
            if options.follow and isinstance(known.state, Waiting) and not known.last_state:
                return None
            return attempts.to_read(known, self._name, self._pod.name, previous=previous)

        async def begin() -> Source:
            return self._source(await self._pod.engine.until(self._pod.uid, begun))

        return Lines(begin, options)

    def _source(self, instance: int) -> Source:
        pod = self._pod
        where = log_directory(
            pod.engine.root, namespace=pod.namespace, name=pod.name, uid=pod.uid, container=self._name
        )
        return Source(pod.engine.root, pod.uid, self._name, instance, where)

    async def wait(self, timeout: float | None = None) -> Completed:
        """Wait for the end of its newest instance: the exit code and what it wrote, as far as its log still has it.

        Raises TimedOut after `timeout` seconds, NotFound where its pod is removed meanwhile.
        """
        began: list[int] = []

        def ended(status: PodStatus | None) -> Terminated | None:
            known = self._of(status)
            began[:] = began or [known.restart_count]
            return attempts.end_of(known, began[0])

        try:
            async with asyncio.timeout(timeout):
                end = await self._pod.engine.until(self._pod.uid, ended)
        except TimeoutError:
            raise TimedOut(f"container {self._name} has not ended after {timeout:g} s") from None
        output, errors = await in_thread(_written, self._source(began[0]).directory, began[0])
        return Completed(end.exit_code, output, errors, end.reason == "OOMKilled")

    async def _begun(self) -> None:
        """Wait until its program runs or has run.  Raises SandboxError where it cannot be started."""

        def begun(status: PodStatus | None) -> bool | None:
            match self._of(status).state:
                case Waiting(reason) if reason == CREATING:
                    return None
                case Waiting(reason, message):  # for what somebody else would have to mend
                    raise SandboxError(f"container {self._name}: {reason}: {message}")
                case Terminated(reason="StartError", message=message, hint=hint):
                    raise SandboxError(f"container {self._name}: {message}", hint=hint or None)
            return True

        await self._pod.engine.until(self._pod.uid, begun)


def _written(directory: Path, instance: int) -> tuple[bytes, bytes]:
    """What the log has of an instance's stdout and stderr."""
    streams = {stream: bytearray() for stream in Stream}
    with suppress(FileNotFoundError):  # one whose program never ran has none
        for entry in read(directory, instance):
            streams[entry.stream] += entry.line()
    return bytes(streams[Stream.STDOUT]), bytes(streams[Stream.STDERR])
