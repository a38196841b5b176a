"""Decisions about a pod's life, pure: no clock of its own, no I/O.

`decide` looks at what is asked for and what is, and says what to do now and when to look again.  Whoever carries it out
changes the state with each step, so that the same is not decided twice.  The rules are kubelet's: what is started when
is here, how the end comes is in sandbox.pod.termination.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sandbox.model import Container, Pod, RestartAction, RestartPolicy
from sandbox.pod import termination
from sandbox.pod.state import BackOff, ContainerState, Failure, PodState
from sandbox.pod.termination import Decision, nearest
from sandbox.pod.update import is_outdated
from sandbox.status import Terminated

FIRST_BACK_OFF = 10.0  # seconds (SEMANTICS A21)
MAX_BACK_OFF = 300.0
HINDERED = timedelta(seconds=10)  # until a container that could not be made is tried again: kubelet's backOffPeriod
DEADLINE_EXCEEDED = "DeadlineExceeded"

# ---- what can be decided, beside the steps of an end ----


@dataclass(frozen=True)
class MakeSandbox:
    """Make the pod's sandbox, and what a former one left goes first."""


@dataclass(frozen=True)
class Start:
    """Make the container's next instance and run its program."""

    container: str
    back_off: BackOff | None = None


@dataclass(frozen=True)
class Condemn:
    """Note that the container's instance is to end: it has another image than the container has now."""

    container: Container


@dataclass(frozen=True)
class Fail:
    """Note that the pod is to end as failed."""

    failure: Failure


@dataclass(frozen=True)
class RestartAll:
    """Note that all containers are to end and to be run anew, as a rule of this one has it."""

    container: str
    back_off: BackOff | None = None


@dataclass(frozen=True)
class Renew:
    """Begin the pod's next generation in the sandbox that it has: none of its containers runs."""


# ---- decisions ----


def decide(pod: Pod, state: PodState, now: datetime, max_back_off: float = MAX_BACK_OFF) -> Decision:
    """The next step.  To be asked again after it was done, when something has happened, and at `wake`."""
    if termination.is_ending(state):
        return termination.end(pod, state, now)
    if state.restarting:
        return termination.kill_all(state, now) or Decision(Renew())
    if is_over(pod, state):
        # A pod that has finished keeps its files and gives back everything else.
        return termination.finish(pod, state, now)
    deadline = _deadline(pod, state)
    if deadline is not None and now >= deadline:
        message = "Pod was active on the node longer than the specified deadline"
        return Decision(Fail(Failure(DEADLINE_EXCEEDED, message, pod.termination_grace_period_seconds)))
    step = _go_on(pod, state, now, max_back_off)
    return step if step.action else Decision(None, nearest(step.wake, deadline))


def _go_on(pod: Pod, state: PodState, now: datetime, max_back_off: float) -> Decision:
    """The next step of a pod that is to live."""
    due = [*_restarts_of_all(pod, state, now, max_back_off), *_due(pod, state, now, max_back_off)]
    if not state.sandbox:
        return Decision(MakeSandbox() if due or state.open else None)
    for asked in (*pod.sidecars, *pod.containers):  # of the other init containers the image counts with the next run
        known = state.container(asked.name)
        if known.runs and known.instance and not known.instance.condemned and is_outdated(asked, known):
            return Decision(Condemn(asked))
    stops = termination.condemned(pod, state, now)
    if stops.action:
        return stops
    for action, when in due:
        if when <= now:
            return Decision(action)  # one after the other, in the order of the spec (SEMANTICS A2)
    return Decision(None, nearest(stops.wake, *(when for _, when in due)))


def _deadline(pod: Pod, state: PodState) -> datetime | None:
    if pod.active_deadline_seconds is None or state.started_at is None:
        return None
    return state.started_at + timedelta(seconds=pod.active_deadline_seconds)


# ---- beginnings ----


def _due(pod: Pod, state: PodState, now: datetime, max_back_off: float) -> Iterator[tuple[Start, datetime]]:
    """The starts that are to come, and when: of init containers up to the first that others wait for."""
    begun = initialized(pod, state)
    for each in pod.init_containers:
        known = state.container(each.name)
        if not known.runs and (each.is_sidecar or not (begun or _is_through(each, state))):
            yield _start(each, known, now, max_back_off)
        if _is_hooking(known) or not (begun or _is_through(each, state)):
            return
    for each in pod.containers:
        known = state.container(each.name)
        if known.instance is None or verdict(pod, each, known) is RestartAction.RESTART:
            yield _start(each, known, now, max_back_off)
        if _is_hooking(known):
            return


def _is_hooking(known: ContainerState) -> bool:
    """Whether it is being started: no other is begun before its postStart hook is done (SEMANTICS A2)."""
    return known.runs and not (known.instance and known.instance.hooked)


def _restarts_of_all(
    pod: Pod, state: PodState, now: datetime, max_back_off: float
) -> Iterator[tuple[RestartAll, datetime]]:
    """Those that a container's end has asked for, and when: it is in a back-off as if it were restarted alone."""
    for each in pod.all_containers:
        known = state.container(each.name)
        if verdict(pod, each, known) is RestartAction.RESTART_ALL_CONTAINERS:
            start, when = _start(each, known, now, max_back_off)
            yield RestartAll(each.name, start.back_off), when


def _has_succeeded(known: ContainerState, state: PodState) -> bool:
    """Whether the init container has done its work in this generation."""
    instance = known.instance
    return bool(
        instance
        and instance.generation == state.generation
        and instance.ended is not None
        and instance.ended.exit_code == 0
    )


def initialized(pod: Pod, state: PodState) -> bool:
    """Whether the init containers of this generation have done their work: that stays so once an app container was
    begun, whatever becomes of a sidecar."""
    instances = (state.container(each.name).instance for each in pod.containers)
    if any(each and each.generation == state.generation for each in instances):
        return True
    return all(_is_through(each, state) for each in pod.init_containers)


def _is_through(container: Container, state: PodState) -> bool:
    """Whether the init container holds up no other any more."""
    known = state.container(container.name)
    return bool(known.instance and known.instance.started) if container.is_sidecar else _has_succeeded(known, state)


def _start(asked: Container, known: ContainerState, now: datetime, max_back_off: float) -> tuple[Start, datetime]:
    """The container's next start, and when it is due."""
    again = known.waiting.at + HINDERED if known.waiting else now
    if known.ended is None:
        return Start(known.name), again
    # kubelet counts restarts by name and image (its getStableKey): with another one they begin anew.
    counted = None if is_outdated(asked, known) else known.back_off
    when, back_off = _back_off(counted, known.ended.finished_at or now, now, max_back_off)
    return Start(known.name, back_off), max(when, again)


# ---- restarts ----


def is_over(pod: Pod, state: PodState) -> bool:
    """Whether nothing of the pod but sidecars will run any more: the others have ended for good, or cannot begin."""
    if state.open or state.restarting:
        return False
    return init_has_failed(pod, state) or all(_is_final(pod, each, state) for each in pod.containers)


def init_has_failed(pod: Pod, state: PodState) -> bool:
    """Whether an init container has ended badly and is not tried again."""
    if initialized(pod, state):
        return False
    regular = [each for each in pod.init_containers if not each.is_sidecar]
    return any(_is_final(pod, each, state) and _code(each, state) != 0 for each in regular)


def _code(container: Container, state: PodState) -> int | None:
    ended = state.container(container.name).ended
    return ended.exit_code if ended else None


def _is_final(pod: Pod, container: Container, state: PodState) -> bool:
    known = state.container(container.name)
    return known.ended is not None and verdict(pod, container, known) is None


def verdict(pod: Pod, container: Container, known: ContainerState) -> RestartAction | None:
    """What becomes of a container that has ended (SEMANTICS A20): None is nothing; None too where it has not."""
    ended = known.ended
    if ended is None or known.instance is None:
        return None
    if known.instance.condemned and known.instance.condemned.again:
        return RestartAction.RESTART
    for rule in container.restart_policy_rules:
        if rule.exit_codes.holds(ended.exit_code):
            return rule.action
    policy = container.restart_policy or pod.restart_policy
    if container in pod.init_containers and not container.is_sidecar and policy is RestartPolicy.ALWAYS:
        policy = RestartPolicy.ON_FAILURE
    return RestartAction.RESTART if restarts(policy, ended) else None


def restarts(policy: RestartPolicy, ended: Terminated) -> bool:
    """Whether a container that ended so is started again under this policy."""
    return policy is RestartPolicy.ALWAYS or (policy is RestartPolicy.ON_FAILURE and ended.exit_code != 0)


def runs_once(pod: Pod, container: Container) -> bool:
    """Whether it is never started again, however it ends."""
    return (container.restart_policy or pod.restart_policy) is RestartPolicy.NEVER


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


def waits(pod: Pod, state: PodState, name: str, now: datetime, max_back_off: float = MAX_BACK_OFF) -> float | None:
    """The seconds of back-off that an ended container is in; None where it is in none."""
    known = state.container(name)
    if not known.ended or not known.back_off or termination.is_ending(state) or state.restarting:
        return None
    asked = next(each for each in pod.all_containers if each.name == name)
    if verdict(pod, asked, known) is None or is_over(pod, state) or is_outdated(asked, known):
        return None
    when, _ = _back_off(known.back_off, known.ended.finished_at or now, now, max_back_off)
    return known.back_off.seconds if when > now else None


def exit_code(ends: Iterable[Terminated]) -> int:
    """The exit code of `seedpod run`: 0, or the code of the container that failed first."""
    failed = [end for end in ends if end.exit_code != 0 and end.finished_at]
    return min(failed, key=lambda end: end.finished_at or datetime.max).exit_code if failed else 0
