"""When `run -d` returns, and the exit code of `run`, by the states of pods alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.front.outcome import exit_code, has_begun
from sandbox.status import ContainerStatus, Phase, PodStatus
from tests.sandbox.front.pods import ago, end, running, status, terminated, waiting

CREATING = waiting("ContainerCreating")
QUEUED = waiting("PodInitializing")


def crashed(name: str = "app", code: int = 1) -> ContainerStatus:
    return waiting("CrashLoopBackOff", name, restart_count=1, last_state=end(code))


@pytest.mark.parametrize(
    ("state", "begun"),
    [
        (status(CREATING, phase=Phase.PENDING), False),
        (status(running("a"), CREATING, phase=Phase.PENDING), False),
        (status(running()), True),
        (status(running(ready=False)), True),
        (status(crashed()), True),
        (status(terminated(1, "Error")), True),
        (status(waiting("CreateContainerConfigError"), phase=Phase.PENDING), True),
        (status(CREATING, phase=Phase.PENDING, unschedulable="no claim"), True),
        # Init containers come first, for as long as they take.
        (status(QUEUED, inits=[running("i", ready=False)], initialized=False, phase=Phase.PENDING), False),
        (status(QUEUED, inits=[waiting("PodInitializing", "i")], initialized=False, phase=Phase.PENDING), False),
        (status(QUEUED, inits=[terminated(0, "Completed", "i")], phase=Phase.PENDING), False),
        (status(running(), inits=[terminated(0, "Completed", "i")]), True),
        (status(QUEUED, inits=[running("s")], sidecars=["s"], phase=Phase.PENDING), False),
        # One that fails may be tried again for ever.
        (status(QUEUED, inits=[terminated(1, "Error", "i")], initialized=False, phase=Phase.PENDING), True),
        (status(QUEUED, inits=[crashed("i")], initialized=False, phase=Phase.PENDING), True),
        (status(QUEUED, inits=[crashed("s", 0)], sidecars=["s"], initialized=False, phase=Phase.PENDING), True),
        (status(QUEUED, inits=[waiting("CreateContainerError", "i")], initialized=False, phase=Phase.PENDING), True),
        (status(QUEUED, inits=[terminated(3, "Error", "i")], initialized=False, phase=Phase.FAILED), True),
    ],
)
def test_whether_a_pod_has_begun(state: PodStatus, begun: bool) -> None:
    assert has_begun(state) is begun


def done(*codes: int, **more: object) -> PodStatus:
    """A pod whose containers ended so, one after the other."""
    ended = [
        replace(
            terminated(code, "Error" if code else "Completed", f"c{n}"), state=end(code, finished=ago(minutes=9 - n))
        )
        for n, code in enumerate(codes)
    ]
    return status(*ended, phase=Phase.FAILED if any(codes) else Phase.SUCCEEDED, **more)


def kept(*inits: ContainerStatus, sidecars: tuple[str, ...] = ()) -> PodStatus:
    return status(QUEUED, inits=inits, sidecars=sidecars, initialized=False, phase=Phase.FAILED)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([done(0)], 0),
        ([done(0, 3, 4)], 3),
        ([done(0), done(128)], 128),
        ([], 0),
        # Sidecars never count, nor how often an init container failed before it did its work.
        ([done(0, inits=[terminated(137, "Error", "s")], sidecars=["s"])], 0),
        ([done(2, inits=[terminated(137, "Error", "s")], sidecars=["s"])], 2),
        ([done(0, inits=[replace(terminated(0, "Completed", "i"), last_state=end(9))])], 0),
        # What kept the containers from running, where they never did.
        ([kept(terminated(0, "Completed", "a"), terminated(7, "Error", "b"), waiting("PodInitializing", "c"))], 7),
        ([kept(terminated(143, "Error", "s"), terminated(7, "Error", "b"), sidecars=("s",))], 7),
        ([kept(terminated(128, "StartError", "a"))], 128),
        ([status(CREATING, phase=Phase.FAILED, reason="DeadlineExceeded")], 1),
        ([done(0), kept(terminated(7, "Error", "b"))], 7),
        # The last end of a container is what counts.
        ([status(replace(terminated(0, "Completed"), last_state=end(5)), phase=Phase.SUCCEEDED)], 0),
        ([status(waiting("CrashLoopBackOff", last_state=end(5)), phase=Phase.FAILED)], 5),
    ],
)
def test_the_exit_code_of_run(states: list[PodStatus], code: int) -> None:
    assert exit_code(states) == code
