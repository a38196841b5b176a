"""`get -w`: how objects and events follow each other was compared with kubectl 1.32; columns follow its source."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml

from sandbox.front.get import Request, get
from sandbox.status import ChangeType, Event, Phase, PodChange, PodStatus
from tests.sandbox.front.engine import CommandLine, FakeClient, request
from tests.sandbox.front.pods import BORN, NOW, running, status, terminated, waiting

WEB = status(running(), labels={"app": "web"})
LEAVING = replace(WEB, deletion_timestamp=NOW, deletion_grace_period_seconds=30)
ENDED = replace(LEAVING, phase=Phase.FAILED, containers=(terminated(137, "Error", signal=9),))
OTHER = replace(status(waiting("ContainerCreating"), name="a-longer-name", phase=Phase.PENDING), uid="2")
PROD = replace(status(running(), name="web", namespace="prod", labels={"app": "web"}), uid="3")


def added(pod: PodStatus) -> PodChange:
    return PodChange(ChangeType.ADDED, pod)


def modified(pod: PodStatus) -> PodChange:
    return PodChange(ChangeType.MODIFIED, pod)


def deleted(pod: PodStatus) -> PodChange:
    return PodChange(ChangeType.DELETED, pod)


DELETION = [[modified(LEAVING)], [modified(ENDED)], [deleted(ENDED)]]


def watched(
    capsys: pytest.CaptureFixture[str], *words: str, pods: tuple[PodStatus, ...] = (WEB,), changes: object = DELETION
) -> str:
    """What `get -w WORDS` prints until Ctrl-C."""
    client = FakeClient(pods, changes=changes)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        get(client, request(Request, "get", "-w", *words), now=NOW)
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_deletion_is_a_line_for_each_of_its_steps(capsys: pytest.CaptureFixture[str]) -> None:  # A38
    assert watched(capsys) == (
        "NAME   READY   STATUS    RESTARTS   AGE\n"
        "web    1/1     Running   0          5m\n"
        "web    1/1     Terminating   0          5m\n"
        "web    0/1     Error         0          5m\n"
        "web    0/1     Error         0          5m\n"
    )


def test_events_say_what_happened(capsys: pytest.CaptureFixture[str]) -> None:  # A38
    assert watched(capsys, "web", "--output-watch-events") == (
        "EVENT      NAME   READY   STATUS    RESTARTS   AGE\n"
        "ADDED      web    1/1     Running   0          5m\n"
        "MODIFIED   web    1/1     Terminating   0          5m\n"
        "MODIFIED   web    0/1     Error         0          5m\n"
        "DELETED    web    0/1     Error         0          5m\n"
    )


def test_a_pod_that_comes_is_shown_and_columns_grow_and_stay(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [[added(OTHER)], [modified(LEAVING)]]
    assert watched(capsys, "--no-headers", changes=changes) == (
        "web   1/1   Running   0     5m\n"
        "a-longer-name   0/1   ContainerCreating   0     5m\n"
        "web             1/1   Terminating         0     5m\n"
    )


def test_the_heading_comes_with_the_first_pod(capsys: pytest.CaptureFixture[str]) -> None:
    shown = "NAME   READY   STATUS    RESTARTS   AGE\nweb    1/1     Running   0          5m\n"
    assert watched(capsys, pods=(), changes=[[added(WEB)]]) == shown
    assert watched(capsys, pods=(), changes=[]) == ""


def test_what_is_no_change_of_the_object_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    event = Event("Pulled", "it is there", BORN, BORN)
    changes = [[modified(replace(WEB, events=(event,)))], [modified(LEAVING)]]
    assert len(watched(capsys, "--no-headers", changes=changes).splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["default/web", "default/a-longer-name"]),
        (("-A",), ["default/web", "prod/web", "default/a-longer-name"]),
        (("-l", "app=web"), ["default/web"]),
        (("-A", "-l", "app=web"), ["default/web", "prod/web"]),
        (("-n", "prod"), ["prod/web"]),
        (("web",), ["default/web"]),
        (("pod/web", "-n", "prod"), ["prod/web"]),
    ],
)
def test_only_those_that_are_asked_for_are_shown(
    words: tuple[str, ...], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = watched(capsys, *words, "-o=json", "--output-watch-events", pods=(WEB, PROD), changes=[[added(OTHER)]])
    shown = [json.loads(line)["object"]["metadata"] for line in out.splitlines()]
    assert [f"{each['namespace']}/{each['name']}" for each in shown] == names


# ---- objects ----


def test_json_is_one_object_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:  # A38
    out, objects = watched(capsys, "-o", "json"), []
    while out:
        item, end = json.JSONDecoder().raw_decode(out)
        assert out[:end].startswith('{\n    "apiVersion"') and out[end] == "\n"
        objects.append(item)
        out = out[end + 1 :]
    assert [each["kind"] for each in objects] == ["Pod"] * 4
    assert [each["status"]["phase"] for each in objects] == ["Running", "Running", "Failed", "Failed"]
    assert ["deletionTimestamp" in each["metadata"] for each in objects] == [False, True, True, True]


def test_events_of_json_are_a_line_each_with_the_type_first(capsys: pytest.CaptureFixture[str]) -> None:  # A38
    lines = watched(capsys, "-o", "json", "--output-watch-events").splitlines()
    assert lines[0].startswith('{"type":"ADDED","object":{"apiVersion":"v1","kind":"Pod"')
    events = [json.loads(line) for line in lines]
    assert [each["type"] for each in events] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert [each["object"]["status"]["phase"] for each in events] == ["Running", "Running", "Failed", "Failed"]
    assert events[3]["object"] == events[2]["object"], "of what is gone the last that was known of it"


@pytest.mark.parametrize("events", [False, True])
def test_yaml_is_a_document_each(events: bool, capsys: pytest.CaptureFixture[str]) -> None:
    out = watched(capsys, "-o", "yaml", *(["--output-watch-events"] if events else []))
    documents = list(yaml.safe_load_all(out))
    objects = [each["object"] for each in documents] if events else documents
    assert [each["status"]["phase"] for each in objects] == ["Running", "Running", "Failed", "Failed"]
    assert out.count("---\n") == 3 and not out.startswith("---")


def test_names_and_templates(capsys: pytest.CaptureFixture[str]) -> None:
    assert watched(capsys, "-o", "name", "--output-watch-events") == "pod/web\n" * 4
    assert watched(capsys, "-o", "jsonpath={.status.phase} ") == "Running Running Failed Failed "
    template = "jsonpath={.type} {.object.status.phase};"
    assert watched(capsys, "-o", template, "--output-watch-events", changes=DELETION[:1]) == (
        "ADDED Running;MODIFIED Running;"
    )


# ---- its end, and what is refused ----


def test_ctrl_c_ends_it(command: CommandLine) -> None:
    code, out, err = command([WEB], "get", "web", "--watch", "--no-headers")
    assert (code, err) == (130, "")
    assert out.startswith("web   1/1   Running   0     ")


def test_a_name_that_is_missing_is_not_waited_for(command: CommandLine) -> None:
    said = 'Error from server (NotFound): pods "nope" not found\n'
    assert command([WEB], "get", "nope", "-w") == (1, "", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("a", "b", "-w"),
            "you may only watch a single resource or type of resource at a time\nhint: seedpod get -w\n",
        ),
        (("--output-watch-events",), "--output-watch-events option can only be used with --watch\n"),
        (("-w", "web", "-A"), "a resource cannot be retrieved by name across all namespaces\n"),
    ],
)
def test_wrong_usage_asks_no_engine(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    client = FakeClient([WEB])
    assert command(client, "get", *words) == (2, "", f"error: {said}")
    assert client.calls == []


def test_ages_are_those_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    young = replace(WEB, creation_timestamp=datetime.now(UTC))
    with pytest.raises(KeyboardInterrupt):
        get(FakeClient([young]), request(Request, "get", "-w", "--no-headers"))
    assert capsys.readouterr().out.split()[-1].endswith("s")
