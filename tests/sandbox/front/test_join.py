"""Which container `exec` and `attach` join; the joining itself is a fake here."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from sandbox.errors import NotFound
from sandbox.front import agent
from sandbox.status import Phase
from tests.sandbox.front.engine import CommandLine, FakeClient
from tests.sandbox.front.pods import running, status, terminated

PODS = [
    status(running("a"), running("b"), name="two"),
    status(running(), name="web"),
    status(running(), name="web", namespace="prod"),
    status(terminated(0, "Completed"), name="done", phase=Phase.SUCCEEDED),
]
DEFAULTED = 'Defaulted container "a" out of: a, b\n'


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What sandbox.front.joining was called with; it returns 7."""
    calls: list[Any] = []

    def exec_(target: object, argv: list[str], *, stdin: bool, tty: bool) -> int:
        calls.append((target, argv, stdin, tty))
        return 7

    def attach(target: object, *, stdin: bool) -> int:
        calls.append((target, stdin))
        return 7

    module = ModuleType("sandbox.front.joining")
    vars(module).update(exec_=exec_, attach=attach)
    monkeypatch.setitem(sys.modules, "sandbox.front.joining", module)
    return calls


@pytest.mark.parametrize(
    ("words", "call", "said"),
    [
        (("web", "--", "ls", "-l"), (("default", "web", "app"), ["ls", "-l"], False, False), ""),
        (("-it", "web", "--", "sh"), (("default", "web", "app"), ["sh"], True, True), ""),
        (("web", "-i", "--", "cat", "--"), (("default", "web", "app"), ["cat", "--"], True, False), ""),
        (("-n", "prod", "pod/web", "--", "x"), (("prod", "web", "app"), ["x"], False, False), ""),
        (("pod", "two", "-c", "b", "--", "x"), (("default", "two", "b"), ["x"], False, False), ""),
        (("two", "--", "-c"), (("default", "two", "a"), ["-c"], False, False), DEFAULTED),
    ],
)
def test_exec(words: tuple[str, ...], call: Any, said: str, command: CommandLine, joined: list[Any]) -> None:
    assert command(PODS, "exec", *words) == (7, "", said)
    assert joined == [call]


def test_attach(command: CommandLine, joined: list[Any]) -> None:
    assert command(PODS, "attach", "two", "-i") == (7, "", DEFAULTED)
    assert joined == [(("default", "two", "a"), True)]


def test_a_terminal_is_attached_to_as_one(command: CommandLine, joined: list[Any]) -> None:
    """Whether there is one was decided when the container was made."""
    assert command(PODS, "attach", "web", "-it") == (
        7,
        "",
        "error: Unable to use a TTY - container app did not allocate one\n",
    )
    assert joined == [(("default", "web", "app"), True)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("exec",),
            2,
            "error: you must specify at least one command for the container\nhint: seedpod exec NAME -- COMMAND\n",
        ),
        (
            ("exec", "web", "--"),
            2,
            "error: you must specify at least one command for the container\nhint: seedpod exec NAME -- COMMAND\n",
        ),
        (("exec", "web", "ls"), 2, "error: the command must stand behind --\nhint: seedpod exec NAME -- COMMAND\n"),
        (("exec", "--", "ls"), 2, "error: the name of a pod is missing\n"),
        (("attach",), 2, "error: the name of a pod is missing\n"),
        (("attach", "web", "two"), 2, "error: one pod at a time, not 2\n"),
        (("exec", "nope", "--", "ls"), 1, 'Error from server (NotFound): pods "nope" not found\n'),
        (("attach", "nope"), 1, 'Error from server (NotFound): pods "nope" not found\n'),
        (
            ("exec", "two", "-c", "x", "--", "ls"),
            1,
            "error: container x is not valid for pod two\nhint: one of: a, b\n",
        ),
        (
            ("exec", "done", "--", "ls"),
            1,
            "error: cannot exec into a container in a completed pod; current phase is Succeeded\n",
        ),
        (
            ("attach", "done"),
            1,
            "error: cannot attach to a container in a completed pod; current phase is Succeeded\n",
        ),
    ],
)
def test_what_is_refused(words: tuple[str, ...], code: int, said: str, command: CommandLine, joined: list[Any]) -> None:
    assert command(PODS, *words) == (code, "", said)
    assert joined == []


# ---- agent stop ----


def test_the_engine_is_asked_to_stop(command: CommandLine) -> None:
    fake = FakeClient()
    assert command(fake, "agent", "stop") == (0, "engine stopped\n", "")
    assert command(fake, "agent", "stop", "--now") == (0, "engine stopped\n", "")
    assert fake.calls == [("stop", False), ("stop", True)]


def test_where_there_is_no_engine_none_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    def connect() -> FakeClient:
        raise NotFound("agent", "/root")

    assert agent.stop(connect, now=False) == 0
    assert capsys.readouterr().out == "no engine is running\n"


def test_another_thing_that_is_missing_is_an_error() -> None:
    def connect() -> FakeClient:
        raise NotFound("directory", "/root")

    with pytest.raises(NotFound):
        agent.stop(connect, now=False)
