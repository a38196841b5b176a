"""What a program asks of the engine, whichever engine that is: they may end at any moment, and another goes on."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import NotFound, SandboxError
from sandbox.pod import client as module
from sandbox.pod import codec, report
from sandbox.pod.attempts import has_ended
from sandbox.pod.client import TRIES, Client, Watch
from sandbox.pod.connection import Connection, EngineEnded, connect
from sandbox.pod.requests import Applied, AppliedPod, Word
from sandbox.pod.state import ContainerState
from sandbox.status import PodStatus
from tests.sandbox.pod import fake_engine
from tests.sandbox.pod.fake_engine import Peer, answers, engine, open_descriptors, watched
from tests.sandbox.pod.values import NOON, UID, a_pod, a_record, a_state, an_end, ended, making, running


def status(*containers: ContainerState) -> PodStatus:
    return report.status(a_pod(*(each.name for each in containers)), a_record(), a_state(*containers), NOON)


STARTED, CRASHED = status(running()), status(ended(code=1))


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine is ever started: the fake one is the only one."""
    monkeypatch.setattr(module, "connect_or_start", connect)


@contextmanager
def client_of(root: Path, *scripts: fake_engine.Script) -> Iterator[Client]:
    with engine(root, *scripts), Client(root) as client:
        yield client


def gone(kind: str = "pods", name: str = "web") -> dict[str, object]:
    return {"error": "NotFound", "kind": kind, "name": name, "message": f'{kind} "{name}" not found', "hint": None}


# ---- questions ----


def test_pods_come_as_statuses(tmp_path: Path) -> None:
    with client_of(tmp_path, answers(codec.encode([STARTED, CRASHED]))) as client:
        assert client.pods() == (STARTED, CRASHED)
        assert (client.node_name, client.engine_pid) == ("here", 4711)


def test_the_next_engine_is_asked_where_one_ends_before_it_answers(tmp_path: Path) -> None:
    heard: list[Any] = []
    with client_of(tmp_path, fake_engine.ends_when_asked, answers(UID, heard=heard)) as client:
        assert client.find("default", "web") == UID
    assert heard == [{"verb": "find", "namespace": "default", "name": "web"}]


def test_a_pod_that_is_asked_for_twice_keeps_its_uid(tmp_path: Path) -> None:
    first: list[Any] = []
    second: list[Any] = []

    def ends(peer: Peer) -> None:
        peer.hello()
        first.append(peer.hear())

    with client_of(tmp_path, ends, answers([], heard=second)) as client:
        (uid,) = client.create([{"kind": "Pod"}])
    assert first == second == [{"verb": "create", "pods": [{"uid": uid, "manifest": {"kind": "Pod"}}], "claims": []}]


def test_what_is_applied_twice_is_one_wish(tmp_path: Path) -> None:
    first: list[Any] = []
    second: list[Any] = []

    def ends(peer: Peer) -> None:
        peer.hello()
        first.append(peer.hear())

    answer = {"pods": [{"uid": UID, "word": "replaced", "before": "1"}], "claims": ["created"]}
    with client_of(tmp_path, ends, answers(answer, heard=second)) as client:
        applied = client.apply([{"kind": "Pod"}], [{}], dry_run=True)
    assert applied == Applied((AppliedPod(UID, Word.REPLACED, before="1"),), ("created",))
    assert first == second
    assert [{**each["pods"][0], "uid": ""} for each in first] == [{"uid": "", "manifest": {"kind": "Pod"}}]
    assert (first[0]["verb"], first[0]["claims"], first[0]["dry_run"]) == ("apply", [{}], True)


def test_each_pod_has_a_uid_of_its_own(tmp_path: Path) -> None:  # A12
    with client_of(tmp_path, answers([])) as client:
        one, two = client.create([{}, {}])
    assert one != two


def test_an_engine_that_ends_before_its_hello_is_not_the_last_word(tmp_path: Path) -> None:
    with client_of(tmp_path, fake_engine.ends_before_hello, answers(UID)) as client:
        assert client.find("default", "web") == UID


def test_engines_that_end_again_and_again_are_given_up(tmp_path: Path) -> None:
    with engine(tmp_path, *[fake_engine.ends_before_hello] * TRIES), pytest.raises(SandboxError) as caught:
        Client(tmp_path)
    assert "ends again and again" in caught.value.message
    assert caught.value.hint == f"see {tmp_path}/agent.log"


def test_one_who_must_not_start_an_engine_is_told_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no engine"):
        Client(tmp_path, start=False)
    with (
        engine(tmp_path, fake_engine.ends_when_asked),
        Client(tmp_path, start=False) as client,
        pytest.raises(NotFound),
    ):
        client.pods()


def test_an_error_is_the_answer_and_asked_for_once(tmp_path: Path) -> None:
    heard: list[Any] = []
    with client_of(tmp_path, answers(gone(), heard=heard)) as client, pytest.raises(NotFound, match='pods "web"'):
        client.find("default", "web")
    assert len(heard) == 1


@pytest.mark.parametrize(("grace", "force"), [(None, False), (0, True), (5, False)])
def test_a_pod_is_deleted_by_the_uid_that_it_has_now(tmp_path: Path, grace: int | None, force: bool) -> None:  # A39
    heard: list[Any] = []
    with client_of(tmp_path, answers(UID, None, heard=heard)) as client:
        assert client.delete("default", "web", grace=grace, force=force) == UID
    assert heard[1] == {
        "verb": "delete", "uid": UID, "grace": grace, "force": force, "hold": False, "at_once": False,
    }  # fmt: skip


@pytest.mark.parametrize("answered", [True, False])
def test_stop_returns_when_the_engine_has_ended(tmp_path: Path, answered: bool) -> None:
    ended_by_then = threading.Event()

    def stops(peer: Peer) -> None:
        peer.hello()
        assert peer.hear() == {"verb": "stop", "now": True}
        if answered:
            peer.say({"answer": None})
        ended_by_then.set()

    with client_of(tmp_path, stops) as client:
        client.stop(now=True)
        assert ended_by_then.is_set()


# ---- watching ----


def test_a_watch_has_each_change_until_all_are_gone(tmp_path: Path) -> None:
    one, two = codec.encode([STARTED, STARTED]), codec.encode([CRASHED, None])
    with engine(tmp_path, watched(one, two, [None, None])), Watch(tmp_path, [UID, UID]) as watch:
        assert list(watch.until()) == [(STARTED, STARTED), (CRASHED, None), (None, None)]


def test_a_watch_goes_on_with_the_next_engine_under_the_same_descriptor(tmp_path: Path) -> None:
    first = watched(codec.encode([STARTED]))
    second = watched(codec.encode([CRASHED]), [None])
    with engine(tmp_path, first, fake_engine.ends_when_asked, second), Watch(tmp_path, [UID]) as watch:
        number = watch.fileno()
        assert [watch.next() for _ in range(3)] == [(STARTED,), (CRASHED,), (None,)]
        assert watch.fileno() == number


def test_the_descriptor_of_a_watch_is_readable_when_there_is_something_new(tmp_path: Path) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        peer.say({"answer": codec.encode([STARTED])})
        go.wait()
        peer.say({"answer": [None]})
        peer.until_gone()

    with engine(tmp_path, script), Watch(tmp_path, [UID]) as watch:
        assert watch.ready(), "the first is there at once"
        watch.next()
        assert not watch.ready()
        assert not select.select([watch], [], [], 0)[0]
        go.set()
        assert select.select([watch], [], [], 10)[0]
        assert watch.ready()
        assert watch.next() == (None,)


def test_a_watch_ends_at_its_deadline(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        peer.say({"answer": codec.encode([STARTED])})
        peer.until_gone()

    with engine(tmp_path, script), Watch(tmp_path, [UID]) as watch:
        assert list(watch.until(time.monotonic() + 0.05)) == [(STARTED,)]


@pytest.mark.parametrize("gone_by_then", [True, False])
def test_whether_a_pod_was_removed_in_time(tmp_path: Path, gone_by_then: bool) -> None:  # A42
    said = [None] if gone_by_then else codec.encode([STARTED])

    def script(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        peer.say({"answer": said})
        peer.until_gone()

    with engine(tmp_path, answers(), script), Client(tmp_path) as client:
        client.__exit__()
        assert client.wait_removed(UID, 0.05) is gone_by_then


def test_a_thread_that_waits_can_be_called_back(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        peer.say({"answer": codec.encode([STARTED])})
        peer.until_gone()

    with engine(tmp_path, script), Watch(tmp_path, [UID]) as watch:
        watch.next()
        waiting = threading.Thread(target=lambda: list(watch.until()))
        waiting.start()
        watch.cancel()
        waiting.join(10)
        assert not waiting.is_alive()


def test_a_call_back_that_came_while_the_engine_changed_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        peer.say({"answer": codec.encode([CRASHED])})
        peer.until_gone()

    with engine(tmp_path, watched(codec.encode([STARTED])), second), Watch(tmp_path, [UID]) as watch:
        become = Connection.become

        def cancelled_meanwhile(self: Connection, other: Connection) -> None:
            watch.cancel()
            become(self, other)

        monkeypatch.setattr(Connection, "become", cancelled_meanwhile)
        assert list(watch.until()) == [(STARTED,), (CRASHED,)]


def test_the_end_of_an_instance_is_waited_for_without_blocking(tmp_path: Path) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        peer.say({"answer": codec.encode([STARTED])})
        go.wait()
        peer.say({"answer": codec.encode([CRASHED])})
        peer.until_gone()

    def holder(peer: Peer) -> None:
        peer.hello()

    with engine(tmp_path, holder, script), Client(tmp_path) as client, client.ended(UID, "app", 0) as end:
        assert not end.finished()
        go.set()
        select.select([end], [], [], 10)
        assert end.finished()
        assert end.finished(), "and stays so"


def test_of_a_pod_that_is_gone_every_instance_has_ended(tmp_path: Path) -> None:
    fake = engine(tmp_path, lambda peer: peer.hello(), watched([None]))
    with fake, Client(tmp_path) as client, client.ended(UID, "app", 0) as end:
        assert end.finished()


RESTARTED = ended(code=1).begun("b" * 64, 2, None)


@pytest.mark.parametrize(
    ("container", "instance", "over"),
    [
        (running(), 0, False),
        (making(), 0, False),
        (ended(), 0, True),
        (RESTARTED, 0, True),
        (RESTARTED, 1, False),
        (RESTARTED.started(NOON), 1, False),
        (RESTARTED.started(NOON).with_end(replace(an_end(1), container_id="b" * 64)), 1, True),
        (running(), 1, False),
    ],
)
def test_whether_an_instance_has_ended(container: ContainerState, instance: int, over: bool) -> None:
    assert has_ended(status(container), "app", instance) is over


def test_clients_and_watches_leave_no_descriptor_behind(tmp_path: Path) -> None:
    before = open_descriptors()
    with engine(tmp_path, fake_engine.ends_when_asked, answers(UID), watched([None])):
        with Client(tmp_path) as client:
            client.find("default", "web")
        with Watch(tmp_path, [UID]) as watch:
            watch.next()
    assert open_descriptors() == before


def test_an_engine_that_ended_without_a_word_is_an_end(tmp_path: Path) -> None:
    def resets(peer: Peer) -> None:
        peer.hello()  # and what the client says stays unread

    with engine(tmp_path, resets):
        known = connect(tmp_path)
        with contextlib.suppress(BrokenPipeError):
            known.socket.sendall(b"{}\n")
        with pytest.raises(EngineEnded):
            known.next_answer()
        known.close()
    assert isinstance(known.socket, socket.socket)
