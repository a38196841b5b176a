"""Threads of ours in a program that has its own: they take no signals, and keep no program from its end.

Light to import: `exec` has some, and no asyncio.
"""

from __future__ import annotations

import errno
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.errors import KernelError

REST = 10.0  # seconds after which a thread that has nothing to do ends

Work = Callable[[], Any]
Inbox = queue.SimpleQueue[Work]  # of one thread

_resting: list[Inbox] = []  # of the threads that have nothing to do; its methods are atomic
os.register_at_fork(after_in_child=_resting.clear)  # a child has none of them


class _Quiet(threading.Thread):
    """One that takes no signals."""


@contextmanager
def quiet() -> Iterator[None]:
    """Threads that are started in the block take no signals, and this one takes none until its end.

    Only the main thread runs Python's handlers, and a signal that another thread got would not wake it.
    """
    if isinstance(threading.current_thread(), _Quiet):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(work: Work, name: str) -> threading.Thread:
    """A quiet thread that does this, started; a daemon.  Raises KernelError."""
    thread = _Quiet(target=work, name=name, daemon=True)
    with quiet():
        try:
            thread.start()
        except RuntimeError:  # all that Python says of a clone that failed
            hint = "a limit on processes is reached (ulimit -u, pids.max, kernel.pid_max)"
            raise KernelError(errno.EAGAIN, step="start a thread", hint=hint) from None
    return thread


def do(work: Work) -> None:
    """Have a quiet thread do this, which raises nothing: one that rests, for that takes half as long as a new one.

    There are as many as have ever worked at once, and no limit: one may wait for what another does.
    """
    try:
        inbox = _resting.pop()
    except IndexError:
        start(lambda: _serve(work), "sandbox")
    else:
        inbox.put(work)


def _serve(work: Work | None) -> None:
    inbox: Inbox = queue.SimpleQueue()
    while work is not None:
        work()
        work = None  # what it holds is not kept while this one rests
        _resting.append(inbox)
        work = _next(inbox)


def _next(inbox: Inbox) -> Work | None:
    """What there is to do next, or None after a long rest."""
    try:
        return inbox.get(timeout=REST)
    except queue.Empty:
        try:
            _resting.remove(inbox)
        except ValueError:  # somebody has taken it, and is about to put something there
            return inbox.get()
        return None
