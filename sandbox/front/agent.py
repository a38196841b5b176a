"""`seedpod agent stop`: ask the engine of this root to end; its pods go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from sandbox.errors import NotFound
from sandbox.front.client import Client


def stop(connect: Callable[[], AbstractContextManager[Client]], *, now: bool) -> int:
    """The exit code of the verb, 0 too where there is no engine: `connect` says so with NotFound, and starts none."""
    try:
        with connect() as client:
            client.stop(now=now)
    except NotFound as error:
        if error.kind != "agent":
            raise
        print("no engine is running")
    else:
        print("engine stopped")
    return 0
