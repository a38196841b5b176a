"""The state of one pod, in memory and on disk, and whoever waits for it to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from sandbox.pod.state import PodRecord, PodState
from sandbox.pod.store import Store
from sandbox.pod.tasks import in_thread


def now() -> datetime:
    return datetime.now(UTC)


class Notebook:
    """Every change of a pod's state goes through here; `state` is the newest, and None of it is ever half there.

    `noted` is set with every change, for the one who decides what follows; `saved` says whether the disk has it too.
    """

    def __init__(self, record: PodRecord, state: PodState, store: Store, warn: Callable[[str], None]) -> None:
        self.record = record
        self.state = state
        self.saved = True
        self._closed = False
        self._kept: PodState | None = None  # the newest state that outlives a power cut
        self._keeping = asyncio.Lock()
        self.noted = asyncio.Event()
        self._store = store
        self._warn = warn
        self.changed = asyncio.Event()  # set with the next change, and then replaced: take it before you look
        self._due = False  # what is noted is not on disk yet, and will be

    def write(self, state: PodState) -> None:
        """Note a step before it is taken.  Raises OSError: then it must not be taken."""
        self._store.save(self.record.uid, state)
        self.saved, self._due = True, False
        self.become(state)

    def note(self, state: PodState) -> None:
        """Note what has happened.  A disk that takes nothing now is told of, and tried again with the next step."""
        self._save(state)
        self.become(state)

    def note_soon(self, state: PodState) -> None:
        """As `note`, for what podmon tells a next engine, too: it goes to disk with what is noted next, or else once
        the loop comes to it, which is before anybody who waits for a change is told."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._save_due)
        self.become(state)

    def _save_due(self) -> None:
        if self._due:
            self._save(self.state)

    def _save(self, state: PodState) -> None:
        self._due = False
        try:
            if not self._closed:
                self._store.save(self.record.uid, state)
            self.saved = True
        except OSError as error:
            if self.saved:
                self._warn(f"{self.called}: its state cannot be written: {error}")
            self.saved = False

    async def keep(self) -> None:
        """Have what is noted by now outlive a power cut.  A disk that takes nothing is told of."""
        async with self._keeping:
            state = self.state
            if self._closed or state is self._kept:
                return
            try:
                await in_thread(self._store.keep, self.record.uid, state)
                self._kept = state
            except OSError as error:
                self._warn(f"{self.called}: its state cannot be synced: {error}")

    async def close(self) -> None:
        """The pod is being removed from disk: what is noted from now on stays in memory."""
        async with self._keeping:
            self._closed = True

    def tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Note an event of the pod as a whole."""
        self.note(self.state.with_event(now(), reason, message, warning=warning))

    def become(self, state: PodState) -> None:
        """Change in memory alone: nothing of the pod is on disk any more."""
        self.state = state
        self.noted.set()
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def called(self) -> str:
        """The pod as messages name it."""
        return f"pod {self.record.namespace}/{self.record.name}"
