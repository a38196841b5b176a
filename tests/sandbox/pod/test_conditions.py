"""Since when a pod's conditions are what they are, and what others may say of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SandboxError
from sandbox.front.v1_conditions import conditions as shown
from sandbox.model import RestartPolicy
from sandbox.pod import conditions, report
from sandbox.pod.state import Deletion, Failure, PodState, new_state
from sandbox.pod.worker import Worker
from sandbox.status import OWN_CONDITIONS, Condition, PodStatus
from tests.sandbox.pod.values import NOON, a_pod, a_record, a_state, after, ended, making, running, waiting
from tests.sandbox.pod.world import World, app, is_running, living, play, until

GATE = "example.com/gate"
POLICIES = st.sampled_from(RestartPolicy)


def status(state: PodState, policy: RestartPolicy = RestartPolicy.ALWAYS, gates: tuple[str, ...] = ()) -> PodStatus:
    pod = a_pod(*(each.name for each in state.containers), policy=policy, readiness_gates=gates)
    return report.status(pod, a_record(), state, NOON)


def stamped(state: PodState, at: float) -> PodState:
    return conditions.stamped(state, status(state), after(at))


def since(state: PodState) -> dict[str, tuple[str, datetime]]:
    return {each.type: (each.status, each.since) for each in state.conditions}


def test_what_changes_has_the_time_of_its_change_and_the_rest_keeps_its_own() -> None:
    born = stamped(new_state(("app",)), 0)
    assert since(born) == {
        "PodReadyToStartContainers": ("False", NOON),
        "Initialized": ("True", NOON),
        "Ready": ("False", NOON),
        "ContainersReady": ("False", NOON),
        "PodScheduled": ("True", NOON),
    }
    made = stamped(born.with_sandbox(NOON), 1)
    runs = stamped(made.with_container(running()), 2)
    assert since(runs) == {
        "PodReadyToStartContainers": ("True", after(1)),
        "Initialized": ("True", NOON),
        "Ready": ("True", after(2)),
        "ContainersReady": ("True", after(2)),
        "PodScheduled": ("True", NOON),
    }
    unready = stamped(runs.with_container(running().changed(ready=False)), 7)
    assert since(unready)["Ready"] == since(unready)["ContainersReady"] == ("False", after(7))
    assert stamped(unready, 9) is unready, "nothing has changed"


def test_a_pod_without_a_node_has_one_condition_and_the_others_begin_when_it_has_one() -> None:
    born = stamped(new_state(("app",)), 0)
    waits = stamped(born.with_event(NOON, report.NOT_SCHEDULED, "0/1 nodes are available: no."), 1)
    assert since(waits) == {"PodScheduled": ("False", after(1))}
    made = stamped(waits.with_sandbox(after(5)), 5)
    assert {at for _, at in since(made).values()} == {after(5)}


STATES = st.builds(
    a_state,
    st.sampled_from([waiting(), making(), running(), running().changed(ready=False), ended(code=0), ended(code=3)]),
    sandbox=st.booleans(),
    deletion=st.none() | st.just(Deletion(NOON, 30)),
    failure=st.none() | st.just(Failure("Evicted", "", 1)),
    restarting=st.booleans(),
    conditions=st.sampled_from([(), (Condition(GATE, "True", NOON),), (Condition(GATE, "Unknown", NOON),)]),
)


@given(STATES, POLICIES, st.sampled_from([(), (GATE,)]))
def test_what_is_noted_is_what_is_shown(state: PodState, policy: RestartPolicy, gates: tuple[str, ...]) -> None:
    """Which conditions hold is said twice: for their times, and with the reasons why they do not."""
    known = status(state, policy, gates)
    own = [each for each in shown(known) if each["type"] in OWN_CONDITIONS]
    assert {each["type"]: each["status"] == "True" for each in own} == known.own_conditions()


def test_who_sets_a_condition_again_moves_its_time_only_with_its_status() -> None:
    state = stamped(new_state(("app",)), 0)
    for at, said, when in ((1, "False", 1), (2, "False", 1), (3, "True", 3)):
        state = conditions.with_condition(state, Condition(GATE, said, after(at), "Why", f"said at {at}"))
        assert state.conditions[0] == Condition(GATE, said, after(when), "Why", f"said at {at}")
    state = conditions.with_condition(state, Condition("Other", "True", after(4)))
    assert [each.type for each in state.conditions] == [GATE, "Other", *OWN_CONDITIONS]
    assert stamped(state, 5) is state


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"type": "Ready"}, "condition Ready follows from what the pod does: nobody sets it"),
        ({"type": "a b"}, 'not the type of a condition: "a b": name part must consist of'),
        ({"type": ""}, 'not the type of a condition: "": name part must be non-empty'),
        ({"status": "true"}, 'the status of a condition is one of True, False, Unknown, not "true"'),
        ({"reason": "x" * 1025}, "the reason of a condition has no more than 1024 characters"),
        ({"message": "x" * 32769}, "the message of a condition has no more than 32768 characters"),
    ],
)
def test_what_is_no_condition_is_refused(wrong: dict[str, str], why: str) -> None:
    with pytest.raises(SandboxError, match=why.replace(".", r"\.")):
        conditions.check(replace(Condition(GATE, "True", NOON), **wrong))  # type: ignore[arg-type]
    conditions.check(Condition(GATE, "Unknown", NOON, "x" * 1024, "x" * 32768))


def with_gate(worker: Worker) -> Worker:
    worker.pod = replace(worker.pod, readiness_gates=(GATE,))
    return worker


def test_times_and_conditions_of_others_stand_on_disk_with_what_they_are_about(world: World) -> None:
    async def scene() -> None:
        worker = with_gate(world.worker(new_state(("app",))))
        async with living(worker):
            await until(worker, is_running)
            assert not worker.status().ready
            await asyncio.sleep(0)  # its start goes to disk with the next turn
            assert since(world.on_disk())["ContainersReady"][0] == "True"
            worker.set_condition(Condition(GATE, "True", NOON))
            assert worker.status().ready
            assert since(world.on_disk())["Ready"][0] == "True"
            assert since(world.on_disk())[GATE] == ("True", NOON)
        again = with_gate(world.next_worker())
        assert again.status().ready
        assert again.state.conditions == worker.state.conditions
        assert app(again.state).runs

    play(scene)
