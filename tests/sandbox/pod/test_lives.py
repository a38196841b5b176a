"""Whole lives of pods, played with a clock of their own: whatever happens in whatever order, promises hold."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sandbox.model import (
    Container,
    ExecAction,
    ExitCodes,
    ExitCodesOperator,
    Lifecycle,
    Pod,
    RestartAction,
    RestartPolicy,
    RestartRule,
)
from sandbox.pod import lifecycle, termination
from sandbox.pod.lifecycle import Condemn, Fail, MakeSandbox, Renew, RestartAll, Start, decide
from sandbox.pod.state import Condemned, Deletion, Stopping, new_state
from sandbox.pod.termination import Kill, Remove, Signal, Stop, TearDown
from tests.sandbox.pod.values import NOON, an_end

DELAYS = (0, 10, 20, 40, 80, 160, 300, 300)  # A21
LONGEST = timedelta(seconds=1000 + 2 + 10)  # from a deletion to its end: the grace, the extension, and podmon given up
RULES = (
    (),
    (RestartRule(RestartAction.RESTART, ExitCodes(ExitCodesOperator.IN, (3,))),),
    (RestartRule(RestartAction.RESTART_ALL_CONTAINERS, ExitCodes(ExitCodesOperator.IN, (3,))),),
)
HOOKS = Lifecycle(pre_stop=ExecAction(("bye",)))


@st.composite
def containers(draw: st.DrawFn, names: str, policies: tuple[RestartPolicy | None, ...]) -> tuple[Container, ...]:
    made = []
    for name in names:
        policy = draw(st.sampled_from(policies))
        rules = draw(st.sampled_from(RULES)) if policy and policy is not RestartPolicy.ALWAYS else ()
        hooks = HOOKS if policy is not None and draw(st.booleans()) else Lifecycle()
        made.append(Container(name, "i", restart_policy=policy, restart_policy_rules=rules, lifecycle=hooks))
    return tuple(made)


PODS = st.builds(
    Pod,
    st.just("web"),
    restart_policy=st.sampled_from(RestartPolicy),
    init_containers=st.sampled_from(["", "i", "is"]).flatmap(
        lambda names: containers(names, (None, RestartPolicy.ALWAYS, RestartPolicy.NEVER))
    ),
    containers=st.sampled_from(["a", "ba"]).flatmap(lambda names: containers(names, (None, *RestartPolicy))),
    active_deadline_seconds=st.sampled_from([None, None, None, 700]),
    termination_grace_period_seconds=st.sampled_from([0, 1, 5, 30]),
)


def with_image(containers: tuple[Container, ...], name: str, image: str) -> Any:
    return tuple(replace(each, image=image) if each.name == name else each for each in containers)


class Lives(RuleBasedStateMachine):
    """A pod whose decisions are carried out at once, in a world where everything happens to it.

    The clock goes from one `wake` to the next and never past one, so every promise can be checked to the microsecond.
    """

    @initialize(pod=PODS)
    def begin(self, pod: Pod) -> None:
        self.pod = pod
        self.names = tuple(each.name for each in pod.all_containers)
        self.state = new_state(self.names)
        self.now: datetime = NOON
        self.alive: set[str] = set()
        self.broken: set[str] = set()  # containers that cannot be started
        self.deaf = False  # podmon does not report what was killed
        self.removed = False
        self.promises: dict[str, datetime] = {}  # by container: when KILL comes at the latest
        self.restarted: dict[str, tuple[int, datetime]] = {}  # how many in a row, and when the last
        self.identities = itertools.count(1)
        self.settle()

    # what happens

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), code=st.sampled_from([0, 0, 1, 3, 137]))
    def a_container_ends(self, data: st.DataObject, code: int) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.alive))), code)
        self.settle()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def a_hook_is_done(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.alive)))
        known = self.state.container(name)
        if known.stopping is not None:
            self.change(name, stopping=replace(known.stopping, hook=False))
            self.settle()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def a_sidecar_starts_or_a_container_is_to_be_killed(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.alive)))
        known = self.state.container(name)
        assert known.instance is not None
        if not known.instance.started:
            self.change(name, started=True, ready=True)
        elif known.instance.condemned is None:
            again = self.pod.restart_policy is not RestartPolicy.NEVER
            self.change(name, condemned=Condemned("it failed", data.draw(st.sampled_from([0, 3, 60])), again=again))
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 2, 5, 10, 35, 300, 599, 602, 1000]))
    def time_passes(self, seconds: float) -> None:
        self.pass_until(self.now + timedelta(seconds=seconds))

    @rule(data=st.data())
    def a_program_breaks_or_is_mended(self, data: st.DataObject) -> None:
        self.broken ^= {data.draw(st.sampled_from(self.names))}

    @rule(data=st.data(), image=st.sampled_from("ijk"))
    def a_container_gets_an_image(self, data: st.DataObject, image: str) -> None:
        name = data.draw(st.sampled_from(self.names))
        kinds = ("init_containers", "containers")
        self.pod = replace(self.pod, **{kind: with_image(getattr(self.pod, kind), name, image) for kind in kinds})
        self.settle()

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
        self.promises.clear()
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
        self.delete(Deletion(self.now, grace, hold=hold, forced=force, at_once=at_once))

    def teardown(self) -> None:
        """Whatever has happened: deletion ends in removal, and in no more time than was promised."""
        if not hasattr(self, "state") or self.removed:
            return
        self.delete(Deletion(self.now, 30))
        self.pass_until(self.now + LONGEST)
        assert self.removed

    # how the world goes on

    def delete(self, deletion: Deletion) -> None:
        at_once = deletion.at_once
        self.state = termination.deleted(self.state, deletion, self.now)
        soonest = self.now if at_once else self.now + timedelta(seconds=max(deletion.grace, 2))
        for name in self.promises if not at_once else self.alive:  # KILL comes when it was promised, or earlier
            self.promises[name] = min(self.promises.get(name, soonest), soonest)
        self.settle()

    def change(self, name: str, **fields: Any) -> None:
        self.state = self.state.with_container(self.state.container(name).changed(**fields))

    def end(self, name: str, code: int) -> None:
        self.alive.discard(name)
        self.promises.pop(name, None)
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

    def carry_out(self, action: object) -> None:
        state = self.state
        match action:
            case MakeSandbox():
                assert not state.sandbox and not self.alive and not termination.is_ending(state)
                self.state = replace(
                    state, sandbox=True, generation=state.generation + 1, started_at=state.started_at or self.now
                )
            case Start():
                self.start(action)
            case Condemn(asked):
                instance = state.container(asked.name).instance
                assert asked.name in self.alive and asked in (*self.pod.sidecars, *self.pod.containers)
                assert instance is not None and instance.image != asked.image and instance.condemned is None
                self.change(asked.name, condemned=Condemned("it is outdated", 5, again=True))
            case Fail(failure):
                assert self.pod.active_deadline_seconds is not None and state.started_at is not None
                assert self.now >= state.started_at + timedelta(seconds=self.pod.active_deadline_seconds)
                self.state = replace(state, failure=failure)
            case RestartAll(name, back_off):
                ended = state.container(name).ended
                assert ended is not None and ended.exit_code == 3 and ended.finished_at is not None
                self.check_back_off(self.pod_container(name), ended.finished_at)
                self.state = replace(
                    state.with_container(replace(state.container(name), back_off=back_off)), restarting=True
                )
            case Renew():
                assert state.restarting and not self.alive
                self.state = state.renewed()
            case _:
                self.come_to_an_end(action)

    def come_to_an_end(self, action: object) -> None:
        match action:
            case Stop(names, deadline):
                assert set(names) <= self.alive
                assert not self.is_killed_at_once, "no engine, and no hook, comes in between"
                for name in names:
                    assert self.state.container(name).stopping is None
                    hook = self.pod_container(name).lifecycle.pre_stop is not None
                    self.change(name, stopping=Stopping(deadline, hook=hook))
            case Signal(name, kill_at):
                stopping = self.state.container(name).stopping
                assert stopping is not None and stopping.kill_at is None
                assert not self.is_killed_at_once
                assert self.now >= stopping.deadline or not stopping.hook
                assert kill_at == self.now + max(stopping.deadline - self.now, timedelta(seconds=2))  # A34
                self.promises[name] = kill_at
                self.change(name, stopping=replace(stopping, hook=False, kill_at=kill_at))
            case Kill(names):
                for name in names:
                    self.kill(name)
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
            case _:
                raise AssertionError(action)

    def kill(self, name: str) -> None:
        known = self.state.container(name)
        killed_before = known.stopping is not None and known.stopping.killed_at is not None
        at_once = self.state.restarting or self.is_killed_at_once
        assert at_once or killed_before or self.now == self.promises[name]
        self.change(name, stopping=replace(known.stopping or Stopping(self.now), killed_at=self.now))
        if not self.deaf:
            self.end(name, 137)

    @property
    def is_killed_at_once(self) -> bool:
        return self.state.deletion is not None and self.state.deletion.at_once

    def pod_container(self, name: str) -> Container:
        return next(each for each in self.pod.all_containers if each.name == name)

    def start(self, start: Start) -> None:
        known = self.state.container(start.container)
        asked = self.pod_container(start.container)
        assert not termination.is_ending(self.state) and not self.state.restarting
        assert self.state.sandbox
        assert start.container not in self.alive and not known.runs
        self.check_order(asked)
        if known.ended is not None and known.instance is not None:
            assert known.ended.finished_at is not None
            if known.instance.generation == self.state.generation:
                assert lifecycle.verdict(self.pod, asked, known) is RestartAction.RESTART  # A20
            self.check_back_off(asked, known.ended.finished_at)
        fresh = known.begun(f"{next(self.identities):064x}", 1, start.back_off, self.state.generation, asked.image)
        self.state = self.state.with_container(fresh)
        if start.container in self.broken:
            self.end(start.container, 128)
        else:
            started = asked not in self.pod.sidecars
            self.state = self.state.with_container(fresh.started(self.now).changed(hooked=True, started=started))
            self.alive.add(start.container)

    def check_order(self, asked: Container) -> None:  # A2, A23
        """What comes before it has come so far, unless the pod was initialized once."""
        if lifecycle.initialized(self.pod, self.state):
            assert asked in self.pod.containers or asked in self.pod.sidecars
            return
        assert asked in self.pod.init_containers
        for each in itertools.takewhile(lambda each: each is not asked, self.pod.init_containers):
            instance = self.state.container(each.name).instance
            assert instance is not None and instance.generation == self.state.generation
            over = instance.ended is not None and instance.ended.exit_code == 0
            assert instance.started if each in self.pod.sidecars else over

    def check_back_off(self, asked: Container, finished: datetime) -> None:  # A21
        name, instance = asked.name, self.state.container(asked.name).instance
        row, last = self.restarted.get(name, (0, finished))
        if finished - last > timedelta(minutes=10) or (instance and instance.image != asked.image):
            row = 0
        assert self.now >= finished + timedelta(seconds=DELAYS[min(row, len(DELAYS) - 1)])
        self.restarted[name] = row + 1, self.now

    def check_rest(self) -> None:
        """What holds whenever there is nothing to do for now."""
        state = self.state
        running = {each.name for each in state.containers if each.runs}
        assert running == self.alive
        assert state.sandbox or not running
        if termination.is_ending(state):
            assert running or not state.sandbox
            assert running or state.deletion is None or state.deletion.hold
        elif lifecycle.is_over(self.pod, state):
            assert running <= {each.name for each in self.pod.all_containers} and (running or not state.sandbox)
        else:
            assert state.sandbox
            for each in (*self.pod.sidecars, *self.pod.containers):  # A26
                instance = state.container(each.name).instance
                assert each.name not in running or (instance and (instance.image == each.image or instance.condemned))


Lives.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestLives = Lives.TestCase
