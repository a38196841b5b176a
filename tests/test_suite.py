"""What the suite itself says where it cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(("how", "code"), [("ignore", pytest.ExitCode.USAGE_ERROR), ("default", pytest.ExitCode.OK)])
def test_where_interrupts_are_ignored_it_says_so_and_does_not_begin(how: str, code: int) -> None:
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/test_layers.py"]
    done = subprocess.run(
        ["env", f"--{how}-signal=INT", *collect], cwd=HERE.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("env --default-signal=INT make test" in done.stderr) is (how == "ignore")
