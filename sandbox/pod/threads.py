"""Threads of ours in a program that has its own: they take no signals, and keep no program from its end.

Light to import: `exec` has some, and no asyncio.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
    """A quiet thread that does this, started; a daemon."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    with quiet():
        thread.start()
    return thread
