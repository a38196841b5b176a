"""The one event loop of all that blocks: a thread of ours runs it, and any thread of the program may ask.

It is started with the first thing that is asked, and ends with the program.  A forked child has one of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from sandbox.errors import WrongState
from sandbox.pod import tasks, threads

T = TypeVar("T")


class Loop:
    """An event loop in a thread, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._of_parents: list[asyncio.AbstractEventLoop] = []  # kept, so that nothing of theirs is finalised here

    def forget(self) -> None:
        """A forked child: the thread is its parent's."""
        if self._loop is not None:
            self._of_parents.append(self._loop)
        self._lock, self._loop, self._pid = threading.Lock(), None, os.getpid()

    @property
    def owner(self) -> int:
        """The process whose loop it is: what was made on another's can do nothing here."""
        return self._pid

    def run(self, work: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[object]] | None = None) -> T:
        """Do it on the loop and wait for it.

        What interrupts the waiting (Ctrl-C) cancels the work and waits until that is undone; where it was done by then,
        `undo` does away with what came of it.  A second interrupt does not wait.
        """
        task = _Task(self._started(), work)
        try:
            task.begin()
            return task.result()
        except BaseException:  # an interrupt, or what the work itself raised: undo, then let it pass
            if not task.done():  # it is the waiting that was interrupted
                task.cancel()
                if task.succeeded() and undo is not None:
                    self.run(_awaited(undo, task.result()))
            raise

    def call(self, work: Callable[[], T]) -> T:
        """Do on the loop what does not wait."""

        async def called() -> T:
            return work()

        return self.run(called())

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = tasks.new_loop()
                threads.start(loop.run_forever, "sandbox")
                self._loop = loop
            return self._loop


class _Task(Generic[T]):
    """A task of the loop as another thread sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._work = work
        self._future: Future[T] = Future()
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """Have the loop begin with it.  Whatever interrupts this, `cancel` finds out whether it did."""
        self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[T]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(task.result())

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # it was never begun
            self._work.close()
            self._future.set_exception(asyncio.CancelledError())

    def done(self) -> bool:
        return self._future.done()

    def succeeded(self) -> bool:
        """Wait for the end, whatever it is: whether that is a result."""
        return self._future.exception() is None

    def result(self) -> T:
        return self._future.result()


async def _awaited(work: Callable[[T], Awaitable[object]], argument: T) -> None:
    await work(argument)


LOOP = Loop()
os.register_at_fork(after_in_child=LOOP.forget)


def require_own(owner: int, what: object) -> None:
    """Raises WrongState for what was made before this process was forked: it is its parent's."""
    if owner != LOOP.owner:
        message = f"{what!r} belongs to process {owner}, of which this one was forked"
        raise WrongState(message, current="another process's", wanted="our own", hint="make it after the fork")
