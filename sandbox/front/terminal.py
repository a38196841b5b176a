"""The terminal that we were started from: its size, and its raw mode while a container's terminal is shown on it."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


def size(fd: int) -> tuple[int, int]:
    """Rows and columns of the terminal behind `fd`."""
    found = os.get_terminal_size(fd)
    return found.lines, found.columns


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """Every key is a byte to be passed on, Ctrl-C too; at the end of the block the terminal is as before."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)
        yield
    finally:
        # Not TCSADRAIN: that would wait for somebody to read what a thread of ours still writes, or for ever.
        termios.tcsetattr(fd, termios.TCSANOW, before)
