"""A disk of a test's own: small, so that it can be full, and one that can be made to stall."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.runner import TIMEOUT


@contextmanager
def small(at: Path, size: str = "256k") -> Iterator[Path]:
    """A tmpfs of that size at `at`, with a file `filler` that takes nearly all of it."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@contextmanager
def freezable(at: Path, image: Path) -> Iterator[Path]:
    """An ext4 in the file `image` at `at`."""
    at.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


# Thaws `$1` when its stdin closes, or after `$2` seconds.
THAW = 'read -r -t "$2"; exec fsfreeze --unfreeze "$1"'


@contextmanager
def frozen(at: Path) -> Iterator[None]:
    """Meanwhile no write to that filesystem returns, and a process that waits for one cannot be killed.

    Another process thaws it, whatever becomes of this one, and of a test that waits for this disk itself.
    """
    thaw = ["bash", "-c", THAW, "thaw", str(at), str(TIMEOUT)]
    with subprocess.Popen(thaw, stdin=subprocess.PIPE, start_new_session=True) as thawing:
        try:
            subprocess.run(["fsfreeze", "--freeze", at], check=True)
            yield
        finally:
            if thawing.stdin:
                thawing.stdin.close()
            assert not thawing.wait(), f"{at} was not frozen any more"
