"""What a power cut leaves of pods (SEMANTICS A13): what a client was told is so, and what is not to run twice does not.

The root stands on a disk that forgets, with its power, all that was not synced.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.pod.client import Client
from tests.power import Disk
from tests.runner import TIMEOUT, Manifest, Seedpod
from tests.staying import all_running, detached, pod_json, reboot, until, users_of, wait_and_close

pytestmark = pytest.mark.root

DISK = {"name": "disk", "emptyDir": {}}
MOUNTS = [{"name": "disk", "mountPath": "/disk"}]


@pytest.fixture
def disk(root: Path, images: Path, tmp_path: Path) -> Iterator[Disk]:
    """What is mounted at the root."""
    made = Disk(root, tmp_path / "image")
    (root / "images").symlink_to(images)
    yield made
    for each in users_of(root):  # that are just ending, or lost their disk in a test that failed
        signal.pidfd_send_signal(each, signal.SIGKILL)
        wait_and_close(each)
    made.unmount()


def pod(seedpod: Seedpod, script: str = "exec sleep 1000", **spec: object) -> Manifest:
    return seedpod.pod(seedpod.shell("app", script, volumeMounts=MOUNTS), volumes=(DISK,), **spec)


def test_a_pod_that_a_client_was_told_of_is_there_and_runs(disk: Disk, seedpod: Seedpod) -> None:
    detached(seedpod, pod(seedpod, restartPolicy="Always"), wait=False)
    before = pod_json(seedpod, "web")["metadata"]["uid"]
    reboot(seedpod, "web", disk=disk)
    until(seedpod, "web", all_running)
    assert pod_json(seedpod, "web")["metadata"]["uid"] == before


def test_one_that_runs_is_run_again_and_its_files_are_whole(disk: Disk, seedpod: Seedpod) -> None:
    detached(seedpod, pod(seedpod, restartPolicy="Always"))
    reboot(seedpod, "web", disk=disk)
    until(seedpod, "web", all_running)
    hosts = seedpod.command("exec", "web", "--", "cat", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname").stdout
    assert "# Kubernetes-managed hosts file." in hosts
    assert hosts.endswith("web\n")


def test_a_deletion_that_was_answered_is_completed(disk: Disk, seedpod: Seedpod) -> None:
    stubborn = seedpod.shell("app", "trap '' TERM; while :; do sleep 1000; done")
    detached(seedpod, seedpod.pod(stubborn, restartPolicy="Always", terminationGracePeriodSeconds=1000))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    assert seedpod.command("delete", "web", "--wait=false").returncode == 0
    reboot(seedpod, "web", disk=disk)
    with Client(seedpod.root) as client:
        assert client.wait_removed(uid, TIMEOUT), "nobody has to ask for it again"


def test_a_change_that_was_answered_is_made(disk: Disk, seedpod: Seedpod) -> None:  # A26
    detached(seedpod, pod(seedpod, restartPolicy="Always"))
    before = pod_json(seedpod, "web")["metadata"]
    changed = pod(seedpod, restartPolicy="Always")
    changed["metadata"]["labels"] = {"app": "web"}
    assert seedpod.command("apply", "-f", "-", input=json.dumps(changed)).stdout == "pod/web configured\n"
    reboot(seedpod, "web", disk=disk)
    until(seedpod, "web", all_running)
    after = pod_json(seedpod, "web")["metadata"]
    assert (after["uid"], after["labels"]) == (before["uid"], {"app": "web"})


def test_what_is_not_to_run_twice_does_not(disk: Disk, seedpod: Seedpod) -> None:  # A20
    once = "echo run >> /disk/runs; sync /disk/runs; touch /disk/synced; exec sleep 1000"  # this one file, and no other
    detached(seedpod, pod(seedpod, once, restartPolicy="Never"), wait=False)
    until(seedpod, "web", all_running)
    seedpod.command("exec", "web", "--", "sh", "-c", "until [ -e /disk/synced ]; do :; done")
    reboot(seedpod, "web", disk=disk)
    status = until(seedpod, "web", lambda status: status.over)
    assert (status.phase, status.containers[0].restart_count) == ("Failed", 0)
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    assert (seedpod.root / f"pods/{uid}/volumes/disk/runs").read_text() == "run\n"
