"""Fixtures of tests of workers, and of sandboxes of which each test makes many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.pod import worker as module
from sandbox.pod.slices import Slices
from tests.sandbox.pod.world import World

if TYPE_CHECKING:
    from tests.sandbox.pod.test_sandbox import Lab


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(module.PodSandbox, "create", made.create)
    monkeypatch.setattr(module.PodSandbox, "connect", made.connect)
    monkeypatch.setattr(module.planning, "container_spec", lambda *_, **__: None)
    return made


@pytest.fixture
def labs(root: Path, no_leaks: None, busybox: Path, tmp_path: Path) -> Iterator[Callable[[], Lab]]:
    """Makes labs, each for a pod of its own; see the class."""
    from tests.sandbox.pod.test_sandbox import Lab  # only now, or pytest could not rewrite that module's asserts

    slices, uids = Slices(root), []

    def make() -> Lab:
        uids.append(f"test{len(uids)}")
        directory = tmp_path / uids[-1]
        directory.mkdir()
        return Lab(slices.create(uids[-1]), directory, busybox)

    yield make
    for uid in uids:
        slices.remove(uid)
    slices.remove_parents()
