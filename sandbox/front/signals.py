"""Signals as news, for a program of several threads.

A handler runs in the main thread, but the kernel gives a signal to any thread that has it unblocked: while another one
gets it, a main thread that waits for a lock is not woken.  So all threads block them, and one waits for nothing else.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_ENOUGH = signal.SIGRTMIN  # sent by us to the thread that waits, to end it


@contextmanager
def taken(numbers: Iterable[signal.Signals], tell: Callable[[int], None]) -> Iterator[None]:
    """While the block lasts, `tell` is called from a thread with each of these signals that comes.

    HUP is left out where it is ignored: nohup means it.  Threads that are started in the block block them too.
    """
    heeded = {number for number in numbers if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}
    awaited = heeded | {_ENOUGH}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)

    def take() -> None:
        while (number := signal.sigwait(awaited)) != _ENOUGH:
            tell(number)

    thread = threading.Thread(target=take, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        assert thread.ident is not None
        signal.pthread_kill(thread.ident, _ENOUGH)
        thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
