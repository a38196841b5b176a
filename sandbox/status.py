"""The state of pods and containers, as plain frozen values; the names are those of the `v1` Pod status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sandbox.claim import PersistentVolumeClaim
from sandbox.model import Pod

CREATING = "ContainerCreating"  # reason of a container whose program is still to run
INITIALIZING = "PodInitializing"  # of one that is to run once all init containers have done their work
# Reasons of events that say what a pod asks for and this host cannot give; the pod runs all the same.
REQUESTS_NOT_ENFORCED = "RequestsNotEnforced"
OOM_SCORE_NOT_SET = "OOMScoreAdjNotSet"
CRASHING = "CrashLoopBackOff"  # of one that waits for its restart
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
    hint: str = ""  # what to do about it, where that is known


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
    started: bool = False  # its postStart hook is done and its startup probe has succeeded, where it has them
    ready: bool = False

    @property
    def hindrance(self) -> Waiting | None:
        """Why the container cannot be made as things are, if that is so; it is tried again."""
        if isinstance(self.state, Waiting) and self.state.reason not in (CREATING, INITIALIZING, CRASHING):
            return self.state
        return None


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
class Condition:
    """Something that is or is not so of a pod; `since` is when its status became what it is.

    Of the pod's own conditions (PodStatus.own_conditions) reason and message are empty: they follow from its status.
    """

    type: str
    status: str  # True, False or Unknown
    since: datetime
    reason: str = ""
    message: str = ""


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
    init_containers: tuple[ContainerStatus, ...] = ()
    initialized: bool = True  # its init containers have done their work, and its sidecars have started
    manifest: Mapping[str, Any] = field(default_factory=dict)
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    start_time: datetime | None = None
    sandbox_ready: bool = False
    pod_ips: tuple[str, ...] = ()
    host_ip: str = "127.0.0.1"  # the address that the host has to others; this one where it has none
    reason: str = ""
    message: str = ""
    events: tuple[Event, ...] = ()  # the oldest first
    unschedulable: str = ""  # what the pod waits for before anything of it is made; empty where it does not
    conditions: tuple[Condition, ...] = ()  # those that others have set, then its own

    @property
    def all_containers(self) -> tuple[ContainerStatus, ...]:
        """Init containers first; no two have the same name."""
        return (*self.init_containers, *self.containers)

    @property
    def over(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.phase in (Phase.SUCCEEDED, Phase.FAILED)

    @property
    def ready(self) -> bool:
        gates = self.pod.readiness_gates
        return self.containers_ready and all(self.condition_status(gate) == "True" for gate in gates)

    def condition_status(self, kind: str) -> str | None:
        """The status of a condition that was noted."""
        return next((each.status for each in self.conditions if each.type == kind), None)

    @property
    def containers_ready(self) -> bool:
        """Whether all that are to be are: those of the pod, and its sidecars."""
        names = {each.name for each in self.pod.sidecars}
        sidecars = (each for each in self.init_containers if each.name in names)
        return not self.over and self.initialized and all(each.ready for each in (*self.containers, *sidecars))

    def own_conditions(self) -> dict[str, bool]:
        """Those that follow from its state, in kubelet's order; of a pod that waits for a node there is one alone."""
        if self.unschedulable:
            return {"PodScheduled": False}
        return {
            "PodReadyToStartContainers": self.sandbox_ready,
            "Initialized": self.initialized or self.phase is Phase.SUCCEEDED,
            "Ready": self.ready,
            "ContainersReady": self.containers_ready,
            "PodScheduled": True,
        }


OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


class ChangeType(StrEnum):
    """What has happened to a pod that is watched."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True)
class PodChange:
    """A pod that came, changed or went; of one that went, `status` is the last that was known of it."""

    type: ChangeType
    status: PodStatus


class ClaimPhase(StrEnum):
    """Whether a claim's volume is there."""

    BOUND = "Bound"
    LOST = "Lost"


@dataclass(frozen=True)
class ClaimStatus:
    """A claim as it is now: what was asked for, `path` of its volume on the host, and the names of pods that use it."""

    claim: PersistentVolumeClaim
    uid: str
    creation_timestamp: datetime
    phase: ClaimPhase
    path: Path
    used_by: tuple[str, ...] = ()
