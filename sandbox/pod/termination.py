"""How a pod, or one of its containers, comes to its end: the steps of SEMANTICS A.4, decided purely.

Each instance that is to end goes its own way: its preStop hook runs and, of a sidecar, the others end, for as long as
the grace lasts; then it gets its signal, and KILL when the grace is over, two seconds after the signal at the earliest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sandbox.model import Pod
from sandbox.pod.state import ContainerState, Deletion, PodState

MINIMUM_GRACE = timedelta(seconds=2)  # kubelet's minimumGracePeriodInSeconds (SEMANTICS A34)
KILL_TIMEOUT = timedelta(seconds=10)  # in which podmon is to report the end of what was killed
MAX_GRACE = 10 * 365 * 86400  # seconds; a manifest may ask for more than any date can hold

# ---- what can be decided ----


@dataclass(frozen=True)
class Decision:
    """What to do now (None: nothing), and when to look again at the latest (None: when something has happened)."""

    action: Any = None  # one of these here, or of sandbox.pod.lifecycle
    wake: datetime | None = None


@dataclass(frozen=True)
class Stop:
    """Begin to stop these containers: their preStop hooks, where `hooks`, have until `deadline`."""

    containers: tuple[str, ...]
    deadline: datetime
    hooks: bool = True


@dataclass(frozen=True)
class Signal:
    """Send the container its stop signal; KILL comes at `kill_at`."""

    container: str
    kill_at: datetime


@dataclass(frozen=True)
class Kill:
    """SIGKILL to everything in these containers."""

    containers: tuple[str, ...]


@dataclass(frozen=True)
class TearDown:
    """Remove the sandbox; the pod's files stay."""


@dataclass(frozen=True)
class Remove:
    """Remove all there is of the pod."""


# ---- the end of a pod ----


def is_ending(state: PodState) -> bool:
    """Whether nothing of the pod is to be started any more, as somebody or something has it so."""
    return state.deletion is not None or state.failure is not None


def end(pod: Pod, state: PodState, now: datetime) -> Decision:
    """The next step of a pod that was deleted, or has failed as a whole."""
    if not any(each.runs for each in state.containers):
        tear_down = Decision(TearDown() if state.sandbox else None)
        return tear_down if state.deletion is None or state.deletion.hold else Decision(Remove())
    if state.deletion is not None and state.deletion.at_once:
        return kill_all(state, now) or Decision()
    return _stop(pod, state, now, grace=_grace(state))


def finish(pod: Pod, state: PodState, now: datetime) -> Decision:
    """The next step of a pod whose work is done: its sidecars end as in a termination (SEMANTICS A23)."""
    if not any(each.runs for each in state.containers):
        return Decision(TearDown() if state.sandbox else None)
    return _stop(pod, state, now, grace=min(pod.termination_grace_period_seconds, MAX_GRACE))


def _grace(state: PodState) -> int:
    """The node grants one second at least (SEMANTICS A40), and what was asked for last may only shorten."""
    asked = [each.grace for each in (state.deletion, state.failure) if each is not None]
    return max(1, min(asked))


def _stop(pod: Pod, state: PodState, now: datetime, *, grace: int) -> Decision:
    running = [each for each in state.containers if each.runs]
    fresh = tuple(each.name for each in running if each.stopping is None)
    if fresh:
        return Decision(Stop(fresh, now + timedelta(seconds=grace)))
    return _first(_step(each, now, turn=_has_turn(pod, state, each.name)) for each in running)


def _has_turn(pod: Pod, state: PodState, name: str) -> bool:
    """Sidecars end after all others, in the reverse order of their start."""
    order = [each.name for each in pod.sidecars]
    if name not in order:
        return True
    after = order[order.index(name) + 1 :]
    return not any(each.runs and (each.name not in order or each.name in after) for each in state.containers)


def kill_all(state: PodState, now: datetime) -> Decision | None:
    """The next step where all containers are to end without grace or hooks; None once they have."""
    running = [each for each in state.containers if each.runs]
    if not running:
        return None
    fresh = tuple(each.name for each in running if not (each.stopping and each.stopping.killed_at))
    return Decision(Kill(fresh)) if fresh else _first(_step(each, now, turn=True) for each in running)


# ---- the end of an instance ----


def condemned(pod: Pod, state: PodState, now: datetime) -> Decision:
    """The next step of the containers that are to end while their pod lives; KILL comes again until they are dead."""
    steps = []
    for each in state.containers:
        if each.instance is None or not each.runs or each.instance.condemned is None:
            continue
        if each.stopping is None:
            grace = timedelta(seconds=min(each.instance.condemned.grace, MAX_GRACE))
            return Decision(Stop((each.name,), now + grace, hooks=each.instance.condemned.grace > 0))
        step = _step(each, now, turn=True)
        steps.append(Decision(Kill((each.name,))) if step.action == TearDown() else step)
    return _first(steps)


def _step(container: ContainerState, now: datetime, *, turn: bool) -> Decision:
    stopping = container.stopping
    assert stopping is not None
    if stopping.killed_at is not None:
        # podmon does not report the end of what was killed: its own end is then the last word.
        given_up = stopping.killed_at + KILL_TIMEOUT
        return Decision(TearDown()) if now >= given_up else Decision(None, given_up)
    if stopping.kill_at is not None:
        return Decision(Kill((container.name,))) if now >= stopping.kill_at else Decision(None, stopping.kill_at)
    if now < stopping.deadline and (stopping.hook or not turn):
        return Decision(None, stopping.deadline)
    return Decision(Signal(container.name, now + max(stopping.deadline - now, MINIMUM_GRACE)))


def _first(decisions: Iterable[Decision]) -> Decision:
    """The first that has something to do, or when the first of them will."""
    waits = []
    for each in decisions:
        if each.action is not None:
            return each
        waits.append(each.wake)
    return Decision(None, nearest(*waits))


def nearest(*moments: datetime | None) -> datetime | None:
    return min((each for each in moments if each is not None), default=None)


# ---- requests ----


def grace_period(pod: Pod, asked: int | None, *, finished: bool, force: bool) -> int:
    """The seconds of grace of a deletion that was asked for with `asked`, None being the pod's own (A31, A39)."""
    if finished:
        return 0
    seconds = pod.termination_grace_period_seconds if asked is None else asked
    if seconds < 0 or (seconds == 0 and not force):
        return 1
    return min(seconds, MAX_GRACE)


def deleted(state: PodState, deletion: Deletion, now: datetime) -> PodState:
    """The state of a pod that is asked to end, perhaps once more: that may only shorten the grace, so that KILL comes
    no later than it would have (SEMANTICS A31), or lift `hold`."""
    known = state.deletion
    if known is not None:
        deletion = Deletion(
            known.requested,
            min(known.grace, deletion.grace),
            hold=known.hold and deletion.hold,
            forced=known.forced or deletion.forced,
            at_once=known.at_once or deletion.at_once,
        )
    containers = tuple(_hastened(each, deletion, now) for each in state.containers)
    return replace(state, deletion=deletion, containers=containers)


def _hastened(container: ContainerState, deletion: Deletion, now: datetime) -> ContainerState:
    if not container.runs or container.stopping is None:
        return container
    grace = timedelta(seconds=max(1, deletion.grace))
    return container.changed(stopping=container.stopping.shortened(now + grace, now + max(grace, MINIMUM_GRACE)))
