"""Threads of ours in a program that has its own: they take no signals, and keep no program from its end.

Light to import: `exec` has some, and no asyncio.
"""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.errors import KernelError


@contextmanager
def quiet() -> Iterator[None]:
    """Threads that are started in the block take no signals, and this one takes none until its end.

    Only the main thread runs Python's handlers, and a signal that another thread got would not wake it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(work: Callable[[], Any], name: str) -> threading.Thread:
    """A quiet thread that does this, started; a daemon.  Raises KernelError."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    with quiet():
        try:
            thread.start()
        except RuntimeError:  # all that Python says of a clone that failed
            hint = "a limit on processes is reached (ulimit -u, pids.max, kernel.pid_max)"
            raise KernelError(errno.EAGAIN, step="start a thread", hint=hint) from None
    return thread
