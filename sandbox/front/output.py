"""Carries the output of containers to our own stdout and stderr, while a pod runs in the foreground.

Each pipe has a thread of its own: a pager that stands still holds up the containers that write to it, and not the
engine.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

from sandbox.front.writing import write_all

CHUNK = 65536  # bytes; also the longest line that is kept whole behind one prefix


class Output:
    """Our stdout and stderr, shared by the containers of a run.

    Lines of several containers are kept apart by `prefix`; an empty one passes bytes through as they come.
    """

    def __init__(self, on_failure: Callable[[OSError], None]) -> None:
        """`on_failure` is called, from a thread, when stdout or stderr takes no more: BrokenPipeError or another."""
        self._on_failure = on_failure
        self._threads: list[threading.Thread] = []
        self._writing = {1: threading.Lock(), 2: threading.Lock()}

    def open(self, prefix: str) -> tuple[int, int]:
        """The write ends of two pipes that lead to our stdout and stderr; the caller closes them."""
        stdout = self._pipe(1, prefix)
        try:
            return stdout, self._pipe(2, prefix)
        except OSError:
            os.close(stdout)
            raise

    async def finished(self) -> None:
        """Wait until all that was written has been passed on.  The pipes' writers must be gone."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def join() -> None:
            for thread in self._threads:
                thread.join()
            loop.call_soon_threadsafe(done.set)

        # A daemon as the others are: whoever gives up waiting can end the program.
        threading.Thread(target=join, daemon=True).start()
        await done.wait()

    def _pipe(self, target: int, prefix: str) -> int:
        source, sink = os.pipe2(os.O_CLOEXEC)
        carry = self._carry_lines if prefix else self._carry_bytes
        thread = threading.Thread(target=carry, args=(source, target, prefix.encode()), daemon=True)
        thread.start()
        self._threads.append(thread)
        return sink

    def _carry_bytes(self, source: int, target: int, _: bytes) -> None:
        with os.fdopen(source, "rb", buffering=0) as pipe:
            while data := pipe.read(CHUNK):
                self._write(target, data)

    def _carry_lines(self, source: int, target: int, prefix: bytes) -> None:
        """Whole lines, each behind the prefix; one without an end gets one, as the next may be another container's."""
        with os.fdopen(source, "rb", buffering=0) as pipe:
            rest = b""
            while data := pipe.read(CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) >= CHUNK:
                    lines, rest = [*lines, rest], b""
                self._write(target, b"".join(prefix + line + b"\n" for line in lines))
            if rest:
                self._write(target, prefix + rest + b"\n")

    def _write(self, target: int, data: bytes) -> None:
        """Write all of it.  Once that fails, what comes is read and dropped, so that no container waits for ever."""
        with self._writing[target]:
            try:
                write_all(target, data)
            except OSError as error:
                self._on_failure(error)
