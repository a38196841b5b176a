"""What a host without a controller does with resources: limits are refused before anything is made, requests pass with
a warning.  On a host that has all controllers there is nothing to refuse but what it has in no size."""

from __future__ import annotations

import json

import pytest

import cgroups
from tests.runner import Seedpod
from tests.staying import detached, pod_json

LACKS = {name: cgroups.detect().why_not(name) for name in ("cpu", "memory", "pids")}

pytestmark = pytest.mark.root


def lacking(*names: str) -> pytest.MarkDecorator:
    there = [name for name in names if LACKS[name] is None]
    return pytest.mark.skipif(bool(there), reason=f"this host has {', '.join(there)}")


def refused(seedpod: Seedpod, resources: object, *words: str) -> list[str]:
    """`run` refuses: exit code 1, nothing printed, nothing made; its lines on stderr."""
    pod = seedpod.pod(seedpod.shell("fine", "echo never"), seedpod.shell("app", "echo never", resources=resources))
    result = seedpod.command("run", *words, "-", input=json.dumps(pod))
    assert (result.returncode, result.stdout) == (1, "")
    assert list((seedpod.root / "pods").iterdir()) == []
    return result.stderr.splitlines()


@pytest.mark.parametrize("words", [[], ["-d"]], ids=["foreground", "detached"])
@pytest.mark.parametrize(
    ("resources", "name", "controller"),
    [
        pytest.param({"limits": {"cpu": "1"}}, "cpu", "cpu", marks=lacking("cpu")),
        pytest.param({"limits": {"memory": "64Mi"}}, "memory", "memory", marks=lacking("memory")),
    ],
)
def test_a_limit_is_refused_with_its_controller_and_the_cure(
    seedpod: Seedpod, resources: object, name: str, controller: str, words: list[str]
) -> None:
    what = f'pod "web", container "app": a limit of {name}'
    assert refused(seedpod, resources, *words) == [
        f"error: {what} needs the cgroup v2 controller {controller}, which this host lacks",
        f"hint: {LACKS[controller]}",
    ]


@lacking("pids")
def test_a_limit_of_processes_is_refused_for_every_pod(seedpod: Seedpod) -> None:
    (seedpod.root / "config.toml").write_text("podPidsLimit = 100\n")
    assert refused(seedpod, {}) == [
        'error: pod "web": podPidsLimit needs the cgroup v2 controller pids, which this host lacks',
        f"hint: {LACKS['pids']}",
    ]
    assert seedpod.command("get").returncode == 0, "the engine serves what is there"


@lacking("memory")
def test_one_pod_with_a_limit_refuses_all_of_the_file(seedpod: Seedpod) -> None:
    good = seedpod.pod(seedpod.shell("c", "echo never"), name="good")
    bad = seedpod.pod(seedpod.shell("c", "echo never", resources={"limits": {"memory": "64Mi"}}), name="bad")
    result = seedpod.run(good, bad)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith('error: pod "bad", container "c": a limit of memory needs')


@lacking("cpu", "memory")
def test_requests_alone_run_with_a_warning(seedpod: Seedpod) -> None:
    asked = {"requests": {"cpu": "100m", "memory": "16Mi"}}
    pod = seedpod.pod(seedpod.shell("c", "echo ran; mkfifo /tmp/f; read _ < /tmp/f", resources=asked))
    result = seedpod.command("run", "-d", "-", input=json.dumps(pod))
    said = f"Requests of cpu and memory have no effect here: {LACKS['cpu']}; {LACKS['memory']}"
    assert (result.returncode, result.stdout) == (0, "pod/web created\n")
    assert result.stderr == f'warning: pod "web": {said}\n'
    assert seedpod.command("logs", "web").stdout == "ran\n"
    assert pod_json(seedpod, "web")["status"]["qosClass"] == "Burstable"
    events = [line for line in seedpod.command("describe", "web").stdout.splitlines() if "RequestsNotEnforced" in line]
    assert len(events) == 1
    assert events[0].split()[0] == "Warning"
    assert events[0].endswith(said)


@lacking("cpu", "memory")
def test_run_ends_as_the_pod_does_with_the_warning_before(seedpod: Seedpod) -> None:
    result = seedpod.run(seedpod.pod(seedpod.shell("c", "echo ran", resources={"requests": {"cpu": "1m"}})))
    assert (result.returncode, result.stdout) == (0, "ran\n")
    assert result.stderr == f'warning: pod "web": Requests of cpu have no effect here: {LACKS["cpu"]}\n'


def test_what_asks_for_nothing_is_told_nothing(seedpod: Seedpod) -> None:
    detached(seedpod, seedpod.pod(seedpod.shell("c", "echo ran", resources={"limits": {"cpu": 0}})), wait=False)
    assert "Warning" not in seedpod.command("describe", "web").stdout


@pytest.mark.controllers("hugetlb")
def test_huge_pages_of_a_size_that_no_machine_has_are_refused(seedpod: Seedpod) -> None:
    what = 'pod "web", container "app": a limit of huge pages'
    assert refused(seedpod, {"limits": {"hugepages-3Mi": "3Mi"}, "requests": {"cpu": "1m"}}) == [
        f"error: {what} needs such of 3145728 bytes, which this host lacks",
        "hint: see /sys/kernel/mm/hugepages for the sizes that there are",
    ]
