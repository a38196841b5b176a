"""The other end of an engine's socket, for programs: every verb that needs an engine goes through here.

Whichever engine that is: where none is up one is started in the background, and where one ends in the middle, what was
asked for is asked of the next.  Synchronous and light to import, as sandbox.pod.connection is.
"""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from sandbox.errors import SandboxError
from sandbox.pod import requests
from sandbox.pod.attempts import has_ended
from sandbox.pod.connection import Connection, EngineEnded, connect, connect_or_start
from sandbox.pod.paths import LOG_FILE
from sandbox.pod.requests import Applied, PodNews, PodNow, Request
from sandbox.status import ChangeType, ClaimStatus, PodChange, PodStatus

if TYPE_CHECKING:
    from sandbox.pod.joining import Target

TRIES = 5  # engines that may end before they have answered

Statuses = tuple[requests.Status, ...]
T = TypeVar("T")


def _patiently(root: Path, ask: Callable[[], T], again: Callable[[], None] = lambda: None) -> T:
    """`ask`, and where the engine ends before it has answered, `again` and ask the next one."""
    for _ in range(TRIES):
        try:
            return ask()
        except EngineEnded:
            with contextlib.suppress(EngineEnded):
                again()
    raise SandboxError(f"the engine of {root} ends again and again", hint=f"see {root / LOG_FILE}")


class Created(NamedTuple):
    """What came of a request: the UIDs of its pods, and of each claim whether it was created, configured, unchanged."""

    uids: list[str]
    claims: list[str]


class Client:
    """What an engine can be asked for, whichever engine that is; a context manager.

    `start`: where none is up, start one in the background; else NotFound is raised then.
    """

    def __init__(self, root: Path, *, start: bool = True) -> None:
        self._root = root
        self._connect = connect_or_start if start else connect
        self._connection: Connection = _patiently(root, lambda: self._connect(root))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _reconnect(self) -> None:
        self._connection.become(self._connect(self._root))

    def ask(self, request: Request[T]) -> T:
        """Ask for something that may be asked for twice."""
        answer = _patiently(
            self._root, lambda: self._connection.ask(request.verb, **request.arguments), self._reconnect
        )
        return request.read(answer)

    @property
    def node_name(self) -> str:
        return self._connection.node_name

    @property
    def engine_pid(self) -> int:
        """The engine's process number."""
        return self._connection.pid

    # ---- what can be asked for ----

    def create(self, manifests: Sequence[Mapping[str, Any]]) -> list[str]:
        """Make the pods of these v1 manifests, all or none; their UIDs.  They are started after this returns."""
        return self.create_all(manifests, ()).uids

    def create_all(self, pods: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]]) -> Created:
        """As `create`, with claims that pods may name: made, or updated where they are there."""
        wanted = [(str(uuid.uuid4()), manifest) for manifest in pods]
        words = self.ask(requests.create(wanted, claims))
        return Created([uid for uid, _ in wanted], words)

    def apply(
        self, pods: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]], *, dry_run: bool = False
    ) -> Applied:
        """Have there be what these v1 manifests say, all or none.  Returns at once: a pod that has another before it is
        for `create_pod`, once that is gone."""
        wanted = [(str(uuid.uuid4()), manifest) for manifest in pods]
        return self.ask(requests.apply(wanted, claims, dry_run=dry_run))

    def create_pod(self, uid: str, manifest: Mapping[str, Any]) -> None:
        """Make one pod, with this UID.  Raises AlreadyExists."""
        self.ask(requests.create([(uid, manifest)]))

    # ---- claims ----

    def create_claim(self, manifest: Mapping[str, Any]) -> None:
        """Make a claim of this v1 manifest.  Raises AlreadyExists."""
        self.ask(requests.create_claim(str(uuid.uuid4()), manifest))

    def claims(self) -> tuple[ClaimStatus, ...]:
        """All claims, by namespace and name."""
        return self.ask(requests.claims())

    def remove_claim(self, namespace: str, name: str) -> None:
        """Remove a claim and its data, and wait for it.  Raises NotFound, and WrongState where a pod uses it."""
        self.ask(requests.remove_claim(self.ask(requests.find_claim(namespace, name))))

    # ---- pods ----

    def pods(self) -> tuple[PodStatus, ...]:
        """All pods, by namespace and name."""
        return self.ask(requests.pods())

    def find(self, namespace: str, name: str) -> str:
        """The UID of the pod of this name.  Raises NotFound."""
        return self.ask(requests.find(namespace, name))

    def delete(self, namespace: str, name: str, *, grace: int | None = None, force: bool = False) -> str:
        """Have a pod ended and removed; its UID.  Returns at once.  Raises NotFound.

        `grace` is in seconds, None is the pod's own; `force` frees its name at once (SEMANTICS A39, A40).
        """
        uid = self.find(namespace, name)
        self.delete_uid(uid, grace=grace, force=force)
        return uid

    def delete_uid(
        self, uid: str, *, grace: int | None = None, force: bool = False, hold: bool = False, at_once: bool = False
    ) -> None:
        """As `delete`; a pod that is gone is fine.  `hold` keeps its files until it is deleted once more, `at_once`
        kills without TERM."""
        self.ask(requests.delete(uid, grace=grace, force=force, hold=hold, at_once=at_once))

    def target(self, namespace: str, name: str, container: str) -> Target:
        """What a program needs to join a running container.  Raises NotFound, WrongState."""
        found: Target = self.ask(requests.target(namespace, name, container))
        return found

    def stop(self, *, now: bool) -> None:
        """Have the engine end; pods keep running.  Without `now` it finishes deletions first.  Waits for its end."""
        with contextlib.suppress(EngineEnded):
            self._connection.ask("stop", now=now)
            self._connection.next_answer()  # none comes: it closes the connection when it has ended

    def watch(self, uids: Sequence[str]) -> Watch:
        """The statuses of these pods as they change; a connection of its own."""
        return Watch(self._root, uids)

    def watch_pods(self, namespace: str | None = None, name: str | None = None) -> PodsWatch:
        """What becomes of these pods, and of those that come; a connection of its own."""
        return PodsWatch(self._root, namespace, name)

    def wait_removed(self, uid: str, timeout: float | None) -> bool:
        """Wait until nothing of the pod is left; False after `timeout` seconds (None: for ever)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.watch([uid]) as watch:
            for statuses in watch.until(deadline):
                if statuses[0] is None:
                    return True
        return False

    def ended(self, uid: str, container: str, instance: int) -> Ended:
        """To wait for the end of one instance of a container, its restart count being `instance`."""
        return Ended(Watch(self._root, [uid]), container, instance)


class Stream(Generic[T]):
    """The answers of an engine to one request, now and with each change.

    Goes on with the next engine where one ends; `fileno` stays the same.
    """

    def __init__(self, root: Path, wanted: Request[T]) -> None:
        self._root = root
        self._wanted = wanted
        self._cancelled = False
        self._connection: Connection = _patiently(root, lambda: connect_or_start(root))
        self._first = _patiently(root, self._ask, self._reconnect)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def cancel(self) -> None:
        """Have a thread that waits in `next` or `until` come back from there; for another thread to call."""
        self._cancelled = True
        with contextlib.suppress(OSError):  # the engine has just ended
            self._connection.socket.shutdown(socket.SHUT_RDWR)

    def fileno(self) -> int:
        """Readable when there may be something new."""
        return self._connection.socket.fileno()

    def _ask(self) -> Any:
        return self._connection.ask(self._wanted.verb, **self._wanted.arguments)

    def _reconnect(self) -> None:
        self._connection.become(connect_or_start(self._root))

    def ready(self) -> bool:
        """Whether `next` has something without waiting."""
        return self._first is not None or self._connection.ready()

    def next(self) -> T:
        """The next answer; the first one is there at once.

        Raises TimeoutError (see `until`), and EngineEnded once it was cancelled.
        """
        answer, self._first = self._first, None
        if answer is None:
            if self._cancelled:
                raise EngineEnded
            try:
                answer = self._connection.next_answer()
            except EngineEnded:
                if self._cancelled:
                    raise
                with contextlib.suppress(EngineEnded):
                    self._reconnect()
                answer = _patiently(self._root, self._ask, self._reconnect)
        return self._wanted.read(answer)

    def _within(self, deadline: float | None) -> Iterator[T]:
        """All answers until it is cancelled, or time.monotonic() has reached `deadline`."""
        while True:
            seconds = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            self._connection.socket.settimeout(seconds)
            try:
                answer = self.next()
            except TimeoutError:
                return
            except EngineEnded:  # cancelled
                return
            finally:
                self._connection.socket.settimeout(None)
            yield answer


class Watch(Stream[Statuses]):
    """The statuses of some pods, now and with each change: None for one that is gone."""

    def __init__(self, root: Path, uids: Sequence[str]) -> None:
        super().__init__(root, requests.watch(uids))

    def until(self, deadline: float | None = None) -> Iterator[Statuses]:
        """All statuses until the last pod is gone, or time.monotonic() has reached `deadline`."""
        for statuses in self._within(deadline):
            yield statuses
            if not any(statuses):
                return


class PodsWatch(Stream[PodNews]):
    """What becomes of the pods of a namespace (None: of all), or of those of one name in it, one after the other."""

    def __init__(self, root: Path, namespace: str | None = None, name: str | None = None) -> None:
        super().__init__(root, requests.watch_pods(namespace, name))
        self._known: dict[str, PodStatus] = {}

    def until(self, deadline: float | None = None) -> Iterator[list[PodChange]]:
        """What has changed, until it is cancelled or time.monotonic() has reached `deadline`.

        The first are the pods that are there: ADDED, or none.  Nothing is told twice where an engine ends.
        """
        for news in self._within(deadline):
            gone = self._known.keys() - {each.uid for each in news.pods} if news.whole else set()
            now = [*(PodNow(uid, None) for uid in self._known if uid in gone), *news.pods]
            yield [change for each in now if (change := self._change(each))]

    def _change(self, now: PodNow) -> PodChange | None:
        before = self._known.pop(now.uid, None)
        if now.status is None:
            return PodChange(ChangeType.DELETED, before) if before else None
        self._known[now.uid] = now.status
        if before == now.status:
            return None
        return PodChange(ChangeType.MODIFIED if before else ChangeType.ADDED, now.status)


class Ended:
    """Whether one instance of a container has ended; a context manager.  `fileno` is readable when to ask again."""

    def __init__(self, watch: Watch, container: str, instance: int) -> None:
        self._watch = watch
        self._container = container
        self._instance = instance
        self._finished = False

    def __enter__(self) -> Ended:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.__exit__()

    def fileno(self) -> int:
        return self._watch.fileno()

    def finished(self) -> bool:
        """Does not wait.  True as well once the pod is gone."""
        while not self._finished and self._watch.ready():
            (status,) = self._watch.next()
            self._finished = status is None or has_ended(status, self._container, self._instance)
        return self._finished
