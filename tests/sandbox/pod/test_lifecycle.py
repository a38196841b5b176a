"""Decisions about a pod's life: tables of single ones, and whole lives played with a clock of their own."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sandbox.model import Pod, RestartPolicy
from sandbox.pod import lifecycle
from sandbox.pod.lifecycle import Decision, Kill, MakeSandbox, Remove, Start, Stop, TearDown, decide
from sandbox.pod.state import BackOff, ContainerState, Deletion, PodState, new_state
from sandbox.status import Terminated
from tests.sandbox.pod.values import NOON, a_pod, a_state, after, an_end, ended, making, running, waiting

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
    held = replace(ended(code=1), back_off=BackOff(40, NOON))
    assert lifecycle.waits(a_pod(), held, after(39)) == 40
    assert lifecycle.waits(a_pod(), held, after(40)) is None
    assert lifecycle.waits(a_pod(), running(), NOON) is None
    assert lifecycle.waits(a_pod(policy=NEVER), held, NOON) is None


# ---- the end ----


def dying(*containers: ContainerState, grace: int = 30, hold: bool = False, **fields: object) -> PodState:
    return replace(a_state(*containers), deletion=Deletion(NOON, grace, hold=hold), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("grace", "seconds"), [(-3, 2), (0, 2), (1, 2), (2, 2), (3, 3), (30, 30)])
def test_kill_comes_after_the_grace_and_never_before_two_seconds(grace: int, seconds: int) -> None:  # A34, A40
    assert decide(a_pod(), dying(running(), grace=grace), NOON) == Decision(Stop(after(seconds)))


def test_the_grace_counts_from_the_signal_and_not_from_the_request() -> None:  # A41
    later = after(100)
    assert decide(a_pod(), dying(running()), later) == Decision(Stop(later + timedelta(seconds=30)))


def test_after_the_grace_what_still_runs_is_killed_once() -> None:  # A34
    pod, state = a_pod(), dying(running(), kill_at=after(30))
    assert decide(pod, state, after(29)) == Decision(None, after(30))
    assert decide(pod, state, after(30)) == Decision(Kill())
    killed = replace(state, killed_at=after(30))
    assert decide(pod, killed, after(31)) == Decision(None, after(40))


def test_what_is_not_reported_dead_after_the_kill_goes_with_the_sandbox() -> None:
    state = dying(running(), kill_at=NOON, killed_at=NOON)
    assert decide(a_pod(), state, after(10)) == Decision(TearDown())


def test_a_deleted_pod_is_removed_once_nothing_of_it_runs() -> None:
    assert decide(a_pod(), dying(ended(code=1)), NOON) == Decision(Remove())
    assert decide(a_pod(), dying(waiting()), NOON) == Decision(Remove())


def test_a_held_pod_gives_back_its_sandbox_and_stays_until_it_is_deleted_once_more() -> None:
    held = dying(ended(), hold=True)
    assert decide(a_pod(), held, NOON) == Decision(TearDown())
    held = replace(held, sandbox=False)
    assert decide(a_pod(), held, NOON) == Decision()
    assert decide(a_pod(), lifecycle.deleted(held, Deletion(NOON, 0), NOON), NOON) == Decision(Remove())


def test_nothing_starts_once_a_pod_is_to_end() -> None:
    assert decide(a_pod("a", "b"), dying(running("a"), waiting("b")), NOON).action == Stop(after(30))


def test_a_termination_begins_anew_with_the_next_engine() -> None:  # A41
    state = dying(running(), kill_at=after(3), killed_at=after(3)).forgotten()
    assert decide(a_pod(), state, after(5)) == Decision(Stop(after(35)))


@pytest.mark.parametrize(("second", "kill"), [(5, 13), (1, 10), (60, 30), (22, 30)])
def test_a_second_delete_may_only_shorten(second: int, kill: int) -> None:  # A31
    state = lifecycle.deleted(dying(running(), kill_at=after(30)), Deletion(after(8), second), after(8))
    assert state.kill_at == after(kill)
    assert state.deletion == Deletion(NOON, min(second, 30))


def test_a_delete_at_once_kills_without_a_signal_before() -> None:
    state = lifecycle.deleted(a_state(running()), Deletion(NOON, 30), NOON, at_once=True)
    assert decide(a_pod(), state, NOON) == Decision(Kill())


@pytest.mark.parametrize(("first", "second", "held"), [(True, True, True), (True, False, False), (False, True, False)])
def test_hold_can_be_lifted_and_not_taken_up_later(first: bool, second: bool, held: bool) -> None:
    state = lifecycle.deleted(dying(hold=first), Deletion(NOON, 30, hold=second), NOON)
    assert state.deletion is not None
    assert state.deletion.hold is held


def test_a_name_that_was_freed_stays_free() -> None:  # A40
    forced = lifecycle.deleted(a_state(), Deletion(NOON, 0, forced=True), NOON)
    again = lifecycle.deleted(forced, Deletion(NOON, 30), NOON)
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
    assert lifecycle.grace_period(pod, asked, finished=finished, force=force) == grace


@pytest.mark.parametrize("asked", [None, 2**63 - 1, 10**11])
def test_a_grace_beyond_any_date_still_has_an_end(asked: int | None) -> None:
    pod = a_pod(termination_grace_period_seconds=2**63 - 1)
    grace = lifecycle.grace_period(pod, asked, finished=False, force=False)
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


# ---- whole lives ----


class Lives(RuleBasedStateMachine):
    """A pod whose decisions are carried out at once, in a world where everything happens to it.

    The clock goes from one `wake` to the next and never past one, so every promise can be checked to the microsecond.
    """

    @initialize(count=st.integers(1, 3), policy=st.sampled_from(RestartPolicy))
    def begin(self, count: int, policy: RestartPolicy) -> None:
        self.names = tuple("cab"[:count])
        self.pod: Pod = a_pod(*self.names, policy=policy)
        self.state = new_state(self.names)
        self.now: datetime = NOON
        self.alive: set[str] = set()
        self.broken: set[str] = set()  # containers that cannot be started
        self.deaf = False  # podmon does not report what was killed
        self.removed = False
        self.first: list[str] = []
        self.promise: datetime | None = None
        self.restarted: dict[str, tuple[int, datetime]] = {}  # how many in a row, and when the last
        self.identities = itertools.count(1)
        self.settle()

    # what happens

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), code=st.sampled_from([0, 0, 1, 137]))
    def a_container_ends(self, data: st.DataObject, code: int) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.alive))), code)
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 2, 5, 10, 35, 300, 599, 602, 1000]))
    def time_passes(self, seconds: float) -> None:
        self.pass_until(self.now + timedelta(seconds=seconds))

    @rule(data=st.data())
    def a_program_breaks_or_is_mended(self, data: st.DataObject) -> None:
        self.broken ^= {data.draw(st.sampled_from(self.names))}

    @precondition(lambda self: self.state.sandbox)
    @rule()
    def the_sandbox_dies(self) -> None:
        for name in tuple(self.alive):
            self.end(name, 137)
        self.state = replace(self.state, sandbox=False)
        self.settle()

    @rule()
    def the_engine_is_started_anew(self) -> None:
        self.state = self.state.forgotten()
        self.promise = None
        self.settle()

    @precondition(lambda self: not self.removed)
    @rule(
        grace=st.sampled_from([0, 1, 2, 3, 30, 100]), hold=st.booleans(), force=st.booleans(), at_once=st.booleans(),
        deaf=st.booleans(), rare=st.integers(0, 3),
    )  # fmt: skip
    def it_is_deleted(self, *, grace: int, hold: bool, force: bool, at_once: bool, deaf: bool, rare: int) -> None:
        if rare and self.state.deletion is None:
            return  # or no life would be long
        self.deaf |= deaf
        self.delete(Deletion(self.now, grace, hold=hold, forced=force), at_once)

    def teardown(self) -> None:
        """Whatever has happened: deletion ends in removal, and in no more time than was promised."""
        if not hasattr(self, "state") or self.removed:
            return
        self.delete(Deletion(self.now, 30), at_once=False)
        self.pass_until(self.now + timedelta(seconds=41))
        assert self.removed

    # how the world goes on

    def delete(self, deletion: Deletion, at_once: bool) -> None:
        self.state = lifecycle.deleted(self.state, deletion, self.now, at_once=at_once)
        if self.promise is not None:  # the signal was sent: KILL comes when it was promised, or earlier
            self.promise = min(self.promise, self.now + timedelta(seconds=max(deletion.grace, 2)))
        if at_once:
            self.promise = self.now
        self.settle()

    def end(self, name: str, code: int) -> None:
        self.alive.discard(name)
        self.state = self.state.with_container(self.state.container(name).with_end(an_end(code, self.now)))

    def pass_until(self, target: datetime) -> None:
        while (wake := self.settle()) is not None and wake <= target:
            self.now = wake
        self.now = target

    def settle(self) -> datetime | None:
        """Carry out decisions until there is none for now; when to look again."""
        if self.removed:
            return None
        for _ in range(100):
            decision = decide(self.pod, self.state, self.now)
            if decision.action is None:
                assert decision.wake is None or decision.wake > self.now
                self.check_rest()
                return decision.wake
            self.carry_out(decision.action)
            if self.removed:
                return None
        raise AssertionError("it decides and decides")

    def carry_out(self, action: lifecycle.Action) -> None:
        match action:
            case MakeSandbox():
                assert not self.state.sandbox and self.state.deletion is None
                self.state = replace(self.state, sandbox=True, sandboxes=self.state.sandboxes + 1)
            case Start():
                self.start(action)
            case Stop(kill_at):
                assert self.state.deletion is not None and self.alive
                assert kill_at == self.now + timedelta(seconds=max(self.state.deletion.grace, 2))  # A34
                self.promise = kill_at
                self.state = replace(self.state, kill_at=kill_at)
            case Kill():
                assert self.now == self.promise
                self.state = replace(self.state, killed_at=self.now)
                for name in () if self.deaf else tuple(self.alive):
                    self.end(name, 137)
            case TearDown():
                assert self.state.sandbox
                assert not self.alive or self.deaf
                for name in tuple(self.alive):
                    self.end(name, 137)
                self.state = replace(self.state, sandbox=False)
            case Remove():
                assert self.state.deletion is not None and not self.state.deletion.hold
                assert not self.alive
                self.removed = True

    def start(self, start: Start) -> None:
        known = self.state.container(start.container)
        assert self.state.deletion is None
        assert self.state.sandbox
        assert start.container not in self.alive and not known.runs
        if known.instance is None:
            self.first.append(start.container)
            assert tuple(self.first) == self.names[: len(self.first)]  # A2
        else:
            assert known.ended is not None and known.ended.finished_at is not None
            assert lifecycle.restarts(self.pod.restart_policy, known.ended)  # A20
            self.check_back_off(start.container, known.ended.finished_at)
        fresh = known.begun(f"{next(self.identities):064x}", 1, start.back_off)
        self.state = self.state.with_container(fresh)
        if start.container in self.broken:
            self.end(start.container, 128)
        else:
            self.state = self.state.with_container(fresh.started(self.now))
            self.alive.add(start.container)

    def check_back_off(self, name: str, finished: datetime) -> None:  # A21
        row, last = self.restarted.get(name, (0, finished))
        if finished - last > timedelta(minutes=10):
            row = 0
        assert self.now == finished + timedelta(seconds=DELAYS[min(row, len(DELAYS) - 1)])
        self.restarted[name] = row + 1, self.now

    def check_rest(self) -> None:
        """What holds whenever there is nothing to do for now."""
        state = self.state
        running = {each.name for each in state.containers if each.runs}
        assert running == self.alive
        assert state.sandbox or not running
        over = all(
            each.ended and not lifecycle.restarts(self.pod.restart_policy, each.ended) for each in state.containers
        )
        if state.deletion is None:
            assert state.sandbox is not over
        elif not running:
            assert state.deletion.hold and not state.sandbox


Lives.TestCase.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
TestLives = Lives.TestCase
