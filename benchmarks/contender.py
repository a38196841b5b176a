"""What is measured: its operations, its processes, and the cgroup in which all of them are counted."""

from __future__ import annotations

import json
import select
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cgroups import Cgroup

TIMEOUT = 120.0  # seconds: who takes that long has failed
CONTAINERS = ("a", "b")
SETTLED = 10.0  # seconds in which what an operation has begun must be seen
# Ends by SIGTERM, which process 1 of a pid namespace does only if it says so.
COMMAND = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"]
PROCESS = "sh"


class Missing(Exception):
    """A contender cannot be measured here, and why."""


class Failed(Exception):
    """An operation did not do what it is to do."""


@dataclass(frozen=True)
class Place:
    """Where a run keeps what it makes: a directory, a cgroup, and a rootfs that all contenders use."""

    directory: Path
    cgroup: Cgroup
    rootfs: Path


class Contender(ABC):
    """Makes a pod of two containers (`create`), runs `true` in one (`exec`), removes it (`delete`): those it can do."""

    name: ClassVar[str]
    says: ClassVar[str]
    operations: ClassVar[tuple[str, ...]] = ("create", "exec", "delete")
    standing: int = 0  # containers that stand beside the one that is measured

    def __init__(self, place: Place) -> None:
        self.place = place
        self.directory = place.directory / self.name.replace(" ", "-")
        self.cgroup = place.cgroup.child(self.directory.name)
        self.programs = self.cgroup.child("programs")  # its own processes: pods are beside it

    def open(self, stack: ExitStack) -> None:
        """Get ready; what `stack` is given undoes it.  Raises Missing, Failed."""
        self.directory.mkdir()
        Cgroup.create(self.cgroup.path)
        Cgroup.create(self.programs.path)
        stack.callback(self.cgroup.remove_tree)
        self.start(stack)

    @abstractmethod
    def start(self, stack: ExitStack) -> None: ...

    @abstractmethod
    def do(self, operation: str) -> float:
        """Do it, and say how many milliseconds it took.  Raises Failed."""

    def between(self) -> None:  # noqa: B027 - most have nothing to do
        """What is to be undone after a round and is not measured."""

    def cpu_ms(self) -> float:
        """Processor time of all that ever ran in its cgroup."""
        return usage_ms(self.cgroup)

    def check(self, running: int) -> None:
        """That as many containers run as should, each of which has a cgroup of its own.  Raises Failed."""
        deadline = time.monotonic() + SETTLED
        while (found := self._running()) != self.standing + running:
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: {found - self.standing} containers run, not {running}")
            time.sleep(0.01)  # crun returns before its container's execve, of which nobody outside is told

    def _running(self) -> int:
        return sum(any(_comm(pid) == PROCESS for pid in cgroup.procs()) for cgroup in self.cgroup.walk())


def usage_ms(cgroup: Cgroup) -> float:
    """Processor time of all that ever ran in it."""
    text = (cgroup.path / "cpu.stat").read_text()
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e3


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Program:
    """A process of a contender, in its cgroup, that answers a line with a line.  Ends at the end of its input."""

    def __init__(self, argv: Sequence[str | Path], cgroup: Cgroup, stack: ExitStack) -> None:
        # The shell's line puts it into its cgroup before it is anything; a session of its own takes no Ctrl-C.
        into: list[str | Path] = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', cgroup.path / "cgroup.procs"]
        self._name = Path(argv[0]).name
        self._process = subprocess.Popen(
            [*into, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        stack.callback(self._end)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self._name} has ended") from None

    def hear(self) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            raise Failed(f"{self._name} has not answered in {TIMEOUT:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{self._name} ended with status {self._process.wait(TIMEOUT)}")
        return line.rstrip("\n")

    def ask(self, **request: Any) -> dict[str, Any]:
        """With JSON.  Raises Failed for an answer that is an error."""
        self.tell(json.dumps(request))
        answer: dict[str, Any] = json.loads(self.hear())
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def _end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it had ended, with a line unread
            self._process.stdin.close()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Commands:
    """Commands that a program in the contender's cgroup starts and measures (loop.py)."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(self, *argv: str | Path, fine: Sequence[int] = (0,), env: dict[str, str] | None = None) -> float:
        """Run a command to its end; the milliseconds that took.  Raises Failed with what it wrote."""
        answer = self.program.ask(argv=[str(word) for word in argv], env=env or {})
        if answer["code"] not in fine:
            raise Failed(f"{' '.join(map(str, argv))}: exit code {answer['code']}: {answer['output'].strip()}")
        return float(answer["wall_ms"])
