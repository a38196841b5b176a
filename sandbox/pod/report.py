"""From what an engine knows of a pod to its status as kubelet would report it.  Pure: the time now is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta

from sandbox.model import Container, Pod, RestartPolicy
from sandbox.pod import lifecycle
from sandbox.pod.state import ContainerState, PodRecord, PodState
from sandbox.status import CRASHING, CREATING, ContainerStatus, Phase, PodStatus, Running, Terminated, Waiting
from sandbox.status import ContainerState as Shown

NOT_SCHEDULED = "FailedScheduling"  # the reason of the event that says what a pod waits for


def status(
    pod: Pod, record: PodRecord, state: PodState, now: datetime, max_back_off: float = lifecycle.MAX_BACK_OFF
) -> PodStatus:
    """The pod's status at `now`."""
    deletion = state.deletion
    return PodStatus(
        pod=pod,
        uid=record.uid,
        creation_timestamp=record.created,
        phase=phase(pod, state),
        containers=tuple(
            _container(
                asked,
                known := state.container(asked.name),
                # What is to end is not started again, so it is in no back-off either.
                *_state(record, known, None if deletion else lifecycle.waits(pod, known, now, max_back_off)),
            )
            for asked in pod.containers
        ),
        manifest=record.manifest,
        # A31: the time by which it is to be gone, counted from when it was first asked for.
        deletion_timestamp=deletion.requested + timedelta(seconds=deletion.grace) if deletion else None,
        deletion_grace_period_seconds=deletion.grace if deletion else None,
        start_time=state.started_at,
        pod_ips=state.pod_ips,
        sandbox_ready=state.sandbox,
        events=state.events,
        unschedulable=_unschedulable(state),
    )


def _unschedulable(state: PodState) -> str:
    """What it was last said to wait for, as long as nothing of it was ever made."""
    said = [event.message for event in state.events if event.reason == NOT_SCHEDULED]
    return said[-1] if said and state.started_at is None and state.deletion is None else ""


def _container(asked: Container, known: ContainerState, state: Shown, last: Terminated | None) -> ContainerStatus:
    return ContainerStatus(
        name=asked.name,
        image=asked.image,
        state=state,
        container_id=known.instance.id if known.instance else "",
        restart_count=known.restarts,
        last_state=last,
        started=isinstance(state, Running),
        ready=isinstance(state, Running),
    )


def _state(record: PodRecord, known: ContainerState, back_off: float | None) -> tuple[Shown, Terminated | None]:
    """The container's state, and the end of the instance before; `back_off` is the seconds of it, if it is in one."""
    instance = known.instance
    if known.waiting is not None:
        waiting = Waiting(known.waiting.reason, known.waiting.message, known.waiting.hint)
        return waiting, known.ended or known.last
    if instance is None:
        return Waiting(CREATING), known.last
    if instance.ended is not None:
        if back_off is None:
            return instance.ended, known.last
        return Waiting(CRASHING, back_off_message(record, known.name, back_off)), instance.ended
    if instance.started_at is not None:
        return Running(instance.started_at), known.last
    return Waiting(CREATING), known.last


def with_back_off(pod: Pod, record: PodRecord, state: PodState, ended: ContainerState, max_back_off: float) -> PodState:
    """The state with kubelet's event where the container that has just ended has to wait for its restart."""
    at = ended.ended.finished_at if ended.ended else None
    if at is None or state.deletion or lifecycle.waits(pod, ended, at, max_back_off) is None:
        return state
    message = f"Back-off restarting failed container {ended.name} in pod {full_name(record)}"
    return state.with_event(at, "BackOff", message, container=ended.name, warning=True)


def full_name(record: PodRecord) -> str:
    """The pod as kubelet names it in messages."""
    return f"{record.name}_{record.namespace}({record.uid})"


def back_off_message(record: PodRecord, container: str, seconds: float) -> str:
    """kubelet's words for a container in back-off."""
    delay = f"{int(seconds) // 60}m{int(seconds) % 60}s" if seconds >= 60 else f"{seconds:g}s"
    return f"back-off {delay} restarting failed container={container} pod={full_name(record)}"


def phase(pod: Pod, state: PodState) -> Phase:
    """kubelet's getPhase, for app containers alone (SEMANTICS A12, A22); an open pod runs until it is deleted."""
    if state.open and not state.deletion:
        return Phase.RUNNING if state.started_at else Phase.PENDING
    running = [each for each in state.containers if not each.ended]
    if state.deletion and not any(each.runs for each in running):
        return _stopped(pod, state)
    if not all(_has_run(each) for each in running):
        return Phase.PENDING
    return Phase.RUNNING if running else _stopped(pod, state)


def _has_run(each: ContainerState) -> bool:
    """Whether an instance of it ran once: while the next is being made the pod goes on running."""
    return each.last is not None or (each.instance is not None and each.instance.started_at is not None)


def _stopped(pod: Pod, state: PodState) -> Phase:
    succeeded = all(each.ended and each.ended.exit_code == 0 for each in state.containers)
    if state.deletion is None and pod.restart_policy is RestartPolicy.ALWAYS:
        return Phase.RUNNING
    if succeeded:
        return Phase.SUCCEEDED
    if state.deletion is None and pod.restart_policy is RestartPolicy.ON_FAILURE:
        return Phase.RUNNING
    return Phase.FAILED
