"""What an engine tells those who watch its pods, and what a client makes of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.pod import client as client_module
from sandbox.pod import codec, watching
from sandbox.pod.client import PodsWatch
from sandbox.pod.connection import connect
from sandbox.pod.requests import PodNews, PodNow, watch_pods
from sandbox.pod.server import Server
from sandbox.pod.state import Deletion, PodState
from sandbox.status import ChangeType, Phase, PodChange, PodStatus
from tests.sandbox.pod import fake_engine
from tests.sandbox.pod.fake_engine import Peer, engine, open_descriptors
from tests.sandbox.pod.test_server import Client, FakeEngine, FakeWorker, greeted, play
from tests.sandbox.pod.values import NOON, UID, a_record, a_state, ended, running, waiting

OTHER = "1" + UID[1:]
BEGUN = a_state(waiting(), started_at=NOON)
UP = a_state(running(), started_at=NOON)
DELETION = Deletion(NOON, 30)


def leaving(state: PodState, *, forced: bool = False) -> PodState:
    return replace(state, deletion=replace(DELETION, forced=forced))


Scene = Callable[[FakeEngine, AsyncGenerator[PodNews, None]], Awaitable[None]]


def watched(scene: Scene, *workers: tuple[str, PodState]) -> None:
    """Play a scene with an engine of these pods and what is told of them; no task is left at its end."""

    async def stage() -> None:
        fake = FakeEngine()
        for uid, state in workers:
            fake.add(FakeWorker(uid, state))
        async with asyncio.timeout(20), aclosing(watching.news(fake, lambda _: True)) as news:
            await scene(fake, news)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(stage())


async def told(news: AsyncGenerator[PodNews, None], count: int) -> list[PodNow]:
    """The next so many, however they come together."""
    heard: list[PodNow] = []
    while len(heard) < count:
        answer = await anext(news)
        assert not answer.whole
        heard += answer.pods
    assert len(heard) == count
    return heard


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# ---- the engine's side ----


def test_those_that_are_there_come_first_and_at_once() -> None:
    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        first = await anext(news)
        assert first.whole
        assert first.pods == tuple(PodNow(uid, fake.workers[uid].status()) for uid in (UID, OTHER))

    watched(scene, (UID, UP), (OTHER, BEGUN))


def test_no_pods_are_news_too() -> None:
    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        assert await anext(news) == PodNews(whole=True, pods=())

    watched(scene)


def test_a_deletion_is_told_step_by_step() -> None:  # A38
    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        await anext(news)
        worker, steps = fake.workers[UID], []
        for state in (leaving(UP), leaving(a_state(ended(code=1), started_at=NOON)), None):
            worker.become(state)
            steps += await told(news, 1)
        assert [each.status and (each.status.deletion_timestamp is not None, each.status.phase) for each in steps] == [
            (True, Phase.RUNNING),
            (True, Phase.FAILED),
            None,
        ]

    watched(scene, (UID, UP))


def test_how_a_pod_came_to_its_end_is_told_even_where_nobody_looked_in_between() -> None:  # A38
    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        await anext(news)
        await turns()
        worker = fake.workers[UID]
        worker.become(leaving(UP))
        worker.become(leaving(a_state(ended(code=1), started_at=NOON)))
        worker.become(None)
        terminal, gone = await told(news, 2)
        assert terminal.status is not None and terminal.status.phase is Phase.FAILED
        assert gone == PodNow(UID, None)

    watched(scene, (UID, UP))


def test_an_end_that_was_told_is_not_told_again() -> None:
    finished = a_state(ended(code=0), started_at=NOON)

    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        await anext(news)
        fake.workers[UID].become(leaving(finished))
        ((_, status),) = [(each.uid, each.status) for each in await told(news, 1)]
        assert status is not None and status.over
        fake.workers[UID].become(None)
        assert await told(news, 1) == [PodNow(UID, None)]

    watched(scene, (UID, UP))


def test_a_forced_deletion_is_the_end_at_once() -> None:  # A40
    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        await anext(news)
        await turns()
        old = fake.workers.pop(UID)
        old.become(leaving(UP, forced=True))
        new = fake.add(FakeWorker(OTHER, BEGUN))
        assert sorted(await told(news, 2), key=lambda each: each.uid) == sorted(
            [PodNow(UID, None), PodNow(OTHER, new.status())], key=lambda each: each.uid
        )
        old.become(None)
        await turns()
        new.become(UP)
        assert await told(news, 1) == [PodNow(OTHER, new.status())], "of the old one nothing more"

    watched(scene, (UID, UP))


def test_a_pod_that_comes_is_told_of_with_all_that_becomes_of_it() -> None:
    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        await anext(news)
        await turns()
        worker = fake.add(FakeWorker(OTHER, BEGUN))
        (first,) = await told(news, 1)
        assert first == PodNow(OTHER, worker.status())
        worker.become(UP)
        (then,) = await told(news, 1)
        assert then.status is not None and then.status.phase is Phase.RUNNING

    watched(scene, (UID, UP))


def test_what_is_noted_and_changes_nothing_to_be_seen_is_no_news() -> None:
    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        await anext(news)
        worker = fake.workers[UID]
        await turns()
        worker.become(replace(UP, sandboxes=7))
        await turns()
        worker.become(leaving(UP))
        (heard,) = await told(news, 1)
        assert heard.status is not None and heard.status.deletion_timestamp is not None

    watched(scene, (UID, UP))


def test_a_client_that_does_not_read_is_told_the_newest_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BACKLOG", 2)

    async def scene(fake: FakeEngine, news: AsyncGenerator[PodNews, None]) -> None:
        await anext(news)
        worker = fake.workers[UID]
        for second in range(50):
            worker.become(replace(UP, pod_ips=(f"10.0.0.{second}",)))
            await turns()
        worker.become(leaving(a_state(ended(code=1), started_at=NOON)))
        await turns()
        worker.become(None)
        heard: list[PodNow] = []
        while not heard or heard[-1].status is not None:
            heard += (await anext(news)).pods
        assert len(heard) <= 6
        last = heard[-2].status
        assert last is not None and last.phase is Phase.FAILED

    watched(scene, (UID, UP))


def test_the_server_tells_of_those_that_are_wanted_and_forgets_who_goes_away(tmp_path: Path) -> None:
    async def scene(fake: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        worker = fake.add(FakeWorker(UID, BEGUN))
        stranger = fake.add(FakeWorker(OTHER, BEGUN))
        stranger.record = a_record(OTHER, "other")
        one = await greeted(client)
        asked = watch_pods("default", "web")
        first = await one.ask({"verb": asked.verb, **asked.arguments})
        assert asked.read(first["answer"]) == PodNews(True, (PodNow(UID, worker.status()),))
        stranger.become(UP)
        await turns()
        worker.become(UP)
        assert asked.read((await one.hear())["answer"]) == PodNews(False, (PodNow(UID, worker.status()),))
        await one.close()
        while known._connections:
            await asyncio.wait(known._connections)

    play(tmp_path, scene)  # which looks for tasks that are left


@pytest.mark.parametrize(
    ("wanted", "count"),
    [((None, None), 1), (("default", None), 1), (("prod", None), 0), (("default", "x"), 0), ((None, "web"), 1)],
)
def test_pods_are_wanted_by_namespace_and_name(tmp_path: Path, wanted: tuple[Any, Any], count: int) -> None:
    async def scene(fake: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        fake.add(FakeWorker(UID, BEGUN))
        asked = watch_pods(*wanted)
        answer = await (await greeted(client)).ask({"verb": asked.verb, **asked.arguments})
        assert len(answer["answer"]["pods"]) == count

    play(tmp_path, scene)


# ---- the client's ----


def status(state: PodState, uid: str = UID) -> PodStatus:
    return FakeWorker(uid, state).status()


STARTING, STARTED = status(BEGUN), status(UP)
LEAVING = status(leaving(UP))


@pytest.fixture
def no_engine_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "connect_or_start", connect)


def says(*news: PodNews, stays: bool = False, heard: list[Any] | None = None) -> fake_engine.Script:
    def script(peer: Peer) -> None:
        peer.hello()
        question = peer.hear()
        if heard is not None:
            heard.append(question)
        for each in news:
            peer.say(json.loads(json.dumps({"answer": codec.encode(each)})))
        if stays:
            peer.until_gone()

    return script


def whole(*pods: PodStatus) -> PodNews:
    return PodNews(True, tuple(PodNow(each.uid, each) for each in pods))


def then(status: PodStatus | None, uid: str = UID) -> PodNews:
    return PodNews(False, (PodNow(uid, status),))


def changes(watch: PodsWatch, count: int) -> list[list[PodChange]]:
    heard = watch.until()
    return [next(heard) for _ in range(count)]


ADDED, MODIFIED, DELETED = ChangeType.ADDED, ChangeType.MODIFIED, ChangeType.DELETED


@pytest.mark.usefixtures("no_engine_is_started")
def test_changes_have_kubernetes_names_and_what_is_gone_is_as_it_was_last(tmp_path: Path) -> None:  # A38
    heard: list[Any] = []
    news = (whole(STARTING), then(STARTED), then(LEAVING), then(None), then(status(BEGUN, OTHER), OTHER))
    with engine(tmp_path, says(*news, stays=True, heard=heard)), PodsWatch(tmp_path, "default", "web") as watch:
        assert changes(watch, 5) == [
            [PodChange(ADDED, STARTING)],
            [PodChange(MODIFIED, STARTED)],
            [PodChange(MODIFIED, LEAVING)],
            [PodChange(DELETED, LEAVING)],
            [PodChange(ADDED, status(BEGUN, OTHER))],
        ]
    assert heard == [{"verb": "watch_pods", "namespace": "default", "name": "web"}]


@pytest.mark.usefixtures("no_engine_is_started")
def test_the_next_engine_says_all_and_only_what_is_new_is_told(tmp_path: Path) -> None:
    other, third = status(BEGUN, OTHER), status(BEGUN, "2" + UID[1:])
    first, second = says(whole(STARTING, other)), says(whole(STARTED, third), stays=True)
    with engine(tmp_path, first, fake_engine.ends_when_asked, second), PodsWatch(tmp_path) as watch:
        assert changes(watch, 2) == [
            [PodChange(ADDED, STARTING), PodChange(ADDED, other)],
            [PodChange(DELETED, other), PodChange(MODIFIED, STARTED), PodChange(ADDED, third)],
        ]


@pytest.mark.usefixtures("no_engine_is_started")
def test_an_engine_that_knows_nothing_new_tells_nothing_twice(tmp_path: Path) -> None:
    first, second = says(whole(STARTED)), says(whole(STARTED), then(LEAVING), stays=True)
    with engine(tmp_path, first, second), PodsWatch(tmp_path) as watch:
        assert changes(watch, 3) == [[PodChange(ADDED, STARTED)], [], [PodChange(MODIFIED, LEAVING)]]


@pytest.mark.usefixtures("no_engine_is_started")
def test_it_ends_at_its_deadline_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = open_descriptors()
    with engine(tmp_path, says(whole(), stays=True)), PodsWatch(tmp_path) as watch:
        assert list(watch.until(time.monotonic() + 0.05)) == [[]]
    assert open_descriptors() == before


@pytest.mark.usefixtures("no_engine_is_started")
def test_of_a_pod_that_came_and_went_unseen_nothing_is_told(tmp_path: Path) -> None:
    with engine(tmp_path, says(whole(), then(None), stays=True)), PodsWatch(tmp_path) as watch:
        assert changes(watch, 2) == [[], []]
