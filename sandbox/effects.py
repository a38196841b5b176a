"""What an engine does to the world beside it: to disk, kernel, podmons.  Each place that does so registers itself.

An engine may be killed before any of them, and the next one has to make the best of it.  Tests kill it before each:
they set `witness`, which is told the name of each effect just before that is had.  Nothing else sets it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

witness: Callable[[str], None] | None = None
registered: set[str] = set()  # the names of all, once the modules that have them are imported


def register(name: str) -> Callable[[], None]:
    """Make an effect known; to be called each time, just before it is had."""
    registered.add(name)

    def had() -> None:
        if witness is not None:
            witness(name)

    return had


def effect(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Of a function, coroutines included: to call it has an effect."""
    had = register(name)

    def registering(work: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(work)
        def known(*arguments: P.args, **named: P.kwargs) -> T:
            had()
            return work(*arguments, **named)

        return known

    return registering
