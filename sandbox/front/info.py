"""`seedpod info`: what this host can do, a line each, and under it the cure for what it cannot."""

from __future__ import annotations

from pathlib import Path

from sandbox.linux import host
from sandbox.pod import network_report


def info(root: Path) -> int:
    """Print the table.  The exit code of the verb, always 0: to lack something is no error of `info`."""
    rows = [*host.abilities(), *network_report.abilities(root), host.Ability("root", str(root))]
    width = max(len(row.name) for row in rows) + 2
    for row in rows:
        print(f"{row.name:<{width}}{row.value}")
        if row.missing and row.remedy:
            print(f"{'':<{width}}! {row.remedy}")
    return 0
