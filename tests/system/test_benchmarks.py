"""`make bench`: every contender once, for real; nothing is left, and nobody who is missing is passed over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cgroups
from benchmarks.__main__ import CONTENDERS
from sandbox.linux import network
from tests.runner import TIMEOUT

pytestmark = pytest.mark.root

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where benchmarks make what they make.  The name is short: sockets are below it.  At the end nothing is left."""
    mount_point = cgroups.detect().mount_point
    assert mount_point is not None
    before = set(mount_point.glob("seedpod-bench.*"))
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        yield Path(directory)
        assert list(Path(directory).iterdir()) == []
    assert set(mount_point.glob("seedpod-bench.*")) == before
    assert directory not in Path("/proc/self/mountinfo").read_text()
    assert [name for name in network.link_names() if name.startswith("floor")] == []


def benchmarks(scratch: Path, *words: str | Path, path: str = os.environ["PATH"]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--rounds=1", "--warm-up=0", *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def measured(tmp_path: Path, scratch: Path, *words: str | Path, **options: Any) -> tuple[dict[str, Any], str]:
    """The samples of a run and its report."""
    files = (tmp_path / "samples.json", tmp_path / "report.md")
    process = benchmarks(scratch, "--json", files[0], "--report", files[1], *words, **options)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, stderr
    return json.loads(files[0].read_text()), files[1].read_text()


def test_every_contender_is_measured_or_said_to_be_missing(tmp_path: Path, scratch: Path) -> None:
    result, report = measured(tmp_path, scratch, f"--only={','.join(each.name for each in CONTENDERS)}")
    for contender in CONTENDERS:
        cases = [f"{contender.name} {operation}" for operation in contender.operations]
        if contender.name in result["missing"]:
            why = result["missing"][contender.name]
            assert "not installed" in why or "bound to v1" in why, why
            assert contender.__module__ == "benchmarks.peers", "what is ours, and a compiler, every test machine has"
            assert f"| {contender.name} | {why} |" in report
            continue
        for case in cases:
            (sample,) = result["cases"][case]
            assert sample["wall_ms"] > 0 and sample["cpu_ms"] > 0, case
            assert f"| {case} | {sample['wall_ms']:.1f} |" in report


def test_peers_that_are_not_installed_are_told_one_by_one(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "bin").mkdir()
    result, _ = measured(tmp_path, scratch, "--only=podman,runc,crun,bwrap", path=str(tmp_path / "bin"))
    assert result["cases"] == {}
    assert result["missing"] == {
        "podman": "podman, crun not installed",
        "runc": "runc not installed",
        "crun": "crun not installed",
        "bwrap": "bwrap not installed",
    }


def test_an_interrupted_run_leaves_nothing(scratch: Path) -> None:
    """In the middle of a round, when a pod stands; `scratch` looks.  Ctrl-C takes the same way."""
    process = benchmarks(scratch, "--only=floor pod,cli")
    assert process.stderr is not None
    assert process.stderr.readline() == "round 1 of 1\n"
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, stderr) == (130, "")
