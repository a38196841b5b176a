"""What the answers to a container's probes say of it, and when each probe is due: as kubelet's prober has it.

Pure.  Times are seconds of a clock that somebody else reads and that only goes forward.

    probe      until it has said something   is asked                      says
    startup    nothing else is asked         until its first verdict       whether the container has started
    liveness   it is alive                   once it has started           that it is to be killed; then no more
    readiness  it is not ready               once it has started, always   whether it is ready, again and again

From the pod's deletion on only readiness is asked (SEMANTICS A36).  Without a startup probe a container has started
when it runs, and without a readiness probe it is ready when it has started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from sandbox.model import Container, Probe


class ProbeKind(StrEnum):
    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class Verdict(Enum):
    """What is new of a container."""

    STARTED = "started"
    NOT_STARTED = "not started"
    NOT_ALIVE = "not alive"
    READY = "ready"
    NOT_READY = "not ready"


@dataclass(frozen=True)
class Course:
    """One probe: when it is due, and its last answers, so many alike in a row."""

    probe: Probe
    first: float  # from here on its period counts
    due: float
    last: bool | None = None
    run: int = 0

    def asked(self, begun: float) -> Course:
        """It was asked at `begun`.  As a ticker's that nobody waits for, one tick that has passed is made up for."""
        period = self.probe.period_seconds
        passed = math.floor((begun - self.first) / period)
        return replace(self, due=self.first + (passed + 1) * period)

    def answered(self, success: bool) -> tuple[Course, bool | None]:
        """And what so many answers in a row say; None where there are not enough yet."""
        run = self.run + 1 if success is self.last else 1
        enough = self.probe.success_threshold if success else self.probe.failure_threshold
        return replace(self, last=success, run=run), (success if run >= enough else None)

    def released(self, now: float, *, at_once: bool) -> Course:
        """What held it back is over: it goes on with its period, or at once, but not before it would have begun."""
        if self.due > now:
            return self
        return replace(self, due=now) if at_once else self.asked(now)


Told = tuple["Standing", tuple[Verdict, ...]]


@dataclass(frozen=True)
class Standing:
    """All probes of a container that runs, and what is known by them."""

    courses: Mapping[ProbeKind, Course]
    started: bool | None = None  # None: that is still to be seen
    alive: bool = True
    ready: bool | None = None  # None: not known by who came to it later
    terminating: bool = False

    def is_asked(self, kind: ProbeKind) -> bool:
        match kind:
            case ProbeKind.STARTUP:
                return self.started is None and not self.terminating
            case ProbeKind.LIVENESS:
                return self.started is True and self.alive and not self.terminating
            case ProbeKind.READINESS:
                return self.started is True

    def due(self, kind: ProbeKind) -> float | None:
        """When it is to be asked next; None: not as things are."""
        return self.courses[kind].due if self.is_asked(kind) else None

    def asked(self, kind: ProbeKind, begun: float) -> Standing:
        return self._with(kind, self.courses[kind].asked(begun))

    def answered(self, kind: ProbeKind, success: bool, now: float) -> Told:
        """An answer has come; one that nobody wants any more says nothing."""
        if not self.is_asked(kind):
            return self, ()
        course, verdict = self.courses[kind].answered(success)
        after = self._with(kind, course)
        if verdict is None:
            return after, ()
        match kind:
            case ProbeKind.STARTUP:
                return after.has_started(now) if verdict else (replace(after, started=False), (Verdict.NOT_STARTED,))
            case ProbeKind.LIVENESS:
                return (after, ()) if verdict else (replace(after, alive=False), (Verdict.NOT_ALIVE,))
            case ProbeKind.READINESS:
                return after.is_ready(verdict)

    def has_started(self, now: float) -> Told:
        """The others go on: readiness at once, as others wait for that."""
        courses = {
            kind: course.released(now, at_once=kind is ProbeKind.READINESS) for kind, course in self.courses.items()
        }
        after, told = replace(self, started=True, courses=courses).without_readiness()
        return after, (Verdict.STARTED, *told)

    def without_readiness(self) -> Told:
        """Where nobody asks for it, one that has started is ready."""
        return (self, ()) if ProbeKind.READINESS in self.courses else self.is_ready(True)

    def is_ready(self, ready: bool) -> Told:
        if ready is self.ready:
            return self, ()
        return replace(self, ready=ready), (Verdict.READY if ready else Verdict.NOT_READY,)

    def terminated(self, now: float) -> Told:
        """The pod is being deleted.  What had not started by then counts as if it had, for its shutdown to be quiet."""
        after = replace(self, terminating=True)
        return after.has_started(now) if after.started is None else (after, ())

    def _with(self, kind: ProbeKind, course: Course) -> Standing:
        return replace(self, courses={**self.courses, kind: course})


def begun(container: Container, now: float, *, age: float, started: bool, part: Callable[[], float]) -> Told:
    """How a container stands that has run for `age` seconds.

    `started`: another engine saw that it has.  The probes of what that one has left begin anew, each after a `part` (0
    to 1) of its period, or all that an engine finds would be asked at once for ever.
    """
    probes = {
        ProbeKind.STARTUP: container.startup_probe,
        ProbeKind.LIVENESS: container.liveness_probe,
        ProbeKind.READINESS: container.readiness_probe,
    }
    courses = {}
    for kind, probe in probes.items():
        if probe is not None:
            first = max(now, now - age + probe.initial_delay_seconds)
            if started:
                first += part() * probe.period_seconds
            courses[kind] = Course(probe, first, first)
    standing = Standing(courses, started=True if started else None, ready=None if started else False)
    if started:
        return standing.without_readiness()
    return (standing, ()) if container.startup_probe else standing.has_started(now)
