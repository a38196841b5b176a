"""The state of pods and containers, as plain frozen values; the names are those of the `v1` Pod status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sandbox.model import Pod

CREATING = "ContainerCreating"  # reason of a container whose program is still to run
START_ERROR = 128  # exit code of a container whose program could not be started (SEMANTICS A24)


@dataclass(frozen=True)
class ExitStatus:
    """The end of a container's first process.

    `code` is 0 to 255: the program's own exit code, or 128 + `signal` where a signal ended it (SEMANTICS A24).
    `started` is None for one that was killed before its program ran.  Times are UTC.
    """

    code: int
    signal: int | None
    oom_killed: bool
    started: datetime | None
    finished: datetime

    @property
    def success(self) -> bool:
        return self.code == 0


class Phase(StrEnum):
    """Where a pod is in its life (SEMANTICS A12)."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class Waiting:
    """A container that does not run but will, or would if what `reason` names were mended."""

    reason: str  # ContainerCreating, CrashLoopBackOff, …
    message: str = ""


@dataclass(frozen=True)
class Running:
    """A container whose program runs."""

    started_at: datetime


@dataclass(frozen=True)
class Terminated:
    """A container that has ended."""

    exit_code: int
    reason: str  # Completed, Error, OOMKilled, StartError, ContainerStatusUnknown
    signal: int | None = None
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = ""  # 64 hex digits, or "" for one that never was
    hint: str = ""  # what to do about it, where that is known


ContainerState = Waiting | Running | Terminated


@dataclass(frozen=True)
class ContainerStatus:
    """One container of a pod as it is now; `last_state` is the end of the instance before, once there was one."""

    name: str
    image: str
    state: ContainerState
    container_id: str = ""  # of the newest instance
    restart_count: int = 0
    last_state: Terminated | None = None
    ready: bool = False

    @property
    def started(self) -> bool:
        return isinstance(self.state, Running)


@dataclass(frozen=True)
class Event:
    """Something that happened to a pod, `count` times, in kubelet's words; `container` is "" for the pod as a whole."""

    reason: str  # Started, BackOff, …
    message: str
    first: datetime
    last: datetime
    warning: bool = False
    container: str = ""
    count: int = 1


@dataclass(frozen=True)
class PodStatus:
    """A pod as it is now: what was asked for (`pod`, and `manifest` as it was written), identity, and its state.

    Times are UTC.  `deletion_timestamp` is the time by which it is to be gone, set once its deletion was asked for.
    """

    pod: Pod
    uid: str
    creation_timestamp: datetime
    phase: Phase
    containers: tuple[ContainerStatus, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    start_time: datetime | None = None
    sandbox_ready: bool = False
    pod_ips: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""
    events: tuple[Event, ...] = ()  # the oldest first

    @property
    def over(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.phase in (Phase.SUCCEEDED, Phase.FAILED)

    @property
    def ready(self) -> bool:
        return not self.over and all(each.ready for each in self.containers)
