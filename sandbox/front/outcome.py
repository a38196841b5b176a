"""What `run` makes of the states of pods: whether one has begun, and the exit code in the end.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sandbox.pod import lifecycle
from sandbox.status import CRASHING, ContainerStatus, Phase, PodStatus, Running, Terminated, Waiting

WITHOUT_AN_END = 1  # of a pod that failed before its containers ran, and no init container is to blame


def has_begun(status: PodStatus) -> bool:
    """Whether there is nothing to wait for before a pod is left alone.

    Every container was started once, or could not be; or what has to come before that has failed, or waits for somebody
    else.
    """
    return (
        status.over
        or bool(status.unschedulable)
        or all(map(_was_tried, status.containers))
        or any(map(_holds_up, status.init_containers))
    )


def _was_tried(container: ContainerStatus) -> bool:
    return bool(
        container.restart_count
        or container.last_state
        or isinstance(container.state, Running | Terminated)
        or container.hindrance
    )


def _holds_up(container: ContainerStatus) -> bool:
    """Whether an init container has failed: it may be tried again for ever."""
    if container.hindrance or (isinstance(container.state, Waiting) and container.state.reason == CRASHING):
        return True
    ends = (container.state, container.last_state)
    return any(isinstance(end, Terminated) and end.exit_code != 0 for end in ends)


def exit_code(statuses: Iterable[PodStatus]) -> int:
    """The exit code of `seedpod run`: 0 where the last end of every app container was a success.

    Else the code of the one that failed first, or, where they never ran, of the init container that kept them from it.
    Sidecars do not count.
    """
    pods = list(statuses)
    if code := lifecycle.exit_code(end for pod in pods for end in _ends(pod.containers)):
        return code
    kept = [pod for pod in pods if pod.phase is Phase.FAILED and len(_ends(pod.containers)) < len(pod.containers)]
    inits = [each for pod in kept for each in pod.init_containers if each.name not in _sidecars(pod)]
    return lifecycle.exit_code(_ends(inits)) or (WITHOUT_AN_END if kept else 0)


def _ends(containers: Iterable[ContainerStatus]) -> list[Terminated]:
    last = (each.state if isinstance(each.state, Terminated) else each.last_state for each in containers)
    return [end for end in last if end is not None]


def _sidecars(pod: PodStatus) -> set[str]:
    return {each.name for each in pod.pod.sidecars}
