"""Scenes with an engine and real pods, without a socket: each engine adopts what the one before left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sandbox.pod.engine import Engine
from sandbox.pod.state import PodState
from sandbox.pod.worker import Worker

Scene = Callable[[Engine], Awaitable[None]]


def play(root: Path, scene: Scene) -> None:
    async def stage() -> None:
        warnings: list[str] = []
        engine = Engine(root, warnings.append)
        await engine.start()
        try:
            await scene(engine)
        finally:
            await engine.close()
        assert warnings == []

    asyncio.run(asyncio.wait_for(stage(), 60))


async def until(worker: Worker, holds: Callable[[PodState], Any]) -> None:
    while not holds(worker.state):
        await worker.changed.wait()


async def removed(engine: Engine, uid: str) -> None:
    engine.delete(uid, grace=0, at_once=True)
    while engine.count:
        await engine.fewer.wait()
