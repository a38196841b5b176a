"""`events`: what is refused, and the word for none, were compared with kubectl 1.32; the table follows its source."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from kubernetes.client import ApiClient

from sandbox.front.events import Request, events
from sandbox.status import ChangeType, Event, PodChange, PodStatus
from tests.sandbox.front.engine import CommandLine, FakeClient, request
from tests.sandbox.front.pods import NOW, ago, running, status

STARTED = Event("Started", "Started container app", ago(minutes=5), ago(minutes=5), container="app")
KILLING = Event("Killing", "Stopping container app\n", ago(seconds=2), ago(seconds=2), container="app")
BACK_OFF = Event("BackOff", "Back-off restarting", ago(minutes=6), ago(seconds=9), warning=True, count=3)
WEB = status(running(), name="web", events=(STARTED, KILLING))
DB = replace(status(running(), name="db", events=(BACK_OFF,)), uid="2")
PROD = replace(status(running(), name="web", namespace="prod", events=(BACK_OFF,)), uid="3")


def shown(capsys: pytest.CaptureFixture[str], *words: str, client: FakeClient | None = None) -> str:
    known = client or FakeClient([PROD, WEB, DB])
    assert events(known, request(Request, "events", *words), now=NOW) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_events_are_a_table_of_the_oldest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == (
        "LAST SEEN         TYPE      REASON    OBJECT    MESSAGE\n"
        "5m                Normal    Started   Pod/web   Started container app\n"
        "9s (x3 over 6m)   Warning   BackOff   Pod/db    Back-off restarting\n"
        "2s                Normal    Killing   Pod/web   Stopping container app\n"
    )


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((), 3),
        (("-A",), 4),
        (("-n", "prod"), 1),
        (("--for", "pod/web"), 2),
        (("--for=po/db",), 1),
        (("-A", "--for=pod/web"), 3),
        (("--types=Warning",), 1),
        (("--types", "normal,WARNING"), 3),
        (("--types=Normal", "--types=Warning"), 3),
        (("--types=Normal", "--for=pods/web"), 2),
    ],
)
def test_only_those_that_are_asked_for_are_shown(
    words: tuple[str, ...], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(shown(capsys, "--no-headers", *words).splitlines()) == count
    assert len(json.loads(shown(capsys, "-o", "json", *words))["items"]) == count


def test_all_namespaces_name_theirs_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "-A").splitlines()
    assert lines[0].split()[:3] == ["NAMESPACE", "LAST", "SEEN"]
    assert [line.split()[0] for line in lines[1:]] == ["default", "prod", "default", "default"]


def test_objects_are_events_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-o", "json")
    listed = ApiClient().deserialize(text, "CoreV1EventList", "application/json")
    assert (listed.kind, len(listed.items)) == ("EventList", 3)
    first = listed.items[0]
    assert (first.involved_object.name, first.involved_object.field_path) == ("web", "spec.containers{app}")
    assert (first.reason, first.type, first.count) == ("Started", "Normal", 1)
    assert first.metadata.name.startswith("web.")
    assert yaml.safe_load(shown(capsys, "-o", "yaml")) == json.loads(text)
    assert shown(capsys, "-o", "name", "--for=pod/db").startswith("event/db.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "No events found in default namespace.\n"),
        (("-n", "x", "-o", "json"), "No events found in x namespace.\n"),
        (("--for", "pod/nope"), "No events found in default namespace.\n"),
        (("-A",), "No events found.\n"),
    ],
)
def test_no_events_are_no_error(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    assert command([replace(WEB, events=())], "events", *words) == (0, "", said)


# ---- watching ----


def modified(pod: PodStatus, *events: Event) -> list[PodChange]:
    return [PodChange(ChangeType.MODIFIED, replace(pod, events=events))]


def watched(capsys: pytest.CaptureFixture[str], client: FakeClient, *words: str) -> list[str]:
    with pytest.raises(KeyboardInterrupt):
        shown(capsys, "-w", *words, client=client)
    return capsys.readouterr().out.splitlines()


def test_events_to_come_are_shown_once_and_again_where_they_come_again(capsys: pytest.CaptureFixture[str]) -> None:
    web = replace(WEB, events=(STARTED,))
    changes = [
        modified(web, STARTED),
        modified(web, STARTED, BACK_OFF),
        modified(web, STARTED, replace(BACK_OFF, count=4)),
        [PodChange(ChangeType.ADDED, DB)],
        [PodChange(ChangeType.DELETED, replace(web, events=(STARTED, KILLING)))],
        [PodChange(ChangeType.ADDED, replace(web, uid="9"))],
    ]
    lines = watched(capsys, FakeClient([web], changes=changes))
    assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [line.split("   ")[0] + line.split("   ")[-1].strip() for line in lines[1:]] == [
        "5mStarted container app",
        "9s (x3 over 6m)Back-off restarting",
        "9s (x4 over 6m)Back-off restarting",
        "9s (x3 over 6m)Back-off restarting",
        "2sStopping container app",
        "5mStarted container app",
    ]


def test_a_watch_of_objects_is_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    lines = watched(capsys, FakeClient([WEB, DB]), "-o", "jsonpath={.reason};", "--types=Warning")
    assert lines == ["BackOff;"]


def test_a_watch_of_nothing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert watched(capsys, FakeClient([WEB]), "--for=pod/nope") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--types=Foo",), "valid --types are Normal or Warning\n"),
        (("--for", "web"), "--for must be in resource/name form\nhint: --for pod/web\n"),
        (("--for", "svc/web"), 'there is no resource type "svc"\n'),
        (("--for", "a/b/c"), "arguments in resource/name form may not have more than one slash\n"),
        (("web",), "unrecognized arguments: web\nhint: seedpod events --help\n"),
    ],
)
def test_wrong_usage_asks_no_engine(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    client = FakeClient([WEB])
    assert command(client, "events", *words) == (2, "", f"error: {said}")
    assert client.calls == []
