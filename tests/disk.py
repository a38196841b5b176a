"""A disk of a test's own: small, so that it can be full, and one that can be made to stall."""

from __future__ import annotations

import subprocess
import threading
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


@contextmanager
def frozen(at: Path) -> Iterator[None]:
    """Meanwhile no write to that filesystem returns; a process that waits for one cannot be killed."""

    def thaw() -> None:
        subprocess.run(["fsfreeze", "--unfreeze", at], check=True)

    subprocess.run(["fsfreeze", "--freeze", at], check=True)
    rescue = threading.Timer(TIMEOUT, thaw)  # or a test that waits for this disk itself could not even be killed
    rescue.start()
    try:
        yield
    finally:
        rescue.cancel()
        rescue.join()
        thaw()  # which fails where the rescue was needed
