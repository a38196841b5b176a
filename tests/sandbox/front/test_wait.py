"""`wait`: its words and refusals are those of kubectl 1.32, but that a pod which never came is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sandbox.errors import SandboxError
from sandbox.front import conditions
from sandbox.front.errors import Usage
from sandbox.front.v1 import V1, to_v1
from sandbox.status import ChangeType, Phase, PodChange, PodStatus
from tests.sandbox.front.engine import CommandLine, FakeClient
from tests.sandbox.front.pods import NOW, running, status, waiting

STARTING = status(waiting("ContainerCreating"), phase=Phase.PENDING, labels={"app": "web"})
WEB = status(running(), labels={"app": "web"})
DB = replace(status(running(), name="db"), uid="2")
LATE = replace(status(running(ready=False), name="late"), uid="3")
READY = "--for=condition=Ready"
MET = "pod/web condition met\n"


def modified(pod: PodStatus) -> list[PodChange]:
    return [PodChange(ChangeType.MODIFIED, pod)]


def added(pod: PodStatus) -> list[PodChange]:
    return [PodChange(ChangeType.ADDED, pod)]


def deleted(pod: PodStatus) -> list[PodChange]:
    return [PodChange(ChangeType.DELETED, pod)]


def engine(*pods: PodStatus, changes: Sequence[Sequence[PodChange]] = ()) -> FakeClient:
    return FakeClient(pods, changes=changes)


# ---- conditions ----


def test_what_is_true_already_is_not_waited_for(command: CommandLine) -> None:
    assert command(engine(WEB), "wait", "pod/web", READY) == (0, MET, "")


def test_what_becomes_true_is_waited_for(command: CommandLine) -> None:
    leaving = replace(STARTING, deletion_timestamp=NOW, deletion_grace_period_seconds=1)
    client = engine(STARTING, changes=[modified(leaving), modified(WEB), modified(STARTING)])
    assert command(client, "wait", "web", READY, "--timeout=60s") == (0, MET, "")
    assert client.calls == [("watch_pods", "default", "web")]


def test_what_does_not_become_true_in_time_is_an_error(command: CommandLine) -> None:
    said = "error: timed out waiting for the condition on pods/web\n"
    assert command(engine(STARTING), "wait", "pod", "web", READY, "--timeout=1s") == (1, "", said)
    assert command(engine(WEB), "wait", "web", f"{READY}=false") == (1, "", said)


def test_a_timeout_of_0_looks_once(command: CommandLine) -> None:
    said = "error: condition not met for pods/web\n"
    assert command(engine(STARTING, changes=[modified(WEB)]), "wait", "web", READY, "--timeout=0") == (1, "", said)
    assert command(engine(WEB), "wait", "web", READY, "--timeout=0s") == (0, MET, "")


def test_each_of_several_is_told_of_and_one_that_is_missing_holds_up_none(command: CommandLine) -> None:
    client = engine(WEB, LATE, DB)
    assert command(client, "wait", "pods", "late", "web", "nope", "db", READY, "--timeout=1s") == (
        1,
        "pod/web condition met\npod/db condition met\n",
        "error: timed out waiting for the condition on pods/late\n"
        'Error from server (NotFound): pods "nope" not found\n',
    )


def test_all_are_those_that_are_there(command: CommandLine) -> None:
    client = engine(WEB, STARTING_DB, changes=[added(LATE), modified(DB)])
    assert command(client, "wait", "--all", READY) == (0, f"{MET}pod/db condition met\n", "")


STARTING_DB = replace(STARTING, pod=replace(STARTING.pod, name="db"), uid="2")


@pytest.mark.parametrize("words", [("--all",), ("-l", "app=none"), ("-A", "--all")])
def test_none_at_all_is_an_error_but_where_they_are_to_be_gone(words: tuple[str, ...], command: CommandLine) -> None:
    assert command(engine(), "wait", *words, READY) == (1, "", "error: no matching resources found\n")
    assert command(engine(), "wait", *words, "--for=delete") == (0, "", "")
    said = "error: timed out waiting for the condition\n"
    assert command(engine(), "wait", *words, "--for=create", "--timeout=1s") == (1, "", said)


def test_a_selector_selects(command: CommandLine) -> None:
    assert command(engine(WEB, LATE), "wait", "-l", "app=web", READY) == (0, MET, "")


def test_a_pod_that_goes_and_comes_again_is_the_same_to_who_waits(command: CommandLine) -> None:
    client = engine(STARTING, changes=[deleted(STARTING), added(replace(WEB, uid="9"))])
    assert command(client, "wait", "web", READY) == (0, MET, "")


# ---- create and delete ----


def test_a_deletion_is_waited_for(command: CommandLine) -> None:  # A42
    assert command(engine(WEB, changes=[deleted(WEB)]), "wait", "pod/web", "--for=delete") == (0, MET, "")
    said = "error: timed out waiting for the condition on pods/web\n"
    assert command(engine(WEB), "wait", "web", "--for=Delete", "--timeout=1s") == (1, "", said)
    assert command(engine(), "wait", "web", "--for=delete") == (0, "", ""), "what is not there is gone"


def test_a_pod_that_is_still_to_come_is_waited_for(command: CommandLine) -> None:
    assert command(engine(changes=[added(LATE), added(STARTING)]), "wait", "web", "--for=create") == (0, MET, "")
    assert command(engine(changes=[[], added(STARTING)]), "wait", "-l", "app=web", "--for=create") == (0, MET, "")
    said = "error: timed out waiting for the condition on pods/web\n"
    assert command(engine(), "wait", "web", "--for=create", "--timeout=1s") == (1, "", said)


# ---- what can be waited for ----

OBJECT: V1 = to_v1(replace(WEB, containers=(running("a"), running("b", ready=False))), node_name="here")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("condition=Ready", False),
        ("condition=ready=FALSE", True),
        ("condition=PodScheduled", True),
        ("condition=Nonsense", False),
        ("condition=Nonsense=false", False),
        ("condition=Ready=", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}=Pending", False),
        ("jsonpath=.status.phase='Running'", True),
        ("jsonpath=status.phase=Running", True),
        ("jsonpath={.status.podIP}", True),
        ("jsonpath={.status.nominatedNodeName}", False),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}=False', True),
        ("jsonpath={.status.containerStatuses[1].ready}=false", True),
        ("jsonpath={.status.containerStatuses[0].restartCount}=0", True),
        ("jsonpath={.metadata.name}= web ", True),
    ],
)
def test_what_holds_of_a_pod(text: str, holds: bool) -> None:
    assert conditions.parse(text).holds(OBJECT) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jsonpath={.status.containerStatuses[*].name}=a", "given jsonpath expression matches more than one value"),
        ("jsonpath={.status}=a", "jsonpath leads to a nested object or list which is not supported"),
        ("jsonpath={.status.containerStatuses[7]}=a", "array index out of bounds"),
    ],
)
def test_what_can_never_be_told_is_an_error_and_the_others_go_on(text: str, said: str, command: CommandLine) -> None:
    with pytest.raises(SandboxError, match=said):
        conditions.parse(text).holds(OBJECT)
    code, out, err = command(engine(WEB), "wait", "web", f"--for={text}")
    assert (code, out) == (1, "") and err.startswith("error: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'unrecognized condition: ""'),
        ("bogus", 'unrecognized condition: "bogus"'),
        ("condition", 'unrecognized condition: "condition"'),
        ("jsonpath=", "unexpected path string"),
        ("jsonpath={.status", "unexpected path string"),
        ("jsonpath={.status.phase}=", "jsonpath wait has to have a value after equal sign"),
        ("jsonpath={.a}=b=c", "jsonpath wait format must be"),
        ("jsonpath={.a[}=b", "error parsing jsonpath"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(Usage, match=said):
        conditions.parse(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((READY,), "you must provide one or more pods by name"),
        (("pod", READY), "resource(s) were provided, but no name was specified"),
        (("web",), 'unrecognized condition: ""'),
        (("web", "--all", READY), "name cannot be provided when --all is set"),
        (("web", "-l", "a=b", READY), "name cannot be provided when a selector is specified"),
        (("web", "-A", READY), "a resource cannot be retrieved by name across all namespaces"),
        (("web", READY, "--timeout=x"), 'argument --timeout: time: invalid duration "x"'),
    ],
)
def test_wrong_usage_asks_no_engine(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    client = engine(WEB)
    code, out, err = command(client, "wait", *words)
    assert (code, out, client.calls) == (2, "", [])
    assert err.startswith(f"error: {said}"), err
