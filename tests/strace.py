"""System calls of other processes, seen and made to fail by strace(1), while a test goes on.

A fault is not the kernel's: strace keeps the call from being made and replaces its result.  So a close that "fails"
leaves the fd open, which Linux's never does, and a write that is cut "short" has written nothing.
"""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.runner import TIMEOUT

# "PID name(arguments) = result", the number only where children are followed.
_CALL = re.compile(r"(?:\d+ +)?(\w+)\(")
_END = re.compile(r"(\d+) +\+\+\+ (?:exited with|killed by) (\w+)")


@dataclass(frozen=True)
class Fault:
    """The `when`th `call` of each process that is followed ends otherwise: "error=EIO", "retval=2", "signal=KILL"."""

    call: str
    end: str
    when: int

    def __str__(self) -> str:
        return f"{self.call}:{self.end}:when={self.when}"


class Tracer:
    """strace, following `pid` by the time that the constructor returns; with `children`, all that it starts too.

    With `threadless` it can make no thread, so that what a thread would do is seen as well.
    """

    def __init__(
        self, pid: int, fault: Fault | None = None, *, children: bool = False, threadless: bool = False
    ) -> None:
        self._fault = fault
        with tempfile.NamedTemporaryFile(prefix="strace-", delete=False) as file:
            self._file = Path(file.name)
        words = ["strace", "-o", str(self._file), *(["-f"] if children else []), "-p", str(pid)]
        if fault is not None:
            words += [f"--trace={fault.call}{',clone' if threadless else ''}", f"--inject={fault}"]
        if threadless:
            words.append("--inject=clone:error=EAGAIN")
        self._process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        attached = self._process.stderr.readline()
        assert "attached" in attached, attached

    def end(self) -> None:
        """Let go of what is still there.  Idempotent."""
        if self._process.stderr is None or self._process.stderr.closed:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=TIMEOUT)
        self._text = self._file.read_text(errors="replace")
        self._file.unlink()

    @property
    def calls(self) -> Counter[str]:
        """How often each call was made, once it has ended."""
        return Counter(found[1] for line in self._text.splitlines() if (found := _CALL.match(line)))

    def lines(self, call: str) -> list[str]:
        """Each time that the call was made, in order."""
        return [line for line in self._text.splitlines() if (found := _CALL.match(line)) and found[1] == call]

    @property
    def injected(self) -> list[str]:
        """The calls in which the fault came to pass."""
        assert self._fault is not None
        if self._fault.end.startswith("signal"):
            return self.lines(self._fault.call)[self._fault.when - 1 : self._fault.when]
        return [line for line in self.lines(self._fault.call) if line.endswith("(INJECTED)")]

    @property
    def children(self) -> dict[int, Counter[str]]:
        """The calls of each process but the first, up to its execve.  The first one's thread waits on a futex."""
        made: dict[int, Counter[str]] = {}
        first, ready = 0, set()
        for line in self._text.splitlines():
            if found := _CALL.match(line):
                pid, call = int(line.split()[0]), found[1]
                first = first or pid
                if pid != first and pid not in ready:
                    made.setdefault(pid, Counter())[call] += 1
                if call == "execve":
                    ready.add(pid)
        return {pid: calls for pid, calls in made.items() if not calls["futex"]}

    @property
    def ends(self) -> dict[int, str]:
        """How the processes that were followed ended: an exit code, or a signal's name."""
        return {int(found[1]): found[2] for line in self._text.splitlines() if (found := _END.match(line))}
