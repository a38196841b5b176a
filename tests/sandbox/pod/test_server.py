"""The real server on a real socket, with an engine behind it that only notes what it is asked for."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import select
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import AlreadyExists, NotFound, SandboxError
from sandbox.pod import codec, report, requests, server
from sandbox.pod.config import Config
from sandbox.pod.connection import PROTOCOL
from sandbox.pod.engine import Wanted
from sandbox.pod.paths import lock_root, make_root
from sandbox.pod.server import Server, serve
from sandbox.pod.state import PodState
from sandbox.status import PodStatus
from tests.sandbox.pod.values import NOON, UID, a_pod, a_record, a_state, ended, running


class FakeWorker:
    """A pod that changes when the test says so."""

    def __init__(self, uid: str, state: PodState) -> None:
        self.record = a_record(uid)
        self.removed = False
        self.changed = asyncio.Event()
        self.state = state

    def status(self) -> PodStatus:
        return report.status(a_pod(), self.record, self.state, NOON)

    def become(self, state: PodState | None) -> None:
        self.removed = state is None
        self.state = state or self.state
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass
class FakeEngine:
    """Notes what it is asked for; `raises` is what it does instead."""

    workers: dict[str, FakeWorker] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    raises: Exception | None = None
    config: Config = field(default_factory=lambda: Config("here"))
    fewer: asyncio.Event = field(default_factory=asyncio.Event)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)  # its deletions are
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # whether they are
    given_up: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False
    kept: list[str] = field(default_factory=list)  # after which call, and of which pods

    async def keep(self, uids: Iterable[str]) -> None:
        self.kept += [f"{self.calls[-1][0]} {uid}" for uid in uids]

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.raises is not None:
            raise self.raises

    async def start(self) -> None:
        self._note("start")

    async def close(self) -> None:
        self.closed = True

    @property
    def count(self) -> int:
        return len(self.workers)

    def create(self, wanted: Iterable[Wanted], claims: Iterable[Any]) -> list[str]:
        for each in wanted:
            self._note("create", each.uid)
            self.workers[each.uid] = FakeWorker(each.uid, a_state())
        return ["created" for _ in claims]

    def apply(self, wanted: Iterable[Wanted], claims: Iterable[Any], *, dry_run: bool) -> requests.Applied:
        for each in wanted:
            self._note("apply", each.uid, list(claims), dry_run)
        pods = (requests.AppliedPod("1", requests.Word.REPLACED, before=each.uid) for each in wanted)
        return requests.Applied(tuple(pods), ("unchanged",))

    def delete(self, uid: str, **options: Any) -> None:
        self._note("delete", uid, options)

    def find(self, namespace: str, name: str) -> FakeWorker:
        self._note("find", namespace, name)
        return FakeWorker(UID, a_state())

    def statuses(self) -> list[PodStatus]:
        self._note("pods")
        return [worker.status() for worker in self.workers.values()]

    def named(self) -> list[FakeWorker]:
        return list(self.workers.values())

    def worker(self, uid: str) -> FakeWorker | None:
        return self.workers.get(uid)

    async def deletions_done(self) -> None:
        self.asked.set()
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise

    def add(self, worker: FakeWorker) -> FakeWorker:
        self.workers[worker.record.uid] = worker
        self.more.set()
        self.more = asyncio.Event()
        return worker

    def empty(self) -> None:
        self.workers.clear()
        self.fewer.set()
        self.fewer = asyncio.Event()


class Client:
    """A client that says what it wants to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self) -> Any:
        line = await self.reader.readline()
        return json.loads(line) if line else None

    async def ask(self, what: object) -> Any:
        await self.say(what if isinstance(what, bytes) else json.dumps(what).encode() + b"\n")
        return await self.hear()

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


Play = Callable[[FakeEngine, Server, Callable[[], Awaitable[Client]]], Awaitable[None]]


def play(tmp_path: Path, scene: Play, *, limit: int = 1 << 16) -> FakeEngine:
    """Play a scene with a server; at its end nothing that it began is left."""

    async def stage() -> FakeEngine:
        engine = FakeEngine()
        known = Server(engine)  # type: ignore[arg-type]
        listener = await asyncio.start_unix_server(known.connected, tmp_path / "socket", limit=limit)
        clients: list[Client] = []

        async def client() -> Client:
            clients.append(Client(*await asyncio.open_unix_connection(tmp_path / "socket", limit=1 << 26)))
            return clients[-1]

        try:
            async with asyncio.timeout(20):
                await scene(engine, known, client)
        finally:
            listener.close()
            for each in clients:
                each.writer.close()
            await known.close()
        for _ in range(5):  # what was cancelled just now has its turn
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return engine

    return asyncio.run(stage())


def test_the_server_says_first_who_it_is(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        hello = await (await client()).hear()
        assert hello == {"engine": PROTOCOL, "pid": os.getpid(), "nodeName": "here"}

    play(tmp_path, scene)


async def greeted(client: Callable[[], Awaitable[Client]]) -> Client:
    one = await client()
    assert (await one.hear())["engine"] == PROTOCOL
    return one


# ---- verbs ----


APPLIED = {
    "is": "Applied",
    "pods": [{"is": "AppliedPod", "uid": "1", "word": "replaced", "before": UID}],
    "claims": ["unchanged"],
}


@pytest.mark.parametrize(
    ("request_", "answer", "call"),
    [
        ({"verb": "create", "pods": [{"uid": UID, "manifest": {}}]}, [], ("create", UID)),
        ({"verb": "apply", "pods": [{"uid": UID, "manifest": {}}]}, APPLIED, ("apply", UID, [], False)),
        (
            {"verb": "apply", "pods": [{"uid": UID, "manifest": {}}], "claims": [{}], "dry_run": True},
            APPLIED,
            ("apply", UID, [{}], True),
        ),
        ({"verb": "find", "namespace": "a", "name": "b"}, UID, ("find", "a", "b")),
        ({"verb": "pods"}, [], ("pods",)),
        (
            {"verb": "delete", "uid": UID},
            None,
            ("delete", UID, {"grace": None, "force": False, "hold": False, "at_once": False}),
        ),
        (
            {"verb": "delete", "uid": UID, "grace": 0, "force": True, "hold": True, "at_once": True},
            None,
            ("delete", UID, {"grace": 0, "force": True, "hold": True, "at_once": True}),
        ),
    ],
)
def test_each_verb_is_the_engines(tmp_path: Path, request_: object, answer: object, call: tuple[Any, ...]) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        assert await (await greeted(client)).ask(request_) == {"answer": answer}

    engine = play(tmp_path, scene)
    assert engine.calls == [call]
    is_change = call[0] in ("create", "delete") or (call[0] == "apply" and call[-1] is False)
    changes = [f"{call[0]} {UID}"] if is_change else []
    assert engine.kept == changes, "what is answered with success outlives a power cut"


@pytest.mark.parametrize(
    "error",
    [NotFound("pods", "web"), AlreadyExists("pods", "web"), SandboxError("no"), OSError(errno.ENOSPC, "No space")],
    ids=lambda error: type(error).__name__,
)
def test_what_the_engine_raises_is_the_answer_and_the_next_question_is_heard(tmp_path: Path, error: Exception) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        one = await greeted(client)
        engine.raises = error
        assert isinstance(error, SandboxError | OSError)
        assert await one.ask({"verb": "pods"}) == codec.encode_error(error)
        engine.raises = None
        assert await one.ask({"verb": "pods"}) == {"answer": []}

    play(tmp_path, scene)


HOSTILE: list[bytes] = [
    b"\n",
    b"{\n",
    b"5\n",
    b"null\n",
    b"[]\n",
    b"{}\n",
    b'"verb"\n',
    b"\xff\xfe\n",
    b"[" * 50_000 + b"\n",
    b"9" * 5000 + b"\n",
    b'{"verb":null}\n',
    b'{"verb":[]}\n',
    b'{"verb":"eat"}\n',
    b'{"verb":"_answer"}\n',
    b'{"verb":"create"}\n',
    b'{"verb":"create","pods":5}\n',
    b'{"verb":"create","pods":[5]}\n',
    b'{"verb":"create","pods":[{"uid":"x"}]}\n',
    b'{"verb":"apply"}\n',
    b'{"verb":"apply","pods":[{"uid":"x"}]}\n',
    b'{"verb":"delete"}\n',
    b'{"verb":"delete","uid":"x","grace":"5"}\n',
    b'{"verb":"delete","uid":"x","grace":1.5}\n',
    b'{"verb":"delete","uid":"x","grace":true}\n',
    b'{"verb":"delete","uid":"x","grace":Infinity}\n',
    b'{"verb":"find","name":"x"}\n',
    b'{"verb":"target","namespace":"x","name":"y"}\n',
    b'{"verb":"watch"}\n',
    b'{"verb":"watch","uids":5}\n',
]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line[:40].decode(errors="replace").strip() or "empty")
def test_what_is_no_request_is_told_so_and_the_next_is_heard(tmp_path: Path, line: bytes) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        one = await greeted(client)
        answer = await one.ask(line)
        assert answer["error"] == "SandboxError"
        assert answer["message"].startswith("not a request of ours: ")
        assert await one.ask({"verb": "pods"}) == {"answer": []}

    assert play(tmp_path, scene).calls == [("pods",)]


def test_a_line_over_the_limit_ends_that_client_and_no_other(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        one, other = await greeted(client), await greeted(client)
        with pytest.raises(ConnectionError):
            while True:
                await one.say(b"x" * 4096)
        assert await other.ask({"verb": "pods"}) == {"answer": []}

    play(tmp_path, scene, limit=8192)


def test_another_user_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_is_root", lambda _: False)

    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        assert await (await client()).hear() is None

    play(tmp_path, scene)


# ---- a client that is quick ----


class QuickClient:
    """The writer's end, behind which the next request comes in the very moment that an answer went out."""

    def __init__(self, reader: asyncio.StreamReader, requests: list[bytes]) -> None:
        self.reader = reader
        self.requests = requests
        self.heard: list[Any] = []

    def write(self, data: bytes) -> None:
        self.heard.append(json.loads(data))

    async def drain(self) -> None:
        if self.requests:
            self.reader.feed_data(self.requests.pop(0))
        else:
            self.reader.feed_eof()
        await asyncio.sleep(0)  # as a writer whose buffer has just become empty


def test_a_request_that_comes_with_the_end_of_a_long_answer_is_heard_whole() -> None:
    async def scene() -> list[Any]:
        reader = asyncio.StreamReader()
        quick = QuickClient(reader, [b'{"verb":"pods"}\n', b'{"verb":"find","namespace":"a","name":"b"}\n'])
        await Server(FakeEngine())._serve(reader, quick)  # type: ignore[arg-type]
        return quick.heard[1:]

    assert asyncio.run(scene()) == [{"answer": []}, {"answer": UID}]


# ---- watch ----


def test_a_watch_tells_each_change_until_all_are_gone(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        worker = engine.workers[UID] = FakeWorker(UID, a_state(running()))
        one = await greeted(client)
        first = await one.ask({"verb": "watch", "uids": [UID, "ghost"]})
        assert first == {"answer": [codec.encode(worker.status()), None]}
        worker.become(a_state(ended()))
        assert await one.hear() == {"answer": [codec.encode(worker.status()), None]}
        worker.become(None)
        assert await one.hear() == {"answer": [None, None]}
        assert await one.ask({"verb": "pods"}) is not None, "and the client may go on asking"

    play(tmp_path, scene)


def test_a_watch_until_something_is_silent_before(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        one_starts, other = FakeWorker(UID, a_state()), FakeWorker("other", a_state(running()))
        engine.workers |= {UID: one_starts, "other": other}
        ready, gone = await greeted(client), await greeted(client)
        told = asyncio.create_task(ready.ask({"verb": "watch", "uids": [UID, "other"], "until": requests.READY}))
        over = asyncio.create_task(gone.ask({"verb": "watch", "uids": ["other"], "until": requests.GONE}))
        other.become(a_state(running()))
        await greeted(client)  # the server has gone through its loop
        assert not told.done() and not over.done()
        one_starts.become(a_state(running()))
        assert await told == {"answer": [codec.encode(each.status()) for each in (one_starts, other)]}
        other.become(None)
        assert await over == {"answer": [None]}
        assert await ready.hear() == {"answer": [codec.encode(one_starts.status()), None]}, "it will not be ready"
        one_starts.become(None)
        assert await ready.hear() == {"answer": [None, None]}

    play(tmp_path, scene)


@pytest.mark.parametrize("verb", ["watch", "stop"])
def test_a_client_that_goes_away_while_it_waits_is_forgotten(tmp_path: Path, verb: str) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        engine.workers[UID] = FakeWorker(UID, a_state(running()))
        one = await greeted(client)
        await one.say(json.dumps({"verb": verb, "uids": [UID]}).encode() + b"\n")
        if verb == "watch":
            await one.hear()
        else:
            await engine.asked.wait()
        await one.close()
        while known._connections:
            await asyncio.wait(known._connections)
        assert not known.stopping.is_set()
        assert engine.given_up.is_set() is (verb == "stop")
        other = await greeted(client)
        assert len((await other.ask({"verb": "pods"}))["answer"]) == 1

    play(tmp_path, scene)


def test_a_client_that_goes_away_with_an_answer_unread_is_no_error(tmp_path: Path) -> None:
    complaints: list[dict[str, Any]] = []

    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        engine.workers[UID] = FakeWorker(UID, a_state(running()))
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(str(tmp_path / "socket"))
        deaf.sendall(json.dumps({"verb": "watch", "uids": [UID]}).encode() + b"\n")
        while not select.select([deaf], [], [], 0)[0] or b"answer" not in deaf.recv(1 << 20, socket.MSG_PEEK):
            await asyncio.sleep(0)
        deaf.close()  # a reset for the server, not just an end
        while known._connections:
            await asyncio.wait(known._connections)

    play(tmp_path, scene)
    gc.collect()
    assert not complaints


def test_a_client_that_does_not_read_holds_up_no_other(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        for number in range(400):
            engine.workers[str(number)] = FakeWorker(str(number), a_state(running()))
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(str(tmp_path / "socket"))
        deaf.sendall(b'{"verb":"pods"}\n')
        other = await greeted(client)
        assert len((await other.ask({"verb": "pods"}))["answer"]) == 400
        deaf.close()

    play(tmp_path, scene)


# ---- its end ----


def test_stop_finishes_deletions_first(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        one = await greeted(client)
        await one.say(b'{"verb":"stop"}\n')
        await engine.asked.wait()
        assert not known.stopping.is_set()
        engine.done.set()
        assert await one.hear() == {"answer": None}
        await known.stopping.wait()

    play(tmp_path, scene)


def test_stop_now_leaves_them_to_the_next_engine(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        assert await (await greeted(client)).ask({"verb": "stop", "now": True}) == {"answer": None}
        await known.stopping.wait()
        assert not engine.asked.is_set()

    play(tmp_path, scene)


SHORT, LONG = 0.02, 60.0


async def is_over(idle: asyncio.Task[None]) -> bool:
    """Whether it is, after more turns of the loop than any wake-up takes."""
    for _ in range(20):
        await asyncio.sleep(0)
    return idle.done()


def test_an_engine_without_pods_and_clients_is_idle_after_a_while(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        await known.until_idle(SHORT)

    play(tmp_path, scene)


def test_a_pod_keeps_the_engine_and_its_end_begins_the_while(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        engine.workers[UID] = FakeWorker(UID, a_state())
        idle = asyncio.create_task(known.until_idle(0))
        assert not await is_over(idle)
        engine.empty()
        await idle

    play(tmp_path, scene)


def test_a_client_keeps_the_engine_even_one_that_came_after_the_while_began(tmp_path: Path) -> None:
    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        waits: list[float | None] = []
        real = asyncio.timeout

        def timeout(seconds: float | None) -> asyncio.Timeout:
            waits.append(seconds)
            return real(seconds)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "timeout", timeout)
            idle = asyncio.create_task(known.until_idle(LONG))
            assert not await is_over(idle)
            one = await greeted(client)
            assert not await is_over(idle)
            assert waits == [LONG, None], "while there is a client there is no end"
            await one.close()
            while known._connections:
                await asyncio.wait(known._connections)
            assert not await is_over(idle)
            assert waits == [LONG, None, LONG]
        idle.cancel()
        await asyncio.gather(idle, return_exceptions=True)

    play(tmp_path, scene)


# ---- serving a root ----


@dataclass
class Served:
    root: Path
    engine: FakeEngine
    left: int = -1


def served(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[Served, Server], Awaitable[None]],
    idle: float | None = None,
    warn: Callable[[str], None] = pytest.fail,
) -> Served:
    async def stage() -> Served:
        state = Served(root, FakeEngine())
        monkeypatch.setattr(server, "Engine", lambda *_: state.engine)
        up: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve(root, warn, lambda _, known: up.set_result(known), idle=idle))
        async with asyncio.timeout(20):
            await asyncio.wait((up, task), return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                await scene(state, up.result())
            state.left = await task
        return state

    return asyncio.run(stage())


def test_a_root_that_is_served_has_a_socket_and_a_number_and_afterwards_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(state: Served, known: Server) -> None:
        assert (tmp_path / "seedpod.sock").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "agent.pid").read_text() == f"{os.getpid()}\n"
        assert lock_root(tmp_path) is None
        state.engine.workers[UID] = FakeWorker(UID, a_state())
        known.stopping.set()

    state = served(tmp_path, monkeypatch, scene)
    assert state.left == 1
    assert state.engine.closed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["claims", "images", "lock", "logs", "pods"]
    lock = lock_root(tmp_path)
    assert lock is not None
    os.close(lock)


def test_what_a_killed_engine_left_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_root(tmp_path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "seedpod.sock"))
    (tmp_path / "agent.pid").write_text("1\n")

    async def scene(state: Served, known: Server) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "seedpod.sock")
        assert json.loads(await reader.readline())["pid"] == os.getpid()
        writer.close()
        known.stopping.set()

    served(tmp_path, monkeypatch, scene)


def test_a_full_disk_keeps_no_engine_from_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills it may have to be deleted."""
    make_root(tmp_path)
    (tmp_path / "agent.pid").write_text("1\n")
    warnings: list[str] = []

    def full(path: Path, data: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(server, "write_file", full)

    async def scene(state: Served, known: Server) -> None:
        assert warnings == [f"{tmp_path}/agent.pid cannot be written: No space left on device"]
        assert not (tmp_path / "agent.pid").exists(), "that of a killed engine may be anybody's by now"
        known.stopping.set()

    served(tmp_path, monkeypatch, scene, warn=warnings.append)


def test_an_engine_whose_root_was_removed_leaves_that_of_the_next_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(state: Served, known: Server) -> None:
        shutil.rmtree(tmp_path)
        make_root(tmp_path)
        lock = lock_root(tmp_path)
        assert lock is not None, "the next one owns what is there now"
        (tmp_path / "seedpod.sock").write_text("the other's")
        (tmp_path / "agent.pid").write_text("the other's")
        known.stopping.set()
        os.close(lock)

    served(tmp_path, monkeypatch, scene)
    assert (tmp_path / "seedpod.sock").read_text() == "the other's"
    assert (tmp_path / "agent.pid").read_text() == "the other's"


def test_a_root_that_another_engine_owns_is_refused_and_its_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_root(tmp_path)
    (tmp_path / "seedpod.sock").write_text("the other's")
    monkeypatch.setattr(server, "LOCK_TRIES", 2)
    monkeypatch.setattr(server, "LOCK_PAUSE", 0)
    lock = lock_root(tmp_path)
    assert lock is not None

    async def scene(state: Served, known: Server) -> None:
        pytest.fail("it is not served")

    with pytest.raises(SandboxError, match=f"another engine owns {tmp_path}"):
        served(tmp_path, monkeypatch, scene)
    assert (tmp_path / "seedpod.sock").read_text() == "the other's"
    os.close(lock)


def test_an_engine_that_cannot_start_leaves_the_root_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stage() -> None:
        monkeypatch.setattr(server, "Engine", lambda *_: FakeEngine(raises=SandboxError("no")))
        with pytest.raises(SandboxError, match="no"):
            await serve(tmp_path, pytest.fail, lambda *_: pytest.fail("it is not ready"))

    asyncio.run(stage())
    lock = lock_root(tmp_path)
    assert lock is not None
    os.close(lock)


@pytest.mark.parametrize(
    ("error", "lines"), [(OSError(errno.EMFILE, "Too many open files"), 1), (ValueError("a bug"), 3), (None, 1)]
)
def test_what_the_loop_complains_of_is_a_warning_with_a_traceback_only_where_it_is_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, lines: int
) -> None:
    warnings: list[str] = []

    async def scene(state: Served, known: Server) -> None:
        context = {"message": "out of system resource", **({"exception": error} if error else {})}
        asyncio.get_running_loop().call_exception_handler(context)
        known.stopping.set()

    try:
        if error is not None:
            raise error
    except Exception as raised:  # noqa: BLE001 - with its traceback
        error = raised
    served(tmp_path, monkeypatch, scene, warn=warnings.append)
    (warning,) = warnings
    assert warning.startswith("out of system resource")
    assert (len(warning.splitlines()) >= lines) and ("Traceback" in warning) is (lines > 1)


def test_an_engine_that_nobody_needs_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(state: Served, known: Server) -> None:
        pass

    assert served(tmp_path, monkeypatch, scene, idle=SHORT).left == 0


def test_clients_are_sent_away_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[bytes] = []

    async def scene(state: Served, known: Server) -> None:
        state.engine.workers[UID] = FakeWorker(UID, a_state())
        reader, writer = await asyncio.open_unix_connection(tmp_path / "seedpod.sock")
        await reader.readline()
        writer.write(b'{"verb":"watch","uids":["%s"]}\n' % UID.encode())
        await reader.readline()
        known.stopping.set()
        ends.append(await reader.readline())
        writer.close()

    served(tmp_path, monkeypatch, scene)
    assert ends == [b""]
