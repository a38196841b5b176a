"""The benchmark of manifests: it measures what it says, and prints what the targets look for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.manifest import MANIFEST
from benchmarks.targets import MODULES, figure
from sandbox.manifest import load
from tests.runner import TIMEOUT

ROOT = Path(__file__).parent.parent.parent


def test_its_manifest_has_five_containers_of_many_fields() -> None:
    (pod,) = load(MANIFEST)
    assert len(pod.containers) == 5
    assert all(each.readiness_probe and each.lifecycle.pre_stop and each.volume_mounts for each in pod.containers)


def test_it_prints_a_number_for_each_of_its_targets() -> None:
    command = [sys.executable, "-m", "benchmarks.manifest", "--imports", "1", "--checks", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    (about,) = (each for each in MODULES if each.name == "manifest")
    assert all(figure(json.loads(done.stdout), path) > 0 for _, path in about.targets)
