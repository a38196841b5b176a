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
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.effects import effect
from sandbox.errors import KernelError, SandboxError, WrongState
from sandbox.linux import native, ops
from sandbox.linux.ops import Op
from sandbox.pod import forks, wire
from sandbox.pod.child import Child, LogState, Stage
from sandbox.pod.readiness import readable, writable
from sandbox.pod.tasks import Tasks
from sandbox.status import ExitStatus

__all__ = ["POD_NAMESPACES", "Child", "Podmon", "Stage", "readable", "writable"]

# What a pod shares; its pid namespace holds podmon alone, and what podmon starts in namespaces nested in it.
POD_NAMESPACES = native.CLONE_NEWNET | native.CLONE_NEWIPC | native.CLONE_NEWUTS | native.CLONE_NEWPID

_GATES = {native.GATE["PREPARE"]: Stage.PREPARED, native.GATE["START"]: Stage.CREATED}


class Podmon:
    """A connection to a running podmon, and what this side knows of its children.

    `close` kills podmon, and with it everything in the pod; `detach` only ends the connection.
    """

    def __init__(self, control: socket.socket, launched: native.Launched | None = None) -> None:
        control.setblocking(False)
        forks.guard(control.fileno())
        self._pid = launched.pid if launched else -1
        self.protocol = native.PROTOCOL  # until it says which is its own
        self.children: dict[int, Child] = {}  # of the pod, by number
        self.pidfd = launched.pidfd if launched else -1
        self._control = control
        self._own: dict[int, Child] = {}  # requests and execs of this connection
        self._numbers = 0
        self._last_number = 0
        self._answers: dict[int, asyncio.Future[None]] = {}  # of requests under way, by serial
        self._tasks = Tasks()
        self._gone = False
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._sending = asyncio.Lock()
        self._closing = asyncio.Lock()  # two that wait for one pidfd would take each other's reader away
        self._loop.add_reader(control.fileno(), self._readable)

    @classmethod
    @effect("clone podmon")
    def launch(cls, *, cgroup: int, title: str, namespaces: int = POD_NAMESPACES) -> Podmon:
        """Clone a podmon into the cgroup directory `cgroup` and new `namespaces`."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with its:
                launched = native.launch(namespaces=namespaces, control=its.fileno(), cgroup=cgroup, title=title)
        except SandboxError:
            ours.close()
            raise
        try:
            return cls(ours, launched)
        except OSError as error:  # the loop cannot watch it
            wire.end_unheard(launched.pidfd)
            forks.release(ours.fileno())
            ours.close()
            raise KernelError(error.errno or 0, step="watch podmon") from None

    @classmethod
    async def connect(cls, directory: Path) -> Podmon:
        """Connect to the podmon of the pod in `directory` and learn all that it knows.

        Raises NotFound where no podmon is there any more, Unsupported where we do not speak its protocol.
        """
        control = wire.connected(directory)
        try:
            podmon = cls(control)
        except OSError as error:  # the loop cannot watch it
            forks.release(control.fileno())
            control.close()
            raise KernelError(error.errno or 0, step="watch podmon", filename=str(directory)) from None
        try:
            await podmon.subscribe()
        except BaseException:  # undo, then let it pass
            podmon.detach()
            raise
        return podmon

    async def setup(
        self,
        listed: Sequence[Op],
        *,
        listener: int | None = None,
        records: int | None = None,
        bound: bool = False,
        **options: float,
    ) -> None:
        """Have podmon walk `listed` in itself, see ops.encode_setup, and subscribe.  Raises SpawnError."""
        child = self._new_own(listed)
        spec = ops.encode_setup(listed, listener=listener, records=records, bound=bound, **options)
        await self._send_spec("SETUP", child, spec)
        await child.until(Stage.ENDED)
        await self.subscribe()

    async def subscribe(self) -> None:
        """Hear of all children of the pod from now on, and first of what became of them so far."""
        child = self._new_own(())
        await self._send("SUBSCRIBE", child)
        await child.until(Stage.ENDED)

    @property
    def next_number(self) -> int:
        """The number of the pod's child that `spawn` makes next."""
        return self._last_number + 1

    async def spawn(self, listed: Sequence[Op], **options: Any) -> Child:
        """Start a child of the pod; `options` are those of ops.encode.  It comes to its first gate by itself."""
        if self._gone:  # a child that is made known now would never end
            raise wire.podmon_ended()
        child = Child(self.next_number, native.SCOPE["OF_POD"], self._ask_signal, listed)
        self._know(child)
        await self._send_spec("SPAWN", child, ops.encode(listed, protocol=self.protocol, **options))
        return child

    async def execute(self, listed: Sequence[Op], **options: Any) -> Child:
        """Start a child of this connection, which alone hears of it."""
        child = self._new_own(listed)
        await self._send_spec("SPAWN", child, ops.encode(listed, protocol=self.protocol, **options))
        return child

    async def execute_kept(self, memfd: int, fds: Sequence[int], listed: Sequence[Op]) -> Child:
        """As `execute`, of a spec that is in a sealed `memfd` already; `fds` are the spec's own.

        Nothing is heard of the child but its end, unless podmon is older than protocol 7.
        """
        child = self._new_own(listed)
        quiet = {"quiet": 1} if self.protocol >= 7 else {}
        await self._send("SPAWN", child, fds=(memfd, *fds), **quiet)
        return child

    def kill(self, child: Child) -> None:
        """SIGKILL a child whose pidfd this process need not have.  One that has ended is no error."""
        self._ask_signal(child, signal.SIGKILL)

    async def open_gate(self, child: Child, gate: str) -> None:
        """Let the child pass the gate "PREPARE" or "START", now or when it comes to it."""
        await self._send("OPEN_GATE", child, gate=native.GATE[gate])

    async def forget(self, child: Child) -> None:
        """Have podmon drop what it keeps of a child of the pod that has ended.  Raises WrongState for another."""
        if child.stage is not Stage.ENDED:
            current = child.stage.name.lower()
            raise WrongState(f"child {child.number} is {current}", current=current, wanted="ended")
        await self._ask("FORGET", child)
        child.close()
        self.children.pop(child.number, None)

    async def reopen_log(self, child: Child) -> None:
        """Have podmon go on in a new file, after somebody has renamed the child's log.

        Raises KernelError (ENOENT) where it has none.
        """
        await self._ask("REOPEN", child)

    async def resize(self, child: Child, rows: int, columns: int) -> None:
        """Set the size of a terminal that podmon keeps.  Raises KernelError (ENOTTY) where there is none."""
        await self._ask("RESIZE", child, rows=rows, columns=columns)

    async def attach(self, child: Child, streams: int, sockets: Sequence[int]) -> None:
        """Join what the child of the pod reads and writes to stream sockets, one for each bit of `streams`.

        Raises KernelError: ENXIO where its stdin is not open, EOPNOTSUPP where podmon does not carry its output.
        """
        await self._ask("ATTACH", child, fds=sockets, streams=streams)

    @property
    def pid(self) -> int:
        """Its process number as this process sees it; -1 where this process learned of it too late.

        Looked up when it is asked for, not when podmon tells of itself: it takes an fd, and there may be none left.
        """
        if self._pid < 0 and self.pidfd >= 0:
            self._pid = native.pid_of(self.pidfd)
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether podmon was still there when it was last heard of."""
        return not self._gone

    async def gone(self) -> None:
        """Wait until podmon has ended."""
        if self.pidfd < 0:  # it is closed, or never came: then the end of the connection has to do
            await self._ended.wait()
            return
        pidfd = os.dup(self.pidfd)  # the loop has one reader for each, and `close` takes that of `pidfd`
        try:
            await readable(pidfd)
        finally:
            os.close(pidfd)

    async def close(self) -> None:
        """Kill podmon, wait until all of the pod's processes are gone, and reap it.  Idempotent."""
        async with self._closing:
            await self._close()

    @effect("kill podmon")
    async def _close(self) -> None:
        if self.pidfd < 0:
            await self._shut_down()
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        with contextlib.suppress(OSError):  # the loop cannot watch it: waitid waits for what is our child
            await readable(self.pidfd)
        with contextlib.suppress(ChildProcessError):  # another engine's child: init reaps it
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | native.WALL)
        while not self._gone:  # what it said before its end is still to be read
            self._readable()
        self.detach()

    async def _shut_down(self) -> None:
        """The end of a podmon whose pidfd never came, as this process had no fd left for it."""
        if not self._gone:
            with contextlib.suppress(WrongState):  # it has ended already
                await self._send("SHUTDOWN", self._new_own(()))
            await self._ended.wait()
        self.detach()

    def detach(self) -> None:
        """End the connection; the pod stays as it is unless it was bound to it.  Idempotent."""
        self._lost()
        for child in (*self.children.values(), *self._own.values()):
            child.close()
        if self._control.fileno() >= 0:
            forks.release(self._control.fileno())
        self._control.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def _new_own(self, listed: Sequence[Op]) -> Child:
        self._numbers += 1
        child = Child(self._numbers, native.SCOPE["OF_CONNECTION"], self._ask_signal, listed)
        self._own[child.number] = child
        return child

    def _know(self, child: Child) -> None:
        self.children[child.number] = child
        self._last_number = max(self._last_number, child.number)

    # --- sending

    async def _ask(self, kind: str, child: Child, *, fds: Sequence[int] = (), **fields: int) -> None:
        """Send a request about a child that is there, and wait until it is done.  Raises KernelError if refused."""
        self._numbers += 1
        serial, answer = self._numbers, self._loop.create_future()
        self._answers[serial] = answer
        try:
            await self._send(kind, child, fds=fds, serial=serial, **fields)
            await answer
        finally:
            del self._answers[serial]

    def _ask_signal(self, child: Child, number: int) -> None:
        self._tasks.start(self._signal(child, number))

    async def _signal(self, child: Child, number: int) -> None:
        with contextlib.suppress(WrongState):  # podmon is gone, and with it who was to hear it
            await self._send("SIGNAL", child, signal=number)

    async def _send_spec(self, kind: str, child: Child, spec: ops.Spec) -> None:
        memfd = native.sealed_memfd("spec", spec.data)
        try:
            await self._send(kind, child, fds=(memfd, *spec.fds))
        finally:
            os.close(memfd)

    async def _send(self, kind: str, child: Child, *, fds: Sequence[int] = (), **fields: int) -> None:
        wire.TOLD[kind]()
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
        raise wire.podmon_ended()

    # --- hearing

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, native.MESSAGE_ROOM, 1)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:  # it died with a request unread; what it said before comes after this
            return
        if len(data) >= native.MESSAGE_OLDEST:
            self._hear(native.decode_message(data), fds)
        elif data:
            self._be_refused(0)
        else:
            self._lost()
        for fd in fds:  # that nobody has taken
            os.close(fd)

    def _hear(self, message: Any, fds: list[int]) -> None:
        if message.serial or not wire.type_of(message):
            self._hear_answer(message)
            return
        child = self._child_of(message)
        match wire.type_of(message):
            case "SPAWNED":
                child.spawned(fds.pop() if fds else None)
            case "AT_GATE":
                child.advance(_GATES[message.gate])
            case "RUNNING":
                child.started = wire.time_of(message.started_ns)
                child.advance(Stage.RUNNING)
            case "TERMINAL":
                child.terminal = fds.pop() if fds else None
            case "READY":
                if self.pidfd < 0 and fds:
                    self.pidfd = fds.pop()
                self.protocol = message.code
                child.end(failure=None if wire.is_spoken(self.protocol) else wire.not_spoken(self.protocol))
            case "LOG_STATE":
                child.hear_of_log(LogState(message.err, message.lost_lines, message.lost_bytes))
            case _:
                self._hear_end(child, message)
        if child.stage is Stage.ENDED and child.scope == native.SCOPE["OF_CONNECTION"]:
            self._own.pop(child.number, None)

    def _be_refused(self, protocol: int) -> None:
        """Whatever was asked for: podmon does not know what we say, nor we what it says."""
        for child in [*self._own.values()]:
            child.end(failure=wire.not_spoken(protocol))

    def _child_of(self, message: Any) -> Child:
        """The child that a message is about; of the pod's, one may be another engine's and new to us."""
        known = self.children if message.scope == native.SCOPE["OF_POD"] else self._own
        if message.id in known:
            return known[message.id]
        child = Child(message.id, message.scope, self._ask_signal)
        if known is self.children:
            self._know(child)
        return child

    def _hear_answer(self, message: Any) -> None:
        answer = self._answers.get(message.serial)
        if answer is None or answer.done():  # nobody waits any more; or a newer podmon says what we do not know
            return
        if wire.type_of(message) == "REFUSED":
            answer.set_exception(wire.refused(message.err))
        else:
            answer.set_result(None)

    @staticmethod
    def _hear_end(child: Child, message: Any) -> None:
        match wire.type_of(message):
            case "EXITED":
                child.end(exit_status=wire.exit_status(message))
            case "FAILED":
                child.end(failure=ops.failure(child.ops, index=message.op, call=message.call, number=message.err))
            case _ if child.stage is Stage.REQUESTED:  # what is refused of a child that is there does not end it
                child.end(failure=wire.refused(message.err))

    def _lost(self) -> None:
        """The connection is gone.  With podmon all that ran was killed, and all that did not run never will."""
        if self._gone:
            return
        self._gone = True
        self._ended.set()
        self._loop.remove_reader(self._control.fileno())
        for child in (*self.children.values(), *self._own.values()):
            if child.stage >= Stage.RUNNING:
                killed = ExitStatus(128 + signal.SIGKILL, signal.SIGKILL, False, None, datetime.now(UTC))
                child.end(exit_status=killed)
            else:
                child.end(failure=wire.podmon_ended())
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(wire.podmon_ended())
