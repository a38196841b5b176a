"""Pods after a boot of the machine (SEMANTICS A13): engine and podmons ended with it, and so did cgroups and links.

What a reboot takes away is taken away, and the root says that it was last seen in another boot.
"""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.pod.root_network import read_book
from tests.runner import Manifest, Seedpod
from tests.staying import detached, kill_engine, pod_json, podmon_of, put_back, reboot, restarted, until

pytestmark = pytest.mark.root

DISK = {"name": "disk", "emptyDir": {}}
MEMORY = {"name": "memory", "emptyDir": {"medium": "Memory"}}
MOUNTS = [{"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"}]


def writer(seedpod: Seedpod, name: str = "web", **spec: Any) -> Manifest:
    script = "echo $(cat /memory/runs) >> /disk/memory; echo run | tee -a /disk/runs > /memory/runs; exec sleep 1000"
    app = seedpod.shell("app", script, volumeMounts=MOUNTS)
    return seedpod.pod(app, name=name, volumes=(DISK, MEMORY), **spec)


def test_a_pod_runs_again_as_the_same_one(seedpod: Seedpod) -> None:  # A13
    detached(seedpod, writer(seedpod, restartPolicy="Always"))
    before = pod_json(seedpod, "web")
    reboot(seedpod, "web")
    until(seedpod, "web", restarted(1))
    after = pod_json(seedpod, "web")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    (status,) = after["status"]["containerStatuses"]
    assert status["restartCount"] == 1
    end = status["lastState"]["terminated"]
    assert (end["exitCode"], end["reason"]) in [(137, "ContainerStatusUnknown"), (137, "Error")]
    read = seedpod.command(
        "exec", "web", "--", "sh", "-c", "until [ $(wc -l < /disk/runs) = 2 ]; do :; done; cat /disk/memory"
    )
    assert read.stdout == "\n\n", "the disk is as it was, and memory was empty both times"
    assert "SandboxChanged" in seedpod.command("describe", "web").stdout


def test_what_is_not_to_run_twice_does_not(seedpod: Seedpod) -> None:  # A13, A20
    detached(seedpod, writer(seedpod, restartPolicy="Never"))
    reboot(seedpod, "web")
    status = until(seedpod, "web", lambda status: status.over)
    assert (status.phase, status.containers[0].restart_count) == ("Failed", 0)


def test_no_podmon_of_another_boot_is_asked(seedpod: Seedpod) -> None:  # A13
    """Whatever answers at its socket: here it is that podmon itself, and it is not believed."""
    detached(seedpod, writer(seedpod, restartPolicy="Always"))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    podmon = podmon_of(seedpod, uid)
    kill_engine(seedpod)
    put_back(read_book(seedpod.root).opened)
    (seedpod.root / "boot").write_text("another\n")
    until(seedpod, "web", restarted(1))
    assert podmon_of(seedpod, uid) != podmon
    kill_engine(seedpod)
    assert seedpod.command("get").returncode == 0
    assert pod_json(seedpod, "web")["status"]["containerStatuses"][0]["restartCount"] == 1, "it is of this boot now"


def test_a_deletion_that_was_under_way_is_completed(seedpod: Seedpod) -> None:  # A13, A42
    stubborn = seedpod.shell("app", "trap '' TERM; while :; do sleep 1000; done")
    detached(seedpod, seedpod.pod(stubborn, terminationGracePeriodSeconds=1000))
    assert seedpod.command("delete", "web", "--wait=false").returncode == 0
    reboot(seedpod, "web")
    gone = seedpod.command("delete", "web", "--ignore-not-found")
    assert gone.returncode == 0
    assert seedpod.command("get", "web").returncode == 1
