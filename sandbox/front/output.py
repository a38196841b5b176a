"""Our stdout and stderr, while containers' output is passed on to them from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sandbox.front.writing import write_all
from sandbox.pod.entries import Entry, Stream

ENOUGH = 1 << 16  # bytes that are not kept any longer for more to come

_TARGETS = {Stream.STDOUT: 1, Stream.STDERR: 2}


class Output:
    """Writes whole lines, of one container at a time."""

    def __init__(self, on_failure: Callable[[OSError], None]) -> None:
        """`on_failure` is called, from a thread, when stdout or stderr takes no more: BrokenPipeError or another."""
        self._on_failure = on_failure
        self._failed = False
        self._writing = {1: threading.Lock(), 2: threading.Lock()}

    def write(self, stream: Stream, data: bytes | bytearray) -> bool:
        """Write it all.  False once stdout or stderr took no more: then there is no use in going on."""
        target = _TARGETS[stream]
        with self._writing[target]:
            if not self._failed:
                try:
                    write_all(target, data)
                except OSError as error:
                    self._failed = True
                    self._on_failure(error)
        return not self._failed


class Lines:
    """The lines of one container on their way to the output, several at a time; `flush` sends on what is kept.

    Without a prefix bytes go through as they came; behind one, a line that has no end gets one, as the next may be
    another container's.
    """

    def __init__(self, output: Output, prefix: str) -> None:
        self._output = output
        self._prefix = prefix.encode()
        self._kept = bytearray()
        self._stream = Stream.STDOUT

    def add(self, entry: Entry) -> bool:
        """Pass a line on.  False where there is no use in going on."""
        going = entry.stream is self._stream or self.flush()
        self._stream = entry.stream
        self._kept += self._prefix + entry.text
        if self._prefix or not entry.partial:
            self._kept += b"\n"
        return going and (len(self._kept) < ENOUGH or self.flush())

    def flush(self) -> bool:
        """Write what is kept.  False where there is no use in going on."""
        kept, self._kept = self._kept, bytearray()
        return not kept or self._output.write(self._stream, kept)
