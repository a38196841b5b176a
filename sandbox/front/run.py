"""`seedpod run FILE`: pods in the foreground, from their creation to their removal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sandbox import manifest
from sandbox.errors import KernelError, SandboxError
from sandbox.front.errors import print_error, print_warning
from sandbox.front.output import Output
from sandbox.linux import host
from sandbox.model import Container, Pod
from sandbox.pod import lifecycle
from sandbox.pod.engine import Engine, RunningPod

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(root: Path, file: str) -> int:
    """Run the pods of a manifest until their end.  The exit code of the verb."""
    pods = load(file)
    host.require_privileges()
    return asyncio.run(_Run(Engine(root, print_warning), pods).main())


def load(file: str) -> tuple[Pod, ...]:
    """The pods of a manifest file; "-" is stdin.  Raises ManifestError, or KernelError where it cannot be read."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise KernelError(error.errno or 0, step="read", filename=file) from error
    return manifest.load(data, file="<stdin>" if file == "-" else file)


class _Run:
    """One run: its pods, and the signals that interrupt it.

    The first TERM, INT or HUP ends the pods gracefully, the second at once.
    """

    def __init__(self, engine: Engine, pods: tuple[Pod, ...]) -> None:
        self._engine = engine
        self._pods = pods
        self._running: list[RunningPod] = []
        self._signals: list[int] = []
        self._failure: OSError | None = None
        self._once, self._twice = asyncio.Event(), asyncio.Event()

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)  # whatever our caller had blocked
        for number in INTERRUPTS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
                loop.add_signal_handler(number, self._interrupt, number)
        output = Output(lambda error: self._failed_in(loop, error))
        try:
            await self._unless(self._once, self._start_and_wait(output))
            if self._once.is_set():
                await self._unless(self._twice, self._each(RunningPod.stop))
        finally:
            await self._each(RunningPod.remove)
        await self._unless(self._twice, output.finished())
        if self._failure:
            raise KernelError(self._failure.errno or 0, step="write the containers' output")
        return self._exit_code()

    async def _start_and_wait(self, output: Output) -> None:
        for pod in self._pods:
            self._engine.check(pod)  # all of them, before the first is made
        for pod in self._pods:
            running = await self._engine.run(pod, lambda p, c: output.open(self._prefix(p, c)), _report)
            self._running.append(running)
        await self._each(RunningPod.wait)
        for running in self._running:
            if running.box is not None and not running.box.alive:
                print_error(SandboxError(f'pod "{running.pod.name}": its podmon was killed, and with it all that ran'))

    async def _each(self, act: Callable[[RunningPod], Coroutine[Any, Any, None]]) -> None:
        """Do it to all pods at once; let all finish before the first error is raised."""
        results = await asyncio.gather(*(act(running) for running in self._running), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    @staticmethod
    async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, or give it up as soon as the event comes."""
        task = asyncio.ensure_future(work)
        waiter = asyncio.ensure_future(event.wait())
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # by us
            await task

    def _interrupt(self, number: int) -> None:
        self._signals.append(number)
        (self._twice if self._once.is_set() else self._once).set()

    def _failed_in(self, loop: asyncio.AbstractEventLoop, error: OSError) -> None:
        loop.call_soon_threadsafe(self._failed, error)

    def _failed(self, error: OSError) -> None:
        """Our output goes nowhere any more: what the pods do is for nobody."""
        if self._signals or self._failure:
            return
        if isinstance(error, BrokenPipeError):
            self._interrupt(signal.SIGPIPE)
        else:
            self._failure = error
            self._once.set()

    def _prefix(self, pod: Pod, container: Container) -> str:
        if len(self._pods) > 1:
            return f"{pod.name}/{container.name} | "
        return f"{container.name} | " if len(pod.containers) > 1 else ""

    def _exit_code(self) -> int:
        if self._signals:
            return 128 + self._signals[0]
        return lifecycle.exit_code(end for running in self._running for end in running.ended.values())


def _report(pod: Pod, container: Container, error: SandboxError | OSError) -> None:
    print_error(error, subject=f'pod "{pod.name}", container "{container.name}": ')
