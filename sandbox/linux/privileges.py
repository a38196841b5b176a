"""This process's own privileges: what it can do and hand on, and the name it goes by.  The only user of prctl."""

from __future__ import annotations

from collections.abc import Iterable

import prctl

from sandbox import capabilities

NAME_MAX = 15  # bytes of a thread's name, prctl(2)


def effective() -> int:
    """The bits of the capabilities that this process can use."""
    return _flagged(prctl.CAP_EFFECTIVE)


def held() -> int:
    """The bits of the capabilities that this process can hand on to a container.

    They are permitted, and in the bounding set, which no execve on the way gets beyond.
    """
    return _bounding() & _flagged(prctl.CAP_PERMITTED)


def missing(names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` (as in sandbox.capabilities) that this process cannot use."""
    return capabilities.names(capabilities.bits(names) & ~effective())


def name_thread(name: str) -> None:
    """What ps and top show of the calling thread; of the first thread, it is the process's name."""
    prctl.set_name(name[:NAME_MAX])


def _bounding() -> int:
    return sum(1 << number for number in _known() if prctl.capbset_read(number))


def _flagged(flag: int) -> int:
    held = prctl.get_caps(*((number, flag) for number in _known()))[flag]
    return sum(1 << number for number in held if held[number])


def _known() -> range:
    """The numbers of the capabilities that we and prctl know: a newer one is neither asked for nor given."""
    return range(min(len(capabilities.CAPABILITIES), prctl.CAP_LAST_CAP + 1))
