"""What an engine knows of a pod, in kubelet's words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.model import RestartPolicy
from sandbox.pod import report
from sandbox.pod.state import BackOff, Deletion, PodState
from sandbox.status import ContainerStatus, Phase, PodStatus, Running, Waiting
from tests.sandbox.pod.values import (
    IDENTITY,
    NOON,
    UID,
    a_pod,
    a_record,
    a_state,
    after,
    an_end,
    ended,
    making,
    running,
    waiting,
)

ALWAYS, ON_FAILURE, NEVER = RestartPolicy.ALWAYS, RestartPolicy.ON_FAILURE, RestartPolicy.NEVER
DELETION = Deletion(NOON, 30)


def status(state: PodState, policy: RestartPolicy = ALWAYS, at: float = 0) -> PodStatus:
    pod = a_pod(*(each.name for each in state.containers), policy=policy)
    return report.status(pod, a_record(), state, after(at))


def app(state: PodState, policy: RestartPolicy = ALWAYS, at: float = 0) -> ContainerStatus:
    return status(state, policy, at).containers[0]


# ---- phases (A12, A22) ----


@pytest.mark.parametrize(
    ("containers", "policy", "phase"),
    [
        ((waiting(),), ALWAYS, Phase.PENDING),
        ((making(),), ALWAYS, Phase.PENDING),
        ((running("a"), waiting("b")), ALWAYS, Phase.PENDING),
        ((running("a"), running("b")), NEVER, Phase.RUNNING),
        ((ended("a", 1), running("b")), NEVER, Phase.RUNNING),
        ((ended("a"), ended("b")), NEVER, Phase.SUCCEEDED),
        ((ended("a"), ended("b", 1)), NEVER, Phase.FAILED),
        ((ended(code=1),), ON_FAILURE, Phase.RUNNING),
        ((ended(),), ON_FAILURE, Phase.SUCCEEDED),
        ((ended(),), ALWAYS, Phase.RUNNING),
        ((ended(code=1),), ALWAYS, Phase.RUNNING),
        ((ended("a", 1).begun("b" * 64, 2, None), running("b")), ALWAYS, Phase.RUNNING),
        ((ended("a", 1).begun("b" * 64, 2, None).dropped(), running("b")), ALWAYS, Phase.RUNNING),
    ],
)
def test_the_phase_is_that_of_the_containers_together(
    containers: tuple[report.ContainerState, ...], policy: RestartPolicy, phase: Phase
) -> None:  # A12, A22
    assert status(a_state(*containers), policy).phase is phase


@pytest.mark.parametrize(
    ("containers", "phase"),
    [
        ((running(),), Phase.RUNNING),
        ((ended("a", 143), running("b")), Phase.RUNNING),
        ((ended("a"), ended("b")), Phase.SUCCEEDED),
        ((ended("a", 143), ended("b")), Phase.FAILED),
        ((waiting(),), Phase.FAILED),
    ],
)
def test_a_pod_that_was_deleted_has_finished_once_nothing_of_it_runs(
    containers: tuple[report.ContainerState, ...], phase: Phase
) -> None:  # A22
    assert status(a_state(*containers, deletion=DELETION)).phase is phase


# ---- containers (A21, A24) ----


def test_a_container_of_which_nothing_ran_yet_is_being_created() -> None:
    for known in (waiting(), making()):
        assert app(a_state(known)).state == Waiting("ContainerCreating")
    assert app(a_state(waiting())).container_id == ""
    assert app(a_state(making())).container_id == IDENTITY


def test_a_container_that_runs_is_ready_and_says_since_when() -> None:
    shown = app(a_state(running(since=after(3))))
    assert shown.state == Running(after(3))
    assert shown.ready and shown.started


def test_a_container_that_ended_for_good_has_terminated() -> None:  # A24
    shown = app(a_state(ended(code=3)), NEVER)
    assert (shown.state, shown.last_state, shown.restart_count, shown.ready) == (an_end(3), None, 0, False)


def test_the_end_of_the_instance_before_is_the_last_state() -> None:  # A24
    shown = app(a_state(ended(code=3).begun("b" * 64, 2, None).started(after(1))))
    assert (shown.state, shown.last_state, shown.restart_count) == (Running(after(1)), an_end(3), 1)


@pytest.mark.parametrize(
    ("seconds", "words"), [(10, "10s"), (40, "40s"), (80, "1m20s"), (160, "2m40s"), (300, "5m0s"), (1, "1s")]
)
def test_a_container_in_back_off_waits_and_says_for_how_long(seconds: float, words: str) -> None:  # A21
    held = replace(ended(code=1), back_off=BackOff(seconds, NOON))
    shown = app(a_state(held), at=seconds - 0.5)
    message = f"back-off {words} restarting failed container=app pod=web_default({UID})"
    assert shown.state == Waiting("CrashLoopBackOff", message)
    assert shown.last_state == an_end(1)


def test_a_container_that_is_to_be_restarted_now_has_terminated_for_a_moment() -> None:  # A21
    assert app(a_state(ended(code=1))).state == an_end(1)


def test_what_ended_in_a_pod_that_is_to_end_waits_for_nothing() -> None:
    """kubelet's ShouldContainerBeRestarted: once a pod is marked deleted, nothing of it is restarted."""
    held = replace(ended(code=1), back_off=BackOff(300, NOON))
    shown = app(a_state(held, deletion=DELETION), at=1)
    assert (shown.state, shown.last_state) == (an_end(1), None)


# ---- the pod as a whole ----


def test_a_pod_has_its_identity_and_its_manifest() -> None:  # A12
    shown = status(a_state(running(), started_at=after(1)))
    assert (shown.uid, shown.creation_timestamp, shown.start_time) == (UID, NOON, after(1))
    assert shown.manifest == a_record().manifest
    assert shown.sandbox_ready


def test_a_pod_that_was_deleted_says_by_when_it_is_to_be_gone() -> None:  # A31
    shown = status(a_state(running(), deletion=Deletion(after(5), 7)), at=10)
    assert (shown.deletion_timestamp, shown.deletion_grace_period_seconds) == (after(12), 7)
    alive = status(a_state(running()))
    assert (alive.deletion_timestamp, alive.deletion_grace_period_seconds) == (None, None)


def test_containers_come_in_the_order_of_the_manifest() -> None:
    pod = a_pod("b", "a")
    shown = report.status(pod, a_record(), a_state(running("a"), ended("b")), NOON)
    assert [each.name for each in shown.containers] == ["b", "a"]
