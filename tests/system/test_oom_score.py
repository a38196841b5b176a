"""The places of a pod's processes in the queue of the OOM killer (SEMANTICS "Constants"), seen from inside and outside.

They need no controller.  To lower one needs CAP_SYS_RESOURCE, which not every root has (DESIGN, "Two test machines").
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.linux import host, privileges
from sandbox.pod.slices import Slices
from tests.runner import Seedpod
from tests.staying import detached, pod_json

pytestmark = pytest.mark.root

OWN = int(Path("/proc/self/oom_score_adj").read_text())
CAN_LOWER = not privileges.missing(("SYS_RESOURCE",))
needs_to_lower = pytest.mark.skipif(not CAN_LOWER, reason="this root has no CAP_SYS_RESOURCE")
ASK = "cat /proc/self/oom_score_adj"
FOREVER = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'exit 0' TERM; read _ <&3"
LIMITS = {"limits": {"cpu": "500m", "memory": "64Mi"}}


def of_podmon(seedpod: Seedpod, name: str = "web") -> int:
    uid = pod_json(seedpod, name)["metadata"]["uid"]
    pid = (Slices(seedpod.root).path(uid) / "podmon.scope" / "cgroup.procs").read_text().split()[0]
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.mark.parametrize(
    "spec", [{}, {"shareProcessNamespace": True}, {"hostPID": True}], ids=["own", "shared", "host"]
)
def test_what_asks_for_nothing_goes_first_and_so_does_what_joins_it(seedpod: Seedpod, spec: dict[str, bool]) -> None:
    detached(seedpod, seedpod.pod(seedpod.shell("c", f"{ASK}; {FOREVER}"), **spec))
    assert seedpod.command("logs", "web").stdout == "1000\n"
    assert seedpod.command("exec", "web", "--", "sh", "-c", ASK).stdout == "1000\n"


def test_what_requests_memory_goes_later_the_more_it_requests(seedpod: Seedpod) -> None:
    total = host.memory()
    pod = seedpod.pod(
        seedpod.shell("half", ASK, resources={"requests": {"memory": str(total // 2)}}),
        seedpod.shell("little", ASK, resources={"requests": {"memory": "1"}}),
        seedpod.shell("none", ASK),
    )
    said = dict(line.split(" | ") for line in seedpod.run(pod).stdout.splitlines())
    assert said == {"half": str(1000 - 1000 * (total // 2) // total), "little": "999", "none": "999"}


@pytest.mark.controllers("cpu", "memory")
@needs_to_lower
def test_what_is_guaranteed_goes_last_and_its_podmon_after_it(seedpod: Seedpod) -> None:
    detached(seedpod, seedpod.pod(seedpod.shell("c", f"{ASK}; {FOREVER}", resources=LIMITS)))
    assert seedpod.command("logs", "web").stdout == "-997\n"
    assert seedpod.command("exec", "web", "--", "sh", "-c", ASK).stdout == "-997\n"
    assert of_podmon(seedpod) == -998


@needs_to_lower
def test_a_container_cannot_take_the_place_of_its_podmon(seedpod: Seedpod) -> None:
    script = "echo 999 > /proc/self/oom_score_adj || echo refused"
    assert seedpod.run(seedpod.pod(seedpod.shell("c", script))).stdout == "refused\n"


def test_a_podmon_is_as_far_back_as_it_can_be(seedpod: Seedpod) -> None:
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER)))
    assert of_podmon(seedpod) == (-998 if CAN_LOWER else OWN)


@pytest.mark.controllers("cpu", "memory")
@needs_to_lower
def test_where_it_cannot_be_lowered_the_pod_runs_and_is_told_so(seedpod: Seedpod, tmp_path: Path) -> None:
    """An engine whose root has no CAP_SYS_RESOURCE, as in a container.  # finding: Two test machines"""
    wrapper = tmp_path / "seedpod"
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --bounding-set -sys_resource "{seedpod.program}" "$@"\n')
    wrapper.chmod(0o755)
    less = Seedpod(seedpod.root, seedpod.probe, wrapper)
    pod = less.pod(less.shell("c", f"{ASK}; {FOREVER}", resources=LIMITS))
    result = less.command("run", "-d", "--wait", "-", input=json.dumps(pod))
    said = f"oom_score_adj is {OWN} instead of -997: to lower it, the engine needs CAP_SYS_RESOURCE"
    assert (result.returncode, result.stderr) == (0, f'warning: pod "web": {said}\n')
    assert less.command("logs", "web").stdout == f"{OWN}\n"
    assert of_podmon(less) == OWN
    events = [line for line in less.command("describe", "web").stdout.splitlines() if "OOMScoreAdjNotSet" in line]
    assert len(events) == 1
    assert events[0].split()[0] == "Warning"
    assert events[0].endswith(said)
