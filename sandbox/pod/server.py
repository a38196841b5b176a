"""An engine on its socket: requests in, answers out.

A line of JSON each.  The server says first who it is; then the client asks, one thing at a time, and gets one answer,
or a stream of them for `watch` and `watch_pods`:

    server                                          client
    {"engine": 2, "pid": …, "nodeName": …}
                                                    {"verb": "create", "pods": […], "claims": […]}
    {"answer": …}  or  {"error": …, "message": …}
                                                    {"verb": "watch", "uids": […]}
    {"answer": [status or null, …]}   with each change, until all are gone
                                                    {"verb": "watch", "uids": […], "until": "ready"}
    {"answer": [status or null, …]}   with each change once all are ready, or never will be
                                                    {"verb": "watch_pods", "namespace": …, "name": …}
    {"answer": {"whole": …, "pods": […]}}   with each change, until the client goes

Only root may connect.  What the verbs do is the engine's; this module knows only how they are asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from cgroups import CgroupError
from sandbox.errors import SandboxError
from sandbox.linux import privileges
from sandbox.pod import codec, forks, watching
from sandbox.pod.connection import MAX_LINE, PROTOCOL
from sandbox.pod.engine import Engine, Wanted
from sandbox.pod.files import remove_file, write_file
from sandbox.pod.paths import PID_FILE, is_lock_of, lock_root, make_root, socket_path, unlock
from sandbox.pod.requests import MILESTONES, PodNews
from sandbox.pod.tasks import any_of, in_thread
from sandbox.pod.trees import remove_unmounted

IDLE = 30.0  # seconds without a pod after which an engine that nobody asked to stay ends
LOCK_TRIES, LOCK_PAUSE = 100, 0.1  # for the lock of an engine that is just ending


class Server:
    """Serves one engine until it is told to stop."""

    def __init__(self, engine: Engine) -> None:
        self.stopping = asyncio.Event()
        self._engine = engine
        self._connections: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()  # something has changed in how busy we are
        self._verbs: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "add": self._add,
            "apply": self._apply,
            "claims": self._claims,
            "create": self._create,
            "create_claim": self._create_claim,
            "delete": self._delete,
            "find": self._find,
            "find_claim": self._find_claim,
            "pods": self._pods,
            "remove_claim": self._remove_claim,
            "target": self._target,
        }

    # ---- connections ----

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client; the callback of asyncio.start_unix_server."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._quiet.set()
        fd = forks.guard(writer.get_extra_info("socket").fileno())
        try:
            if _is_root(writer):
                await self._serve(reader, writer)
        except (ConnectionError, ValueError):  # gone, or it sent a line without end
            pass
        finally:
            self._connections.discard(task)
            self._quiet.set()
            forks.release(fd)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = {"engine": PROTOCOL, "pid": os.getpid(), "nodeName": self._engine.config.node_name}
        await _send(writer, hello)
        ahead = b""
        while line := ahead + await reader.readline():
            answering = asyncio.create_task(self._answer(line, writer))
            # A client asks one thing at a time: what comes meanwhile is its end.
            end = asyncio.create_task(reader.read(1))
            try:
                await asyncio.wait((answering, end), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:  # the engine ends, and a watch would go on
                answering.cancel()
                end.cancel()
                await asyncio.gather(answering, end, return_exceptions=True)
                raise
            if not answering.done():
                answering.cancel()
                await asyncio.gather(answering, end, return_exceptions=True)  # that may have been an error, too
                return
            # Or it is quick, has the answer already, and asks for the next thing.
            end.cancel()
            (read,) = await asyncio.gather(end, return_exceptions=True)
            ahead = read if isinstance(read, bytes) else b""
            await answering

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(line)
            if request["verb"] == "watch":
                async for statuses in self._watch(request):
                    await _send(writer, {"answer": statuses})
            elif request["verb"] == "watch_pods":
                async with contextlib.aclosing(self._watch_pods(request)) as answers:
                    async for answer in answers:
                        await _send(writer, {"answer": codec.encode(answer)})
            elif request["verb"] == "stop":
                await self._stop(request)
                await _send(writer, {"answer": None})
                self.stopping.set()
            else:
                answer = self._verbs[request["verb"]](request)
                await _send(writer, {"answer": await answer if asyncio.iscoroutine(answer) else answer})
        except (SandboxError, CgroupError, OSError) as error:
            await _send(writer, codec.encode_error(error))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            await _send(writer, codec.encode_error(SandboxError(f"not a request of ours: {error!r}")))

    async def close(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # ---- verbs ----

    # What is answered with success outlives a power cut.

    async def _create(self, request: Mapping[str, Any]) -> list[str]:
        pods = [Wanted(each["uid"], each["manifest"], bool(each.get("open"))) for each in request["pods"]]
        words = self._engine.create(pods, request.get("claims", ()))
        self._quiet.set()
        await self._engine.keep(each.uid for each in pods)
        return words

    async def _apply(self, request: Mapping[str, Any]) -> Any:
        pods = [Wanted(each["uid"], each["manifest"]) for each in request["pods"]]
        dry_run = bool(request.get("dry_run"))
        applied = self._engine.apply(pods, request.get("claims", ()), dry_run=dry_run)
        if not dry_run:
            self._quiet.set()
            await self._engine.keep(each.before or each.uid for each in applied.pods)
        return codec.encode(applied)

    async def _add(self, request: Mapping[str, Any]) -> None:
        self._engine.add(request["uid"], str(request["addition"]), request["container"])
        await self._engine.keep([request["uid"]])

    async def _delete(self, request: Mapping[str, Any]) -> None:
        options = {name: bool(request.get(name)) for name in ("force", "hold", "at_once")}
        grace = request.get("grace")
        if grace is not None and type(grace) is not int:
            raise TypeError(f"grace is {grace!r}")
        self._engine.delete(request["uid"], grace=grace, **options)
        await self._engine.keep([request["uid"]])

    def _find(self, request: Mapping[str, Any]) -> str:
        return self._engine.find(request["namespace"], request["name"]).record.uid

    def _pods(self, _: Mapping[str, Any]) -> Any:
        return codec.encode(self._engine.statuses())

    def _target(self, request: Mapping[str, Any]) -> Any:
        return codec.encode(self._engine.target(request["namespace"], request["name"], request["container"]))

    def _create_claim(self, request: Mapping[str, Any]) -> None:
        self._engine.create_claim(request["uid"], request["manifest"])

    def _find_claim(self, request: Mapping[str, Any]) -> str:
        return self._engine.store.claims.find(request["namespace"], request["name"])

    def _claims(self, _: Mapping[str, Any]) -> Any:
        return codec.encode(self._engine.store.claims.statuses())

    async def _remove_claim(self, request: Mapping[str, Any]) -> None:
        left = self._engine.store.claims.remove(request["uid"])
        if left is not None:
            await in_thread(remove_unmounted, left)  # as long as it takes: its owner waits for the space

    async def _stop(self, request: Mapping[str, Any]) -> None:
        if not request.get("now"):
            await self._engine.deletions_done()

    async def _watch(self, request: Mapping[str, Any]) -> AsyncIterator[list[Any]]:
        """The statuses of these pods, null for one that is gone, now and with each change, until all are gone; those
        before what the client waits for are spared it."""
        uids = [str(uid) for uid in request["uids"]]
        is_there = MILESTONES.get(request.get("until", ""), lambda _: True)
        while True:
            workers = [self._engine.worker(uid) for uid in uids]
            there = [worker for worker in workers if worker and not worker.removed]
            changes = [worker.changed for worker in there]
            statuses = [worker.status() if worker in there and worker else None for worker in workers]
            if all(map(is_there, statuses)):
                yield [codec.encode(status) for status in statuses]
            if not changes:
                return
            await any_of(*changes)

    def _watch_pods(self, request: Mapping[str, Any]) -> AsyncGenerator[PodNews, None]:
        namespace, name = request.get("namespace"), request.get("name")
        return watching.news(self._engine, lambda pod: namespace in (None, pod.namespace) and name in (None, pod.name))

    # ---- its end ----

    async def until_idle(self, seconds: float) -> None:
        """Wait until there has been neither a pod nor a client for so long."""
        while True:
            self._quiet.clear()
            busy = self._engine.count or self._connections
            try:
                async with asyncio.timeout(None if busy else seconds):
                    await any_of(self._engine.fewer, self._quiet)
            except TimeoutError:
                return


def _is_root(writer: asyncio.StreamWriter) -> bool:
    peer: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return uid in (0, os.geteuid())


async def _send(writer: asyncio.StreamWriter, message: Any) -> None:
    writer.write(
        json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
    )
    await writer.drain()


async def serve(
    root: Path,
    warn: Callable[[str], None],
    ready: Callable[[Engine, Server], None],
    *,
    stopping: Callable[[], None] = lambda: None,
    idle: float | None = None,
) -> int:
    """Own the root and serve it until told to stop, or until nothing was left for `idle` seconds.

    How many pods are left running.  `ready` is called once the socket takes clients, `stopping` once it is to end.
    Raises SandboxError where another engine owns the root.
    """
    asyncio.get_running_loop().set_exception_handler(lambda _, context: warn(_told(context)))
    privileges.name_thread("seedpod:engine")
    make_root(root)
    path = socket_path(root)
    lock = await _locked(root)
    try:
        engine = Engine(root, warn)
        await engine.start()
        server = Server(engine)
        remove_file(path)  # of an engine that was killed
        listener = await asyncio.start_unix_server(server.connected, path, limit=MAX_LINE, backlog=100)
        path.chmod(0o600)
        for each in listener.sockets:
            forks.guard(each.fileno())
        _write_pid(root, warn)
        try:
            ready(engine, server)
            await _until_stopped(server, idle)
            stopping()
        finally:
            if is_lock_of(root, lock):  # or they are another engine's by now
                path.unlink(missing_ok=True)
                (root / PID_FILE).unlink(missing_ok=True)
            for each in listener.sockets:
                forks.release(each.fileno())
            listener.close()
            await server.close()
            left = engine.count
            await engine.close()
        return left
    finally:
        unlock(lock)


def _told(context: Mapping[str, Any]) -> str:
    """What the loop has to say, on a line; with the traceback where it is a bug of ours."""
    error = context.get("exception")
    if error is None or isinstance(error, OSError):
        return f"{context['message']}: {error}" if error else str(context["message"])
    return "".join([f"{context['message']}\n", *traceback.format_exception(error)]).rstrip()


def _write_pid(root: Path, warn: Callable[[str], None]) -> None:
    """A disk that is full is told of, and no reason not to serve: what fills it may have to be deleted."""
    path = root / PID_FILE
    try:
        remove_file(path)  # that of a killed engine may be anybody's by now
        write_file(path, f"{os.getpid()}\n")
    except OSError as error:
        warn(f"{path} cannot be written: {error.strerror}")


async def _locked(root: Path) -> int:
    for _ in range(LOCK_TRIES):
        lock = lock_root(root)
        if lock is not None:
            return lock
        await asyncio.sleep(LOCK_PAUSE)  # flock has no event to wait on that could be given up
    raise SandboxError(f"another engine owns {root}", hint="`seedpod agent stop` ends it")


async def _until_stopped(server: Server, idle: float | None) -> None:
    ways = [asyncio.create_task(server.stopping.wait())]
    if idle is not None:
        ways.append(asyncio.create_task(server.until_idle(idle)))  # type: ignore[arg-type]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
