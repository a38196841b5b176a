"""What changes with each step of a container and a pod, and what stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.pod.state import MAX_EVENTS, BackOff, ContainerState, Instance, Stopping, new_state
from tests.sandbox.pod.values import IDENTITY, NOON, a_state, after, an_end, ended, making, running, waiting


def test_a_new_pod_has_nothing() -> None:
    state = new_state(("a", "b"))
    assert [each.name for each in state.containers] == ["a", "b"]
    assert not state.sandbox and not any(each.runs or each.ended for each in state.containers)


def test_the_first_instance_is_no_restart_and_each_further_one_is() -> None:
    known = waiting()
    for attempt in range(3):
        known = known.begun(IDENTITY, attempt + 1, None)
        assert known.instance == Instance(IDENTITY, attempt + 1, attempt)
        assert known.restarts == attempt
        known = known.started(NOON).with_end(an_end(1))


def test_an_instance_runs_from_when_it_is_noted_until_its_end_is() -> None:
    assert not waiting().runs
    assert making().runs
    assert running().runs
    assert not ended().runs


def test_the_end_of_the_instance_before_is_remembered() -> None:
    known = ended(code=3).begun("b" * 64, 2, None)
    assert known.last == an_end(3)
    assert known.ended is None
    assert known.with_end(an_end(4)).begun("c" * 64, 3, None).last == an_end(4)


def test_a_back_off_stays_until_there_is_another() -> None:
    known = replace(ended(code=1), back_off=BackOff(10, NOON))
    assert known.begun(IDENTITY, 2, None).back_off == BackOff(10, NOON)
    assert known.begun(IDENTITY, 2, BackOff(20, after(5))).back_off == BackOff(20, after(5))


def test_an_instance_that_never_came_to_be_is_not_counted() -> None:
    dropped = ended(code=3).begun("b" * 64, 2, None).dropped()
    assert (dropped.instance, dropped.attempts, dropped.last) == (None, 1, an_end(3))
    assert dropped.begun("c" * 64, 2, None).instance == Instance("c" * 64, 2, 1)


def test_a_container_that_was_dropped_as_the_first_has_no_restarts() -> None:
    dropped = making().dropped()
    assert dropped == ContainerState("app")
    assert dropped.restarts == 0


def test_only_the_container_of_that_name_is_changed() -> None:
    state = a_state(waiting("a"), waiting("b")).with_container(running("b"))
    assert state.containers == (waiting("a"), running("b"))
    assert state.container("b") == running("b")


def test_the_same_event_is_counted_and_goes_to_the_end() -> None:
    state = a_state().with_event(NOON, "BackOff", "x", container="a", warning=True).with_event(NOON, "Other", "y")
    state = state.with_event(after(10), "BackOff", "x", container="a", warning=True)
    assert [each.reason for each in state.events] == ["Other", "BackOff"]
    assert (state.events[1].first, state.events[1].last, state.events[1].count) == (NOON, after(10), 2)
    assert state.events[1].warning


@pytest.mark.parametrize(("reason", "message", "container"), [("B", "x", "a"), ("A", "y", "a"), ("A", "x", "b")])
def test_an_event_that_differs_is_another(reason: str, message: str, container: str) -> None:
    state = a_state().with_event(NOON, "A", "x", container="a").with_event(NOON, reason, message, container=container)
    assert [each.count for each in state.events] == [1, 1]


def test_of_too_many_events_the_oldest_go() -> None:
    state = a_state()
    for number in range(MAX_EVENTS + 5):
        state = state.with_event(after(number), "R", str(number))
    assert [each.message for each in state.events] == [str(number) for number in range(5, MAX_EVENTS + 5)]


def test_the_next_engine_begins_a_termination_anew_and_forgets_nothing_else() -> None:  # A41
    state = a_state(running(), events=(), started_at=NOON)
    stopped = state.containers[0].changed(stopping=Stopping(NOON, kill_at=after(3), killed_at=after(5)))
    assert state.with_container(stopped).forgotten() == state
