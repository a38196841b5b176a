"""File descriptors that end with this process although a program may fork: none of our fds is a child's to keep.

A child that Python forks and that never calls exec (multiprocessing, say) has copies of all of them.  A copied lock
would be held, a copied socket answered by nobody, and a bound podmon would outlive the process it is bound to.  So in
the child each is /dev/null, under the number it had: whoever there still closes it closes nothing else.
"""

from __future__ import annotations

import os

_guarded: set[int] = set()


def guard(fd: int) -> int:
    """Have no forked child keep it; the fd itself."""
    _guarded.add(fd)
    return fd


def release(fd: int) -> int:
    """No longer: it is about to be closed, and its number may be anything's then.  The fd itself."""
    _guarded.discard(fd)
    return fd


def _let_go() -> None:
    if not _guarded:
        return
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in _guarded:
        os.dup2(null, fd, inheritable=False)
    os.close(null)
    _guarded.clear()


os.register_at_fork(after_in_child=_let_go)
