"""The engine of a root, asked with asyncio: the other face of sandbox.pod.client, for the same requests.

A request has a connection of its own, and what a caller gives up closes it.  Where no engine is up one is started, and
where one ends in the middle the next is asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sandbox.errors import SandboxError
from sandbox.linux import host
from sandbox.pod import requests
from sandbox.pod.client import TRIES
from sandbox.pod.connection import BLOCK, Connection, EngineEnded, connect_or_start, decode_answer, encode_request
from sandbox.pod.paths import LOG_FILE
from sandbox.pod.requests import Request
from sandbox.pod.tasks import in_thread, whole

T = TypeVar("T")

_log = logging.getLogger("sandbox")


class Engine:
    """The engine of one root, whichever that is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._leave: Callable[[], None] | None = None

    # ---- where it runs ----

    async def join(self) -> None:
        """Have this process host one where none is up, for as long as anybody here has joined.  Idempotent."""
        if self._leave is None:
            from sandbox.pod import hosting  # with all of an engine: a sandbox alone needs none

            host.require_privileges()
            self._leave = await in_thread(hosting.join, self.root, _log.warning, undo=lambda leave: leave())

    async def leave(self) -> None:
        """The last of those who have joined ends what is hosted here; pods run on.  Idempotent."""
        leave, self._leave = self._leave, None
        if leave is not None:
            await in_thread(leave)

    # ---- asking ----

    async def ask(self, request: Request[T]) -> T:
        """The answer.  Raises what the engine raised."""
        for _ in range(TRIES):
            try:
                async with self._connected() as line:
                    return request.read(await line.ask(request))
            except EngineEnded:
                continue
        raise self._ends_again()

    async def watch(
        self, uid: str, milestone: str = "", first: Request[Any] | None = None
    ) -> AsyncGenerator[requests.Status, None]:
        """The status of a pod, now and with each change; None once it is gone, and then no more.

        Those before the `milestone` (see requests.MILESTONES) are of no interest.  `first` is asked for before; once it
        is on its way, being cancelled waits for its answer.
        """
        request, tries = requests.watch([uid], milestone), 0
        while tries < TRIES:
            tries += 1
            try:
                async with self._connected() as line:
                    if first is not None:
                        first.read(await whole(line.ask(first)))
                        first = None
                    answer = await line.ask(request)
                    while True:
                        tries = 0
                        (status,) = request.read(answer)
                        yield status
                        if status is None:
                            return
                        answer = await line.answer()
            except EngineEnded:
                continue
        raise self._ends_again()

    async def until(
        self,
        uid: str,
        holds: Callable[[requests.Status], T | None],
        milestone: str = "",
        first: Request[Any] | None = None,
    ) -> T:
        """Wait until `holds`, asked with each status that `watch` gives, has something to say.  It must, of None: the
        pod is gone."""
        async with aclosing(self.watch(uid, milestone, first)) as statuses:
            async for status in statuses:
                said = holds(status)
                if said is not None:
                    return said
        raise AssertionError("a pod that is gone was not taken note of")

    def _ends_again(self) -> SandboxError:
        return SandboxError(f"the engine of {self.root} ends again and again", hint=f"see {self.root / LOG_FILE}")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Line]:
        connection = await in_thread(connect_or_start, self.root, undo=Connection.close)
        try:
            yield _Line(connection)
        finally:
            connection.close()


class _Line:
    """One connection, greeted and not asked yet."""

    def __init__(self, connection: Connection) -> None:
        self._socket = connection.socket
        self._socket.setblocking(False)
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()

    async def ask(self, request: Request[Any]) -> Any:
        try:
            await self._loop.sock_sendall(self._socket, encode_request(request.verb, request.arguments))
        except (BrokenPipeError, ConnectionResetError):
            raise EngineEnded from None
        return await self.answer()

    async def answer(self) -> Any:
        while (end := self._buffer.find(b"\n")) < 0:
            try:
                data = await self._loop.sock_recv(self._socket, BLOCK)
            except ConnectionResetError:
                raise EngineEnded from None
            if not data:
                raise EngineEnded
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return decode_answer(json.loads(line))
