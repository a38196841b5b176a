"""A pod whose logs stand on a full disk, as its user sees it: what is configured happens, and is told."""

from __future__ import annotations

import re
import subprocess

import pytest

from sandbox.status import PodStatus
from tests import disk
from tests.runner import Seedpod
from tests.staying import detached, until

pytestmark = pytest.mark.root

COUNT = 40000  # lines, which take more than the disk has
GO = "until [ -e /dev/shm/go ]; do sleep 0.05; done; "
LAST = "until [ -e /dev/shm/last ]; do sleep 0.05; done; echo last; exec sleep 600"


def touch(seedpod: Seedpod, name: str) -> None:
    result = seedpod.command("exec", "web", "--", "touch", f"/dev/shm/{name}")
    assert (result.returncode, result.stderr) == (0, "")


def fill_disk(seedpod: Seedpod, configuration: str) -> None:
    """Start the pod `web`, and have it write until it is known that its log cannot be written."""
    (seedpod.root / "config.toml").write_text(configuration)
    (seedpod.root / "logs" / "filler").write_bytes(b"x" * (3 << 20))
    detached(seedpod, seedpod.pod(seedpod.shell("app", f"{GO} seq 1 {COUNT}; {LAST}")))
    touch(seedpod, "go")
    until(seedpod, "web", lambda status: any(event.reason == "LogFailed" for event in status.events))
    described = seedpod.command("describe", "web").stdout
    assert re.search(r"Warning +LogFailed .*The log of container app cannot be written: No space left", described)


def make_room(seedpod: Seedpod) -> None:
    (seedpod.root / "logs" / "filler").unlink()
    touch(seedpod, "last")


def all_is_told(seedpod: Seedpod, status: PodStatus) -> bool:
    """What the events say is lost, and what stands in the log, are together what the container wrote."""
    lines = seedpod.command("logs", "web").stdout.splitlines()
    if lines[-1:] != ["last"]:
        return False
    numbers = [int(line) for line in lines[:-1]]
    assert numbers == sorted(set(numbers))
    lost = set(range(1, COUNT + 1)) - set(numbers)
    size = sum(len(str(number)) + 1 for number in lost)
    told = f"could not be logged: {len(lost)} lines ({size} bytes) of this instance are lost so far"
    return [event.message.endswith(told) for event in status.events if event.reason == "LogLost"] == [True]


def test_by_default_output_is_lost_counted_and_shown_and_the_container_runs_on(seedpod: Seedpod) -> None:
    with disk.small(seedpod.root / "logs", "4m"):
        fill_disk(seedpod, "")
        make_room(seedpod)
        status = until(seedpod, "web", lambda status: all_is_told(seedpod, status))
        assert status.containers[0].restart_count == 0
        assert seedpod.command("delete", "web", "--now").returncode == 0


def test_with_block_the_container_waits_and_nothing_is_lost(seedpod: Seedpod) -> None:
    with disk.small(seedpod.root / "logs", "4m"):
        fill_disk(seedpod, 'containerLogFullDisk = "block"\n')
        assert seedpod.command("exec", "web", "--", "echo", "served").stdout == "served\n"
        make_room(seedpod)
        words = [seedpod.program, "--root", seedpod.root, "logs", "-f", "web"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as logs:
            assert logs.stdout is not None
            lines = [logs.stdout.readline() for _ in range(COUNT + 1)]
            assert lines == [*(f"{number}\n" for number in range(1, COUNT + 1)), "last\n"]
            logs.terminate()
        assert "LogLost" not in seedpod.command("describe", "web").stdout
        assert seedpod.command("delete", "web", "--now").returncode == 0
