"""`seedpod run`: what of it needs neither root nor an engine."""

from __future__ import annotations

import subprocess
import sys


def test_what_returns_at_once_does_not_import_an_engine() -> None:
    """`run -d` finds one, or starts one in a process of its own."""
    script = (
        "import sys, sandbox.front.cli, sandbox.front.run\n"
        "print(*({'asyncio', 'pyroute2', 'sandbox.pod.engine'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
