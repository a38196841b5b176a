"""Words and rules are those of kubectl 1.32, run against a server that answered as ours would (A39, A40, A42)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxError
from tests.sandbox.front.engine import CommandLine, FakeClient
from tests.sandbox.front.pods import manifest, running, status

WEB, DB = status(running(), name="web"), status(running(), name="db")
OTHER = status(running(), name="other", namespace="prod")
AT_ONCE = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. "
    "The resource may continue to run on the cluster indefinitely.\n"
)
WAITED = ("wait", WEB.uid, None)


def client(**more: Any) -> FakeClient:
    return FakeClient([DB, OTHER, WEB], **more)


@pytest.mark.parametrize(
    ("words", "call", "said", "waits"),
    [
        (("web",), ("delete", "default", "web", None, False), "", True),
        (("pod/web",), ("delete", "default", "web", None, False), "", True),
        (("pod", "web", "--grace-period=-1"), ("delete", "default", "web", None, False), "", True),
        (("web", "--grace-period", "-5"), ("delete", "default", "web", None, False), "", True),
        (("web", "--grace-period=7"), ("delete", "default", "web", 7, False), "", True),
        (("web", "--grace-period=0"), ("delete", "default", "web", 1, False), "", True),
        (("web", "--now"), ("delete", "default", "web", 1, False), "", True),
        (("web", "--force"), ("delete", "default", "web", 0, True), AT_ONCE, False),
        (("web", "--force", "--grace-period=0"), ("delete", "default", "web", 0, True), AT_ONCE, False),
        (("web", "--force=false"), ("delete", "default", "web", None, False), "", True),
        (("web", "--wait=false"), ("delete", "default", "web", None, False), "", False),
        (("--wait", "web"), ("delete", "default", "web", None, False), "", True),
    ],
)
def test_grace_and_force(
    words: tuple[str, ...], call: tuple[Any, ...], said: str, waits: bool, command: CommandLine
) -> None:  # A39
    fake = client()
    word = "force deleted" if "--force" in words else "deleted"
    assert command(fake, "delete", *words) == (0, f'pod "web" {word}\n', said)
    assert fake.calls == [call, *([WAITED] if waits else [])]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("web", "--force", "--grace-period=3"),
            "--force and --grace-period greater than 0 cannot be specified together",
        ),
        (("web", "--force", "--now"), "--force and --grace-period greater than 0 cannot be specified together"),
        (("web", "--now", "--grace-period=3"), "--now and --grace-period cannot be specified together"),
        (("web", "--now", "--grace-period=0"), "--now and --grace-period cannot be specified together"),
        (("web", "--all"), "name cannot be provided when --all is set"),
        (("pod",), "resource(s) were provided, but no name was specified"),
        (("web", "-f", "x"), "when a file is given, no pod may be named as well, and --all not be set"),
        (("--all", "-f", "x"), "when a file is given, no pod may be named as well, and --all not be set"),
        (("web", "--timeout=-1s"), "--timeout must not be negative"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], said: str, command: CommandLine) -> None:  # A39
    fake = client()
    assert command(fake, "delete", *words) == (2, "", f"error: {said}\n")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "error: you must provide one or more pods by name or by file\nhint: delete NAME..., -f FILE or --all\n"),
        (
            ("web", "--timeout=5"),
            'error: argument --timeout: time: missing unit in duration "5"\nhint: seedpod delete --help\n',
        ),
        (
            ("web", "--grace-period=x"),
            'error: argument --grace-period: "x" is not a whole number\nhint: seedpod delete --help\n',
        ),
        (
            ("web", "--grace-period=99999999999"),
            "error: argument --grace-period: must be between -2147483648 and 2147483647\nhint: seedpod delete --help\n",
        ),
    ],
)
def test_wrong_usage_has_a_hint(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    assert command(client(), "delete", *words) == (2, "", said)


def test_one_that_is_missing_keeps_none_of_the_others(command: CommandLine) -> None:
    assert command(client(), "delete", "web", "nope", "db") == (
        1,
        'pod "web" deleted\npod "db" deleted\n',
        'Error from server (NotFound): pods "nope" not found\n',
    )
    assert command(client(), "delete", "nope", "web", "--ignore-not-found") == (0, 'pod "web" deleted\n', "")


def test_all_are_those_of_the_namespace(command: CommandLine) -> None:
    assert command(client(), "delete", "--all") == (0, 'pod "db" deleted\npod "web" deleted\n', "")
    assert command(client(), "delete", "pods", "--all", "-n", "prod") == (0, 'pod "other" deleted\n', "")
    assert command(client(), "delete", "--all", "-n", "empty") == (0, "No resources found\n", "")


def test_one_of_all_may_go_by_itself_meanwhile(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = client()
    monkeypatch.setattr(fake, "pods", lambda: (DB, status(running(), name="gone"), WEB))
    assert command(fake, "delete", "--all") == (0, 'pod "db" deleted\npod "web" deleted\n', "")


def test_all_are_begun_before_any_is_waited_for(command: CommandLine) -> None:
    fake = client()
    command(fake, "delete", "web", "db")
    assert [call[0] for call in fake.calls] == ["delete", "delete", "wait", "wait"]


def test_time_that_runs_out_is_an_error(command: CommandLine) -> None:  # A42
    fake = client(lingering=frozenset([WEB.uid]))
    assert command(fake, "delete", "web", "--timeout=1m30s") == (
        1,
        'pod "web" deleted\n',
        "error: timed out waiting for the condition on pods/web\n",
    )
    assert 89 < fake.calls[-1][2] <= 90


def test_the_time_is_for_all_together(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0, 115.0])
    monkeypatch.setattr("sandbox.front.delete.time.monotonic", lambda: next(clock))
    fake = client()
    command(fake, "delete", "web", "db", "--timeout=10s")
    assert [call[2] for call in fake.calls if call[0] == "wait"] == [6.0, 0.0]


def test_a_file_names_pods_with_their_namespaces(command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "pods.yaml"
    web, other, gone = ({**manifest("app"), "metadata": {"name": name}} for name in ("web", "other", "gone"))
    other["metadata"]["namespace"] = "prod"
    file.write_text("---\n".join(json.dumps(each) + "\n" for each in (web, other, gone)))
    assert command(client(), "delete", "-f", str(file)) == (
        1,
        'pod "web" deleted\npod "other" deleted\n',
        'Error from server (NotFound): pods "gone" not found\n',
    )


def test_a_file_that_cannot_be_read_deletes_nothing(command: CommandLine, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: Pod\nmetadata: {name: web}\nspec: {}\n")
    fake = client()
    assert command(fake, "delete", "-f", "/no/such") == (
        1,
        "",
        "error: read /no/such: No such file or directory (ENOENT)\n",
    )
    code, out, err = command(fake, "delete", "-f", str(bad))
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {bad}:")
    assert fake.calls == []


def test_what_the_engine_refuses_is_an_error(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = client()

    def refuse(*_: object, **__: object) -> str:
        raise SandboxError("the engine is gone")

    monkeypatch.setattr(fake, "delete", refuse)
    assert command(fake, "delete", "web") == (1, "", "error: the engine is gone\n")


def test_an_interrupt_while_it_waits_is_no_traceback(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = client()

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "wait_removed", interrupted)
    assert command(fake, "delete", "web") == (130, 'pod "web" deleted\n', "")
    assert fake.closed
