"""Threads of ours in a program that has its own: they take no signals, and keep no program from its end."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sandbox.pod import forks

T = TypeVar("T")


def start(work: Callable[[], Any], name: str) -> threading.Thread:
    """A thread that does this, started.

    It takes no signals: only the main thread runs Python's handlers, and one that another thread got would not wake it.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread


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
    away with what came of it."""
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

    start(run, getattr(work, "__name__", "sandbox"))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        if done.exception() is None and undo is not None:
            await in_thread(undo, done.result())
        raise
