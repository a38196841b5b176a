"""Removing directories that containers have filled: however deep, and however many entries."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from sandbox.effects import effect
from sandbox.errors import SandboxError, printable


@effect("remove a tree")
def remove_tree(path: Path) -> None:
    """Remove a directory and all in it, however deep: a container decides how deep.  Raises SandboxError."""
    try:
        shutil.rmtree(path)
    except (RecursionError, OSError):
        # Python's goes as deep as its stack and its fds allow; rm(1) has no such end, and a better word for the rest.
        remove_unmounted(path)


@effect("remove a volume's tree")
def remove_unmounted(path: Path) -> None:
    """Remove a directory and all in it, but nothing that is mounted there.  Idempotent.  Raises SandboxError."""
    command = ["rm", "-rf", "--one-file-system", "--", str(path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise SandboxError(printable(result.stderr.splitlines()[0])) from None
