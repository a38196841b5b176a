"""Fixtures of tests of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.pod import worker as module
from tests.sandbox.pod.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(module.PodSandbox, "create", made.create)
    monkeypatch.setattr(module.PodSandbox, "connect", made.connect)
    monkeypatch.setattr(module.planning, "container_spec", lambda *_, **__: None)
    return made
