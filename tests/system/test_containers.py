"""How many containers a pod has, and what they are called (SEMANTICS A1)."""

from __future__ import annotations

import pytest

from tests.runner import Seedpod

pytestmark = pytest.mark.root


@pytest.mark.parametrize("count", [1, 2, 10])
def test_a_pod_is_of_one_container_or_of_many_in_one_network(seedpod: Seedpod, count: int) -> None:
    """# A1: all of them run beside each other, in one network namespace."""
    script = "echo $HOSTNAME $(readlink /proc/self/ns/net) >> /log/started"
    mounts = [{"name": "log", "mountPath": "/log"}]
    # Each waits until those before it have run, and they until it has: they must all be there at once.
    containers = [
        seedpod.shell(
            f"c{number}",
            f"until [ $(wc -l < /log/started) = {number} ]; do sleep 0.02; done; {script}; "
            f"until [ $(wc -l < /log/started) = {count} ]; do sleep 0.02; done",
            volumeMounts=mounts,
        )
        for number in range(count)
    ]
    log = seedpod.root.parent / "log"
    log.mkdir()
    (log / "started").touch()
    pod = seedpod.pod(*containers, volumes=({"name": "log", "hostPath": {"path": str(log), "type": "Directory"}},))
    result = seedpod.run(pod)
    assert (result.returncode, result.stderr) == (0, "")
    lines = (log / "started").read_text().splitlines()
    assert len(lines) == count
    assert len(set(lines)) == 1, "one hostname, one network namespace"


def test_a_name_that_is_there_twice_is_refused_with_its_path(seedpod: Seedpod) -> None:
    """# A1"""
    pod = seedpod.pod(seedpod.shell("app", "true"), seedpod.shell("app", "true"))
    result = seedpod.run(pod)
    assert result.returncode == 1
    assert 'spec.containers[1].name: Duplicate value: "app"' in result.stderr
