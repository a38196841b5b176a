"""A fake of the engine's client, and the command line with it in place of the real one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from sandbox.errors import AlreadyExists, NotFound, SandboxError, WrongState
from sandbox.front import cli, verbs
from sandbox.front.arguments import filled, parse
from sandbox.pod.requests import Applied
from sandbox.status import ChangeType, ClaimStatus, PodChange, PodStatus

T = TypeVar("T")

NOTHING_APPLIED = Applied((), ())


class FakeEnd:
    """The end of an instance of a container, which comes when the test says so."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._readable, self._writable = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.come()  # so that no thread of a test outlives it

    def fileno(self) -> int:
        return self._readable

    def finished(self) -> bool:
        return self._ended.is_set()

    def come(self) -> None:
        self._ended.set()
        os.write(self._writable, b".")


@dataclass
class FakeWatch:
    """What becomes of pods; after that time is up, or, where there is no end, somebody presses Ctrl-C."""

    batches: Sequence[list[PodChange]]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def until(self, deadline: float | None = None) -> Iterator[list[PodChange]]:
        yield from self.batches
        if deadline is None:
            raise KeyboardInterrupt


@dataclass
class FakeClient:
    """Has pods, forgets those that are deleted, and keeps what it was asked for."""

    statuses: Sequence[PodStatus] = ()
    node_name: str = "here"
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    ends: dict[str, FakeEnd] = field(default_factory=dict)
    lingering: frozenset[str] = frozenset()  # UIDs of pods that do not go
    known_claims: tuple[ClaimStatus, ...] = ()
    changes: Sequence[Sequence[PodChange]] = ()  # what becomes of them, for who watches
    applied: Applied | SandboxError = NOTHING_APPLIED  # what comes of manifests
    taken: frozenset[str] = frozenset()  # UIDs of pods whose names somebody else is quicker to take
    closed: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def pods(self) -> tuple[PodStatus, ...]:
        self.calls.append(("pods",))
        return tuple(self.statuses)

    def watch_pods(self, namespace: str | None = None, name: str | None = None) -> FakeWatch:
        self.calls.append(("watch_pods", namespace, name))
        there = [PodChange(ChangeType.ADDED, each) for each in self.statuses]
        wanted = [
            [
                each
                for each in batch
                if namespace in (None, each.status.pod.namespace) and name in (None, each.status.pod.name)
            ]
            for batch in (there, *self.changes)
        ]
        return FakeWatch(wanted)

    def apply(
        self, pods: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]], *, dry_run: bool = False
    ) -> Applied:
        self.calls.append(("apply", len(pods), len(claims), dry_run))
        if isinstance(self.applied, SandboxError):
            raise self.applied
        return self.applied

    def create_pod(self, uid: str, manifest: Mapping[str, Any]) -> None:
        self.calls.append(("create_pod", uid, manifest["metadata"]["name"]))
        if uid in self.taken:
            raise AlreadyExists("pods", manifest["metadata"]["name"])

    def delete(self, namespace: str, name: str, *, grace: int | None, force: bool) -> str:
        self.calls.append(("delete", namespace, name, grace, force))
        found = [each for each in self.statuses if (each.pod.namespace, each.pod.name) == (namespace, name)]
        if not found:
            raise NotFound("pods", name)
        self.statuses = [each for each in self.statuses if each is not found[0]]
        return found[0].uid

    def wait_removed(self, uid: str, timeout: float | None) -> bool:
        self.calls.append(("wait", uid, timeout))
        return uid not in self.lingering

    def ended(self, uid: str, container: str, instance: int) -> FakeEnd:
        self.calls.append(("ended", uid, container, instance))
        return self.ends.setdefault(container, FakeEnd())

    def target(self, namespace: str, name: str, container: str) -> object:
        return (namespace, name, container)

    def claims(self) -> tuple[ClaimStatus, ...]:
        return self.known_claims

    def create_claim(self, manifest: Mapping[str, Any]) -> None:
        if manifest["metadata"]["name"] in {each.claim.name for each in self.known_claims}:
            raise AlreadyExists("persistentvolumeclaims", manifest["metadata"]["name"])
        self.calls.append(("create_claim", manifest))

    def remove_claim(self, namespace: str, name: str) -> None:
        known = {(each.claim.namespace, each.claim.name): each for each in self.known_claims}
        if (namespace, name) not in known:
            raise NotFound("persistentvolumeclaims", name)
        if known[namespace, name].used_by:
            raise WrongState("it is in use", current="in use", wanted="unused", hint="delete it")
        self.calls.append(("remove_claim", namespace, name))

    def stop(self, *, now: bool) -> None:
        self.calls.append(("stop", now))


def request(kind: type[T], *words: str) -> T:
    """The request that a command line makes."""
    _, options = parse(words, program="seedpod", about="", top=(), verbs=verbs.VERBS)
    return filled(kind, options)


@dataclass
class CommandLine:
    """`seedpod WORDS`, in this process, with a fake client."""

    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    root: str

    def __call__(self, client: FakeClient | Iterable[PodStatus], *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        fake = client if isinstance(client, FakeClient) else FakeClient(tuple(client))
        self.patch.setattr(verbs, "connect", lambda options, start=True: fake)
        self.capture.readouterr()
        code = cli.main(["--root", self.root, *words])
        captured = self.capture.readouterr()
        return code, captured.out, captured.err
