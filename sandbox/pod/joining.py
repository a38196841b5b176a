"""Joining a container that runs, from a process that has no event loop: a program of one's own in it, or its streams.

asyncio alone would cost more time than all of `exec`.  Bytes are relayed by threads in C (native.pump).  Nothing here
touches the caller's terminal, signals or streams but the fds it is given; sandbox.front.joining does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox.errors import NotFound, SandboxError, WrongState
from sandbox.linux import mounts, native, ops
from sandbox.pod import wire
from sandbox.pod.container import ExecSpec, compile_exec
from sandbox.pod.privileges import Privileges
from sandbox.pod.relay import Relay
from sandbox.pod.streams import pipe

_ONLY = 1  # the id of the one child, or the serial of the one request, of a connection


@dataclass(frozen=True)
class Target:
    """A container as who joins it must know it: its pod's directory, podmon's number for it, and how it was made."""

    directory: Path
    number: int
    env: Mapping[str, str]
    cwd: str
    tty: bool
    stdin: bool
    privileges: Privileges
    oom_score_adj: int | None = None


class _Client:
    """A connection to a podmon that is asked one thing at a time."""

    def __init__(self, directory: Path) -> None:
        self._control = wire.connected(directory)

    def send(self, kind: str, scope: str, number: int, *, fds: Sequence[int] = (), **fields: int) -> None:
        message = native.encode_message(type=native.MESSAGE[kind], scope=native.SCOPE[scope], id=number, **fields)
        try:
            socket.send_fds(self._control, [message], fds)
        except (BrokenPipeError, ConnectionResetError):
            raise wire.podmon_ended() from None

    def receive(self, deadline: float | None = None) -> tuple[Any, list[int]]:
        """The next message and its fds.  Raises TimeoutError at the `deadline` (of time.monotonic)."""
        while True:
            self._control.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
            try:
                data, fds, _, _ = socket.recv_fds(self._control, native.MESSAGE_ROOM, 1)
            except ConnectionResetError:  # it died with a request unread; what it said before comes after this
                continue
            if len(data) < native.MESSAGE_OLDEST:
                raise wire.not_spoken(0) if data else wire.podmon_ended()
            return native.decode_message(data), fds

    def close(self) -> None:
        self._control.close()


class _Joined:
    """What Program and Attachment have in common: a connection and a relay, and that both end with the block."""

    def __init__(self, client: _Client, relay: Relay) -> None:
        self._client = client
        self._relay = relay

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._relay.close()
        self._client.close()


class Program(_Joined):
    """A program that runs in a container, its streams to be relayed; closing this hangs up its terminal."""

    def __init__(self, client: _Client, relay: Relay, pidfd: int, terminal: int | None) -> None:
        super().__init__(client, relay)
        self._pidfd = pidfd
        self._terminal = terminal

    def signal(self, number: int) -> bool:
        """Send it a signal; False once it has ended."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, if it has one."""
        if self._terminal is not None:
            native.resize(self._terminal, rows, columns)

    def wait(self) -> int:
        """Relay until its end, what it wrote until then included.  Its exit code, 128 + n for a signal.

        A process that it left behind and that holds its pipes open is not waited for.
        """
        self._relay.start()
        while True:
            message, fds = self._client.receive()
            _close(fds)
            if wire.type_of(message) == "EXITED":
                break
        self._relay.stop()
        self._relay.wait_for_outputs()
        return wire.exit_status(message).code

    def close(self) -> None:
        if self._terminal is not None:
            os.close(self._terminal)
        super().close()
        os.close(self._pidfd)


class Attachment(_Joined):
    """The streams of a container's first program."""

    def __init__(self, client: _Client, relay: Relay, number: int) -> None:
        super().__init__(client, relay)
        self._number = number

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, if it has one."""
        self._client.send("RESIZE", "OF_POD", self._number, rows=rows, columns=columns)

    def wait(self) -> None:
        """Relay until the container has ended, or nobody takes our output any more."""
        self._relay.start()
        self._relay.wait_for_outputs()


def execute(
    directory: Path,
    number: int,
    spec: ExecSpec,
    privileges: Privileges,
    *,
    stdin: int | None,
    stdout: int,
    stderr: int,
    size: tuple[int, int] | None = None,
) -> Program:
    """Run a program in the pod's container `number`, with that one's `privileges`.

    The fds, which stay the caller's, are relayed by `Program.wait`.  With a `size` (rows, columns) it gets a terminal,
    and nothing goes to `stderr`.  Returns once it runs.  Raises NotFound, WrongState, SpawnError where it cannot be
    run, or KernelError where it was stopped on its way for 30 s.
    """
    with ExitStack() as undo:
        init, protocol = _container(directory, number)
        undo.callback(os.close, init)
        client = _Client(directory)
        keep = undo.enter_context(ExitStack())
        keep.callback(client.close)
        its: tuple[int | None, int, int] | None = None
        if size is None:
            ours, its = _pipes(stdin is not None, undo)
        listed = compile_exec(spec, privileges, init=init, stdio=its, size=size or (0, 0), proc=mounts.open_proc(undo))
        _send_spec(client, ops.encode(listed, cgroup_of=number, protocol=protocol))
        pidfd, terminal = _joined(client, listed)
        keep.pop_all()
        relay = Relay()
        if terminal is not None:
            relay.carry_out(os.dup(terminal), stdout)
            if stdin is not None:
                relay.carry_in(stdin, os.dup(terminal))
        else:
            relay.carry_out(os.dup(ours[1]), stdout)
            relay.carry_out(os.dup(ours[2]), stderr)
            if stdin is not None:
                relay.carry_in(stdin, os.dup(ours[0]))
        return Program(client, relay, pidfd, terminal)


def attach(directory: Path, number: int, *, stdin: int | None, stdout: int, stderr: int) -> Attachment:
    """Join the streams of the pod's container `number`; the fds are relayed, and stay the caller's.

    Raises NotFound, WrongState where it does not run, SandboxError where its stdin is not open or its output is not
    carried by podmon.
    """
    wanted = {"STDIN": stdin, "STDOUT": stdout, "STDERR": stderr}
    with ExitStack() as undo:
        client = _Client(directory)
        keep = undo.enter_context(ExitStack())
        keep.callback(client.close)
        pairs = {name: socket.socketpair() for name, fd in wanted.items() if fd is not None}
        for pair in pairs.values():
            for end in pair:
                undo.enter_context(end)
        streams = sum(native.STREAM[name] for name in pairs)
        client.send(
            "ATTACH", "OF_POD", number, fds=[its.fileno() for _, its in pairs.values()], streams=streams, serial=_ONLY
        )
        message, _ = client.receive()
        if wire.type_of(message) == "REFUSED":
            raise _not_attached(message.err)
        keep.pop_all()
        relay = Relay()
        for name, (ours, _) in pairs.items():
            if name == "STDIN":
                assert stdin is not None
                relay.carry_in(stdin, os.dup(ours.fileno()))
            else:
                relay.carry_out(os.dup(ours.fileno()), stdout if name == "STDOUT" else stderr, all_end=True)
        return Attachment(client, relay, number)


def _not_attached(number: int) -> SandboxError:
    if number == errno.ESRCH:
        return wire.does_not_run()
    if number == errno.ENXIO:
        return SandboxError("the container's stdin is not open", hint="set stdin: true in the container's manifest")
    if number == errno.EOPNOTSUPP:
        return SandboxError("the container's output goes to the seedpod run that made it, and to nobody else")
    return wire.refused(number)


def _container(directory: Path, number: int) -> tuple[int, int]:
    """The pidfd of the first process of the pod's container `number`, which runs; and podmon's protocol."""
    client = _Client(directory)
    heard: dict[str, list[int]] = {}
    try:
        client.send("SUBSCRIBE", "OF_CONNECTION", _ONLY)
        deadline = time.monotonic() + wire.JOIN_TIMEOUT
        while "READY" not in heard:
            try:
                message, fds = client.receive(deadline)
            except TimeoutError:
                raise wire.podmon_silent() from None
            kind = wire.type_of(message)
            if kind == "READY":
                protocol = message.code
                if not wire.is_spoken(protocol):
                    _close(fds)
                    raise wire.not_spoken(protocol)
            if kind == "READY" or (message.scope == native.SCOPE["OF_POD"] and message.id == number):
                _close(heard.pop(kind, []))
                heard[kind] = fds
            else:
                _close(fds)
        if "SPAWNED" not in heard and "FAILED" not in heard:
            raise NotFound("container", str(number))
        if "RUNNING" not in heard or "EXITED" in heard or not heard["SPAWNED"]:
            raise wire.does_not_run()
        return heard["SPAWNED"].pop(), protocol
    finally:
        client.close()
        _close_all(heard)


def _pipes(with_stdin: bool, undo: ExitStack) -> tuple[tuple[int, int, int], tuple[int | None, int, int]]:
    """Our ends and the program's, which all close with `undo`.  Without a stdin it gets the pod's /dev/null."""
    its_stdin, stdin = pipe(undo, blocking=(True, False)) if with_stdin else (None, -1)
    stdout, its_stdout = pipe(undo)
    stderr, its_stderr = pipe(undo)
    return (stdin, stdout, stderr), (its_stdin, its_stdout, its_stderr)


def _send_spec(client: _Client, spec: ops.Spec) -> None:
    memfd = native.sealed_memfd("spec", spec.data)
    try:
        client.send("SPAWN", "OF_CONNECTION", _ONLY, fds=(memfd, *spec.fds))
    finally:
        os.close(memfd)


def _joined(client: _Client, listed: Sequence[ops.Op]) -> tuple[int, int | None]:
    """The pidfd and the terminal of the program, once it runs."""
    deadline = time.monotonic() + wire.JOIN_TIMEOUT
    held: dict[str, list[int]] = {}
    with ExitStack() as undo:
        undo.callback(_close_all, held)
        while True:
            try:
                message, fds = client.receive(deadline)
            except TimeoutError:
                for pidfd in held.get("SPAWNED", ()):
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                raise wire.joined_too_late() from None
            match kind := wire.type_of(message):
                case "SPAWNED" | "TERMINAL":
                    _close(held.pop(kind, []))
                    held[kind] = fds
                case "RUNNING":
                    break
                case "FAILED":
                    raise ops.failure(listed, index=message.op, call=message.call, number=message.err)
                case "REFUSED" if message.err == errno.ESRCH:  # it has ended since we looked
                    raise wire.does_not_run()
                case "REFUSED":
                    raise wire.refused(message.err)
                case "EXITED":
                    raise WrongState("the program was killed on its way", current="ended", wanted="running")
        undo.pop_all()
    terminal = held.get("TERMINAL", [])
    return held["SPAWNED"][0], terminal[0] if terminal else None


def _close_all(held: Mapping[str, Sequence[int]]) -> None:
    for fds in held.values():
        _close(fds)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
