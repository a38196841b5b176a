"""What pods do and say, as they do and say it: their statuses as they change, and their logs across restarts.

Each log has a thread of its own: a pager that stands still holds up what is passed on to it, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.front.output import Lines
from sandbox.pod.attempts import has_ended
from sandbox.pod.client import Client
from sandbox.pod.logs import Options, read
from sandbox.pod.pacing import Pace
from sandbox.status import CREATING, INITIALIZING, PodStatus, Waiting

_MAKING = (CREATING, INITIALIZING)  # reasons of an instance that is still to run its program


def is_over(status: PodStatus | None) -> bool:
    """Whether nothing of the pod will run any more."""
    return status is None or status.over


class View:
    """The newest statuses of some pods, kept by a thread; `changed` is called from there with each change."""

    def __init__(self, client: Client, uids: Sequence[str], changed: Callable[[], None]) -> None:
        self._uids = list(uids)
        self._tell = changed
        self._news = threading.Condition()
        self._wakes: set[int] = set()
        self.statuses: dict[str, PodStatus | None] = {}
        self.failure: SandboxError | OSError | None = None  # no statuses come any more
        self._watch = client.watch(self._uids)
        self._take(self._watch.next())
        self._thread = threading.Thread(target=self._keep, name="view", daemon=True)
        self._thread.start()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self._thread.join()

    def _keep(self) -> None:
        try:
            with self._watch as watch:
                for statuses in watch.until():
                    self._take(statuses)
        except (SandboxError, OSError) as error:
            self.failure = error
            self._tell()

    def _take(self, statuses: Sequence[PodStatus | None]) -> None:
        with self._news:
            self.statuses = dict(zip(self._uids, statuses, strict=True))
            self._news.notify_all()
            for wake in self._wakes:
                os.eventfd_write(wake, 1)
        self._tell()

    @contextmanager
    def wake(self) -> Iterator[int]:
        """An fd that becomes readable with each change; whoever reads it empties it."""
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with self._news:
            self._wakes.add(fd)
        try:
            yield fd
        finally:
            with self._news:
                self._wakes.remove(fd)
            os.close(fd)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds, asking again with each change."""
        with self._news:
            while not holds():
                self._news.wait()


class Follower:
    """Passes on all that one container writes, from its first instance to the end of its pod."""

    def __init__(
        self,
        view: View,
        uid: str,
        container: str,
        *,
        logs: Path,
        lines: Lines,
        hold: Callable[[], AbstractContextManager[Pace]],
        lost: Callable[[], None],
    ) -> None:
        """`logs` is the container's directory of logs, which go to `lines`; `hold` begins to hold the container to our
        pace, and raises SandboxError or OSError where it does not run any more; `lost` is told where lines were lost
        all the same, before that."""
        self._view = view
        self._uid = uid
        self._container = container
        self._logs = logs
        self._lines = lines
        self._hold = hold
        self._lost = lost

    def follow(self) -> None:
        """Returns when the pod is over and everything was passed on."""
        instance = 0
        # FileNotFoundError: the pod was removed by somebody else.
        with contextlib.suppress(FileNotFoundError), self._view.wake() as wake:
            while self._begins(instance) and self._read(instance, wake):
                instance += 1

    def _begins(self, instance: int) -> bool:
        """Wait until there is such an instance; False where there never will be."""
        self._view.until(lambda: self._has(instance) or is_over(self._status()))
        return self._has(instance)

    def _read(self, instance: int, wake: int) -> bool:
        with ExitStack() as stack:
            pace = self._held(stack, instance)

            def ended() -> bool:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(wake)
                status = self._status()
                return status is None or has_ended(status, self._container, instance)

            def caught_up() -> None:
                self._lines.flush()
                if pace is not None:
                    pace.go_on()

            entries = read(
                self._logs,
                instance,
                Options(follow=True),
                finished=ended,
                wake=wake,
                caught_up=caught_up,
                lost=self._lost,
            )
            return all(map(self._lines.add, entries)) and self._lines.flush()

    def _held(self, stack: ExitStack, instance: int) -> Pace | None:
        """Hold the container before the first look at its log; None where it has ended: there is all that it wrote."""
        self._view.until(lambda: not self._waits(instance))
        with contextlib.suppress(SandboxError, OSError):
            return stack.enter_context(self._hold())
        return None

    def _waits(self, instance: int) -> bool:
        """Whether the instance is still to run its program."""
        status = self._status()
        if status is None or is_over(status):
            return False
        known = next(each for each in status.all_containers if each.name == self._container)
        return isinstance(known.state, Waiting) and known.restart_count == instance and known.state.reason in _MAKING

    def _status(self) -> PodStatus | None:
        return self._view.statuses[self._uid]

    def _has(self, instance: int) -> bool:
        status = self._status()
        if status is None:
            return False
        known = next(each for each in status.all_containers if each.name == self._container)
        return bool(known.container_id) and known.restart_count >= instance
