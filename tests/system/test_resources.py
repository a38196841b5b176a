"""Requests and limits as a pod lives by them: where it lies, what its cgroups say, what happens beyond a limit.

Everything is read from outside, in the files of the cgroups and by the verbs.  What a host without controllers does
with them is in test_resource_refusals.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.pod.slices import Slices
from sandbox.status import PodStatus, Running, Terminated
from tests.runner import TIMEOUT, Manifest, Seedpod
from tests.staying import all_running, detached, kill_engine, pod_json, restarted, until, wait_and_close

pytestmark = pytest.mark.root

FOREVER = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'exit 0' TERM; read _ <&3"
LIMITS = {"limits": {"cpu": "500m", "memory": "64Mi"}}
REQUESTS = {"requests": {"cpu": "250m", "memory": "32Mi"}}
MIB = 1 << 20


def asks(seedpod: Seedpod, name: str, resources: object = None, script: str = FOREVER) -> Manifest:
    return seedpod.shell(name, script, **({"resources": resources} if resources else {}))


def uid_of(seedpod: Seedpod, name: str = "web") -> str:
    uid: str = pod_json(seedpod, name)["metadata"]["uid"]
    return uid


def slice_of(seedpod: Seedpod, name: str = "web") -> Path:
    return Slices(seedpod.root).path(uid_of(seedpod, name))


def scopes_of(seedpod: Seedpod, name: str = "web") -> dict[str, Path]:
    """The scope of each container that has one."""
    statuses = pod_json(seedpod, name)["status"]["containerStatuses"]
    pod = slice_of(seedpod, name)
    return {each["name"]: pod / f"{each['containerID'].removeprefix('seedpod://')}.scope" for each in statuses}


def values(path: Path, *files: str) -> list[str]:
    return [(path / file).read_text().strip() for file in files]


def by_time(holds: Any) -> None:
    """Until it holds of files that notify nobody, and no longer than TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


# ---- the tree, and what stands in it ----


@pytest.mark.controllers("cpu", "memory")
def test_pods_lie_in_the_slice_of_their_class_with_the_values_of_their_resources(seedpod: Seedpod) -> None:
    """# A4"""
    detached(
        seedpod,
        seedpod.pod(asks(seedpod, "a", LIMITS), asks(seedpod, "b", LIMITS), name="guaranteed"),
        seedpod.pod(asks(seedpod, "a", REQUESTS), asks(seedpod, "b"), name="burstable"),
        seedpod.pod(asks(seedpod, "a"), name="besteffort"),
    )
    slices = {name: slice_of(seedpod, name) for name in ("guaranteed", "burstable", "besteffort")}
    top = slices["guaranteed"].parent
    prefix = top.name.removesuffix(".slice")
    assert top.parent == slices["burstable"].parent.parent.parent == slices["besteffort"].parent.parent.parent
    assert [slices[name].parent.name for name in ("burstable", "besteffort")] == [
        f"{prefix}-burstable.slice",
        f"{prefix}-besteffort.slice",
    ]
    knobs = ("cpu.weight", "cpu.max")
    assert values(slices["guaranteed"], *knobs, "memory.max") == ["100", "100000 100000", str(128 * MIB)]
    assert values(slices["burstable"], *knobs, "memory.max") == ["35", "max 100000", "max"]
    assert values(slices["burstable"].parent, *knobs) == ["35", "max 100000"]
    assert values(slices["besteffort"].parent, *knobs) == ["1", "max 100000"]
    assert values(slices["besteffort"], "cgroup.subtree_control") == [""], "one that asks for nothing has nothing on"
    knobs += ("memory.max", "memory.swap.max", "memory.oom.group")
    for scope in scopes_of(seedpod, "guaranteed").values():
        assert values(scope, *knobs) == ["59", "50000 100000", str(64 * MIB), "0", "1"]
    scopes = scopes_of(seedpod, "burstable")
    assert values(scopes["a"], *knobs) == ["35", "max 100000", "max", "0", "1"]
    assert values(scopes["b"], *knobs) == ["1", "max 100000", "max", "0", "1"]


@pytest.mark.controllers("cpu", "memory")
def test_what_is_shown_of_resources_is_what_the_api_server_would_show(seedpod: Seedpod) -> None:
    detached(seedpod, seedpod.pod(asks(seedpod, "a", {"limits": {"cpu": 0.5, "memory": "65536Ki"}})))
    pod = pod_json(seedpod, "web")
    assert pod["status"]["qosClass"] == "Guaranteed"
    amounts = {"cpu": "500m", "memory": "64Mi"}
    assert pod["spec"]["containers"][0]["resources"] == {"limits": amounts, "requests": amounts}
    described = seedpod.command("describe", "web").stdout
    assert "    Limits:\n      cpu:     500m\n      memory:  64Mi\n" in described
    assert "    Requests:\n      cpu:        500m\n      memory:     64Mi\n" in described
    assert re.search(r"^QoS Class: +Guaranteed$", described, re.MULTILINE)
    assert "Warning" not in described


@pytest.mark.controllers("cpu", "memory")
def test_a_container_that_is_started_anew_has_the_same_limits(seedpod: Seedpod) -> None:
    script = f"[ -e /v/once ] && {{ {FOREVER}; }}; touch /v/once; exit 1"
    mount = {"name": "v", "mountPath": "/v"}
    container = seedpod.shell("a", script, resources=LIMITS, volumeMounts=[mount])
    detached(
        seedpod,
        seedpod.pod(container, volumes=({"name": "v", "emptyDir": {}},), restartPolicy="OnFailure"),
        wait=False,
    )
    until(seedpod, "web", lambda status: restarted(1)(status) and all_running(status))
    assert values(scopes_of(seedpod)["a"], "cpu.max", "memory.max") == ["50000 100000", str(64 * MIB)]


@pytest.mark.controllers("cpu", "memory")
@pytest.mark.parametrize("resources", [LIMITS, REQUESTS, None], ids=["guaranteed", "burstable", "besteffort"])
def test_the_next_engine_finds_the_slice_of_any_class_and_removes_it(seedpod: Seedpod, resources: object) -> None:
    detached(seedpod, seedpod.pod(asks(seedpod, "a", resources)))
    pod = slice_of(seedpod)
    kill_engine(seedpod)
    assert pod_json(seedpod, "web")["status"]["containerStatuses"][0]["restartCount"] == 0
    assert until(seedpod, "web", all_running).uid in seedpod.command("get", "-o", "json").stdout
    assert seedpod.command("delete", "web", "--now").returncode == 0
    assert not pod.exists()


@pytest.mark.controllers("cpu", "memory")
def test_a_pod_whose_podmon_was_killed_gets_its_limits_again(seedpod: Seedpod) -> None:
    """# A22"""
    detached(seedpod, seedpod.pod(asks(seedpod, "a", LIMITS), restartPolicy="Always"))
    os.kill(int((slice_of(seedpod) / "podmon.scope" / "cgroup.procs").read_text()), signal.SIGKILL)
    until(seedpod, "web", lambda status: restarted(1)(status) and all_running(status))
    assert values(slice_of(seedpod), "memory.max") == [str(64 * MIB)]
    assert values(scopes_of(seedpod)["a"], "cpu.max", "memory.max") == ["50000 100000", str(64 * MIB)]


# ---- the processor ----


@pytest.mark.controllers("cpu", "memory")
def test_a_busy_loop_is_held_to_its_limit(seedpod: Seedpod) -> None:
    """What the kernel counts: periods in which it was stopped for the rest."""
    limits = {"limits": {"cpu": "100m"}}
    detached(seedpod, seedpod.pod(asks(seedpod, "busy", limits, "while :; do :; done"), asks(seedpod, "idle")))
    scope = scopes_of(seedpod)["busy"]

    def counted() -> dict[str, int]:
        lines = (line.split() for line in (scope / "cpu.stat").read_text().splitlines())
        return {name: int(value) for name, value in lines}

    by_time(lambda: counted()["nr_throttled"] >= 10)
    stat = counted()
    # Each period has 10 ms for it; a processor may begin one in the middle, so a little more is possible.
    assert stat["usage_usec"] <= (stat["nr_periods"] + 2) * 20_000


# ---- memory ----


def eater(seedpod: Seedpod, name: str, script: str, limit: str = "32Mi") -> Manifest:
    return seedpod.shell(name, script, resources={"limits": {"memory": limit}})


def ended(index: int = 0) -> Any:
    return lambda status: isinstance(status.containers[index].state, Terminated)


def terminated(status: PodStatus, index: int = 0) -> Terminated:
    state = status.containers[index].state
    assert isinstance(state, Terminated)
    return state


@pytest.mark.controllers("memory")
def test_who_passes_its_limit_of_memory_is_killed_alone(seedpod: Seedpod) -> None:
    """# A24: OOMKilled, 137; the sibling lives on."""
    detached(
        seedpod,
        seedpod.pod(eater(seedpod, "eater", "exec /probe/probe eat 64"), asks(seedpod, "other")),
        wait=False,
    )
    status = until(seedpod, "web", lambda status: ended()(status) and isinstance(status.containers[1].state, Running))
    end = terminated(status)
    assert (end.exit_code, end.signal, end.reason) == (137, 9, "OOMKilled")
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[1:4] == ["1/2", "OOMKilled", "0"]
    assert seedpod.command("exec", "web", "-c", "other", "--", "echo", "alive").stdout == "alive\n"
    shown = pod_json(seedpod, "web")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (shown["exitCode"], shown["reason"], shown["signal"]) == (137, "OOMKilled", 9)


@pytest.mark.controllers("memory")
def test_all_of_a_container_goes_where_one_of_its_processes_was_too_much(seedpod: Seedpod) -> None:
    """memory.oom.group: no half of a container is left."""
    detached(seedpod, seedpod.pod(eater(seedpod, "c", "/probe/probe eat 64; echo survived")), wait=False)
    end = terminated(until(seedpod, "web", ended()))
    assert (end.exit_code, end.reason) == (137, "OOMKilled")
    assert seedpod.command("logs", "web").stdout == ""


@pytest.mark.controllers("memory")
def test_run_ends_with_137_and_the_container_may_use_what_it_has(seedpod: Seedpod) -> None:
    fine = seedpod.run(seedpod.pod(eater(seedpod, "c", "/probe/probe eat 16", limit="32Mi")))
    assert (fine.returncode, fine.stdout) == (0, "ok\n")
    assert seedpod.run(seedpod.pod(eater(seedpod, "c", "exec /probe/probe eat 64"))).returncode == 137


@pytest.mark.controllers("memory")
def test_a_killed_child_marks_the_container_though_its_first_process_went_on(seedpod: Seedpod) -> None:
    """# A24: any OOM kill in its cgroup.  Without memory.oom.group, as where the machine is out of memory."""
    script = f"trap '/probe/probe eat 64; echo $?; exit 0' USR1; {FOREVER.replace('exec 3', 'echo up; exec 3')}"
    detached(seedpod, seedpod.pod(eater(seedpod, "c", script)))
    scope = scopes_of(seedpod)["c"]
    (scope / "memory.oom.group").write_text("0")
    assert seedpod.command("exec", "web", "--", "kill", "-USR1", "1").returncode == 0
    end = terminated(until(seedpod, "web", ended()))
    assert (end.exit_code, end.signal, end.reason) == (0, None, "OOMKilled")
    assert seedpod.command("logs", "web").stdout == "up\nKilled\n137\n"


@pytest.mark.controllers("memory")
def test_what_joins_a_container_eats_of_its_limit(seedpod: Seedpod) -> None:
    detached(seedpod, seedpod.pod(eater(seedpod, "c", FOREVER)))
    assert seedpod.command("exec", "web", "--", "/probe/probe", "eat", "64").returncode == 137
    assert terminated(until(seedpod, "web", ended())).reason == "OOMKilled"


@pytest.mark.controllers("memory")
def test_a_container_that_was_out_of_memory_is_restarted_and_says_so(seedpod: Seedpod) -> None:
    """# A21, A24"""
    detached(
        seedpod,
        seedpod.pod(eater(seedpod, "c", "exec /probe/probe eat 64"), restartPolicy="Always"),
        wait=False,
    )
    status = until(seedpod, "web", restarted(1))
    last = status.containers[0].last_state
    assert last is not None
    assert (last.exit_code, last.reason) == (137, "OOMKilled")


@pytest.mark.controllers("memory")
@pytest.mark.parametrize("podmon_dies", [False, True])
def test_who_was_out_of_memory_while_no_engine_was_there(seedpod: Seedpod, podmon_dies: bool) -> None:
    """# A24: podmon tells it, or its record."""
    script = f"trap 'exec /probe/probe eat 64' USR1; {FOREVER}"
    detached(seedpod, seedpod.pod(eater(seedpod, "c", script)))
    pod, scope = slice_of(seedpod), scopes_of(seedpod)["c"]
    kill_engine(seedpod)
    first = os.pidfd_open(int((scope / "cgroup.procs").read_text()))
    signal.pidfd_send_signal(first, signal.SIGUSR1)
    wait_and_close(first)
    record = seedpod.root / "pods" / _only_uid(seedpod) / "sandbox" / "records" / scope.name.removesuffix(".scope")
    by_time(record.exists)
    if podmon_dies:
        podmon = os.pidfd_open(int((pod / "podmon.scope" / "cgroup.procs").read_text()))
        signal.pidfd_send_signal(podmon, signal.SIGKILL)
        wait_and_close(podmon)
    end = terminated(until(seedpod, "web", ended()))
    assert (end.exit_code, end.reason) == (137, "OOMKilled")


def _only_uid(seedpod: Seedpod) -> str:
    (directory,) = (seedpod.root / "pods").iterdir()
    return directory.name


@pytest.mark.controllers("memory")
def test_a_limit_too_low_for_the_container_to_be_made_is_named(seedpod: Seedpod) -> None:
    """# A24: StartError"""
    result = seedpod.run(seedpod.pod(eater(seedpod, "c", "echo never", limit="4Ki"), seedpod.shell("d", "echo fine")))
    assert (result.returncode, result.stdout) == (128, "d | fine\n")
    assert result.stderr.splitlines() == [
        'error: pod "web", container "c": the container was killed while it was made: it was out of memory',
        "hint: give it a higher limit of memory",
    ]


@pytest.mark.controllers("memory")
def test_a_limit_too_low_for_the_pod_to_be_made_is_named(seedpod: Seedpod) -> None:
    result = seedpod.run(seedpod.pod(eater(seedpod, "c", "echo never", limit="4Ki")))
    assert (result.returncode, result.stdout) == (1, "")
    assert "memory.max of a cgroup above may be too low" in result.stderr


# ---- processes ----


@pytest.mark.controllers("pids")
def test_a_fork_bomb_fills_its_own_pod_alone(seedpod: Seedpod) -> None:
    (seedpod.root / "config.toml").write_text("podPidsLimit = 50\n")
    bomb = "/probe/probe forks 1000; " + FOREVER
    detached(
        seedpod,
        seedpod.pod(asks(seedpod, "c", script=bomb), name="bomb"),
        seedpod.pod(asks(seedpod, "c"), name="other"),
    )
    pod = slice_of(seedpod, "bomb")
    by_time(lambda: "EAGAIN" in seedpod.command("logs", "bomb").stdout)
    assert values(pod, "pids.max") == ["50"]
    assert int((pod / "pids.current").read_text()) <= 50
    assert values(slice_of(seedpod, "other"), "pids.max") == ["50"]
    assert seedpod.command("exec", "other", "--", "sh", "-c", "(echo alive)").stdout == "alive\n"
    assert seedpod.command("delete", "bomb", "--now").returncode == 0
    assert not pod.exists()


# ---- huge pages ----


@contextmanager
def huge_pages(count: int) -> Iterator[None]:
    """The machine has so many huge pages of 2 MiB reserved."""
    pool = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    before = pool.read_text()
    pool.write_text(str(count))
    try:
        if int(pool.read_text()) < count:
            pytest.skip("this machine has no huge pages to spare")
        yield
    finally:
        pool.write_text(before)


@pytest.mark.controllers("hugetlb")
def test_a_limit_of_huge_pages_stands_in_the_pod_and_in_each_container(seedpod: Seedpod) -> None:
    asked = {"limits": {"hugepages-2Mi": "4Mi"}, "requests": {"cpu": "1m"}}
    pod = seedpod.pod(asks(seedpod, "a", asked), asks(seedpod, "b"))
    result = seedpod.command("run", "-d", "--wait", "-", input=json.dumps(pod))
    assert result.returncode == 0, result  # where there is no controller for requests, that is told
    files = ("hugetlb.2MB.max", "hugetlb.2MB.rsvd.max")
    scopes = scopes_of(seedpod)
    assert values(slice_of(seedpod), *files) == values(scopes["a"], *files) == [str(4 * MIB)] * 2
    assert values(scopes["b"], *files) == ["0", "0"]


@pytest.mark.controllers("cpu", "hugetlb")
def test_huge_pages_are_for_those_who_ask_and_no_more_than_that(seedpod: Seedpod) -> None:
    asked = {"limits": {"cpu": "1", "hugepages-2Mi": "4Mi"}}
    script = "/probe/probe map-huge 4; /probe/probe map-huge 6; :"
    with huge_pages(8):
        some = seedpod.run(seedpod.pod(asks(seedpod, "c", asked, script)))
        none = seedpod.run(seedpod.pod(asks(seedpod, "c", None, "/probe/probe map-huge 2; :")))
    assert (some.stdout, none.stdout) == ("ok\nENOMEM\n", "ENOMEM\n")
