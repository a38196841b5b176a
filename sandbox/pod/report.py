"""From what an engine knows of a pod to its status as kubelet would report it.  Pure: the time now is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sandbox.model import Container, Pod
from sandbox.pod import lifecycle, termination
from sandbox.pod.state import ContainerState, PodRecord, PodState
from sandbox.status import (
    CRASHING,
    CREATING,
    INITIALIZING,
    ContainerStatus,
    Phase,
    PodStatus,
    Running,
    Terminated,
    Waiting,
)
from sandbox.status import ContainerState as Shown

NOT_SCHEDULED = "FailedScheduling"  # the reason of the event that says what a pod waits for


def status(
    pod: Pod, record: PodRecord, state: PodState, now: datetime, max_back_off: float = lifecycle.MAX_BACK_OFF
) -> PodStatus:
    """The pod's status at `now`."""
    deletion = state.deletion
    shown = phase(pod, state)
    failed = state.failure if shown is Phase.FAILED else None

    def statuses(asked: Iterable[Container]) -> tuple[ContainerStatus, ...]:
        return tuple(_container(pod, record, state, each, back_off(each.name)) for each in asked)

    def back_off(name: str) -> float | None:
        return lifecycle.waits(pod, state, name, now, max_back_off)

    return PodStatus(
        pod=pod,
        uid=record.uid,
        creation_timestamp=record.created,
        phase=shown,
        containers=statuses(pod.containers),
        init_containers=statuses(pod.init_containers),
        initialized=lifecycle.initialized(pod, state),
        manifest=record.manifest,
        # A31: the time by which it is to be gone, counted from when it was first asked for.
        deletion_timestamp=deletion.requested + timedelta(seconds=deletion.grace) if deletion else None,
        deletion_grace_period_seconds=deletion.grace if deletion else None,
        start_time=state.started_at,
        pod_ips=state.pod_ips,
        sandbox_ready=state.sandbox,
        reason=failed.reason if failed else "",
        message=failed.message if failed else "",
        events=state.events,
        unschedulable=_unschedulable(state),
    )


def _unschedulable(state: PodState) -> str:
    """What it was last said to wait for, as long as nothing of it was ever made."""
    said = [event.message for event in state.events if event.reason == NOT_SCHEDULED]
    return said[-1] if said and state.started_at is None and state.deletion is None else ""


def _container(
    pod: Pod, record: PodRecord, state: PodState, asked: Container, back_off: float | None
) -> ContainerStatus:
    known = state.container(asked.name)
    shown, last = _state(record, known, back_off, INITIALIZING if pod.init_containers else CREATING)
    runs = isinstance(shown, Running)
    return ContainerStatus(
        name=asked.name,
        image=(known.instance and known.instance.image) or asked.image,  # of what runs, not of what is to run
        state=shown,
        container_id=known.instance.id if known.instance else "",
        restart_count=known.restarts,
        last_state=last,
        started=bool(runs and known.instance and known.instance.started),
        ready=_is_ready(pod, asked, known, runs=runs),
    )


def _is_ready(pod: Pod, asked: Container, known: ContainerState, *, runs: bool) -> bool:
    """Of an init container without restarts it is that it has done its work."""
    if asked in pod.init_containers and not asked.is_sidecar:
        return known.ended is not None and known.ended.exit_code == 0
    return bool(runs and known.instance and known.instance.ready)


def _state(
    record: PodRecord, known: ContainerState, back_off: float | None, creating: str
) -> tuple[Shown, Terminated | None]:
    """The container's state, and the end of the instance before; `back_off` is the seconds of it, if it is in one."""
    instance = known.instance
    if known.waiting is not None:
        waiting = Waiting(known.waiting.reason, known.waiting.message, known.waiting.hint)
        return waiting, known.ended or known.last
    if instance is None:
        return Waiting(creating), known.last
    if instance.ended is not None:
        if back_off is None:
            return instance.ended, known.last
        return Waiting(CRASHING, back_off_message(record, known.name, back_off)), instance.ended
    if instance.started_at is not None:
        return Running(instance.started_at), known.last
    return Waiting(creating), known.last


def with_back_off(pod: Pod, record: PodRecord, state: PodState, ended: ContainerState, max_back_off: float) -> PodState:
    """The state with kubelet's event where the container that has just ended has to wait for its restart."""
    at = ended.ended.finished_at if ended.ended else None
    if at is None or lifecycle.waits(pod, state, ended.name, at, max_back_off) is None:
        return state
    message = f"Back-off restarting failed container {ended.name} in pod {full_name(record)}"
    return state.with_event(at, "BackOff", message, container=ended.name, warning=True)


def with_sandbox(state: PodState, lacks: Iterable[tuple[str, str]], at: datetime) -> PodState:
    """The state with a sandbox, and with what is to be told of it: `lacks` are reasons and messages of what this host
    cannot give, told once."""
    if state.sandboxes:
        state = state.with_event(at, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
    else:
        for reason, message in lacks:
            state = state.with_event(at, reason, message, warning=True)
    return state.with_sandbox(at)


def full_name(record: PodRecord) -> str:
    """The pod as kubelet names it in messages."""
    return f"{record.name}_{record.namespace}({record.uid})"


def back_off_message(record: PodRecord, container: str, seconds: float) -> str:
    """kubelet's words for a container in back-off."""
    delay = f"{int(seconds) // 60}m{int(seconds) % 60}s" if seconds >= 60 else f"{seconds:g}s"
    return f"back-off {delay} restarting failed container={container} pod={full_name(record)}"


def phase(pod: Pod, state: PodState) -> Phase:
    """kubelet's getPhase (SEMANTICS A12, A22); an open pod runs until it is deleted."""
    ending = termination.is_ending(state)
    if state.open and not ending:
        return Phase.RUNNING if state.started_at else Phase.PENDING
    runs = any(each.runs for each in state.containers)
    if ending and not runs:
        return _stopped(pod, state)
    if lifecycle.is_over(pod, state) and not runs:  # its sidecars too: what is told to be over has no processes
        return _stopped(pod, state)
    if not lifecycle.initialized(pod, state):
        return Phase.PENDING
    containers = [state.container(each.name) for each in pod.containers]
    return Phase.RUNNING if all(each.ended or _has_run(each) for each in containers) else Phase.PENDING


def _has_run(each: ContainerState) -> bool:
    """Whether an instance of it ran once: while the next is being made the pod goes on running."""
    return each.last is not None or (each.instance is not None and each.instance.started_at is not None)


def _stopped(pod: Pod, state: PodState) -> Phase:
    """Of a pod of which nothing runs, or will."""
    ends = [state.container(each.name).ended for each in pod.containers]
    succeeded = all(each is not None and each.exit_code == 0 for each in ends)
    return Phase.SUCCEEDED if succeeded and state.failure is None else Phase.FAILED
