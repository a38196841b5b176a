"""An engine inside a process that has other things to do: in a thread, with a loop of its own.

`seedpod run` hosts one where none is up, and so can any program; all of them then talk to it as to any other engine,
through its socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.errors import NotFound, SandboxError
from sandbox.pod.client import Client
from sandbox.pod.connection import EngineEnded, connect, start_engine
from sandbox.pod.engine import Engine
from sandbox.pod.paths import make_root, starting
from sandbox.pod.server import Server, serve


class _Hosted:
    """An engine in a thread of ours."""

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.left = 0  # pods that it left running, once it has ended
        self._root = root
        self._warn = warn
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start it and wait until it takes clients.  Raises what it raised."""
        self._thread.start()
        self._up.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Have it end, and wait for that; its pods run on."""
        if self._loop is not None and self._server is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended by itself
                self._loop.call_soon_threadsafe(self._server.stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self.left = asyncio.run(serve(self._root, self._warn, self._ready))
        except BaseException as error:  # told to whoever waits for it, then let pass where it is none of ours
            self._error = error
            if not isinstance(error, SandboxError | OSError):
                raise
        finally:
            self._up.set()

    def _ready(self, _: Engine, server: Server) -> None:
        self._loop, self._server = asyncio.get_running_loop(), server
        self._up.set()


@contextmanager
def engine(root: Path, warn: Callable[[str], None]) -> Iterator[Client]:
    """A client of the root's engine; where none is up, one is hosted here for as long as the block lasts.

    If other pods still stand then, an engine in the background takes over.  `warn` is told what goes wrong in a hosted
    one.  Raises SandboxError.
    """
    make_root(root)
    hosted = _find_or_host(root, warn)
    try:
        with Client(root) as client:
            yield client
    finally:
        if hosted is not None:
            hosted.stop()
            if hosted.left:
                with starting(root):
                    _start_if_none(root)


def _find_or_host(root: Path, warn: Callable[[str], None]) -> _Hosted | None:
    with starting(root):
        try:
            connect(root).close()
            return None
        except (NotFound, EngineEnded):
            hosted = _Hosted(root, warn)
            hosted.start()
            return hosted


def _start_if_none(root: Path) -> None:
    try:
        connect(root).close()
    except (NotFound, EngineEnded):
        start_engine(root)
