"""Programs that are run in a container again and again, as probes are, at as little cost as can be.

What is the same each time is made once and kept until the container has ended: the spec, sealed in its memfd, and
the host's /proc.  Each run has a pipe for its output, one message there and, as of what happens on the way nobody wants
to know, one message back.  See docs/benchmarks.md for what comes of that.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.errors import KernelError, SpawnError
from sandbox.linux import host, native, ops
from sandbox.linux.ops import Op
from sandbox.model import Container
from sandbox.pod import wire
from sandbox.pod.child import Child, Stage
from sandbox.pod.container import ExecSpec, compile_exec
from sandbox.pod.handlers import MAX_OUTPUT, Ran, Target
from sandbox.pod.sandbox_container import SandboxContainer

PATIENCE = 0.05  # seconds after which what a program writes is read although it runs on
REST = 0.01  # seconds between two blocks of that: one that writes without end is not to keep the engine busy
BLOCK = 1 << 16

# What stands for an fd in a list of ops that is compiled before there is one; no two alike, as an fd is sent once.
_PROC, _INIT, _OUTPUT = -2, -3, -4


def target_of(
    container: SandboxContainer, spec: Container, ips: Sequence[str], *, oom_score_adj: int | None = None
) -> Target:
    """What probes and hooks are done to.  `ips` are the pod's; `oom_score_adj` the container's (None: our own)."""
    ports = {port.name: port.container_port for port in spec.ports if port.name}
    return Target(tuple(ips), ports, Programs(container, oom_score_adj).run)


@dataclass(frozen=True)
class _Prepared:
    """A program, but for the fds that it gets: `wanted` says which in which order."""

    memfd: int
    wanted: tuple[int, ...]
    listed: Sequence[Op]


class Programs:
    """Programs of one container."""

    def __init__(self, container: SandboxContainer, oom_score_adj: int | None) -> None:
        self._container = container
        self._oom_score_adj = host.own_oom_score_adj() if oom_score_adj is None else oom_score_adj
        self._prepared: dict[tuple[str, ...], _Prepared] = {}
        self._proc = -1
        self._late: Child | None = None  # was killed, and has not ended yet

    async def run(self, argv: Sequence[str], timeout: float) -> Ran:
        """Run a program to its end, for `timeout` seconds at most; see handlers.Target.

        Where one that was killed before cannot die (its cgroup is frozen), no further one is started beside it.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        if self._late is not None:
            async with asyncio.timeout_at(end):
                await self._late.ended()
            self._late = None
        output, its_end = _pipe()
        try:
            child = await self._started(tuple(argv), its_end)
        except BaseException:  # cancellation included: undo, then let it pass
            os.close(output)
            raise
        finally:
            os.close(its_end)
        try:
            with _Output(output, loop) as written:
                async with asyncio.timeout_at(end):
                    await child.ended()
                return Ran(_exit_code(child), written.all())
        finally:
            if child.stage is not Stage.ENDED:
                self._container.podmon.kill(child)
                self._late = child

    async def _started(self, argv: tuple[str, ...], output: int) -> Child:
        init = self._container.pidfd
        if init is None or self._container.stage is not Stage.RUNNING:
            raise wire.does_not_run()
        prepared = self._prepared.get(argv) or self._prepare(argv)
        fds = {_PROC: self._proc, _INIT: init, _OUTPUT: output}
        return await self._container.podmon.execute_kept(
            prepared.memfd, [fds[each] for each in prepared.wanted], prepared.listed
        )

    def _prepare(self, argv: tuple[str, ...]) -> _Prepared:
        child, setting = self._container.child, self._container.setting
        spec = ExecSpec(argv, setting.env, setting.cwd, self._oom_score_adj)
        listed = compile_exec(spec, setting.privileges, init=_INIT, stdio=(None, _OUTPUT, _OUTPUT), proc=_PROC)
        encoded = ops.encode(listed, cgroup_of=child.number, protocol=self._container.podmon.protocol)
        if self._proc < 0:
            self._proc = child.keep(os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        made = _Prepared(child.keep(native.sealed_memfd("spec", encoded.data)), encoded.fds, listed)
        self._prepared[argv] = made
        return made


def _exit_code(child: Child) -> int:
    """Raises what kept it from running."""
    failure = child.failure
    if failure is None:
        assert child.exit is not None
        return child.exit.code
    if isinstance(failure, KernelError) and not isinstance(failure, SpawnError) and failure.errno == errno.ESRCH:
        raise wire.does_not_run() from None  # it has ended since we looked
    raise failure


def _pipe() -> tuple[int, int]:
    """Our end, which does not block, and the program's."""
    ours, its = native.pipe()
    os.set_blocking(ours, False)
    return ours, its


class _Output:
    """The beginning of what comes through a pipe.

    It is read when the program has ended; before, if that takes long, so that a full pipe holds nobody up.
    """

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = fd
        self._loop = loop
        self._data = b""

    def __enter__(self) -> _Output:
        self._timer = self._loop.call_later(PATIENCE, self._watch)
        self._watched = False
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._unwatch()
        os.close(self._fd)

    def _watch(self) -> None:
        self._loop.add_reader(self._fd, self._readable)
        self._watched = True

    def _unwatch(self) -> None:
        if self._watched:
            self._loop.remove_reader(self._fd)
            self._watched = False

    def _readable(self) -> None:
        self._unwatch()
        if self._read(BLOCK):
            self._timer = self._loop.call_later(REST, self._watch)

    def _read(self, most: int) -> bool:
        try:
            block = os.read(self._fd, most)
        except BlockingIOError:
            return False
        self._data += block[: MAX_OUTPUT - len(self._data)]
        return bool(block)

    def all(self) -> bytes:
        """With what is in the pipe now, and no more: somebody may go on writing for ever."""
        while len(self._data) < MAX_OUTPUT and self._read(MAX_OUTPUT - len(self._data)):
            pass
        return self._data
