"""Tells the service manager how the engine fares: the protocol of sd_notify(3), a datagram a word.

Knows no engine.  Where nobody wants to be told, nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket

VARIABLE = "NOTIFY_SOCKET"


class Manager:
    """Who started us and wants to be told; taken out of the environment, as nobody that we start is to speak for us."""

    def __init__(self) -> None:
        given = os.environ.pop(VARIABLE, "")
        # "@" stands for the NUL that the name of an abstract socket begins with.
        self._address = "\0" + given[1:] if given.startswith("@") else given

    def ready(self) -> None:
        """The engine takes requests."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """It ends, as it was told to."""
        self._tell("STOPPING=1")

    def _tell(self, word: str) -> None:
        if not self._address:
            return
        # Neither a manager that has gone nor one that does not listen is a reason to let go of a pod.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(word.encode(), self._address)
