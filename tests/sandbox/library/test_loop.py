"""The loop of all that blocks: any thread may ask it, and what is interrupted is undone."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from sandbox.library.loop import Loop


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """One of our own; it has a thread that ends with the process."""
    return Loop()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_results_and_errors_come_back(loop: Loop) -> None:
    async def work(fails: bool) -> int:
        await asyncio.sleep(0)
        if fails:
            raise LookupError("no")
        return 1

    assert loop.run(work(False)) == 1
    with pytest.raises(LookupError, match="no"):
        loop.run(work(True))
    assert loop.call(threading.get_ident) != threading.get_ident()


def test_many_threads_ask_at_once(loop: Loop) -> None:
    all_there = loop.call(asyncio.Event)
    waiting: list[int] = []

    async def work(number: int) -> None:
        waiting.append(number)
        if len(waiting) == 8:
            all_there.set()
        await all_there.wait()

    threads = [threading.Thread(target=lambda number=number: loop.run(work(number))) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(waiting) == list(range(8))


def test_an_interrupt_cancels_the_work_and_waits_until_it_is_undone(loop: Loop) -> None:
    steps = []

    async def work() -> None:
        try:
            interrupt()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            steps.append("undone")
            raise

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert steps == ["undone"]


def test_what_was_done_when_the_interrupt_came_is_undone_too(loop: Loop) -> None:
    """The work does not heed its cancellation: it is as good as done."""
    undone = []

    async def work() -> str:
        interrupt()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "made"
        raise AssertionError

    async def undo(made: str) -> None:
        undone.append(made)

    with pytest.raises(KeyboardInterrupt):
        loop.run(work(), undo)
    assert undone == ["made"]


def test_a_second_interrupt_does_not_wait_for_the_undoing(loop: Loop) -> None:
    release = loop.call(asyncio.Event)
    undone = threading.Event()

    async def work() -> None:
        interrupt()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            interrupt()
            await release.wait()
            undone.set()
            raise

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert not undone.is_set()
    loop.call(release.set)
    assert undone.wait(60), "it goes on all the same"
