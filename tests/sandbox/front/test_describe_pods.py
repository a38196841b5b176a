from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from sandbox.front.describe import describe
from sandbox.front.describe_pods import Request, describe_pods
from sandbox.front.v1 import events_of
from sandbox.status import Event
from tests.sandbox.front.engine import CommandLine, FakeClient, request
from tests.sandbox.front.pods import NOW, ago, running, status, waiting

EVENTS = (
    Event("Scheduled", "assigned default/web to here", ago(minutes=5), ago(minutes=5)),
    Event("BackOff", "Back-off restarting", ago(minutes=4), ago(seconds=9), warning=True, container="app", count=3),
)
WEB = status(running(), name="web", events=EVENTS, labels={"app": "web"})
WEB2 = status(waiting("ContainerCreating"), name="web-2")
OTHER = status(running(), name="other", namespace="prod")
PODS = [OTHER, WEB, WEB2]


def described(*pods: Any) -> str:
    texts = [describe(pod, events_of(pod), now=NOW, node_name="here", zone=UTC) for pod in pods]
    return "\n\n".join(texts)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = describe_pods(FakeClient(PODS), request(Request, "describe", *words), now=NOW, zone=UTC)
    return code, *capsys.readouterr()


def test_a_pod_with_its_events(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(capsys, "pod", "web")
    assert (code, out, err) == (0, described(WEB), "")
    assert out.endswith(
        "Events:\n"
        "  Type     Reason     Age              From     Message\n"
        "  ----     ------     ----             ----     -------\n"
        "  Normal   Scheduled  5m               seedpod  assigned default/web to here\n"
        "  Warning  BackOff    9s (x3 over 4m)  seedpod  spec.containers{app}: Back-off restarting\n"
    )


def test_an_event_is_one_of_v1() -> None:
    assert events_of(WEB)[1] == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": "web.18998ac9a4815600",
            "namespace": "default",
            "creationTimestamp": "2026-03-04T05:02:07Z",
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "web",
            "namespace": "default",
            "uid": WEB.uid,
            "fieldPath": "spec.containers{app}",
        },
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting",
        "firstTimestamp": "2026-03-04T05:02:07Z",
        "lastTimestamp": "2026-03-04T05:05:58Z",
        "count": 3,
        "source": {"component": "seedpod"},
        "reportingComponent": "seedpod",
        "reportingInstance": "",
    }


@pytest.mark.parametrize(
    ("words", "pods"),
    [
        ((), [WEB, WEB2]),
        (("pods",), [WEB, WEB2]),
        (("-A",), [OTHER, WEB, WEB2]),
        (("-n", "prod"), [OTHER]),
        (("-l", "app"), [WEB]),
        (("web-2", "web"), [WEB2, WEB]),
    ],
)
def test_several_are_two_empty_lines_apart(
    words: tuple[str, ...], pods: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, *words) == (0, described(*pods), "")


def test_the_beginning_of_a_name_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "we") == (0, described(WEB, WEB2), "")
    assert shown(capsys, "web") == (0, described(WEB), "")


def test_a_name_that_is_missing_comes_last(command: CommandLine) -> None:
    code, out, err = command(PODS, "describe", "nope", "web")
    assert (code, err) == (1, 'Error from server (NotFound): pods "nope" not found\n')
    assert out.startswith("Name: ")
    assert command(PODS, "describe", "nope") == (1, "", 'Error from server (NotFound): pods "nope" not found\n')


def test_no_pods_are_no_error(command: CommandLine) -> None:
    assert command([], "describe") == (0, "", "No resources found in default namespace.\n")


def test_wrong_usage_asks_no_engine(command: CommandLine) -> None:
    client = FakeClient(PODS)
    assert command(client, "describe", "web", "-A")[0] == 2
    assert client.calls == []
