"""The client's side of a podmon: clone it or connect to it, give it specs, hear what becomes of them.

The wire is described in csrc/spawn.h.  This module knows messages and ops, but neither manifests nor files; what
a container is made of is decided in sandbox.pod.container.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from sandbox.errors import KernelError, NotFound, SandboxError, WrongState
from sandbox.linux import native, ops
from sandbox.linux.ops import Op
from sandbox.status import ExitStatus

SOCKET = "podmon.sock"  # in the pod's directory

_SHARED = native.CLONE_NEWNET | native.CLONE_NEWIPC | native.CLONE_NEWUTS


class Stage(IntEnum):
    """How far a child has come; it only ever grows."""

    REQUESTED = 0
    SPAWNED = 1  # it exists, with a pidfd
    PREPARED = 2  # at the gate before its mounts
    CREATED = 3  # at the gate before its program
    RUNNING = 4
    ENDED = 5


_GATES = {native.GATE["PREPARE"]: Stage.PREPARED, native.GATE["START"]: Stage.CREATED}


class Child:
    """One spawn.  `failure` is set where an op failed, `exit` where it ended otherwise; then `stage` is ENDED."""

    def __init__(self, number: int, scope: int, listed: Sequence[Op] = ()) -> None:
        self.number = number
        self.scope = scope
        self.ops = listed
        self.stage = Stage.REQUESTED
        self.pidfd: int | None = None
        self.terminal: int | None = None  # the master of its terminal, where it made one; the holder's to close
        self.failure: SandboxError | None = None
        self.exit: ExitStatus | None = None
        self.started: datetime | None = None  # when its program began to run
        self._changed = asyncio.Event()

    async def until(self, stage: Stage) -> None:
        """Wait until the child has come this far or has ended.  Raises its failure: SpawnError and the like."""
        await self._reached(stage)
        if self.failure is not None:
            raise self.failure

    async def ended(self) -> None:
        """Wait for the end, whatever it is."""
        await self._reached(Stage.ENDED)

    async def _reached(self, stage: Stage) -> None:
        while self.stage < stage:
            await self._changed.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the child's first process; one that has ended meanwhile is no error."""
        if self.pidfd is None or self.stage is Stage.ENDED:
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended, podmon's word of it is on the way
            signal.pidfd_send_signal(self.pidfd, number)

    @property
    def pid(self) -> int | None:
        """The process number as this process sees it; None before it is there and once it has been reaped."""
        if self.pidfd is None:
            return None
        pid = native.pid_of(self.pidfd)
        return pid if pid > 0 else None

    def spawned(self, pidfd: int | None) -> None:
        """It is there; `pidfd` is None where this process had no fd left to take it."""
        self.close()
        self.pidfd = pidfd
        self.advance(Stage.SPAWNED)

    def advance(self, stage: Stage) -> None:
        self.stage = max(self.stage, stage)
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self, *, failure: SandboxError | None = None, exit_status: ExitStatus | None = None) -> None:
        if self.stage is Stage.ENDED:
            return
        self.failure, self.exit = failure, exit_status
        self.close()  # or every container that ever ran would cost the engine an fd
        self.advance(Stage.ENDED)

    def close(self) -> None:
        """Close the pidfd; the child can be asked nothing more."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def _time(nanoseconds: int) -> datetime | None:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds else None


@contextlib.contextmanager
def _socket_path(directory: Path) -> Iterator[str]:
    """The path of the pod's socket, short whatever the directory: a socket's path ends at 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)


def bound_listener(directory: Path) -> socket.socket:
    """A socket bound in the pod's directory, for podmon to listen on."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _socket_path(directory) as path:
            listener.bind(path)
            listener.setblocking(False)  # a client may be gone again before podmon comes to accept it
            Path(path).chmod(0o600)
    except OSError:
        listener.close()
        raise
    return listener


class Podmon:
    """A connection to a running podmon, and what this side knows of its children.

    `close` kills podmon, and with it everything in the pod; `detach` only ends the connection.
    """

    def __init__(self, control: socket.socket, launched: native.Launched | None = None) -> None:
        control.setblocking(False)
        self.pid = launched.pid if launched else -1
        self.children: dict[int, Child] = {}  # of the pod, by number
        self.pidfd = launched.pidfd if launched else -1
        self._control = control
        self._own: dict[int, Child] = {}  # requests and execs of this connection
        self._numbers = 0
        self._gone = False
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._closing = asyncio.Lock()  # two that wait for one pidfd would take each other's reader away
        self._loop.add_reader(control.fileno(), self._readable)

    @classmethod
    def launch(cls, *, cgroup: int, title: str) -> Podmon:
        """Clone a podmon into the cgroup directory `cgroup` and new net, IPC, UTS and pid namespaces."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with its:
                launched = native.launch(namespaces=_SHARED, control=its.fileno(), cgroup=cgroup, title=title)
        except SandboxError:
            ours.close()
            raise
        return cls(ours, launched)

    @classmethod
    async def connect(cls, directory: Path) -> Podmon:
        """Connect to the podmon of the pod in `directory` and learn all that it knows.

        Raises NotFound where no podmon is there any more.
        """
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with _socket_path(directory) as path:
                control.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            control.close()
            raise NotFound("podmon", str(directory), f"no podmon is running for {directory}") from None
        except OSError:
            control.close()
            raise
        podmon = cls(control)
        try:
            await podmon.subscribe()
        except BaseException:  # undo, then let it pass
            podmon.detach()
            raise
        return podmon

    async def setup(
        self, listed: Sequence[Op], *, listener: int | None = None, records: int | None = None, bound: bool = False
    ) -> None:
        """Have podmon walk `listed` in itself, see ops.encode_setup, and subscribe.  Raises SpawnError."""
        child = self._new_own(listed)
        spec = ops.encode_setup(listed, listener=listener, records=records, bound=bound)
        await self._send_spec("SETUP", child, spec)
        await child.until(Stage.ENDED)
        await self.subscribe()

    async def subscribe(self) -> None:
        """Hear of all children of the pod from now on, and first of what became of them so far."""
        child = self._new_own(())
        await self._send("SUBSCRIBE", child)
        await child.until(Stage.ENDED)

    async def spawn(self, listed: Sequence[Op], **options: Any) -> Child:
        """Start a child of the pod; `options` are those of ops.encode.  It comes to its first gate by itself."""
        child = Child(max(self.children, default=0) + 1, native.SCOPE["OF_POD"], listed)
        self.children[child.number] = child
        await self._send_spec("SPAWN", child, ops.encode(listed, **options))
        return child

    async def execute(self, listed: Sequence[Op], **options: Any) -> Child:
        """Start a child of this connection, which alone hears of it."""
        child = self._new_own(listed)
        await self._send_spec("SPAWN", child, ops.encode(listed, **options))
        return child

    async def open_gate(self, child: Child, gate: str) -> None:
        """Let the child pass the gate "PREPARE" or "START", now or when it comes to it."""
        await self._send("OPEN_GATE", child, gate=native.GATE[gate])

    async def forget(self, child: Child) -> None:
        """Have podmon drop what it keeps of a child of the pod that has ended.  Raises WrongState for another."""
        if child.stage is not Stage.ENDED:
            current = child.stage.name.lower()
            raise WrongState(f"child {child.number} is {current}", current=current, wanted="ended")
        await self._send("FORGET", child)
        child.close()
        self.children.pop(child.number, None)

    async def reopen_log(self, child: Child) -> None:
        """Have podmon go on in a new file, after somebody has renamed the child's log."""
        await self._send("REOPEN", child)

    @property
    def alive(self) -> bool:
        """Whether podmon was still there when it was last heard of."""
        return not self._gone

    async def gone(self) -> None:
        """Wait until podmon has ended."""
        if self.pidfd < 0:
            return
        # A descriptor of its own: the loop has one reader for each, and `close` takes that of `pidfd` and closes it.
        pidfd = os.dup(self.pidfd)
        try:
            await readable(pidfd)
        finally:
            os.close(pidfd)

    async def close(self) -> None:
        """Kill podmon, wait until all of the pod's processes are gone, and reap it.  Idempotent."""
        async with self._closing:
            await self._close()

    async def _close(self) -> None:
        if self.pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        await readable(self.pidfd)
        with contextlib.suppress(ChildProcessError):  # another engine's child: init reaps it
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | native.WALL)
        while not self._gone:  # what it said before its end is still to be read
            self._readable()
        self.detach()

    def detach(self) -> None:
        """End the connection; the pod stays as it is unless it was bound to it.  Idempotent."""
        self._lost()
        for child in (*self.children.values(), *self._own.values()):
            child.close()
        self._control.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def _new_own(self, listed: Sequence[Op]) -> Child:
        self._numbers += 1
        child = Child(self._numbers, native.SCOPE["OF_CONNECTION"], listed)
        self._own[child.number] = child
        return child

    # --- sending

    async def _send_spec(self, kind: str, child: Child, spec: ops.Spec) -> None:
        memfd = native.sealed_memfd("spec", spec.data)
        try:
            await self._send(kind, child, fds=(memfd, *spec.fds))
        finally:
            os.close(memfd)

    async def _send(self, kind: str, child: Child, *, fds: Sequence[int] = (), **fields: int) -> None:
        message = native.encode_message(type=native.MESSAGE[kind], scope=child.scope, id=child.number, **fields)
        async with self._sending:
            while not self._gone:
                try:
                    socket.send_fds(self._control, [message], fds)
                    return
                except BlockingIOError:
                    await writable(self._control.fileno())
                except (BrokenPipeError, ConnectionResetError):
                    break  # `_readable` comes to it, after what podmon said before
        raise WrongState("the pod's podmon has ended", current="gone", wanted="running")

    # --- hearing

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, native.MESSAGE_SIZE, 1)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:  # it died with a request unread; what it said before comes after this
            return
        if len(data) == native.MESSAGE_SIZE:
            self._hear(native.decode_message(data), fds)
        else:
            self._lost()

    def _hear(self, message: Any, fds: list[int]) -> None:
        child = self._child_of(message)
        kind = message.type
        if kind == native.MESSAGE["SPAWNED"]:
            child.spawned(fds.pop() if fds else None)
        elif kind == native.MESSAGE["AT_GATE"]:
            child.advance(_GATES[message.gate])
        elif kind == native.MESSAGE["RUNNING"]:
            child.started = _time(message.started_ns)
            child.advance(Stage.RUNNING)
        elif kind == native.MESSAGE["TERMINAL"] and fds:
            child.terminal = fds.pop()
        elif kind == native.MESSAGE["READY"]:
            if self.pidfd < 0 and fds:
                self.pidfd = fds.pop()
                self.pid = native.pid_of(self.pidfd)
            child.end()
        else:
            self._hear_end(child, message)
        for fd in fds:
            os.close(fd)
        if child.stage is Stage.ENDED and child.scope == native.SCOPE["OF_CONNECTION"]:
            self._own.pop(child.number, None)

    def _child_of(self, message: Any) -> Child:
        """The child that a message is about; of the pod's, one may be another engine's and new to us."""
        known = self.children if message.scope == native.SCOPE["OF_POD"] else self._own
        return known.setdefault(message.id, Child(message.id, message.scope))

    @staticmethod
    def _hear_end(child: Child, message: Any) -> None:
        if message.type == native.MESSAGE["EXITED"]:
            killer = message.signal or None
            child.end(
                exit_status=ExitStatus(
                    code=128 + killer if killer else message.code,
                    signal=killer,
                    oom_killed=False,
                    started=_time(message.started_ns) if message.ran else None,
                    finished=_time(message.finished_ns) or datetime.now(UTC),
                )
            )
        elif message.type == native.MESSAGE["FAILED"]:
            child.end(failure=ops.failure(child.ops, index=message.op, call=message.call, number=message.err))
        elif child.stage is Stage.REQUESTED:  # what is refused of a child that is there does not end it
            child.end(failure=KernelError(message.err, step="podmon refused the request"))

    def _lost(self) -> None:
        """The connection is gone.  With podmon all that ran was killed, and all that did not run never will."""
        if self._gone:
            return
        self._gone = True
        self._loop.remove_reader(self._control.fileno())
        for child in (*self.children.values(), *self._own.values()):
            if child.stage >= Stage.RUNNING:
                killed = ExitStatus(128 + signal.SIGKILL, signal.SIGKILL, False, None, datetime.now(UTC))
                child.end(exit_status=killed)
            else:
                child.end(failure=WrongState("the pod's podmon has ended", current="gone", wanted="running"))


async def readable(fd: int) -> None:
    """Wait until `fd` is readable; for a pidfd, until its process has ended."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)


async def writable(fd: int) -> None:
    """Wait until `fd` takes more data."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_writer(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_writer(fd)
