"""A pseudo-terminal with a program of ours on it, as a person would sit at."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 30  # seconds


class Terminal:
    """A terminal with a program of ours on it."""

    def __init__(self, words: Sequence[str | Path]) -> None:
        self.master, peer = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(peer)
        self.peer = peer
        self.seen = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *words],  # its controlling terminal, or a change of size would tell nobody
            stdin=peer,
            stdout=peer,
            stderr=peer,
            env={**os.environ, "TERM": "vt220"},
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def until(self, text: bytes, poke: bytes = b"", *, after: bytes = b"") -> None:
        """Wait for a text; while nothing comes, type `poke`: a shell runs its traps between two lines only."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.seen.partition(after)[2] if after else text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 4096)
            else:
                self.type(poke)

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.peer)[3] & termios.ICANON

    def end(self) -> int:
        """Its exit code; the terminal must be as it was."""
        code = self.process.wait(TIMEOUT)
        assert termios.tcgetattr(self.peer) == self.before
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.peer)


@contextmanager
def terminal(words: Sequence[str | Path]) -> Iterator[Terminal]:
    made = Terminal(words)
    try:
        yield made
    finally:
        made.close()
