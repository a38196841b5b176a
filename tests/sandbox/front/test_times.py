from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SandboxError
from sandbox.front.times import duration, moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("+0", 0),
        ("0s", 0),
        ("5s", 5),
        ("1.5h", 5400),
        (".5m", 30),
        ("1.s", 1),
        ("1h2m3s", 3723),
        ("3s1h", 3603),
        ("100ms", 0.1),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        ("7μs", 7e-6),
        ("500ns", 0),
        ("-2m", -120),
    ],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("x", 'time: invalid duration "x"'),
        (" 5s", 'time: invalid duration " 5s"'),
        (".s", 'time: invalid duration ".s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5s6", 'time: missing unit in duration "5s6"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        ("5 s", 'time: unknown unit " s" in duration "5 s"'),
        ("٥s", 'time: invalid duration "٥s"'),
        ("999999999h", 'time: invalid duration "999999999h"'),
    ],
)
def test_what_is_no_duration_is_refused_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(SandboxError) as caught:
        duration(text)
    assert str(caught.value) == words


@given(st.timedeltas(timedelta(0), timedelta(days=3650)))
def test_a_duration_is_the_sum_of_its_parts(value: timedelta) -> None:
    seconds = value.days * 86400 + value.seconds
    text = f"{seconds // 3600}h{seconds % 3600 // 60}m{seconds % 60}.{value.microseconds:06}s"
    assert duration(text) == value
    assert duration(f"-{text}") == -value


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert isinstance(duration(text), timedelta)
    except SandboxError as error:
        assert str(error).startswith("time: ")


def test_moments_are_rfc3339() -> None:
    assert moment("2026-01-02T15:04:05Z") == datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
    assert moment("2026-01-02T15:04:05.123456789+02:00") == datetime(2026, 1, 2, 13, 4, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02", "2026-01-02T15:04:05", "2026-02-30T00:00:00Z"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(SandboxError, match="is no time as in RFC 3339"):
        moment(text)
