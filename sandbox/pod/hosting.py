"""An engine inside a process that has other things to do: in a thread, with a loop of its own.

`seedpod run` hosts one where none is up, and so can any program; all of them then talk to it as to any other engine,
through its socket.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.errors import NotFound, SandboxError
from sandbox.pod import tasks, threads
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
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start it and wait until it takes clients.  Raises what it raised."""
        self._thread = threads.start(self._run, "engine")
        self._up.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Have it end, and wait for that; its pods run on."""
        if self._loop is not None and self._server is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended by itself
                self._loop.call_soon_threadsafe(self._server.stopping.set)
        if self._thread is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself (`agent stop` ends any engine)."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=tasks.new_loop) as runner:
                self.left = runner.run(serve(self._root, self._warn, self._ready))
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
            _hand_over(root, hosted)


def _hand_over(root: Path, hosted: _Hosted) -> None:
    """End it; where pods are left that it kept, one in the background goes on with them."""
    hosted.stop()
    if hosted.left:
        with starting(root):
            _start_if_none(root)


# ---- one for all users of a process ----


class _Shared:
    """The engines that this process hosts for its users, by root: each ends with the last of them."""

    def __init__(self) -> None:
        self.forget()

    def join(self, root: Path, warn: Callable[[str], None]) -> None:
        with self._lock:
            known = self._hosted.get(root)
            if known is None or not known.alive:
                make_root(root)
                self._hosted.pop(root, None)
                fresh = _find_or_host(root, warn)
                if fresh is not None:
                    self._hosted[root] = fresh
            self._users[root] = self._users.get(root, 0) + 1

    def leave(self, root: Path) -> None:
        with self._lock:
            self._users[root] -= 1
            if self._users[root] == 0:
                del self._users[root]
                hosted = self._hosted.pop(root, None)
                if hosted is not None:
                    _hand_over(root, hosted)

    def forget(self) -> None:
        """A forked child hosts nothing: the threads are its parent's, and what they work on is left as it lies."""
        self._left = getattr(self, "_hosted", None)  # kept, so that nothing of it is finalised here
        self._lock = threading.Lock()
        self._hosted: dict[Path, _Hosted] = {}
        self._users: dict[Path, int] = {}

    def end(self) -> None:
        """The process ends, and with it the engines: pods that are left are for others."""
        with self._lock:
            for root, hosted in self._hosted.items():
                _hand_over(root, hosted)
            self._hosted.clear()


_shared = _Shared()
os.register_at_fork(after_in_child=_shared.forget)
atexit.register(_shared.end)


def join(root: Path, warn: Callable[[str], None]) -> Callable[[], None]:
    """See to it that the root has an engine: where none is up, one is hosted here for all that have joined.

    Returns what ends that: to be called once, in the same process.  With the last call the hosted engine ends, and if
    pods still stand one in the background takes over.  Blocks; raises SandboxError.
    """
    _shared.join(root, warn)
    return lambda: _shared.leave(root)


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
