"""One child of a podmon as its client knows it: how far it has come, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from sandbox.effects import effect
from sandbox.errors import SandboxError
from sandbox.linux import native
from sandbox.linux.ops import Op
from sandbox.status import ExitStatus


class Stage(IntEnum):
    """How far a child has come; it only ever grows."""

    REQUESTED = 0
    SPAWNED = 1  # it exists, with a pidfd
    PREPARED = 2  # at the gate before its mounts
    CREATED = 3  # at the gate before its program
    RUNNING = 4
    ENDED = 5


@dataclass(frozen=True)
class LogState:
    """How a child's log fares: the errno for which it cannot be written now (0: it can), and what was lost so far."""

    error: int = 0
    lost_lines: int = 0
    lost_bytes: int = 0


class Child:
    """One spawn.  `failure` is set where an op failed, `exit` where it ended otherwise; then `stage` is ENDED."""

    def __init__(
        self, number: int, scope: int, ask_signal: Callable[[Child, int], None], ops: Sequence[Op] = ()
    ) -> None:
        """`ask_signal` has podmon send a signal, which always has the child's pidfd."""
        self._ask_signal = ask_signal
        self.number = number
        self.scope = scope
        self.ops = ops
        self.stage = Stage.REQUESTED
        self.pidfd: int | None = None
        self.terminal: int | None = None  # the master of its terminal, where it made one; the holder's to close
        self.failure: SandboxError | None = None
        self.exit: ExitStatus | None = None
        self.started: datetime | None = None  # when its program began to run
        self.log = LogState()
        self._kept: list[int] = []
        self._changed = asyncio.Event()

    async def until(self, stage: Stage) -> None:
        """Wait until the child has come this far or has ended.  Raises its failure: SpawnError and the like."""
        await self._reached(stage)
        if self.failure is not None:
            raise self.failure

    async def ended(self) -> None:
        """Wait for the end, whatever it is."""
        await self._reached(Stage.ENDED)

    async def _reached(self, stage: Stage) -> None:
        while self.stage < stage:
            await self.changed()

    async def changed(self) -> None:
        """Wait until something else is known of it."""
        await self._changed.wait()

    async def log_states(self) -> AsyncIterator[LogState]:
        """Its log's state whenever that is another, up to the child's end."""
        known = LogState()
        while True:
            if self.log != known:
                known = self.log
                yield known
            elif self.stage is Stage.ENDED:
                return
            else:
                await self.changed()

    @effect("signal a container")
    def signal(self, number: int) -> None:
        """Send a signal to the child's first process; one that has ended meanwhile is no error."""
        if not Stage.SPAWNED <= self.stage < Stage.ENDED:
            return
        if self.pidfd is None:
            self._ask_signal(self, number)
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended, podmon's word of it is on the way
            signal.pidfd_send_signal(self.pidfd, number)

    @property
    def pid(self) -> int | None:
        """The process number as this process sees it; None before it is there and once it has been reaped."""
        if self.pidfd is None:
            return None
        pid = native.pid_of(self.pidfd)
        return pid if pid > 0 else None

    def spawned(self, pidfd: int | None) -> None:
        """It is there; `pidfd` is None where this process had no fd left to take it."""
        self._close_pidfd()
        self.pidfd = pidfd
        self.advance(Stage.SPAWNED)

    def hear_of_log(self, state: LogState) -> None:
        self.log = state
        self.advance(self.stage)

    def advance(self, stage: Stage) -> None:
        self.stage = max(self.stage, stage)
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self, *, failure: SandboxError | None = None, exit_status: ExitStatus | None = None) -> None:
        if self.stage is Stage.ENDED:
            return
        self.failure, self.exit = failure, exit_status
        self.close()  # or every container that ever ran would cost the engine an fd
        self.advance(Stage.ENDED)

    def keep(self, fd: int) -> int:
        """Close it with the pidfd; the fd itself."""
        self._kept.append(fd)
        return fd

    def close(self) -> None:
        """Close the pidfd and what is kept with it; the child can be asked nothing more."""
        self._close_pidfd()
        while self._kept:
            os.close(self._kept.pop())

    def _close_pidfd(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
