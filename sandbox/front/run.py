"""`seedpod run FILE`: pods in the foreground, from their creation to their removal, or with `-d` left running."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from sandbox.errors import KernelError, SandboxError
from sandbox.front import files, signals
from sandbox.front.errors import print_error, print_warning
from sandbox.front.follow import Follower, View, is_over
from sandbox.front.outcome import exit_code, has_begun
from sandbox.front.output import Lines, Output
from sandbox.linux import host
from sandbox.model import Container, Pod
from sandbox.pod.client import Client, Created
from sandbox.pod.pacing import Pace, held
from sandbox.pod.paths import log_directory
from sandbox.status import (
    OOM_SCORE_NOT_SET,
    REQUESTS_NOT_ENFORCED,
    Event,
    PodStatus,
    Terminated,
    Waiting,
)

LOST = "output was rotated away before it could be passed on"
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

News = queue.SimpleQueue[int | OSError | None]  # a signal, a failure of our output, or something else to look at


def run(root: Path, file: str, *, keep: bool = False) -> int:
    """Run the pods of a manifest until their end, and remove them unless they are to be kept.  The verb's exit code."""
    from sandbox.pod import hosting  # with asyncio and the engine: `run -d` does without

    contents = files.contents(file)
    host.require_privileges()
    news: News = queue.SimpleQueue()
    # Before there is any other thread, and until there is none any more.
    with signals.taken(INTERRUPTS, _Patience(news)), hosting.engine(root, print_warning) as client:
        return _Run(client, root, contents, keep, news).main()


class _Patience:
    """Passes interrupts on as news; the third ends us where we are, whatever we wait for: the next engine sees to the
    pods."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._count = 0

    def __call__(self, number: int) -> None:
        self._count += 1
        if self._count > 2:
            os._exit(128 + number)
        self._news.put(number)


def run_detached(root: Path, file: str, *, wait: timedelta | None = None) -> int:
    """Make the pods of a manifest and return when their containers have started; with `wait` when they are ready, or
    after so long."""
    contents = files.contents(file)
    host.require_privileges()
    with Client(root) as client:
        created = _create(client, contents)
        for (claim, _), word in zip(contents.claims, created.claims, strict=True):
            print(f"persistentvolumeclaim/{claim.name} {word}", flush=True)
        try:
            _wait_begun(client, created.uids)
        except SandboxError:
            _remove(client, created.uids)
            raise
        for pod, _ in contents.pods:
            print(f"pod/{pod.name} created", flush=True)
        if wait is not None:
            _wait_ready(client, [pod for pod, _ in contents.pods], created.uids, wait.total_seconds())
    return 0


def _create(client: Client, contents: files.Contents) -> Created:
    pods, claims = ([document for _, document in each] for each in (contents.pods, contents.claims))
    return client.create_all(pods, claims)


def _wait_begun(client: Client, uids: Sequence[str]) -> None:
    told = _Told()
    with client.watch(uids) as watch:
        for statuses in watch.until():
            told.tell(statuses)
            if all(status is None or has_begun(status) for status in statuses):
                return


def _wait_ready(client: Client, pods: Sequence[Pod], uids: Sequence[str], seconds: float) -> None:
    """Raises SandboxError where one is not ready in time, or never will be."""
    with client.watch(uids) as watch:
        late: list[str] = []
        for statuses in watch.until(time.monotonic() + seconds):
            late = [pod.name for pod, each in zip(pods, statuses, strict=True) if not (each and each.ready)]
            if not late:
                return
            if all(is_over(each) for each in statuses):
                raise SandboxError(f"pods/{late[0]} has ended and will not be ready")
    raise SandboxError(f"timed out waiting for the condition on pods/{late[0]}")


def _remove(client: Client, uids: Sequence[str]) -> None:
    """Whatever state they are in: what is still there is killed."""
    for uid in uids:
        client.delete_uid(uid, grace=0, force=True, at_once=True)
    for uid in uids:
        client.wait_removed(uid, None)


@contextlib.contextmanager
def _hold(root: Path, pod: Pod, container: str) -> Iterator[Pace]:
    """Hold a container to our pace: our stdout is its, and a pager that stands still stops it, as a pipe would."""
    with Client(root) as client:
        target = client.target(pod.namespace, pod.name, container)
    with held(target.directory, target.number) as pace:
        yield pace


class _Told:
    """Tells on stderr, once, what went wrong with pods."""

    def __init__(self) -> None:
        self._ends: set[str] = set()
        self._hindrances: set[tuple[str, str, Waiting]] = set()
        self._events: set[tuple[str, Event]] = set()

    def tell(self, statuses: Sequence[PodStatus | None]) -> None:
        """Raises SandboxError for a pod that could not be made at all."""
        for status in filter(None, statuses):
            _refuse_unmade(status)
            for container, end in _failed_starts(status):
                if end.container_id not in self._ends:
                    self._ends.add(end.container_id)
                    subject = f'pod "{status.pod.name}", container "{container}": '
                    print_error(SandboxError(end.message, hint=end.hint or None), subject=subject)
            for each in status.all_containers:
                if each.hindrance and (status.uid, each.name, each.hindrance) not in self._hindrances:
                    self._hindrances.add((status.uid, each.name, each.hindrance))
                    _tell_hindrance(status, each.name, each.hindrance)
            for event in status.events:
                if event.warning and not event.container and (status.uid, event) not in self._events:
                    self._events.add((status.uid, event))
                    said = f'pod "{status.pod.name}": {event.message}'
                    if event.reason in (OOM_SCORE_NOT_SET, REQUESTS_NOT_ENFORCED):
                        print_warning(said)
                    else:
                        print_error(SandboxError(said))


def _tell_hindrance(status: PodStatus, container: str, state: Waiting) -> None:
    """It is tried again and again, as kubelet does: whoever waits for `run` has to know what for."""
    subject = f'pod "{status.pod.name}", container "{container}": '
    print_error(SandboxError(f"{state.reason}: {state.message}", hint=state.hint or None), subject=subject)


def _refuse_unmade(status: PodStatus) -> None:
    """An engine tries again and again to make a sandbox, as kubelet does; who waits for `run` is told of the first."""
    for event in status.events:
        if event.reason == "FailedCreatePodSandBox" and status.start_time is None:
            raise SandboxError(f'pod "{status.pod.name}": {event.message}')


def _failed_starts(status: PodStatus) -> Iterator[tuple[str, Terminated]]:
    for each in status.all_containers:
        for end in (each.last_state, each.state):
            if isinstance(end, Terminated) and end.reason == "StartError":
                yield each.name, end


class _Run:
    """One run: its pods, and the signals that interrupt it.

    The first TERM, INT or HUP ends the pods gracefully, the second at once; then nobody waits for our stdout either.
    """

    def __init__(self, client: Client, root: Path, contents: files.Contents, keep: bool, news: News) -> None:
        self._client = client
        self._root = root
        self._pods = [pod for pod, _ in contents.pods]
        self._contents = contents
        self._keep = keep
        self._uids: list[str] = []
        self._news = news
        self._signals: list[int] = []
        self._failure: OSError | None = None
        self._followers: list[threading.Thread] = []
        self._told = _Told()

    def main(self) -> int:
        self._uids = _create(self._client, self._contents).uids
        if not self._uids:  # claims alone: there is nobody to wait for
            return 0
        try:
            with View(self._client, self._uids, lambda: self._news.put(None)) as view:
                self._follow(view)
                self._wait(view)
                code = self._exit_code(view)
        finally:
            if not self._keep or self._signals:
                _remove(self._client, self._uids)
        if self._failure:
            raise KernelError(self._failure.errno or 0, step="pass on the containers' output")
        return code

    # ---- what happens meanwhile ----

    def _follow(self, view: View) -> None:
        output = Output(self._news.put)
        for pod, uid in zip(self._pods, self._uids, strict=True):
            for container in pod.all_containers:
                lines = Lines(output, self._prefix(pod, container))
                logs = log_directory(
                    self._root, namespace=pod.namespace, name=pod.name, uid=uid, container=container.name
                )
                hold = functools.partial(_hold, self._root, pod, container.name)
                what = f'pod "{pod.name}", container "{container.name}": {LOST}'
                lost = functools.partial(print_warning, what)
                follower = Follower(view, uid, container.name, logs=logs, lines=lines, hold=hold, lost=lost)
                thread = threading.Thread(target=self._follow_one, args=(follower,), daemon=True)
                self._followers.append(thread)
                thread.start()

    def _follow_one(self, follower: Follower) -> None:
        try:
            follower.follow()
        except OSError as error:  # a log cannot be read, or no fd is left for it
            self._news.put(error)
        self._news.put(None)

    def _wait(self, view: View) -> None:
        """Until all pods are over and all output was passed on, or until a second interrupt."""
        while len(self._signals) < 2:
            if view.failure:
                raise view.failure
            self._told.tell(list(view.statuses.values()))
            if all(map(is_over, view.statuses.values())) and not any(each.is_alive() for each in self._followers):
                return
            news = self._news.get()
            if isinstance(news, OSError):
                self._output_failed(news)
            elif news is not None:
                self._interrupted(news)

    def _interrupted(self, number: int) -> None:
        self._signals.append(number)
        for uid in self._uids:
            self._client.delete_uid(uid, hold=True, at_once=len(self._signals) > 1)

    def _output_failed(self, error: OSError) -> None:
        """Our output goes nowhere any more: what the pods do is for nobody."""
        if self._signals or self._failure:
            return
        if isinstance(error, BrokenPipeError):
            self._interrupted(signal.SIGPIPE)
        else:
            self._failure = error
            for uid in self._uids:
                self._client.delete_uid(uid, hold=True)

    def _prefix(self, pod: Pod, container: Container) -> str:
        if len(self._pods) > 1:
            return f"{pod.name}/{container.name} | "
        return f"{container.name} | " if len(pod.all_containers) > 1 else ""

    def _exit_code(self, view: View) -> int:
        if self._signals:
            return 128 + self._signals[0]
        return exit_code(filter(None, view.statuses.values()))
