"""`get endpoints`: who can be reached where, and who is to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient

from sandbox.front.endpoints import endpoint
from sandbox.front.get_endpoints import Request, get_endpoints
from sandbox.status import ChangeType, Phase, PodChange, PodStatus
from tests.sandbox.front.engine import CommandLine, FakeClient, request
from tests.sandbox.front.pods import NOW, running, status, terminated, waiting

WEB = status(running(), labels={"app": "web"}, pod_ips=("10.0.0.2", "fd00::2"))
SLOW = replace(status(running(ready=False), name="slow", labels={"app": "web"}, pod_ips=("10.0.0.3",)), uid="2")
PROD = replace(status(running(), namespace="prod", labels={"app": "web"}, pod_ips=("10.0.0.4",)), uid="3")
COMING = replace(status(waiting("ContainerCreating"), name="new", phase=Phase.PENDING, pod_ips=()), uid="4")


def leaving(pod: PodStatus) -> PodStatus:
    return replace(pod, deletion_timestamp=NOW, deletion_grace_period_seconds=30)


def unready(pod: PodStatus) -> PodStatus:
    return replace(pod, containers=(running(ready=False),))


def over(pod: PodStatus) -> PodStatus:
    return replace(leaving(pod), phase=Phase.FAILED, containers=(terminated(137, "Error"),))


@pytest.mark.parametrize(
    ("pod", "ready", "serving", "terminating"),
    [
        (WEB, True, True, False),
        (unready(WEB), False, False, False),
        # At once with the deletion, whatever its probes say; what those say counts for serving.
        (leaving(WEB), False, True, True),
        (leaving(unready(WEB)), False, False, True),
        (status(running(), readiness_gates=("x/y",)), False, False, False),
        (status(running(), inits=[running("s", ready=False)], sidecars=["s"]), False, False, False),
    ],
)
def test_conditions_are_those_of_an_endpoint_slice(
    pod: PodStatus, ready: bool, serving: bool, terminating: bool
) -> None:  # A36
    found = endpoint(pod, node_name="here")
    assert found is not None
    assert found["conditions"] == {"ready": ready, "serving": serving, "terminating": terminating}


@pytest.mark.parametrize(
    "pod",
    [
        COMING,
        over(WEB),
        status(terminated(0, "Completed"), phase=Phase.SUCCEEDED),
        status(running(), start_time=None, pod_ips=()),
    ],
)
def test_a_pod_without_an_address_or_that_has_ended_has_no_endpoint(pod: PodStatus) -> None:  # A36
    assert endpoint(pod, node_name="here") is None


def shown(capsys: pytest.CaptureFixture[str], *words: str, pods: Sequence[PodStatus] = (SLOW, WEB, PROD)) -> str:
    assert get_endpoints(FakeClient(pods), request(Request, "get", "endpoints", *words)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_table_has_a_row_for_each_pod(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, pods=(leaving(WEB), SLOW)) == (
        "NAME   ADDRESS    READY   SERVING   TERMINATING\n"
        "web    10.0.0.2   false   true      true\n"
        "slow   10.0.0.3   false   false     false\n"
    )
    assert shown(capsys, "-A", "-o", "wide", "--no-headers", pods=(WEB, PROD)) == (
        "default   web   10.0.0.2,fd00::2   true   true   false   here\n"
        "prod      web   10.0.0.4           true   true   false   here\n"
    )


@pytest.mark.parametrize(
    ("words", "names"),
    [((), ["slow", "web"]), (("-l", "app=web"), ["slow", "web"]), (("-l", "app=db"), []), (("-n", "prod"), ["web"])],
)
def test_pods_are_chosen_by_labels(
    words: tuple[str, ...], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = json.loads(shown(capsys, *words, "-o", "json"))
    assert [each["targetRef"]["name"] for each in made["endpoints"]] == names


def test_objects_are_endpoint_slices(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-o", "json")
    made = ApiClient().deserialize(text, "V1EndpointSlice", "application/json")
    assert (made.kind, made.metadata.name, made.metadata.namespace) == ("EndpointSlice", "seedpod", "default")
    assert (made.address_type, [each.addresses for each in made.endpoints]) == ("IPv4", [["10.0.0.3"], ["10.0.0.2"]])
    target = made.endpoints[1].target_ref
    assert (target.kind, target.name, target.namespace, target.uid) == ("Pod", "web", "default", WEB.uid)
    assert made.endpoints[1].conditions.serving is True
    assert yaml.safe_load(shown(capsys, "-o", "yaml")) == json.loads(text)
    assert shown(capsys, "-o", "name") == "endpointslice.discovery.k8s.io/seedpod\n"
    assert shown(capsys, "-o", "jsonpath={.endpoints[*].addresses[0]}") == "10.0.0.3 10.0.0.2"


def test_all_namespaces_are_a_list_of_a_slice_each(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(shown(capsys, "-A", "-o", "json"))
    assert listed["kind"] == "List"
    assert [(each["metadata"]["namespace"], len(each["endpoints"])) for each in listed["items"]] == [
        ("default", 2),
        ("prod", 1),
    ]


def test_a_pod_with_ipv6_alone_has_a_slice_of_that(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(shown(capsys, "-o", "json", pods=(replace(WEB, pod_ips=("fd00::2",)),)))
    assert (made["addressType"], made["endpoints"][0]["addresses"]) == ("IPv6", ["fd00::2"])


def test_none_is_no_error(command: CommandLine) -> None:
    assert command([COMING], "get", "ep") == (0, "", "No resources found in default namespace.\n")
    code, out, err = command([COMING], "get", "endpointslices", "-o", "json")
    assert (code, json.loads(out)["endpoints"], err) == (0, [], "")


# ---- watching ----


def modified(pod: PodStatus) -> list[PodChange]:
    return [PodChange(ChangeType.MODIFIED, pod)]


DELETION = [modified(leaving(WEB)), modified(leaving(unready(WEB))), modified(over(WEB))]
CHANGES = [*DELETION, [PodChange(ChangeType.DELETED, over(WEB))], [PodChange(ChangeType.ADDED, COMING)]]


def watched(capsys: pytest.CaptureFixture[str], *words: str, changes: Sequence[Any] = CHANGES) -> str:
    client = FakeClient([WEB, SLOW], changes=changes)
    with pytest.raises(KeyboardInterrupt):
        get_endpoints(client, request(Request, "get", "endpoints", "-w", *words))
    return capsys.readouterr().out


def test_a_watch_has_a_line_for_each_change_of_an_endpoint(capsys: pytest.CaptureFixture[str]) -> None:  # A36
    assert watched(capsys) == (
        "NAME   ADDRESS    READY   SERVING   TERMINATING\n"
        "web    10.0.0.2   true    true      false\n"
        "slow   10.0.0.3   false   false     false\n"
        "web    10.0.0.2   false   true      true\n"
        "web    10.0.0.2   false   false     true\n"
        "web    <none>     false   false     true\n"
    )


def test_events_say_when_one_comes_and_goes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = watched(capsys, "--output-watch-events", "--no-headers").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ADDED", "web"],
        ["ADDED", "slow"],
        ["MODIFIED", "web"],
        ["MODIFIED", "web"],
        ["DELETED", "web"],
    ]


def conditions(made: dict[str, Any]) -> dict[str, tuple[bool, ...]]:
    return {each["targetRef"]["name"]: tuple(each["conditions"].values()) for each in made["endpoints"]}


def test_a_watch_of_objects_has_the_whole_slice_with_each_change(capsys: pytest.CaptureFixture[str]) -> None:  # A36
    lines = watched(capsys, "-o", "json", "--output-watch-events", "-l", "app=web").splitlines()
    events = [json.loads(line) for line in lines]
    assert [each["type"] for each in events] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED"]
    slow = {"slow": (False, False, False)}
    assert [conditions(each["object"]) for each in events] == [
        {**slow, "web": (True, True, False)},
        {**slow, "web": (False, True, True)},
        {**slow, "web": (False, False, True)},
        slow,
    ]


def test_a_namespace_that_comes_has_a_slice_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [[PodChange(ChangeType.ADDED, PROD)], modified(leaving(PROD)), [PodChange(ChangeType.DELETED, PROD)]]
    lines = watched(capsys, "-A", "-o", "json", "--output-watch-events", changes=changes).splitlines()
    events = [json.loads(line) for line in lines]
    assert [(e["type"], e["object"]["metadata"]["namespace"], len(e["object"]["endpoints"])) for e in events] == [
        ("ADDED", "default", 2),
        ("ADDED", "prod", 1),
        ("MODIFIED", "prod", 1),
        ("MODIFIED", "prod", 0),
    ]


def test_a_watch_of_nothing_begins_with_an_empty_slice(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(watched(capsys, "-o", "json", "-l", "app=db", changes=[]))
    assert made["endpoints"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("endpoints", "web"), "endpoints have no names of their own\nhint: seedpod get endpoints -l app=web\n"),
        (("ep", "--output-watch-events"), "--output-watch-events option can only be used with --watch\n"),
        (
            ("ep", "-l", "a=b=c"),
            'unable to parse selector "a=b=c": found "="\nhint: as in app=web,tier notin (db, cache)\n',
        ),
    ],
)
def test_wrong_usage_asks_no_engine(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    client = FakeClient([WEB])
    assert command(client, "get", *words) == (2, "", f"error: {said}")
    assert client.calls == []
