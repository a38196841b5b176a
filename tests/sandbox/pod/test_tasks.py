"""Work that ends with what it belongs to."""

from __future__ import annotations

import asyncio

import pytest

from sandbox.pod.tasks import Interrupted, Tasks, any_of, unless


class Work:
    """Goes on until it is told to finish; notes whether it was undone."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()
        self.undone = False

    async def do(self) -> str:
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # undoing takes its time
            self.undone = True
            raise
        return "done"


def test_work_that_nothing_interrupts_has_its_result() -> None:
    async def scene() -> None:
        work = Work()
        work.finish.set()
        assert await unless(asyncio.Event(), work.do()) == "done"

    asyncio.run(scene())


def test_work_is_undone_before_the_interruption_is_told() -> None:
    async def scene() -> None:
        work, event = Work(), asyncio.Event()
        asyncio.get_running_loop().call_soon(event.set)
        with pytest.raises(Interrupted):
            await unless(event, work.do())
        assert work.undone

    asyncio.run(scene())


def test_work_that_is_done_when_the_event_comes_counts() -> None:
    async def scene() -> None:
        work, event = Work(), asyncio.Event()
        work.finish.set()
        event.set()
        assert await unless(event, work.do()) == "done"

    asyncio.run(scene())


def test_an_error_of_the_work_is_told() -> None:
    async def scene() -> None:
        async def fails() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await unless(asyncio.Event(), fails())

    asyncio.run(scene())


def test_whoever_waits_may_be_cancelled_and_the_work_is_undone_then_too() -> None:
    async def scene() -> None:
        work = Work()
        waiting = asyncio.create_task(unless(asyncio.Event(), work.do()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert work.undone

    asyncio.run(scene())


def test_tasks_end_together() -> None:
    async def scene() -> None:
        tasks, works = Tasks(), [Work(), Work()]

        async def do(work: Work) -> None:
            await work.do()

        for work in works:
            tasks.start(do(work))
        await asyncio.sleep(0)
        await tasks.end()
        assert all(work.undone for work in works)
        await tasks.end()

    asyncio.run(scene())


def test_one_of_several_events_is_enough() -> None:
    async def scene() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().call_soon(second.set)
        await any_of(first, second)

    asyncio.run(scene())
