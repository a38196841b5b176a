"""Decisions about a pod's life, one by one; whole lives are in test_lives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sandbox.model import Container, ExitCodes, ExitCodesOperator, Pod, RestartAction, RestartPolicy, RestartRule
from sandbox.pod import lifecycle, termination
from sandbox.pod.lifecycle import Fail, MakeSandbox, Renew, RestartAll, Start, decide
from sandbox.pod.state import BackOff, Condemned, ContainerState, Deletion, PodState, Stopping, new_state
from sandbox.pod.termination import Decision, Kill, Remove, Signal, Stop, TearDown
from sandbox.status import Terminated
from tests.sandbox.pod.values import NOON, a_pod, a_state, after, an_end, ended, making, running, stopping, waiting

ALWAYS, ON_FAILURE, NEVER = RestartPolicy.ALWAYS, RestartPolicy.ON_FAILURE, RestartPolicy.NEVER
DELAYS = (0, 10, 20, 40, 80, 160, 300, 300)  # A21

# ---- beginning ----


def test_the_sandbox_is_made_before_any_container() -> None:  # A2
    assert decide(a_pod("a", "b"), new_state(("a", "b")), NOON) == Decision(MakeSandbox())


def test_containers_start_in_the_order_of_the_spec_one_after_the_other() -> None:  # A2
    pod = a_pod("b", "a")
    assert decide(pod, a_state(waiting("b"), waiting("a")), NOON) == Decision(Start("b"))
    assert decide(pod, a_state(running("b"), waiting("a")), NOON) == Decision(Start("a"))
    assert decide(pod, a_state(running("b"), running("a")), NOON) == Decision()


def test_one_that_is_being_made_is_not_started_once_more() -> None:
    assert decide(a_pod(), a_state(making()), NOON) == Decision()


# ---- restarts ----


@pytest.mark.parametrize("code", [0, 1, 128, 137, 143])
@pytest.mark.parametrize("policy", RestartPolicy)
def test_what_ended_is_restarted_as_the_policy_says(policy: RestartPolicy, code: int) -> None:  # A20
    again = policy is ALWAYS or (policy is ON_FAILURE and code != 0)
    decision = decide(a_pod(policy=policy), a_state(ended(code=code)), NOON)
    assert isinstance(decision.action, Start) is again
    assert isinstance(decision.action, TearDown) is not again


def test_a_crash_does_not_touch_the_siblings() -> None:  # A22
    pod = a_pod("a", "b", policy=NEVER)
    assert decide(pod, a_state(ended("a", 1), running("b")), NOON) == Decision()


def test_a_finished_pod_gives_its_sandbox_back_once() -> None:  # A22
    pod, state = a_pod(policy=NEVER), a_state(ended())
    assert decide(pod, state, NOON) == Decision(TearDown())
    assert decide(pod, replace(state, sandbox=False), NOON) == Decision()


def played(runs: list[float], maximum: float = lifecycle.MAX_BACK_OFF) -> list[float]:
    """The delays between the ends of a container and its restarts; `runs` is how long it ran each time."""
    pod, state, moment, delays = a_pod(), a_state(), NOON, []
    for number, seconds in enumerate(runs):
        decision = decide(pod, state, moment, maximum)
        if decision.action is None:
            assert decision.wake is not None and decision.wake > moment
            assert decide(pod, state, decision.wake - timedelta(microseconds=1), maximum).action is None
            decision, moment = decide(pod, state, decision.wake, maximum), decision.wake
        assert isinstance(decision.action, Start)
        if number:
            finished = state.containers[0].ended
            assert finished is not None and finished.finished_at is not None
            delays.append((moment - finished.finished_at).total_seconds())
        begun = state.containers[0].begun("b" * 64, 1, decision.action.back_off).started(moment)
        moment += timedelta(seconds=seconds)
        state = state.with_container(begun.with_end(an_end(1, moment)))
    return delays


def test_the_delays_of_a_crash_loop_are_kubelets() -> None:  # A21
    assert played([1] * 9) == list(DELAYS)


def test_after_ten_minutes_of_running_the_delays_begin_anew() -> None:  # A21
    assert played([1, 1, 1, 601, 1, 1]) == [0, 10, 20, 0, 10]


def test_ten_minutes_are_not_more_than_ten_minutes() -> None:  # A21
    assert played([1, 1, 1, 600, 1]) == [0, 10, 20, 40]


@pytest.mark.parametrize(
    ("maximum", "delays"), [(1, [0, 1, 1, 1]), (5, [0, 5, 5, 5]), (15, [0, 10, 15, 15]), (25, [0, 10, 20, 25])]
)
def test_a_smaller_maximum_bounds_the_first_delay_too(maximum: float, delays: list[float]) -> None:  # A21
    assert played([1] * 5, maximum) == delays


def test_one_container_in_back_off_holds_up_no_other() -> None:  # A21
    held = replace(ended("a", 1), back_off=BackOff(10, NOON))
    decision = decide(a_pod("a", "b"), a_state(held, ended("b", 1, at=after(1))), after(1))
    assert decision.action == Start("b", BackOff(10, after(1)))


def test_the_nearest_of_two_back_offs_is_waited_for() -> None:  # A21
    slow, quick = (replace(ended(name, 1), back_off=BackOff(each, NOON)) for name, each in (("a", 80), ("b", 20)))
    assert decide(a_pod("a", "b"), a_state(slow, quick), NOON) == Decision(None, after(20))


def test_the_seconds_of_a_back_off_are_told_only_while_it_lasts() -> None:  # A21
    held = a_state(replace(ended(code=1), back_off=BackOff(40, NOON)))
    assert lifecycle.waits(a_pod(), held, "app", after(39)) == 40
    assert lifecycle.waits(a_pod(), held, "app", after(40)) is None
    assert lifecycle.waits(a_pod(), a_state(running()), "app", NOON) is None
    assert lifecycle.waits(a_pod(policy=NEVER), held, "app", NOON) is None


# ---- the end ----


def dying(*containers: ContainerState, grace: int = 30, hold: bool = False, **fields: object) -> PodState:
    return replace(a_state(*containers), deletion=Deletion(NOON, grace, hold=hold), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("grace", "seconds"), [(-3, 2), (0, 2), (1, 2), (2, 2), (3, 3), (30, 30)])
def test_kill_comes_after_the_grace_and_never_before_two_seconds(grace: int, seconds: int) -> None:  # A34, A40
    deadline = after(max(grace, 1))
    assert decide(a_pod(), dying(running(), grace=grace), NOON) == Decision(Stop(("app",), deadline))
    told = dying(stopping(deadline=deadline), grace=grace)
    assert decide(a_pod(), told, NOON) == Decision(Signal("app", after(seconds)))


def test_the_grace_counts_from_the_signal_and_not_from_the_request() -> None:  # A41
    later = after(100)
    assert decide(a_pod(), dying(running()), later) == Decision(Stop(("app",), later + timedelta(seconds=30)))


def test_all_containers_are_stopped_at_once_and_each_goes_its_own_way() -> None:  # A35
    pod = a_pod("a", "b", "c")
    assert decide(pod, dying(running("a"), ended("b"), running("c")), NOON) == Decision(Stop(("a", "c"), after(30)))
    slow, quick = stopping("a", deadline=after(30), hook=True), stopping("c", deadline=after(30))
    assert decide(pod, dying(slow, ended("b"), quick), after(4)) == Decision(Signal("c", after(30)))


def test_a_pre_stop_hook_has_the_grace_and_the_signal_two_seconds_more() -> None:  # A33, A34
    state = dying(stopping(deadline=after(5), hook=True), grace=5)
    assert decide(a_pod(), state, after(4)) == Decision(None, after(5))
    assert decide(a_pod(), state, after(5)) == Decision(Signal("app", after(7)))
    done = dying(stopping(deadline=after(5)), grace=5)
    assert decide(a_pod(), done, after(1)) == Decision(Signal("app", after(5))), "what the hook left of it"
    assert decide(a_pod(), done, after(4)) == Decision(Signal("app", after(6)))


def test_after_the_grace_what_still_runs_is_killed_once() -> None:  # A34
    pod, state = a_pod(), dying(stopping(deadline=after(30), kill_at=after(30)))
    assert decide(pod, state, after(29)) == Decision(None, after(30))
    assert decide(pod, state, after(30)) == Decision(Kill(("app",)))
    killed = dying(stopping(deadline=after(30), kill_at=after(30), killed_at=after(30)))
    assert decide(pod, killed, after(31)) == Decision(None, after(40))


def test_what_is_not_reported_dead_after_the_kill_goes_with_the_sandbox() -> None:
    state = dying(stopping(deadline=NOON, kill_at=NOON, killed_at=NOON))
    assert decide(a_pod(), state, after(10)) == Decision(TearDown())


def test_a_deleted_pod_is_removed_once_nothing_of_it_runs() -> None:
    assert decide(a_pod(), dying(ended(code=1)), NOON) == Decision(Remove())
    assert decide(a_pod(), dying(waiting()), NOON) == Decision(Remove())


def test_a_held_pod_gives_back_its_sandbox_and_stays_until_it_is_deleted_once_more() -> None:
    held = dying(ended(), hold=True)
    assert decide(a_pod(), held, NOON) == Decision(TearDown())
    held = replace(held, sandbox=False)
    assert decide(a_pod(), held, NOON) == Decision()
    assert decide(a_pod(), termination.deleted(held, Deletion(NOON, 0), NOON), NOON) == Decision(Remove())


def test_nothing_starts_once_a_pod_is_to_end() -> None:
    assert decide(a_pod("a", "b"), dying(running("a"), waiting("b")), NOON).action == Stop(("a",), after(30))


def test_a_termination_begins_anew_with_the_next_engine() -> None:  # A41
    state = dying(stopping(deadline=after(3), kill_at=after(3), killed_at=after(3))).forgotten()
    assert decide(a_pod(), state, after(5)) == Decision(Stop(("app",), after(35)))


@pytest.mark.parametrize(("second", "kill"), [(5, 13), (1, 10), (60, 30), (22, 30)])
def test_a_second_delete_may_only_shorten(second: int, kill: int) -> None:  # A31
    signalled = dying(stopping(deadline=after(30), kill_at=after(30)))
    state = termination.deleted(signalled, Deletion(after(8), second), after(8))
    told = state.containers[0].stopping
    assert told is not None
    assert told.kill_at == after(kill)
    assert state.deletion == Deletion(NOON, min(second, 30))


def test_a_second_delete_shortens_what_a_hook_has_left() -> None:  # A31
    hooking = dying(stopping(deadline=after(30), hook=True))
    state = termination.deleted(hooking, Deletion(after(8), 3), after(8))
    assert decide(a_pod(), state, after(8)) == Decision(None, after(11))
    assert decide(a_pod(), state, after(11)) == Decision(Signal("app", after(13)))


def test_a_longer_second_delete_leaves_a_hook_no_more_time() -> None:  # A31
    hooking = dying(stopping(deadline=after(30), hook=True))
    state = termination.deleted(hooking, Deletion(after(8), 60), after(8))
    assert decide(a_pod(), state, after(8)) == Decision(None, after(30))


def test_a_delete_at_once_kills_without_a_signal_before() -> None:
    state = termination.deleted(a_state(running()), Deletion(NOON, 30, at_once=True), NOON)
    assert decide(a_pod(), state, NOON) == Decision(Kill(("app",)))


@pytest.mark.parametrize(("first", "second", "held"), [(True, True, True), (True, False, False), (False, True, False)])
def test_hold_can_be_lifted_and_not_taken_up_later(first: bool, second: bool, held: bool) -> None:
    state = termination.deleted(dying(hold=first), Deletion(NOON, 30, hold=second), NOON)
    assert state.deletion is not None
    assert state.deletion.hold is held


def test_a_name_that_was_freed_stays_free() -> None:  # A40
    forced = termination.deleted(a_state(), Deletion(NOON, 0, forced=True), NOON)
    again = termination.deleted(forced, Deletion(NOON, 30), NOON)
    assert again.deletion == Deletion(NOON, 0, forced=True)


@pytest.mark.parametrize(
    ("asked", "force", "finished", "grace"),
    [
        (None, False, False, 7),
        (5, False, False, 5),
        (0, False, False, 1),
        (0, True, False, 0),
        (-5, False, False, 1),
        (-5, True, False, 1),
        (60, False, False, 60),
        (60, False, True, 0),
        (None, False, True, 0),
    ],
)
def test_the_grace_of_a_deletion(asked: int | None, force: bool, finished: bool, grace: int) -> None:  # A31, A39
    pod = a_pod(termination_grace_period_seconds=7)
    assert termination.grace_period(pod, asked, finished=finished, force=force) == grace


@pytest.mark.parametrize("asked", [None, 2**63 - 1, 10**11])
def test_a_grace_beyond_any_date_still_has_an_end(asked: int | None) -> None:
    pod = a_pod(termination_grace_period_seconds=2**63 - 1)
    grace = termination.grace_period(pod, asked, finished=False, force=False)
    assert isinstance(decide(pod, dying(running(), grace=grace), NOON).action, Stop)


# ---- the exit code of `run` ----


def not_started(second: int = 0) -> Terminated:
    return Terminated(128, "StartError", finished_at=after(second))


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([], 0),
        ([an_end(0)], 0),
        ([an_end(0), an_end(0, after(1))], 0),
        ([an_end(3)], 3),
        ([an_end(0), an_end(3, after(1))], 3),
        ([an_end(3, after(2)), an_end(4, after(1))], 4),
        ([an_end(3, after(1)), an_end(4, after(1))], 3),
        ([not_started()], 128),
        ([an_end(137, after(1)), not_started(2)], 137),
    ],
)
def test_the_first_failure_in_time_is_the_code_and_of_two_at_once_the_first_container(
    ends: list[Terminated], code: int
) -> None:
    assert lifecycle.exit_code(ends) == code


# ---- init containers and sidecars (A2, A23) ----

SIDECAR = {"restart_policy": ALWAYS}


def with_init(*init: Container, policy: RestartPolicy = ALWAYS, names: tuple[str, ...] = ("app",), **more: Any) -> Pod:
    return replace(a_pod(*names, policy=policy), init_containers=init, **more)


def an_init(name: str, **fields: Any) -> Container:
    return Container(name, "localhost/busybox", ("app",), **fields)


def through(name: str, code: int = 0, generation: int = 0) -> ContainerState:
    return ended(name, code).changed(generation=generation)


def unstarted(name: str) -> ContainerState:
    return running(name).changed(started=False, ready=False)


def test_init_containers_run_one_after_the_other_and_then_the_others() -> None:  # A2, A23
    pod = with_init(an_init("i"), an_init("j"))
    assert decide(pod, a_state(waiting("i"), waiting("j"), waiting()), NOON) == Decision(Start("i"))
    assert decide(pod, a_state(running("i"), waiting("j"), waiting()), NOON) == Decision()
    assert decide(pod, a_state(through("i"), waiting("j"), waiting()), NOON) == Decision(Start("j"))
    assert decide(pod, a_state(through("i"), through("j"), waiting()), NOON) == Decision(Start("app"))


def test_the_next_init_container_waits_until_a_sidecar_has_started() -> None:  # A23
    pod = with_init(an_init("s", **SIDECAR), an_init("i"))
    assert decide(pod, a_state(unstarted("s"), waiting("i"), waiting()), NOON) == Decision()
    assert decide(pod, a_state(running("s"), waiting("i"), waiting()), NOON) == Decision(Start("i"))
    assert decide(pod, a_state(running("s"), through("i"), waiting()), NOON) == Decision(Start("app"))


def test_nothing_is_begun_before_a_post_start_hook_is_done() -> None:  # A2
    hooking = running("a").changed(hooked=False, started=False)
    assert decide(a_pod("a", "b"), a_state(hooking, waiting("b")), NOON) == Decision()


@pytest.mark.parametrize("policy", RestartPolicy)
def test_an_init_container_that_fails_is_tried_again_unless_nothing_is(policy: RestartPolicy) -> None:  # A20, A22
    state = a_state(through("i", 3), waiting())
    decision = decide(with_init(an_init("i"), policy=policy), state, NOON)
    assert decision == (Decision(TearDown()) if policy is NEVER else Decision(Start("i", BackOff(10, NOON))))


def test_where_an_init_container_fails_for_good_the_sidecars_end() -> None:  # A22, A23
    pod = with_init(an_init("s", **SIDECAR), an_init("i"), policy=NEVER, termination_grace_period_seconds=5)
    assert decide(pod, a_state(running("s"), through("i", 1), waiting()), NOON) == Decision(Stop(("s",), after(5)))


def test_an_init_container_is_not_run_again_once_the_pod_is_initialized() -> None:  # A23
    pod = with_init(an_init("i"))
    assert decide(pod, a_state(through("i"), ended(code=1)), NOON) == Decision(Start("app", BackOff(10, NOON)))


def test_with_another_sandbox_init_containers_run_anew() -> None:  # A22
    pod = with_init(an_init("i"))
    state = a_state(through("i", generation=1), through("app", 137, generation=1), generation=2)
    assert decide(pod, state, NOON).action == Start("i", BackOff(10, NOON))


def test_a_sidecar_is_restarted_whatever_the_pods_policy_says_and_holds_up_nothing_then() -> None:  # A23
    pod = with_init(an_init("s", **SIDECAR), policy=NEVER)
    assert decide(pod, a_state(ended("s"), running()), NOON) == Decision(Start("s", BackOff(10, NOON)))
    held = replace(ended("s", 1), back_off=BackOff(40, NOON))
    assert decide(with_init(an_init("s", **SIDECAR)), a_state(held, ended()), after(1)).action == Start(
        "app", BackOff(10, after(1))
    )


def test_sidecars_end_when_the_work_is_done_in_reverse_order() -> None:  # A23, A35
    pod = with_init(an_init("s", **SIDECAR), an_init("t", **SIDECAR), policy=NEVER)
    assert decide(pod, a_state(running("s"), running("t"), ended()), NOON) == Decision(Stop(("s", "t"), after(30)))
    s, t = stopping("s", deadline=after(30)), stopping("t", deadline=after(30))
    assert decide(pod, a_state(s, t, ended()), after(1)) == Decision(Signal("t", after(30)))
    signalled = stopping("t", deadline=after(30), kill_at=after(30))
    assert decide(pod, a_state(s, signalled, ended()), after(1)) == Decision(None, after(30))
    assert decide(pod, a_state(s, ended("t"), ended()), after(2)) == Decision(Signal("s", after(30)))
    assert decide(pod, a_state(ended("s"), ended("t"), ended()), after(3)) == Decision(TearDown())


def test_a_sidecar_waits_for_the_others_no_longer_than_the_grace() -> None:  # A35
    pod = with_init(an_init("s", **SIDECAR))
    deaf = stopping("app", deadline=after(30), kill_at=after(30), killed_at=after(30))
    state = dying(stopping("s", deadline=after(30)), deaf)
    assert decide(pod, state, after(29)) == Decision(None, after(30))
    assert decide(pod, state, after(30)) == Decision(Signal("s", after(32)))


# ---- restart rules (A20) ----


def ruled(action: RestartAction, operator: ExitCodesOperator, *codes: int) -> tuple[RestartRule, ...]:
    return (RestartRule(action, ExitCodes(operator, codes)),)


@pytest.mark.parametrize(
    ("policy", "code", "again"), [(NEVER, 42, True), (NEVER, 1, False), (ON_FAILURE, 1, True), (ON_FAILURE, 0, False)]
)
def test_a_rule_comes_before_the_containers_policy_and_that_before_the_pods(
    policy: RestartPolicy, code: int, again: bool
) -> None:  # A20
    rules = ruled(RestartAction.RESTART, ExitCodesOperator.IN, 42)
    container = Container("app", "i", restart_policy=policy, restart_policy_rules=rules)
    pod = replace(a_pod(policy=NEVER), containers=(container,))
    assert isinstance(decide(pod, a_state(ended(code=code)), NOON).action, Start) is again


def test_a_rule_may_have_all_containers_run_anew() -> None:  # A20
    rules = ruled(RestartAction.RESTART_ALL_CONTAINERS, ExitCodesOperator.NOT_IN, 0)
    app = Container("app", "i", restart_policy=NEVER, restart_policy_rules=rules)
    pod = replace(a_pod(policy=NEVER), containers=(app, Container("b", "i")), init_containers=(an_init("i"),))
    state = a_state(through("i"), ended(code=3), running("b"))
    assert decide(pod, state, NOON) == Decision(RestartAll("app", BackOff(10, NOON)))
    state = replace(state, restarting=True)
    assert decide(pod, state, NOON) == Decision(Kill(("b",))), "without grace"
    assert decide(pod, a_state(through("i"), ended(code=3), ended("b", 137), restarting=True), NOON) == Decision(
        Renew()
    )
    renewed = a_state(*(each.renewed() for each in state.containers), generation=1)
    assert decide(pod, renewed, NOON) == Decision(Start("i"))


def test_restarts_of_all_containers_are_held_back_as_those_of_one_are() -> None:  # A20, A21
    rules = ruled(RestartAction.RESTART_ALL_CONTAINERS, ExitCodesOperator.IN, 3)
    pod = replace(a_pod(), containers=(Container("app", "i", restart_policy=NEVER, restart_policy_rules=rules),))
    held = a_state(replace(ended(code=3), back_off=BackOff(20, NOON)))
    assert decide(pod, held, after(19)) == Decision(None, after(20))
    assert decide(pod, held, after(20)) == Decision(RestartAll("app", BackOff(40, after(20))))
    assert lifecycle.waits(pod, held, "app", after(19)) == 20


# ---- ends that nobody asked for ----


def test_a_container_that_is_condemned_is_stopped_with_its_own_grace_and_its_siblings_run_on() -> None:
    condemned = running("a").changed(condemned=Condemned("it failed", 3, again=True))
    pod = a_pod("a", "b", policy=NEVER)
    assert decide(pod, a_state(condemned, running("b")), NOON) == Decision(Stop(("a",), after(3)))
    told = condemned.changed(stopping=Stopping(after(3)))
    assert decide(pod, a_state(told, running("b")), after(1)) == Decision(Signal("a", after(3)))
    over = told.with_end(an_end(0, after(2)))
    assert decide(pod, a_state(over, running("b")), after(2)).action == Start("a", BackOff(10, after(2)))


def test_a_condemned_container_that_does_not_die_is_killed_again_and_its_pod_stays() -> None:
    killed = running().changed(condemned=Condemned("it failed", 3), stopping=Stopping(NOON, killed_at=NOON))
    assert decide(a_pod(), a_state(killed), after(9)) == Decision(None, after(10))
    assert decide(a_pod(), a_state(killed), after(10)) == Decision(Kill(("app",)))


def test_a_pod_that_is_active_for_too_long_fails_with_its_grace() -> None:  # A22
    pod = a_pod(active_deadline_seconds=60, termination_grace_period_seconds=7)
    state = a_state(running(), started_at=NOON)
    assert decide(pod, state, after(59)) == Decision(None, after(60))
    decision = decide(pod, state, after(60))
    assert isinstance(decision.action, Fail)
    failed = replace(state, failure=decision.action.failure)
    assert failed.failure and (failed.failure.reason, failed.failure.grace) == ("DeadlineExceeded", 7)
    assert decide(pod, failed, after(61)) == Decision(Stop(("app",), after(68)))
    assert decide(pod, replace(failed, containers=(ended(),)), after(62)) == Decision(TearDown())
    gone = replace(failed, containers=(ended(),), sandbox=False)
    assert decide(pod, gone, after(62)) == Decision()
    deleted = termination.deleted(gone, Deletion(after(70), 0), after(70))
    assert decide(pod, deleted, after(70)) == Decision(Remove())


def test_a_pod_that_has_finished_does_not_fail_later() -> None:  # A22
    pod = a_pod(policy=NEVER, active_deadline_seconds=60)
    assert decide(pod, a_state(ended(), started_at=NOON, sandbox=False), after(100)) == Decision()
