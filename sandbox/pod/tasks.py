"""asyncio's tasks where they belong to something and end with it, and its loops and threads; knows nothing of pods."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from sandbox.pod import forks, threads

T = TypeVar("T")


class Interrupted(Exception):
    """Work was given up, because the event that it was to end with came."""


class Tasks:
    """Tasks in the background; `end` cancels those that are left."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def done(self) -> None:
        """Wait for their ends."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self) -> None:
        """Cancel them all and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def unless(event: asyncio.Event, work: Awaitable[T]) -> T:
    """Do it, or give it up as soon as the event is set, undoing what it undoes when cancelled.  Raises Interrupted."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Interrupted
    finally:
        waiter.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Do it to its end even where that is cancelled meanwhile: a request that is on its way cannot be called back."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


async def any_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    if len(events) == 1:
        await events[0].wait()
        return
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


# ---- loops and threads ----


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop for a thread of ours: a forked child cannot reach what its parent's waits for."""
    selector = selectors.EpollSelector()
    forks.guard(selector.fileno())
    return _Loop(selector)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, selector: selectors.EpollSelector) -> None:
        super().__init__(selector)
        self._poll = selector.fileno()

    def close(self) -> None:
        forks.release(self._poll)
        super().close()


async def in_thread(work: Callable[..., T], *arguments: Any, undo: Callable[[T], Any] | None = None) -> T:
    """Do in a thread what blocks.  It cannot be given up: when cancelled, its end is waited for, and then `undo` does
    away with what came of it.

    Not asyncio's to_thread: that refuses all work as soon as the program's main thread has ended, and an engine that
    the program hosts has work until then, and more where other threads of the program go on.
    """
    done, run = _job(work, arguments)
    threads.do(run)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        if done.exception() is None and undo is not None:
            await in_thread(undo, done.result())
        raise


def _job(work: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[asyncio.Future[T], Callable[[], None]]:
    """What comes of the work, for this loop, and what a thread does for it; that raises nothing."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work(*arguments)
        except BaseException as raised:  # noqa: BLE001 - it is raised again where it is waited for
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    return done, run
