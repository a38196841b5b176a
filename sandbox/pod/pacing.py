"""Holding a container to the pace of whoever passes its log on: what is rotated away was read before.

A socket is attached to its output for its back-pressure alone (docs/decisions/0007-attach.md): podmon writes the log,
and then waits until the socket has taken as much.  What comes there is thrown away.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from sandbox.linux import native
from sandbox.pod import wire

BLOCK = 1 << 16
_STREAMS = native.STREAM["STDOUT"] | native.STREAM["STDERR"] | native.STREAM["PATIENT"]


class Pace:
    """The container may write as much as a socket holds beyond what it had written when `go_on` was last called."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    def go_on(self) -> None:
        """All that the log has was read."""
        for each in self._sockets:
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                while each.recv(BLOCK, socket.MSG_DONTWAIT):
                    pass


@contextlib.contextmanager
def held(directory: Path, number: int) -> Iterator[Pace]:
    """Hold the container `number` of the pod whose sandbox is in `directory`.

    Raises NotFound where its podmon has ended, KernelError where it does not run or its output goes elsewhere.
    """
    with ExitStack() as ends:
        pairs = [socket.socketpair() for _ in range(2)]
        for pair in pairs:
            for end in pair:
                ends.enter_context(end)
        with wire.connected(directory) as control:
            request = native.encode_message(
                type=native.MESSAGE["ATTACH"], scope=native.SCOPE["OF_POD"], id=number, streams=_STREAMS, serial=1
            )
            socket.send_fds(control, [request], [its.fileno() for _, its in pairs])
            _require_done(control.recv(native.MESSAGE_ROOM))
        for _, its in pairs:
            its.close()
        yield Pace([ours for ours, _ in pairs])


def _require_done(reply: bytes) -> None:
    if len(reply) < native.MESSAGE_OLDEST:
        raise wire.podmon_ended()
    message = native.decode_message(reply)
    if wire.type_of(message) == "REFUSED":
        raise wire.refused(message.err)
