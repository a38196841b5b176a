from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.front.engine import CommandLine


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CommandLine:
    """`seedpod`, in this process."""
    return CommandLine(capfd, monkeypatch, str(tmp_path))
