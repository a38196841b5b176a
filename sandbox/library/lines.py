"""Lines of a container's log as they are written, for a loop that must not wait: a thread reads them.

It reads ahead by a few batches and then waits for its reader, so a log is never held in memory whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.pod import threads
from sandbox.pod.client import Ended, Watch
from sandbox.pod.entries import Entry
from sandbox.pod.logs import Options, read

BATCH = 1000  # lines that are handed over at a time, where they come that fast
AHEAD = 4  # batches that the thread may be ahead


@dataclass(frozen=True)
class Source:
    """One instance of a container (its restart count): whose it is, and where its log stands."""

    root: Path
    uid: str
    container: str
    instance: int
    directory: Path


class Lines:
    """The lines of a log, without their ends: an async iterator.

    A line longer than 1 MiB comes in parts.  `aclose` is for one that is not read to its end; a reader that is dropped
    does the same.
    """

    def __init__(self, begin: Callable[[], Awaitable[Source]], options: Options) -> None:
        """`begin` says what to read, once the first line is asked for."""
        self._begin = begin
        self._options = options
        self._feed: _Feed | None = None
        self._ready: deque[str] = deque()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        if not self._ready:
            self._ready.extend(await self.batch())
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def batch(self) -> list[str]:
        """The lines that have come meanwhile, at least one; none at the end.  Raises SandboxError, OSError."""
        if self._feed is None:
            self._feed = _Feed(await self._begin(), self._options)
        try:
            return await self._feed.next()
        except asyncio.CancelledError:
            self.close()
            raise

    async def aclose(self) -> None:
        """Read no more.  Idempotent."""
        self.close()

    def close(self) -> None:
        """As `aclose`, for any thread to call."""
        if self._feed is not None:
            self._feed.close()

    def __del__(self) -> None:
        self.close()


class _Feed:
    """A thread that reads a log, and what it has read."""

    def __init__(self, source: Source, options: Options) -> None:
        self._source = source
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()  # of the loop
        self._state = threading.Condition()  # holds what follows
        self._batches: deque[list[str]] = deque()
        self._over = False  # the thread has nothing more to say
        self._closed = False  # and nobody would hear it
        self._error: SandboxError | OSError | None = None
        self._watch: Watch | None = None
        threads.start(self._run, "log")

    # ---- the loop's side ----

    async def next(self) -> list[str]:
        while True:
            self._news.clear()
            with self._state:
                if self._batches:
                    self._state.notify()
                    return self._batches.popleft()
                if self._error is not None:
                    raise self._error
                if self._over or self._closed:
                    return []
            await self._news.wait()

    def close(self) -> None:
        with self._state:
            self._closed = True
            self._batches.clear()
            self._state.notify()
            if self._watch is not None:
                self._watch.cancel()

    # ---- the thread's side ----

    def _run(self) -> None:
        try:
            with contextlib.suppress(_Closed), ExitStack() as stack:
                self._carry(self._entries(stack))
        except (SandboxError, OSError) as error:
            self._error = error
        finally:
            with self._state:
                self._over, self._watch = True, None
            self._tell()

    def _entries(self, stack: ExitStack) -> Iterable[Entry]:
        source = self._source
        if not self._options.follow:
            return read(source.directory, source.instance, self._options)
        watch = Watch(source.root, [source.uid])
        ended = stack.enter_context(Ended(watch, source.container, source.instance))
        with self._state:
            if self._closed:
                raise _Closed
            self._watch = watch

        def finished() -> bool:
            return self._closed or ended.finished()

        return read(
            source.directory,
            source.instance,
            self._options,
            finished=finished,
            wake=ended.fileno(),
            caught_up=self._hand_over,
        )

    def _carry(self, entries: Iterable[Entry]) -> None:
        self._batch: list[str] = []
        for entry in entries:
            self._batch.append(entry.text.decode(errors="replace"))
            if len(self._batch) >= BATCH:
                self._hand_over()
        self._hand_over()

    def _hand_over(self) -> None:
        """What has been read so far; waits for room."""
        if not self._batch:
            return
        with self._state:
            self._state.wait_for(lambda: len(self._batches) < AHEAD or self._closed)
            if self._closed:
                raise _Closed
            self._batches.append(self._batch)
        self._batch = []
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._news.set)


class _Closed(Exception):
    """Nobody reads any more."""
