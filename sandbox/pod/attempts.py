"""Which instance of a container is meant, by the pod's status alone: to read its log, or to wait for its end.  Pure.

An instance is named by its restart count.
"""

from __future__ import annotations

from sandbox.errors import WrongState
from sandbox.status import ContainerStatus, PodStatus, Running, Terminated, Waiting

_WAITING = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


def to_read(status: ContainerStatus | None, name: str, pod: str, *, previous: bool = False) -> int:
    """The instance whose log kubelet would read: the newest that ran, or the one that ended before it.

    A container that waits has ended already, if ever it ran: then the newest is also the previous one.  Raises
    WrongState, in kubelet's words, where there is none.
    """
    which = f'container "{name}" in pod "{pod}"'
    if status is None:
        raise _no_log(f"{which} is waiting to start - no logs yet", "waiting")
    ended = status.last_state if status.last_state and status.last_state.container_id else None
    match status.state:
        case _ if previous and not ended:
            raise _no_log(f"previous terminated {which} not found", "never restarted")
        case Waiting() if ended:
            return status.restart_count
        case Waiting(reason):
            raise _no_log(f"{which} is waiting to start: {_WAITING.get(reason, reason)}", "waiting")
        case Terminated(container_id="") if not ended:
            raise _no_log(f"{which} is terminated", "terminated")
        case Running() | Terminated():
            return status.restart_count - 1 if previous else status.restart_count


def _no_log(message: str, current: str) -> WrongState:
    return WrongState(message, current=current, wanted="one that has run")


def end_of(status: ContainerStatus, instance: int) -> Terminated | None:
    """How that instance ended, or one after it where that is no longer known; None where it has not."""
    over = status.state if isinstance(status.state, Terminated) else status.last_state
    if over is None or status.restart_count < instance:
        return None
    if status.restart_count == instance and over.container_id != status.container_id:
        return None
    return over


def has_ended(status: PodStatus, container: str, instance: int) -> bool:
    """Whether that instance of the container has ended."""
    known = next(each for each in status.all_containers if each.name == container)
    return known.restart_count > instance or end_of(known, instance) is not None
