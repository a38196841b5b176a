"""What answers to probes say of a container, and when each probe is due: tables, and random lives of a container."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.model import Container, Probe, TcpSocketAction
from sandbox.pod import probing
from sandbox.pod.probing import Course, ProbeKind, Standing, Verdict

STARTUP, LIVENESS, READINESS = ProbeKind
ACTION = TcpSocketAction(80)


def a_probe(**fields: Any) -> Probe:
    return Probe(ACTION, **fields)


def a_container(**probes: Probe) -> Container:
    return Container("c", "image", **{f"{kind}_probe": probe for kind, probe in probes.items()})


def begun(container: Container, *, age: float = 0.0, started: bool = False, part: float = 0.5) -> probing.Told:
    return probing.begun(container, 100.0, age=age, started=started, part=lambda: part)


def verdicts(course: Course, answers: str) -> str:
    """What each answer ("+" or "-") has the course say: that, or "." for nothing yet."""
    said = ""
    for each in answers:
        course, verdict = course.answered(each == "+")
        said += {True: "+", False: "-", None: "."}[verdict]
    return said


@pytest.mark.parametrize(
    ("success", "failure", "answers", "said"),
    [
        (1, 3, "---", "..-"),
        (1, 3, "----", "..--"),
        (1, 3, "--+--+---", "..+..+..-"),
        (3, 1, "+++", "..+"),
        (3, 1, "++-+++-", "..-..+-"),
        (2, 2, "+-+-+-", "......"),
        (1, 1, "+-", "+-"),
    ],
)
def test_a_verdict_takes_so_many_answers_in_a_row(success: int, failure: int, answers: str, said: str) -> None:
    probe = a_probe(success_threshold=success, failure_threshold=failure)
    assert verdicts(Course(probe, 0.0, 0.0), answers) == said


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        (7.0, 17.0),  # in time
        (9.5, 17.0),  # late: it does not run late from then on
        (17.0, 27.0),
        (28.0, 37.0),  # an answer that took longer than a period: one tick is made up for at once, then as ever
    ],
)
def test_a_probe_is_due_at_the_ticks_of_its_period(asked: float, due: float) -> None:
    assert Course(a_probe(period_seconds=10), 7.0, 7.0).asked(asked).due == due


@pytest.mark.parametrize(
    ("delay", "age", "started", "due"),
    [
        (0, 0.0, False, 100.0),
        (5, 0.0, False, 105.0),
        (5, 2.0, False, 103.0),  # the delay counts from the container's start, whoever saw that
        (5, 60.0, False, 100.0),
        (0, 60.0, True, 105.0),  # what an engine finds is not asked all at once: after a part of its period
        (30, 10.0, True, 125.0),
    ],
)
def test_the_first_is_due_after_its_delay(delay: int, age: float, started: bool, due: float) -> None:
    container = a_container(readiness=a_probe(initial_delay_seconds=delay))
    standing, _ = begun(container, age=age, started=started)
    assert standing.due(READINESS) == due


@pytest.mark.parametrize(
    ("container", "started", "told"),
    [
        (a_container(), False, (Verdict.STARTED, Verdict.READY)),
        (a_container(), True, (Verdict.READY,)),
        (a_container(readiness=a_probe()), False, (Verdict.STARTED,)),
        (a_container(startup=a_probe()), False, ()),
        (a_container(startup=a_probe()), True, (Verdict.READY,)),
        (a_container(startup=a_probe(), readiness=a_probe()), True, ()),
    ],
)
def test_what_is_known_of_a_container_from_the_start(
    container: Container, started: bool, told: tuple[Verdict, ...]
) -> None:
    assert begun(container, started=started)[1] == told


def test_startup_holds_the_others_back_until_it_has_passed() -> None:
    """Readiness is asked at once then, liveness at its next tick; a delay counts from the start of the container."""
    standing, told = begun(a_container(startup=a_probe(), liveness=a_probe(), readiness=a_probe()))
    assert told == ()
    assert [standing.due(kind) for kind in ProbeKind] == [100.0, None, None]
    standing, told = standing.answered(STARTUP, True, 103.0)
    assert told == (Verdict.STARTED,)
    assert [standing.due(kind) for kind in ProbeKind] == [None, 110.0, 103.0]


def test_a_delay_that_is_longer_than_the_startup_is_waited_for() -> None:
    late = a_probe(initial_delay_seconds=30)
    standing, _ = begun(a_container(startup=a_probe(), liveness=late, readiness=late))
    standing, _ = standing.answered(STARTUP, True, 103.0)
    assert [standing.due(kind) for kind in ProbeKind] == [None, 130.0, 130.0]


def test_a_startup_that_has_failed_is_the_end_of_asking() -> None:
    standing, _ = begun(a_container(startup=a_probe(failure_threshold=2), liveness=a_probe(), readiness=a_probe()))
    standing, first = standing.answered(STARTUP, False, 100.0)
    standing, second = standing.answered(STARTUP, False, 110.0)
    assert (first, second) == ((), (Verdict.NOT_STARTED,))
    assert [standing.due(kind) for kind in ProbeKind] == [None, None, None]


def test_a_liveness_that_has_failed_is_asked_no_more_and_readiness_goes_on() -> None:
    standing, _ = begun(a_container(liveness=a_probe(failure_threshold=1), readiness=a_probe(failure_threshold=1)))
    standing, told = standing.answered(LIVENESS, False, 101.0)
    assert told == (Verdict.NOT_ALIVE,)
    assert (standing.due(LIVENESS), standing.due(READINESS)) == (None, 100.0)
    assert standing.answered(LIVENESS, False, 102.0) == (standing, ()), "an answer that nobody wants any more"
    standing, told = standing.answered(READINESS, True, 102.0)
    assert told == (Verdict.READY,)


def test_readiness_is_told_when_it_is_another() -> None:
    standing, _ = begun(a_container(readiness=a_probe(failure_threshold=2)))
    heard = []
    for success in (False, False, True, True, False, True, False, False, False):
        standing, told = standing.answered(READINESS, success, 100.0)
        heard.append(told)
    ready, not_ready = (Verdict.READY,), (Verdict.NOT_READY,)
    assert heard == [(), (), ready, (), (), (), (), not_ready, ()]


def test_of_a_container_that_another_engine_has_left_the_first_verdict_is_told_whatever_it_is() -> None:
    standing, _ = begun(a_container(readiness=a_probe(failure_threshold=1)), started=True)
    assert standing.answered(READINESS, False, 101.0)[1] == (Verdict.NOT_READY,)


def test_from_the_deletion_on_only_readiness_is_asked() -> None:  # A36
    standing, _ = begun(a_container(liveness=a_probe(failure_threshold=1), readiness=a_probe(failure_threshold=1)))
    standing, _ = standing.answered(READINESS, True, 101.0)
    standing, told = standing.terminated(102.0)
    assert told == ()
    assert standing.due(LIVENESS) is None
    assert standing.answered(LIVENESS, False, 103.0) == (standing, ())
    assert standing.due(READINESS) is not None
    assert standing.answered(READINESS, False, 103.0)[1] == (Verdict.NOT_READY,)


def test_what_is_deleted_while_it_starts_counts_as_started() -> None:  # A36
    standing, _ = begun(a_container(startup=a_probe(), readiness=a_probe()))
    standing, told = standing.terminated(102.0)
    assert told == (Verdict.STARTED,)
    assert (standing.due(STARTUP), standing.due(READINESS)) == (None, 102.0)


PROBES = st.none() | st.builds(
    Probe,
    st.just(ACTION),
    initial_delay_seconds=st.integers(0, 20),
    period_seconds=st.integers(1, 10),
    failure_threshold=st.integers(1, 4),
)
SUCCESSES = st.integers(1, 4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["answer", "error", "delete"]), st.booleans(), st.floats(0, 15)), max_size=60
)


CONTAINERS = st.builds(
    Container,
    st.just("c"),
    st.just("image"),
    startup_probe=PROBES,
    liveness_probe=PROBES,
    readiness_probe=PROBES.flatmap(lambda each: SUCCESSES.map(lambda n: each and replace(each, success_threshold=n))),
)


@given(CONTAINERS, st.booleans(), STEPS)
def test_in_every_life_each_verdict_comes_when_it_may(
    container: Container, known: bool, steps: list[tuple[str, bool, float]]
) -> None:
    """Asked as probes.Probes asks: what is due first.  An error says nothing, a deletion comes at any time."""
    now, answers, deleted = 100.0, dict.fromkeys(ProbeKind, ""), False
    standing, told = begun(container, started=known)
    heard = list(told)
    for what, success, taken in steps:
        if what == "delete":
            standing, told = standing.terminated(now)
            deleted = True
        else:
            due = [(at, kind) for kind in standing.courses if (at := standing.due(kind)) is not None]
            if not due:
                continue
            at, kind = min(due)
            now = max(now, at)
            assert not (deleted and kind is not READINESS), "asked after the deletion"
            assert kind is STARTUP or Verdict.STARTED in heard or known, "asked before it has started"
            assert Verdict.NOT_ALIVE not in heard or kind is not LIVENESS, "asked although it is to be killed"
            standing = standing.asked(kind, now)
            next_due = standing.due(kind)
            assert next_due is not None
            assert now < next_due <= now + standing.courses[kind].probe.period_seconds + 1e-6
            now += taken
            if what == "error":
                continue
            answers[kind] += "+" if success else "-"
            standing, told = standing.answered(kind, success, now)
            _check(standing, kind, answers[kind], told)
        heard += told
    _check_all(heard, container, known)


def _check(standing: Standing, kind: ProbeKind, answers: str, told: tuple[Verdict, ...]) -> None:
    probe = standing.courses[kind].probe
    for verdict, sign, count in (
        (Verdict.NOT_ALIVE, "-", probe.failure_threshold),
        (Verdict.NOT_STARTED, "-", probe.failure_threshold),
        (Verdict.NOT_READY, "-", probe.failure_threshold),
        (Verdict.STARTED, "+", probe.success_threshold),
    ):
        assert verdict not in told or answers.endswith(sign * count), (verdict, answers)


def _check_all(heard: list[Verdict], container: Container, known: bool) -> None:
    assert heard.count(Verdict.STARTED) + heard.count(Verdict.NOT_STARTED) <= 1
    assert heard.count(Verdict.NOT_ALIVE) <= 1
    readiness = [each for each in heard if each in (Verdict.READY, Verdict.NOT_READY)]
    assert all(one is not other for one, other in itertools.pairwise(readiness)), "told twice"
    assert known or readiness[:1] in ([], [Verdict.READY]), "it was not ready at first"
    if container.readiness_probe is None and (known or Verdict.STARTED in heard):
        assert readiness == [Verdict.READY]
