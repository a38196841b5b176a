"""What becomes of an engine's pods, told as it happens: those that are there, those that come, each change, their end.

A pod has a task of its own that waits for its changes, for as long as somebody watches.  A client that reads too slowly
holds those up, and then hears of several changes of a pod as one; its end it always hears of, and how that came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from sandbox.pod.requests import PodNews, PodNow
from sandbox.pod.state import PodRecord, PodState
from sandbox.pod.tasks import Tasks
from sandbox.status import PodStatus

BACKLOG = 100  # changes that are kept for a client which is still to take those before


class Watched(Protocol):
    """What a pod's worker has."""

    record: PodRecord
    removed: bool

    @property
    def state(self) -> PodState: ...

    @property
    def changed(self) -> asyncio.Event: ...

    def status(self) -> PodStatus: ...


class Watchable(Protocol):
    """What an engine has."""

    more: asyncio.Event

    def named(self) -> Sequence[Watched]: ...


async def news(engine: Watchable, wanted: Callable[[PodRecord], bool]) -> AsyncGenerator[PodNews, None]:
    """The pods that are wanted, all at once, and then what becomes of them and of others to come; it does not end."""
    queue: asyncio.Queue[PodNow] = asyncio.Queue(BACKLOG)
    followed: set[str] = set()
    tasks = Tasks()

    def begin(*, whole: bool) -> list[PodNow]:
        fresh = [each for each in engine.named() if wanted(each.record) and each.record.uid not in followed]
        followed.update(each.record.uid for each in fresh)
        told = {each.record.uid: each.status() for each in fresh if whole}
        for each in fresh:
            tasks.start(_follow(each, told.get(each.record.uid), queue))
        return [PodNow(uid, status) for uid, status in told.items()]

    async def follow_others() -> None:
        while True:
            more = engine.more
            begin(whole=False)
            await more.wait()

    try:
        there = begin(whole=True)
        tasks.start(follow_others())
        yield PodNews(whole=True, pods=tuple(there))
        while True:
            pods = [await queue.get()]
            while not queue.empty():
                pods.append(queue.get_nowait())
            yield PodNews(whole=False, pods=tuple(pods))
    finally:
        await tasks.end()


async def _follow(worker: Watched, told: PodStatus | None, queue: asyncio.Queue[PodNow]) -> None:
    """Put each status of the pod that differs from the one `told` last, and None at its end.

    That is when nothing of it is left, or its deletion was forced (SEMANTICS A40).  How it came to its end is told
    before, even if nobody looked in between (SEMANTICS A38).
    """
    uid = worker.record.uid
    while not _is_gone(worker):
        changed, status = worker.changed, worker.status()
        if status != told:
            told = status
            await queue.put(PodNow(uid, status))
        else:
            await changed.wait()
    last = worker.status()
    if worker.removed and last.over and not (told and told.over):
        await queue.put(PodNow(uid, last))
    await queue.put(PodNow(uid, None))


def _is_gone(worker: Watched) -> bool:
    deletion = worker.state.deletion
    return worker.removed or (deletion is not None and deletion.forced)
