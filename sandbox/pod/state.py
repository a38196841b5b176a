"""What an engine knows of a pod, as frozen values: what it writes down before and after everything it does.

`PodRecord` changes only with what is asked for; `PodState` is replaced whole with every step and holds all that
the next engine needs to go on.  Fields marked "of this engine" are forgotten with it.  Pure: the decisions are in
sandbox.pod.lifecycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sandbox.status import Event, Terminated

MAX_EVENTS = 50  # kept of a pod; the oldest go first


@dataclass(frozen=True)
class PodRecord:
    """A pod as it was asked for: its UID and name, when, and the manifest as it was written last.

    `applied` is the wish that has changed or replaced it last: to ask twice changes it once.
    """

    uid: str
    namespace: str
    name: str
    created: datetime
    manifest: Mapping[str, Any]
    additions: tuple[str, ...] = ()  # requests that have added a container: to ask twice adds one
    applied: str = ""


@dataclass(frozen=True)
class Condemned:
    """Why an instance that runs is to end, in kubelet's words, and its seconds of grace.

    `again`: then the next one begins, even where the restart policy would have none.
    """

    message: str
    grace: int
    again: bool = False


@dataclass(frozen=True)
class Stopping:
    """How far an instance has come that is being stopped; of this engine.

    By `deadline` its preStop hook and those that end before it have to be done: then it gets its signal.
    """

    deadline: datetime
    hook: bool = False  # its preStop hook runs
    kill_at: datetime | None = None  # the signal has been sent, KILL comes then
    killed_at: datetime | None = None  # KILL has been sent

    def shortened(self, deadline: datetime, kill_at: datetime) -> Stopping:
        """As after a further request, which may only bring the end nearer (SEMANTICS A31)."""
        known = self.kill_at
        return replace(self, deadline=min(self.deadline, deadline), kill_at=known and min(known, kill_at))


@dataclass(frozen=True)
class Instance:
    """One run of a container: `attempt` is the restart count, `number` podmon's name for it, `generation` the pod's.

    It is written down before podmon is asked for it, so `started_at` and `ended` both None may mean that it never was.
    """

    id: str  # 64 hex digits
    number: int
    attempt: int
    generation: int = 0
    started_at: datetime | None = None  # its program runs, or ran
    hooked: bool = False  # its postStart hook is done
    started: bool = False  # and its startup probe has succeeded
    ready: bool = False
    condemned: Condemned | None = None
    stopping: Stopping | None = None
    ended: Terminated | None = None
    image: str = ""  # that it was begun with; "" where an engine began it that did not write that down


@dataclass(frozen=True)
class BackOff:
    """How long the next restart has to wait after the container's end, and when the last restart was decided."""

    seconds: float
    decided: datetime


@dataclass(frozen=True)
class Hindrance:
    """Why the container's next instance cannot be made: kubelet's reason and words, and when that was found last."""

    reason: str  # CreateContainerConfigError, …
    message: str
    at: datetime
    hint: str = ""


@dataclass(frozen=True)
class ContainerState:
    """A container's newest instance, the end of the one before it, and its crash back-off.

    `attempts` is how many instances were begun; one that never came to be is not counted.  `waiting` is why the next
    one was not, where it was tried.
    """

    name: str
    instance: Instance | None = None
    last: Terminated | None = None
    back_off: BackOff | None = None
    attempts: int = 0
    waiting: Hindrance | None = None

    @property
    def ended(self) -> Terminated | None:
        return self.instance.ended if self.instance else None

    @property
    def runs(self) -> bool:
        return self.instance is not None and self.instance.ended is None

    @property
    def restarts(self) -> int:
        return max(self.attempts - 1, 0)

    def begun(
        self, identity: str, number: int, back_off: BackOff | None, generation: int = 0, image: str = ""
    ) -> ContainerState:
        """With a new instance, which is still to be made."""
        instance = Instance(identity, number, self.attempts, generation, image=image)
        last = self.ended or self.last
        return ContainerState(self.name, instance, last, back_off or self.back_off, self.attempts + 1)

    def dropped(self) -> ContainerState:
        """Without the newest instance: it never came to be, and what was before it is known as the last one."""
        return replace(self, instance=None, attempts=self.attempts - 1)

    def hindered(self, hindrance: Hindrance) -> ContainerState:
        """As it was before its next instance was tried, and could not be."""
        return replace(self, waiting=hindrance)

    def renewed(self) -> ContainerState:
        """As before an instance that is no restart: all containers of the pod are run anew."""
        return replace(self, instance=None, last=self.ended or self.last)

    def changed(self, **fields: Any) -> ContainerState:
        """With other values in some fields of its instance."""
        assert self.instance is not None
        return replace(self, instance=replace(self.instance, **fields))

    def started(self, at: datetime) -> ContainerState:
        return self.changed(started_at=at)

    def with_end(self, end: Terminated) -> ContainerState:
        return self.changed(ended=end, started=False, ready=False, stopping=None)

    @property
    def stopping(self) -> Stopping | None:
        return self.instance.stopping if self.instance else None


@dataclass(frozen=True)
class Deletion:
    """The pod is to end: since when, with how many seconds of grace.

    `hold`: its files stay until it is deleted once more (a foreground run still reads its logs).  `forced`: its name is
    free already.  `at_once`: it is killed, without hooks or TERM.
    """

    requested: datetime
    grace: int
    hold: bool = False
    forced: bool = False
    at_once: bool = False


@dataclass(frozen=True)
class Failure:
    """The pod is to end as failed, by itself: why, and with how many seconds of grace."""

    reason: str  # DeadlineExceeded, Evicted
    message: str
    grace: int


@dataclass(frozen=True)
class PodState:
    """Where a pod is in its life.

    An `open` pod takes further containers while it lives: its sandbox is there whether any runs or not.  With each
    `generation` its init containers run again: it is another with each sandbox, and where all containers are restarted.
    """

    containers: tuple[ContainerState, ...]
    open: bool = False
    sandbox: bool = False  # one was made, and not yet removed
    sandboxes: int = 0  # how many were made
    generation: int = 0
    restarting: bool = False  # all containers are to end, and to be run anew
    started_at: datetime | None = None
    pod_ips: tuple[str, ...] = ()  # of its newest sandbox, the first family first
    deletion: Deletion | None = None
    failure: Failure | None = None
    events: tuple[Event, ...] = ()

    def container(self, name: str) -> ContainerState:
        return next(each for each in self.containers if each.name == name)

    def with_container(self, changed: ContainerState) -> PodState:
        return replace(
            self, containers=tuple(changed if each.name == changed.name else each for each in self.containers)
        )

    def with_sandbox(self, at: datetime) -> PodState:
        """With a new sandbox, and so in its next generation."""
        started, generation = self.started_at or at, self.generation + 1
        return replace(self, sandbox=True, sandboxes=self.sandboxes + 1, generation=generation, started_at=started)

    def renewed(self) -> PodState:
        """With its containers, of which none runs, to be run anew in the sandbox that it has: its next generation."""
        containers = tuple(each.renewed() for each in self.containers)
        return replace(self, containers=containers, generation=self.generation + 1, restarting=False)

    def with_new(self, names: Sequence[str]) -> PodState:
        """With further containers, of which nothing was made yet."""
        return replace(self, containers=(*self.containers, *map(ContainerState, names)))

    def with_event(
        self, at: datetime, reason: str, message: str, *, container: str = "", warning: bool = False
    ) -> PodState:
        """With one more event; one that says the same as an older is counted there (kubelet's aggregation)."""
        event = Event(reason, message, at, at, warning, container)
        for index, known in enumerate(self.events):
            if (known.reason, known.message, known.container) == (event.reason, event.message, event.container):
                counted = replace(known, last=event.last, count=known.count + 1)
                return replace(self, events=(*self.events[:index], *self.events[index + 1 :], counted))
        return replace(self, events=(*self.events, event)[-MAX_EVENTS:])

    def without_event(self, reason: str, container: str) -> PodState:
        """Without those of this reason that are about the container: what is said of it next says it anew."""
        kept = tuple(each for each in self.events if (each.reason, each.container) != (reason, container))
        return replace(self, events=kept)

    def forgotten(self) -> PodState:
        """As the next engine starts with it: a termination begins anew, with its full grace (SEMANTICS A41)."""
        containers = (each.changed(stopping=None) if each.stopping else each for each in self.containers)
        return replace(self, containers=tuple(containers))


def new_state(names: tuple[str, ...], *, open: bool = False) -> PodState:
    """The state of a pod of which nothing was made yet."""
    return PodState(tuple(ContainerState(name) for name in names), open)
