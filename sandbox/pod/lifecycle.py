"""Decisions about a pod's life, pure: no clock of its own, no I/O.

`decide` looks at what is asked for and what is, and says what to do now and when to look again.  Whoever carries it out
changes the state with each step, so that the same is not decided twice.  The rules are kubelet's, as far as a manifest
can ask for them yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sandbox.model import Pod, RestartPolicy
from sandbox.pod.state import BackOff, ContainerState, Deletion, PodState
from sandbox.status import Terminated

MINIMUM_GRACE = timedelta(seconds=2)  # kubelet's minimumGracePeriodInSeconds (SEMANTICS A34)
KILL_TIMEOUT = timedelta(seconds=10)  # in which podmon is to report the end of what was killed
MAX_GRACE = 10 * 365 * 86400  # seconds; a manifest may ask for more than any date can hold
FIRST_BACK_OFF = 10.0  # seconds (SEMANTICS A21)
MAX_BACK_OFF = 300.0
HINDERED = timedelta(seconds=10)  # until a container that could not be made is tried again: kubelet's backOffPeriod

# ---- what can be decided ----


@dataclass(frozen=True)
class MakeSandbox:
    """Make the pod's sandbox, and what a former one left goes first."""


@dataclass(frozen=True)
class Start:
    """Make the container's next instance and run its program."""

    container: str
    back_off: BackOff | None = None


@dataclass(frozen=True)
class Stop:
    """TERM to every container that runs; KILL comes at `kill_at`."""

    kill_at: datetime


@dataclass(frozen=True)
class Kill:
    """SIGKILL to everything in the pod."""


@dataclass(frozen=True)
class TearDown:
    """Remove the sandbox; the pod's files stay."""


@dataclass(frozen=True)
class Remove:
    """Remove all there is of the pod."""


Action = MakeSandbox | Start | Stop | Kill | TearDown | Remove


@dataclass(frozen=True)
class Decision:
    """What to do now (None: nothing), and when to look again at the latest (None: when something has happened)."""

    action: Action | None = None
    wake: datetime | None = None


# ---- decisions ----


def decide(pod: Pod, state: PodState, now: datetime, max_back_off: float = MAX_BACK_OFF) -> Decision:
    """The next step.  To be asked again after it was done, when something has happened, and at `wake`."""
    if state.deletion is not None:
        return _end(state.deletion, state, now)
    due = [_start(pod, each, now, max_back_off) for each in state.containers]
    if state.open and not state.sandbox:
        return Decision(MakeSandbox())
    if not any(due):
        # A pod that has finished keeps its files and gives back everything else; an open one has not.
        ended = not state.open and all(each.ended for each in state.containers)
        return Decision(TearDown() if ended and state.sandbox else None)
    if not state.sandbox:
        return Decision(MakeSandbox())
    starts = [start for start, when in filter(None, due) if when <= now]
    if starts:
        return Decision(starts[0])  # one after the other, in the order of the spec (SEMANTICS A2)
    return Decision(None, min(when for _, when in filter(None, due)))


def _end(deletion: Deletion, state: PodState, now: datetime) -> Decision:
    tear_down = Decision(TearDown() if state.sandbox else None)
    if not any(each.runs for each in state.containers):
        return tear_down if deletion.hold else Decision(Remove())
    if state.kill_at is None:
        return Decision(Stop(now + _at_least(deletion.grace)))
    if now < state.kill_at:
        return Decision(None, state.kill_at)
    if state.killed_at is None:
        return Decision(Kill())
    # podmon does not report the end of what was killed: its own end is then the last word.
    given_up = state.killed_at + KILL_TIMEOUT
    return tear_down if now >= given_up else Decision(None, given_up)


def _start(pod: Pod, container: ContainerState, now: datetime, max_back_off: float) -> tuple[Start, datetime] | None:
    """The container's next start and when it is due; None where it runs, or is not to be started again."""
    again = container.waiting.at + HINDERED if container.waiting else now
    if container.instance is None:
        return Start(container.name), again
    ended = container.instance.ended
    if ended is None or not restarts(pod.restart_policy, ended):
        return None
    when, back_off = _back_off(container.back_off, ended.finished_at or now, now, max_back_off)
    return Start(container.name, back_off), max(when, again)


def restarts(policy: RestartPolicy, ended: Terminated) -> bool:
    """Whether a container that ended so is started again (SEMANTICS A20)."""
    return policy is RestartPolicy.ALWAYS or (policy is RestartPolicy.ON_FAILURE and ended.exit_code != 0)


def _back_off(back_off: BackOff | None, finished: datetime, now: datetime, maximum: float) -> tuple[datetime, BackOff]:
    """When a container that ended at `finished` may start again, and its back-off from then on (SEMANTICS A21).

    The first restart is immediate; the next ones wait 10, 20, 40 … 300 s after the end.  A container that ran for
    more than twice the maximum since its last restart begins anew.
    """
    first = min(FIRST_BACK_OFF, maximum)
    if back_off is None or finished - back_off.decided > timedelta(seconds=2 * maximum):
        return now, BackOff(first, now)
    when = finished + timedelta(seconds=back_off.seconds)
    return when, BackOff(min(2 * back_off.seconds, maximum), now)


def waits(pod: Pod, container: ContainerState, now: datetime, max_back_off: float = MAX_BACK_OFF) -> float | None:
    """The seconds of back-off that an ended container is in; None where it is in none."""
    due = _start(pod, container, now, max_back_off) if container.ended else None
    return container.back_off.seconds if due and due[1] > now and container.back_off else None


def grace_period(pod: Pod, asked: int | None, *, finished: bool, force: bool) -> int:
    """The seconds of grace of a deletion that was asked for with `asked`, None being the pod's own (A31, A39)."""
    if finished:
        return 0
    seconds = pod.termination_grace_period_seconds if asked is None else asked
    if seconds < 0 or (seconds == 0 and not force):
        return 1
    return min(seconds, MAX_GRACE)


def deleted(state: PodState, deletion: Deletion, now: datetime, *, at_once: bool = False) -> PodState:
    """The state of a pod that is asked to end, perhaps once more: that may only shorten the grace, so that KILL comes
    no later than it would have (SEMANTICS A31), or lift `hold`.  `at_once` kills without TERM."""
    known = state.deletion
    if known is not None:
        deletion = Deletion(
            known.requested,
            min(known.grace, deletion.grace),
            hold=known.hold and deletion.hold,
            forced=known.forced or deletion.forced,
        )
    kill_at = state.kill_at
    if at_once:
        kill_at = now
    elif kill_at is not None:
        kill_at = min(kill_at, now + _at_least(deletion.grace))
    return replace(state, deletion=deletion, kill_at=kill_at)


def _at_least(grace: int) -> timedelta:
    return max(timedelta(seconds=grace), MINIMUM_GRACE)


def exit_code(ends: Iterable[Terminated]) -> int:
    """The exit code of `seedpod run`: 0, or the code of the container that failed first."""
    failed = [end for end in ends if end.exit_code != 0 and end.finished_at]
    return min(failed, key=lambda end: end.finished_at or datetime.max).exit_code if failed else 0
