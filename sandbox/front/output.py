"""Our stdout and stderr, while containers' output is passed on to them from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sandbox.front.writing import write_all
from sandbox.pod.logs import Entry, Stream

_TARGETS = {Stream.STDOUT: 1, Stream.STDERR: 2}


class Output:
    """Writes the lines of containers' logs, each whole."""

    def __init__(self, on_failure: Callable[[OSError], None]) -> None:
        """`on_failure` is called, from a thread, when stdout or stderr takes no more: BrokenPipeError or another."""
        self._on_failure = on_failure
        self._failed = False
        self._writing = {1: threading.Lock(), 2: threading.Lock()}

    def write(self, entry: Entry, prefix: str) -> bool:
        """Pass a line on.  False once stdout or stderr took no more: then there is no use in going on.

        Without a prefix bytes go through as they came; behind one, a line that has no end gets one, as the next may be
        another container's.
        """
        data = entry.line()
        if prefix:
            data = prefix.encode() + data.removesuffix(b"\n") + b"\n"
        with self._writing[_TARGETS[entry.stream]]:
            if not self._failed:
                self._write(_TARGETS[entry.stream], data)
        return not self._failed

    def _write(self, target: int, data: bytes) -> None:
        try:
            write_all(target, data)
        except OSError as error:
            self._failed = True
            self._on_failure(error)
