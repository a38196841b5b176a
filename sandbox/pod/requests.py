"""What an engine can be asked for, as values: one list for its clients, with asyncio and without.

Each may be asked twice: a client whose engine is killed in the middle simply asks the next.  What they mean is said in
sandbox.pod.engine.  Pure, and light to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sandbox.pod import codec
from sandbox.status import ClaimStatus, PodStatus

T = TypeVar("T")
Status = PodStatus | None  # None: the pod is gone

SANDBOX_FAILED = "FailedCreatePodSandBox"  # the reason of the event that says why a pod has none


@dataclass(frozen=True)
class Request(Generic[T]):
    """A verb of the engine's socket with its arguments; `read` makes a value of the answer."""

    verb: str
    arguments: Mapping[str, Any]
    read: Callable[[Any], T]


def _nothing(_: Any) -> None:
    return None


def create(
    pods: Sequence[tuple[str, Mapping[str, Any]]], claims: Sequence[Mapping[str, Any]] = (), *, open: bool = False
) -> Request[list[str]]:
    """Make pods, of a UID and a `v1` manifest each, and claims, all or none; `open` pods take further containers.

    The answer is what came of each claim: "created", "configured" or "unchanged".
    """
    kind = {"open": True} if open else {}
    wanted = [{"uid": uid, "manifest": manifest, **kind} for uid, manifest in pods]
    return Request("create", {"pods": wanted, "claims": list(claims)}, list)


class Word(StrEnum):
    """What `apply` makes of a pod, in kubectl's words."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"


@dataclass(frozen=True)
class AppliedPod:
    """What came of a pod: its UID, and that of another which has to be gone `before` it is created; "" where none has,
    and it is there."""

    uid: str
    word: Word
    before: str = ""


@dataclass(frozen=True)
class Applied:
    """What came of pods and claims, in the order in which they were asked for."""

    pods: tuple[AppliedPod, ...]
    claims: tuple[str, ...]  # "created", "configured" or "unchanged"


def apply(
    pods: Sequence[tuple[str, Mapping[str, Any]]], claims: Sequence[Mapping[str, Any]] = (), *, dry_run: bool = False
) -> Request[Applied]:
    """Have there be pods, of a UID for one that is made and a `v1` manifest each, and claims, all or none.

    The UIDs name this wish alone.  One that has another before it is to be asked for once more, with `create`.
    """
    wanted = [{"uid": uid, "manifest": manifest} for uid, manifest in pods]
    arguments = {"pods": wanted, "claims": list(claims), "dry_run": dry_run}
    return Request("apply", arguments, lambda answer: codec.decode(Applied, answer))


def add(uid: str, addition: str, container: Mapping[str, Any]) -> Request[None]:
    """Add a container, as a `v1` manifest has it, to an open pod; `addition` names this wish alone."""
    return Request("add", {"uid": uid, "addition": addition, "container": container}, _nothing)


def pods() -> Request[tuple[PodStatus, ...]]:
    """All pods, by namespace and name."""
    return Request("pods", {}, lambda answer: codec.decode(tuple[PodStatus, ...], answer))


def find(namespace: str, name: str) -> Request[str]:
    """The UID of the pod of this name."""
    return Request("find", {"namespace": namespace, "name": name}, str)


def create_claim(uid: str, manifest: Mapping[str, Any]) -> Request[None]:
    """Make a claim of a UID and a `v1` manifest."""
    return Request("create_claim", {"uid": uid, "manifest": manifest}, _nothing)


def claims() -> Request[tuple[ClaimStatus, ...]]:
    """All claims, by namespace and name."""
    return Request("claims", {}, lambda answer: codec.decode(tuple[ClaimStatus, ...], answer))


def find_claim(namespace: str, name: str) -> Request[str]:
    """The UID of the claim of this name."""
    return Request("find_claim", {"namespace": namespace, "name": name}, str)


def remove_claim(uid: str) -> Request[None]:
    """Remove a claim and its data."""
    return Request("remove_claim", {"uid": uid}, _nothing)


def delete(
    uid: str, *, grace: int | None = None, force: bool = False, hold: bool = False, at_once: bool = False
) -> Request[None]:
    """Have a pod ended and removed."""
    how = {"grace": grace, "force": force, "hold": hold, "at_once": at_once}
    return Request("delete", {"uid": uid, **how}, _nothing)


def target(namespace: str, name: str, container: str) -> Request[Any]:
    """What a program needs to join a running container: a sandbox.pod.joining.Target."""
    return Request("target", {"namespace": namespace, "name": name, "container": container}, _target)


def _target(answer: Any) -> Any:
    from sandbox.pod.joining import Target  # with the extension: only those who join need it

    return codec.decode(Target, answer)


def watch(uids: Sequence[str], until: str = "") -> Request[tuple[Status, ...]]:
    """The statuses of these pods, None for one that is gone, now and with each change.

    `until` is what the client waits for, of MILESTONES: before all pods are there, it need not hear of any change.
    """
    waits = {"until": until} if until else {}
    return Request("watch", {"uids": list(uids), **waits}, lambda answer: codec.decode(tuple[Status, ...], answer))


@dataclass(frozen=True)
class PodNow:
    """A pod as it is now; None: it is gone, or its name is free."""

    uid: str
    status: Status


@dataclass(frozen=True)
class PodNews:
    """What has happened to pods, in this order; `whole`: all of them that there are."""

    whole: bool
    pods: tuple[PodNow, ...]


def watch_pods(namespace: str | None = None, name: str | None = None) -> Request[PodNews]:
    """The pods of a namespace or of all, of that name or any: now, with each change, and those that come."""
    wanted = {"namespace": namespace, "name": name}
    return Request("watch_pods", wanted, lambda answer: codec.decode(PodNews, answer))


# ---- what a client may wait for ----


def is_made(status: Status) -> bool:
    """Whether the pod has its sandbox, could not have it, or waits for what somebody else has to do."""
    return (
        status is None
        or status.sandbox_ready
        or status.start_time is not None
        or bool(status.unschedulable)
        or any(event.reason == SANDBOX_FAILED for event in status.events)
    )


def is_ready(status: Status) -> bool:
    """Whether the pod is ready, or never will be."""
    return status is None or status.ready or status.over


def is_gone(status: Status) -> bool:
    return status is None


MADE, READY, GONE = "made", "ready", "gone"
MILESTONES: Mapping[str, Callable[[Status], bool]] = {MADE: is_made, READY: is_ready, GONE: is_gone}
