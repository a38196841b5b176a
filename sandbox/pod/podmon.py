"""The engine's side of a podmon: clone it, give it specs, hear what becomes of them.

The wire is described in csrc/spawn.h.  This module knows messages and ops, but neither manifests nor files; what
a container is made of is decided in sandbox.pod.container.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from sandbox.errors import KernelError, SandboxError, WrongState
from sandbox.linux import native, ops
from sandbox.linux.ops import Op
from sandbox.status import ExitStatus

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

    def __init__(self, number: int, listed: Sequence[Op]) -> None:
        self.number = number
        self.ops = listed
        self.stage = Stage.REQUESTED
        self.pidfd: int | None = None
        self.failure: SandboxError | None = None
        self.exit: ExitStatus | None = None
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


class Podmon:
    """A running podmon.  `close` kills it, and with it everything in the pod."""

    def __init__(self, launched: native.Launched, control: socket.socket) -> None:
        self.pid = launched.pid
        self.pidfd = launched.pidfd
        self._control = control
        self._children: dict[int, Child] = {}
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
        ours.setblocking(False)
        return cls(launched, ours)

    async def setup(self, listed: Sequence[Op]) -> None:
        """Have podmon walk `listed` in itself.  Raises SpawnError."""
        child = self._new_child(listed)
        await self._send_spec("SETUP", child, ops.encode(listed))
        await child.until(Stage.ENDED)

    async def spawn(self, listed: Sequence[Op], *, clone_flags: int, cgroup: int) -> Child:
        """Start a child in new namespaces `clone_flags` and the cgroup directory `cgroup`, up to its first gate."""
        child = self._new_child(listed)
        await self._send_spec("SPAWN", child, ops.encode(listed, clone_flags=clone_flags, cgroup=cgroup))
        return child

    async def open_gate(self, child: Child, gate: str) -> None:
        """Let the child pass the gate "PREPARE" or "START", now or when it comes to it."""
        await self._send(self._message("OPEN_GATE", id=child.number, gate=native.GATE[gate]))

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
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | native.WALL)
        os.close(self.pidfd)
        self.pidfd = -1
        while not self._gone:  # what it said before its end is still to be read
            self._readable()
        self._control.close()

    def _new_child(self, listed: Sequence[Op]) -> Child:
        self._numbers += 1
        child = Child(self._numbers, listed)
        self._children[child.number] = child
        return child

    # --- sending

    @staticmethod
    def _message(kind: str, **fields: int) -> bytes:
        return native.encode_message(type=native.MESSAGE[kind], **fields)

    async def _send_spec(self, kind: str, child: Child, spec: ops.Spec) -> None:
        memfd = native.sealed_memfd("spec", spec.data)
        try:
            await self._send(self._message(kind, id=child.number), (memfd, *spec.fds))
        finally:
            os.close(memfd)

    async def _send(self, message: bytes, fds: Sequence[int] = ()) -> None:
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
        child = self._children.get(message.id)
        kind = message.type
        if child is None:
            for fd in fds:
                os.close(fd)
        elif kind == native.MESSAGE["SPAWNED"]:
            if fds:
                child.pidfd = fds[0]
            child.advance(Stage.SPAWNED)
        elif kind == native.MESSAGE["AT_GATE"]:
            child.advance(_GATES[message.gate])
        elif kind == native.MESSAGE["RUNNING"]:
            child.advance(Stage.RUNNING)
        elif kind == native.MESSAGE["READY"]:
            child.end()
        else:
            self._hear_end(child, message)
        if child is not None and child.stage is Stage.ENDED:
            del self._children[child.number]

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
        else:
            child.end(failure=KernelError(message.err, step="podmon refused the request"))

    def _lost(self) -> None:
        """podmon is gone: all that ran was killed with it, all that did not run never will."""
        if self._gone:
            return
        self._gone = True
        self._loop.remove_reader(self._control.fileno())
        for child in self._children.values():
            if child.stage >= Stage.RUNNING:
                killed = ExitStatus(128 + signal.SIGKILL, signal.SIGKILL, False, None, datetime.now(UTC))
                child.end(exit_status=killed)
            else:
                child.end(failure=WrongState("the pod's podmon has ended", current="gone", wanted="running"))
        self._children.clear()


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
