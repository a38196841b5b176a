"""One connection to an engine that is well, ends, is of another version, or says nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sandbox.errors import NotFound, SandboxError
from sandbox.pod import connection
from sandbox.pod.connection import Connection, EngineEnded, connect
from sandbox.pod.paths import SOCKET
from tests.sandbox.pod import fake_engine
from tests.sandbox.pod.fake_engine import HELLO, Peer, answers, engine, greets, open_descriptors


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.05)


def test_a_question_is_answered_and_the_engine_says_who_it_is(tmp_path: Path) -> None:
    heard: list[object] = []
    with engine(tmp_path, answers({"a": 1}, [2], heard=heard)):
        known = connect(tmp_path)
        assert (known.pid, known.node_name) == (4711, "here")
        assert known.ask("find", name="web") == {"a": 1}
        assert known.ask("pods") == [2]
        known.close()
    assert heard == [{"verb": "find", "name": "web"}, {"verb": "pods"}]


def test_an_error_of_the_engine_is_raised_here(tmp_path: Path) -> None:
    error = {"error": "NotFound", "kind": "pods", "name": "web", "message": 'pods "web" not found', "hint": None}
    with engine(tmp_path, answers(error)):
        known = connect(tmp_path)
        with pytest.raises(NotFound, match='pods "web" not found'):
            known.ask("find")
        known.close()


def test_without_an_engine_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no engine is running for"):
        connect(tmp_path)


def test_the_socket_of_a_killed_engine_is_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET))
    with pytest.raises(NotFound):
        connect(tmp_path)


def test_a_root_whose_socket_no_kernel_could_bind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="longer than 107 bytes"):
        connect(tmp_path / ("r" * 107))


def test_an_engine_that_never_says_hello_does_not_answer(tmp_path: Path, impatient: None) -> None:
    with engine(tmp_path, fake_engine.silent), pytest.raises(SandboxError, match="does not answer") as caught:
        connect(tmp_path)
    assert caught.value.hint is not None
    assert "agent.pid" in caught.value.hint


def test_an_engine_whose_queue_is_full_does_not_answer_either(tmp_path: Path, impatient: None) -> None:
    """It is stopped, and many have asked already."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen(0)
        first = socket.socket(socket.AF_UNIX)
        first.connect(str(tmp_path / SOCKET))
        with pytest.raises(SandboxError, match="does not answer"):
            connect(tmp_path)
        first.close()


@pytest.mark.parametrize("hello", [{**HELLO, "engine": 999}, {}, [], 5, None], ids=str)
def test_an_engine_of_another_protocol_is_refused(tmp_path: Path, hello: object) -> None:
    with engine(tmp_path, greets(hello)), pytest.raises(SandboxError, match="another version") as caught:
        connect(tmp_path)
    assert caught.value.hint == f"end its process (its pods run on): its number is in {tmp_path}/agent.pid"


def test_whoever_speaks_no_json_is_of_another_protocol(tmp_path: Path) -> None:
    def http(peer: Peer) -> None:
        peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.until_gone()

    with engine(tmp_path, http), pytest.raises(SandboxError, match="another version"):
        connect(tmp_path)


@pytest.mark.parametrize("script", [fake_engine.ends_before_hello, lambda peer: peer.socket.sendall(b'{"engine"')])
def test_an_engine_that_ends_before_its_hello_has_ended(tmp_path: Path, script: fake_engine.Script) -> None:
    with engine(tmp_path, script), pytest.raises(EngineEnded):
        connect(tmp_path)


def test_an_engine_that_ends_before_it_answers_has_ended(tmp_path: Path) -> None:
    with engine(tmp_path, fake_engine.ends_when_asked):
        known = connect(tmp_path)
        with pytest.raises(EngineEnded):
            known.ask("pods")
        with pytest.raises(EngineEnded):
            known.ask("pods")
        known.close()


def test_a_question_too_long_for_any_engine_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_LINE", 1 << 20)
    heard: list[object] = []
    with engine(tmp_path, answers(None, heard=heard)):
        known = connect(tmp_path)
        with pytest.raises(SandboxError, match="longer than 1 MiB"):
            known.ask("create", pods="x" * (1 << 20))
        known.ask("pods")
        known.close()
    assert heard == [{"verb": "pods"}]


def test_an_answer_may_come_in_pieces_and_two_at_once(tmp_path: Path) -> None:
    def pieces(peer: Peer) -> None:
        peer.hello()
        peer.hear()
        peer.socket.sendall(b'{"ans')
        assert peer.hear() is not None
        peer.socket.sendall(b'wer":1}\n{"answer":2}\n')
        peer.until_gone()

    with engine(tmp_path, pieces):
        known = Connection(tmp_path / SOCKET)
        known.socket.sendall(b'{"verb":"watch"}\n')
        known.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            known.next_answer()
        known.socket.settimeout(None)
        assert not known.ready()
        known.socket.sendall(b"{}\n")
        assert known.next_answer() == 1
        assert known.ready()
        assert known.next_answer() == 2
        assert not known.ready()
        known.close()


def test_the_end_of_an_engine_is_something_new(tmp_path: Path) -> None:
    with engine(tmp_path, fake_engine.ends_when_asked) as fake:
        known = connect(tmp_path)
        assert not known.ready()
        known.socket.sendall(b"{}\n")
        fake.thread.join()
        assert known.ready()
        known.close()


def test_one_connection_becomes_another_under_the_same_descriptor(tmp_path: Path) -> None:
    before = open_descriptors()
    second = {**HELLO, "pid": 4712}
    with engine(tmp_path, fake_engine.ends_when_asked, greets(second)):
        known, other = connect(tmp_path), None
        number = known.socket.fileno()
        known.socket.sendall(b"{}\n")
        other = connect(tmp_path)
        known.become(other)
        assert (known.socket.fileno(), known.pid) == (number, 4712)
        known.close()
    assert open_descriptors() == before


def test_a_refused_engine_costs_no_descriptor(tmp_path: Path, impatient: None) -> None:
    before = open_descriptors()
    for script in (fake_engine.silent, greets({}), fake_engine.ends_before_hello):
        root = tmp_path / str(id(script))
        root.mkdir()
        with engine(root, script), pytest.raises((SandboxError, EngineEnded)):
            connect(root)
    assert open_descriptors() == before
