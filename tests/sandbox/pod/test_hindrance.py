"""A container that cannot be made as things are: it waits with kubelet's reason, is told of, and is tried again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox.errors import Hindered
from sandbox.model import RestartPolicy
from sandbox.pod import codec, instances, lifecycle, report, termination
from sandbox.pod.lifecycle import HINDERED, Start, decide
from sandbox.pod.state import ContainerState, Deletion, Hindrance, PodState, new_state
from sandbox.pod.termination import Decision
from sandbox.status import Phase, Waiting
from tests.sandbox.pod.values import NOON, a_pod, a_record, a_state, after, ended, running, waiting
from tests.sandbox.pod.world import World, app, is_running, living, play, until

REASON, MESSAGE, HINT = "CreateContainerConfigError", "it must not be root", "set runAsUser"


def hindered(known: ContainerState, at: float = 0) -> ContainerState:
    return known.hindered(Hindrance(REASON, MESSAGE, after(at), HINT))


# ---- when it is tried again ----


def test_it_is_tried_again_ten_seconds_later_and_not_before() -> None:
    state = a_state(hindered(waiting()))
    assert decide(a_pod(), state, after(9.9)) == Decision(None, NOON + HINDERED)
    assert decide(a_pod(), state, after(10)) == Decision(Start("app"))


def test_it_holds_up_no_other_container() -> None:
    pod = a_pod("a", "b")
    assert decide(pod, a_state(hindered(waiting("a")), waiting("b")), NOON) == Decision(Start("b"))
    assert decide(pod, a_state(hindered(waiting("a")), running("b")), NOON) == Decision(None, NOON + HINDERED)


def test_a_restart_waits_for_both_its_back_off_and_the_next_try() -> None:
    crashed = hindered(replace(ended(code=1), back_off=lifecycle.BackOff(40, NOON)), at=35)
    assert decide(a_pod(), a_state(crashed), after(41)) == Decision(None, after(45))
    early = hindered(replace(ended(code=1), back_off=lifecycle.BackOff(40, NOON)), at=1)
    assert decide(a_pod(), a_state(early), after(12)) == Decision(None, after(40))


def test_a_pod_that_is_to_end_does_not_wait_for_it() -> None:
    state = a_state(hindered(waiting()), deletion=Deletion(NOON, 30))
    assert decide(a_pod(), state, NOON) == Decision(termination.Remove())


def test_the_next_instance_ends_it_and_restores_nothing_else() -> None:
    before = ended(code=3, attempt=1)
    begun = hindered(before).begun("b" * 64, 7, None)
    assert begun == before.begun("b" * 64, 7, None)
    assert begun.waiting is None


# ---- what is told of it ----


def test_it_waits_with_the_reason_and_no_restart_is_counted() -> None:
    status = report.status(a_pod(), a_record(), a_state(hindered(waiting())), after(5))
    (container,) = status.containers
    assert container.state == Waiting(REASON, MESSAGE, HINT) == container.hindrance
    assert (container.restart_count, container.container_id, container.ready) == (0, "", False)
    assert status.phase is Phase.PENDING


def test_the_end_before_it_stays_known() -> None:
    crashed = ended(code=3, attempt=1)
    (container,) = report.status(a_pod(), a_record(), a_state(hindered(crashed)), after(5)).containers
    assert container.state == Waiting(REASON, MESSAGE, HINT)
    assert container.last_state == crashed.ended
    assert container.restart_count == 1


@pytest.mark.parametrize("state", [Waiting("ContainerCreating"), Waiting("CrashLoopBackOff", "back-off 10s")])
def test_other_waits_are_no_hindrance(state: Waiting) -> None:
    (container,) = report.status(a_pod(), a_record(), a_state(), NOON).containers
    assert replace(container, state=state).hindrance is None


def test_it_is_kept_for_the_next_engine() -> None:
    state = a_state(hindered(waiting()))
    assert codec.decode(PodState, codec.encode(state)) == state


# ---- how it comes and goes ----


def test_a_container_that_may_not_be_made_waits_beside_one_that_runs_until_it_may(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    mended = False

    def seccomp_filter(pod: object, container: object, policy: object, full_name: str) -> None:
        name = container.name  # type: ignore[attr-defined]
        asked.append(name)
        if name == "a" and not mended:
            raise Hindered(f"{full_name}: {MESSAGE}", reason=REASON, hint=HINT)

    monkeypatch.setattr(instances.planning, "seccomp_filter", seccomp_filter)
    monkeypatch.setattr(lifecycle, "HINDERED", timedelta(milliseconds=30))

    async def scene() -> None:
        nonlocal mended
        worker = world.worker(new_state(("a", "b")), RestartPolicy.NEVER)
        async with living(worker):
            await until(worker, lambda state: asked.count("a") > 2)
            first, second = worker.state.containers
            assert second.started and first.instance is None and first.attempts == 0
            assert first.waiting is not None
            message = f"web_default({worker.record.uid}): {MESSAGE}"
            assert (first.waiting.reason, first.waiting.message, first.waiting.hint) == (REASON, message, HINT)
            assert app(world.on_disk()).waiting is not None
            (event,) = [each for each in worker.state.events if each.reason == "Failed"]
            assert (event.message, event.container, event.warning) == (f"Error: {message}", "a", True)
            assert event.count == asked.count("a")
            assert list(world.boxes[0].containers) == ["b"], "nothing was made of it"
            mended = True
            await until(worker, is_running)
            assert app(worker.state).waiting is None
            assert app(worker.state).restarts == 0

    play(scene)
