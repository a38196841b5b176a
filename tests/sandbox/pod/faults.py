"""A pod's life while one system call of its podmon, or of what that starts, is made to fail; and what came of it."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cgroups import CgroupError
from sandbox.errors import KernelError, SandboxError, SpawnError
from sandbox.linux import native
from sandbox.linux.ops import Seccomp
from sandbox.pod.container import ContainerSpec
from sandbox.pod.podmon import Podmon, Stage, readable
from sandbox.pod.privileges import Privileges
from sandbox.pod.sandbox import RECORDS, PodSandbox
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.streams import LogTarget
from sandbox.status import ExitStatus
from tests import bpf
from tests.sandbox.pod.test_podmon import comes_to_rest
from tests.sandbox.pod.test_sandbox import ENV, Lab, output_of
from tests.strace import Fault, Tracer

TIMEOUT = 60  # seconds; generous, for machines that emulate
LINES = [f"line {number}" for number in range(40)]
WORD = "word"
SCRIPT = f"i=0; while [ $i -lt {len(LINES)} ]; do echo line $i; i=$((i+1)); done; read word; echo got $word; exit 7"
LOG = re.compile(r"(\d{4}-)?\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout F (.*)")  # whole, or begun 5 bytes later
KILLED = 128 + signal.SIGKILL
NOBODY = Privileges(1000, 1000, (5,), filter=Seccomp(bpf.forbid("kill"), "a filter"))

Result = TypeVar("Result")
Trace = Callable[[int], Tracer]


@dataclass
class Life:
    """Two containers, a program in one of them, a second connection, a client that attaches, signals, and the end.

    What is not as it was asked for is in `errors`.  Whatever else would be wrong fails the test: an exit that is not
    the true one, something that waits for ever, a podmon that can do nothing more.
    """

    lab: Lab
    trace: Trace
    follows_children: bool
    errors: list[tuple[str, SandboxError | CgroupError | OSError]] = field(default_factory=list)
    end: tuple[int, int] | None = None  # si_code and si_status of podmon, where it was not killed by us
    fds: list[str] = field(default_factory=list)  # podmon's, before its end
    attached: bool = False
    read: SandboxContainer | None = None
    tracer: Tracer | None = None
    first_pids: dict[str, int] = field(default_factory=dict)
    exits: dict[str, ExitStatus] = field(default_factory=dict)
    went_on: bool = False  # podmon did as it was asked once the fault was over

    async def attempt(self, step: str, work: Awaitable[Result]) -> Result | None:
        """Do it, or note why it could not be done."""
        try:
            return await work
        except (SandboxError, CgroupError, OSError) as error:
            self.errors.append((step, error))
            return None

    async def live(self) -> None:
        made = PodSandbox.create(
            name="test", hostname="test", directory=self.lab.directory, pod_slice=self.lab.slice, bound=False
        )
        box = await self.attempt("create the sandbox", made)
        if box is None:
            return
        try:
            if self.follows_children:
                self.tracer = self.trace(box.pid)
            await self._live_in(box)
        finally:
            if box.pidfd >= 0 and self.end is None:
                self.end = ended(box.pidfd, wait=not box.alive)  # its tracer may have to hear of it first
            await box.remove()

    async def _live_in(self, box: PodSandbox) -> None:
        self.read = await self._run(box, "reader", SCRIPT, stdin=True)
        sleeper = await self._run(box, "sleeper", "exec sleep 600", tty=True, privileges=NOBODY)
        if self.read:
            await self._use(box, self.read)
        if sleeper:
            await self.attempt("resize", box._podmon.resize(sleeper.child, 10, 20))
            asked = box._podmon._ask("SIGNAL", sleeper.child, signal=signal.SIGKILL)
            if not await self.attempt("signal", done(asked)):
                sleeper.kill()
            await self._ends(sleeper, KILLED)
        await self._forget_all(box)
        if self.follows_children and self.tracer:
            self.tracer.end()
        await self._go_on(box)
        if box.alive:
            assert comes_to_rest(box.pid)  # the thread has closed the logs
            self.fds = fds_of(box.pid)
            await self.attempt("shut down", box._podmon._send("SHUTDOWN", box._podmon._new_own(())))
            await readable(box.pidfd)
            self.end = ended(box.pidfd, wait=True)  # its tracer may have to hear of it first

    async def _run(self, box: PodSandbox, name: str, script: str, **fields: Any) -> SandboxContainer | None:
        """A container that runs, or has run."""
        spec = ContainerSpec(argv=("sh", "-c", script), rootfs=self.lab.busybox, env=ENV, **fields)
        log = LogTarget(self.lab.logs, f"{name}.log", size=1000, files=5)
        container = await self.attempt(f"create {name}", box.create_container(name, spec, log=log))
        if container is None:
            return None
        self.first_pids[name] = container.pid or -1
        return container if await self.attempt(f"start {name}", done(container.start())) else None

    async def _use(self, box: PodSandbox, reader: SandboxContainer) -> None:
        said = await self.attempt("execute", output_of(box, reader, "echo", "hi"))
        assert said in (None, (0, "hi\n")) or self.follows_children, said
        await self.attempt("connect", self._connect(reader))
        self.attached = bool(await self.attempt("attach", done(self._feed(box, reader))))
        if not self.attached:
            reader.kill()
        await self._ends(reader, 7 if self.attached else KILLED)

    async def _connect(self, reader: SandboxContainer) -> None:
        other = await self.lab.connect(reader)
        assert other.containers["reader"].stage is Stage.RUNNING or self.follows_children
        other.detach()

    @staticmethod
    async def _feed(box: PodSandbox, reader: SandboxContainer) -> None:
        with ExitStack() as ends:
            (stdin, its_stdin), (stdout, its_stdout) = socket.socketpair(), socket.socketpair()
            for end in (stdin, its_stdin, stdout, its_stdout):
                ends.enter_context(end)
            streams = native.STREAM["STDIN"] | native.STREAM["STDOUT"]
            await box._podmon.attach(reader.child, streams, [its_stdin.fileno(), its_stdout.fileno()])
            its_stdin.close()
            its_stdout.close()
            stdin.send(f"{WORD}\n".encode())
            await asyncio.to_thread(read_all, stdout)

    async def _ends(self, container: SandboxContainer, code: int) -> None:
        """Wait for the end, which must be the true one, and as it is on disk."""
        await container.ended()
        if container.exit is None or (container.exit.started is None and self.end):
            return
        if not self.follows_children:  # or it is the program that met the fault
            assert container.exit.code == code, (container.name, container.exit)
        self.exits[container.name] = container.exit
        record = self.lab.directory / RECORDS / container.id
        if record.exists():
            told = dict(line.split() for line in record.read_text().splitlines())
            assert int(told["code"]) == container.exit.code or int(told["signal"]) == container.exit.signal

    async def _forget_all(self, box: PodSandbox) -> None:
        for child in [*box._podmon.children.values()]:
            await child.ended()
            refused = isinstance(child.failure, KernelError) and not isinstance(child.failure, SpawnError)
            if box.alive and not refused:  # of what it refused podmon knows nothing
                await self.attempt("forget", box._podmon.forget(child))

    async def _go_on(self, box: PodSandbox) -> None:
        """podmon can still do what it is for; the fault may be met here yet."""
        before = len(self.errors)
        late = await self._run(box, "late", "exit 3")
        if len(self.errors) > before and box.alive:
            late = await self._run(box, "later", "exit 3")
        if late:
            await self._ends(late, 3)
            self.went_on = late.exit is not None and late.exit.code == 3
        await self._forget_all(box)


async def done(work: Awaitable[None]) -> bool:
    await work
    return True


def read_all(sock: socket.socket) -> bytes:
    """What comes until the other side's end."""
    sock.settimeout(TIMEOUT)
    data = b""
    while more := sock.recv(4096):
        data += more
    return data


def ended(pidfd: int, *, wait: bool = False) -> tuple[int, int] | None:
    """si_code and si_status of a child that has ended and is still to be reaped; None while it runs."""
    info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT | native.WALL | (0 if wait else os.WNOHANG))
    return (info.si_code, info.si_status) if info else None


def fds_of(pid: int) -> list[str]:
    """What a process has open, by kind."""
    targets = (str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    return sorted(target.partition(":[")[0] if target.startswith("socket") else Path(target).name for target in targets)


def heard_from(podmon: Podmon) -> None:
    """Returns once it has answered: what it does before its first request is behind it."""
    control = podmon._control
    control.setblocking(True)
    control.send(native.encode_message(type=native.MESSAGE["REOPEN"], scope=native.SCOPE["OF_POD"], id=1))
    assert native.decode_message(control.recv(native.MESSAGE_SIZE)).type == native.MESSAGE["REFUSED"]
    control.setblocking(False)


def lived(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: Fault | None = None, *, children: bool = False
) -> tuple[Life, Tracer]:
    """A pod's life, in which strace follows its podmon, or (`children`) that and all that it starts."""
    launch = Podmon.launch
    life = Life(lab, lambda pid: Tracer(pid, fault, children=True), children)

    def launched(**options: Any) -> Podmon:
        podmon = launch(**options)
        heard_from(podmon)
        if not children:
            life.tracer = Tracer(podmon.pid, fault, threadless=True)  # podmon does the thread's work itself then
        return podmon

    async def run() -> None:
        async with asyncio.timeout(TIMEOUT):
            await life.live()

    with monkeypatch.context() as patched:
        patched.setattr(Podmon, "launch", launched)
        try:
            asyncio.run(run())
        finally:
            assert life.tracer is not None
            life.tracer.end()
    return life, life.tracer


def check_errors(life: Life, fault: Fault) -> None:
    """Every error names its step and the errno of the fault."""
    for step, error in life.errors:
        assert isinstance(error, SandboxError), (fault, step, error)
        if isinstance(error, KernelError):
            name = fault.end.removeprefix("error=")
            assert error.step and error.errno == getattr(errno, name), (fault, step, error)
            assert f"({name})" in str(error)


def logged(lab: Lab) -> list[str]:
    """The lines of the reader's log, rotated ones first; none of them is torn."""
    found = []
    for file in [*sorted(lab.logs.glob("reader.log.*"), reverse=True), lab.logs / "reader.log"]:
        for line in file.read_text().splitlines() if file.exists() else ():
            match = LOG.fullmatch(line)
            assert match, f"a torn line: {line!r}"
            found.append(match[2])
    return found
