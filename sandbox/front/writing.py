"""Writes bytes to our own stdout and stderr, past Python's buffers, for those who carry what containers wrote."""

from __future__ import annotations

import os
import select


def write_all(target: int, data: bytes | bytearray) -> None:
    """Write all of it to the fd.  Raises OSError: BrokenPipeError where nobody reads any more, or another."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:  # whoever gave us this fd made it so; it is not ours to change
            select.select([], [target], [])
