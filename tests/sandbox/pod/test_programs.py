"""A program that joins a container and is given up: it is gone when its caller hears of that."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from sandbox.errors import TimedOut
from sandbox.pod import programs
from sandbox.pod.child import Child
from sandbox.pod.container import ExecSpec
from sandbox.pod.podmon import Podmon
from tests.sandbox.pod.test_sandbox import ENV, Lab, bounded

pytestmark = pytest.mark.root

SLEEP = ExecSpec(("sleep", "600"), ENV)


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """podmon stops when it is asked to run a program; set once it was asked."""
    asked = asyncio.Event()
    ask = Podmon.execute

    async def execute(podmon: Podmon, *words: Any, **options: Any) -> Child:
        os.kill(podmon.pid, signal.SIGSTOP)
        child = await ask(podmon, *words, **options)
        asked.set()
        return child

    monkeypatch.setattr(Podmon, "execute", execute)
    return asked


def test_one_that_is_given_up_before_podmon_has_made_it_is_gone(lab: Lab, unanswered: asyncio.Event) -> None:
    async def scene() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec sleep 600")
            running = asyncio.create_task(container.run(SLEEP))
            await unanswered.wait()
            running.cancel()
            os.kill(container.podmon.pid, signal.SIGCONT)
            with pytest.raises(asyncio.CancelledError):
                await running
            assert container.scope.procs() == [container.child.pid]

    bounded(scene)


def test_a_podmon_that_does_not_answer_does_not_keep_who_gives_up(
    lab: Lab, unanswered: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(programs, "DEATH_TIMEOUT", 0.1)
        async with lab.box() as box:
            container = await lab.run(box, "exec sleep 600")
            running = asyncio.create_task(container.run(SLEEP))
            await unanswered.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            os.kill(container.podmon.pid, signal.SIGCONT)

    bounded(scene)


def test_one_that_has_had_its_time_is_gone_when_that_is_told(lab: Lab) -> None:
    async def scene() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec sleep 600")
            for _ in range(20):
                with pytest.raises(TimedOut):
                    await container.run(SLEEP, timeout=0.01)
                assert container.scope.procs() == [container.child.pid]

    bounded(scene)
