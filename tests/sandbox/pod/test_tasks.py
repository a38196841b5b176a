"""Work that ends with what it belongs to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from sandbox.pod import threads
from sandbox.pod.tasks import Interrupted, Tasks, any_of, in_thread, unless, whole


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


# ---- threads ----


def test_what_a_thread_does_comes_back_result_or_error() -> None:
    async def scene() -> None:
        assert await in_thread(int, "7") == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await in_thread(int, "x")

    asyncio.run(scene())


@pytest.mark.parametrize("fails", [False, True])
def test_a_thread_that_is_given_up_is_waited_for_and_its_result_undone(fails: bool) -> None:
    go_on, undone = threading.Event(), []

    def work() -> str:
        go_on.wait()
        if fails:
            raise OSError("no")
        return "made"

    async def scene() -> None:
        task = asyncio.create_task(in_thread(work, undo=undone.append))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert undone == ([] if fails else ["made"])

    asyncio.run(scene())


def test_what_is_to_be_whole_is_done_to_its_end_before_the_cancellation_passes() -> None:
    async def scene() -> None:
        go_on, steps = asyncio.Event(), []

        async def work() -> None:
            await go_on.wait()
            steps.append("done")

        task = asyncio.create_task(whole(work()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["done"]

    asyncio.run(scene())


def test_threads_work_until_the_program_has_ended_and_not_only_its_main_thread() -> None:
    script = """
import asyncio, threading, concurrent.futures.thread
from sandbox.pod.tasks import in_thread
async def scene():
    print(await in_thread(max, 1, 2), flush=True)
    await in_thread(threading.main_thread().join)
    print(await in_thread(max, 3, 4), flush=True)
threading.Thread(target=lambda: asyncio.run(scene())).start()
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("2\n4\n", "")


def test_threads_that_have_done_their_work_do_the_next() -> None:
    async def scene() -> None:
        assert len({await in_thread(threading.get_ident) for _ in range(100)}) < 10

    asyncio.run(scene())


def test_as_many_threads_work_at_once_as_wait_for_each_other() -> None:
    async def scene() -> None:
        together = threading.Barrier(50)
        assert sorted(await asyncio.gather(*(in_thread(together.wait, 60) for _ in range(50)))) == list(range(50))

    asyncio.run(scene())


def test_a_thread_ends_after_a_rest_and_loses_nothing_that_comes_just_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "REST", 0.0)
    workers: set[threading.Thread] = set()

    async def scene() -> None:
        for number in range(500):
            workers.add(await in_thread(threading.current_thread))
            assert await in_thread(int, number) == number

    asyncio.run(scene())
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()


def test_a_forked_child_has_threads_of_its_own() -> None:
    script = """
import asyncio, os, sys
from sandbox.pod.tasks import in_thread
async def scene():
    return await in_thread(max, 1, 2)
asyncio.run(scene())
if os.fork() == 0:
    print(asyncio.run(scene()), flush=True)
    os._exit(0)
os.wait()
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("2\n", "")
