"""Fixtures of tests that make sandboxes without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cgroups import Cgroup

if TYPE_CHECKING:
    from tests.sandbox.pod.test_sandbox import Lab


@pytest.fixture
def lab(pod_slice: Cgroup, tmp_path: Path, busybox: Path) -> Lab:
    """Where sandboxes of one pod are made; see its class."""
    from tests.sandbox.pod.test_sandbox import Lab  # only now, or pytest could not rewrite that module's asserts

    directory = tmp_path / "pod"
    directory.mkdir()
    return Lab(pod_slice, directory, busybox)


@pytest.fixture
def home(loop: None, root: Path, no_leaks: None) -> Path:
    """A root for what a test makes with the library."""
    return root
