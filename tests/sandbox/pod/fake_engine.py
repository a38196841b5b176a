"""An engine's socket with a script behind it, in a thread: what clients do with engines that end, err or are silent."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.pod.connection import PROTOCOL
from sandbox.pod.paths import SOCKET

HELLO = {"engine": PROTOCOL, "pid": 4711, "nodeName": "here"}


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._lines = connection.makefile("rb")

    def say(self, message: object) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def hello(self) -> None:
        self.say(HELLO)

    def hear(self) -> dict[str, Any] | None:
        """The next request; None once the client is gone."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def until_gone(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self._lines.readline():
                pass

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


Script = Callable[[Peer], object]


class FakeEngine:
    """Answers connection after connection, each with the next of its scripts; it is gone when they are."""

    def __init__(self, root: Path, scripts: Sequence[Script]) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(root / SOCKET))
        self.listener.listen()
        self._scripts = scripts
        self.errors: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            for script in self._scripts:
                connection, _ = self.listener.accept()
                peer = Peer(connection)
                try:
                    script(peer)
                finally:
                    peer.close()
        except BaseException as error:  # noqa: BLE001 - told to the test by `engine`
            self.errors.append(error)
        finally:
            self.listener.close()


@contextmanager
def engine(root: Path, *scripts: Script) -> Iterator[FakeEngine]:
    """A fake engine for a root; at the end of the block every script must have been played to its end."""
    fake = FakeEngine(root, scripts)
    try:
        yield fake
    finally:
        fake.thread.join(20)
        assert not fake.thread.is_alive(), "a script waits for a client that does not come"
        assert fake.errors == []


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- scripts ----


def silent(peer: Peer) -> None:
    """Takes the client and never says who it is."""
    peer.until_gone()


def ends_before_hello(peer: Peer) -> None:
    pass


def ends_when_asked(peer: Peer) -> None:
    """Says who it is, hears the question, and ends."""
    peer.hello()
    peer.hear()


def greets(message: object) -> Script:
    def script(peer: Peer) -> None:
        peer.say(message)
        peer.until_gone()

    return script


def answers(*said: object, heard: list[Any] | None = None) -> Script:
    """Answers question after question until the client goes."""

    def script(peer: Peer) -> None:
        peer.hello()
        for message in said:
            question = peer.hear()
            if heard is not None:
                heard.append(question)
            peer.say(message if isinstance(message, Mapping) and "error" in message else {"answer": message})
        peer.until_gone()

    return script


def watched(*said: object, then: Callable[[], object] = lambda: None) -> Script:
    """Answers one `watch` with these statuses, and ends."""

    def script(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        for message in said:
            peer.say({"answer": message})
        then()

    return script
