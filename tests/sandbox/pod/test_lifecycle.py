from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.pod.lifecycle import Ended, exit_code
from sandbox.status import ExitStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ended(code: int, second: int = 0) -> Ended:
    when = NOON + timedelta(seconds=second)
    return Ended(ExitStatus(code, None, False, NOON, when), when)


def not_started(second: int = 0) -> Ended:
    return Ended(None, NOON + timedelta(seconds=second))


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([], 0),
        ([ended(0)], 0),
        ([ended(0), ended(0, 1)], 0),
        ([ended(3)], 3),
        ([ended(0), ended(3, 1)], 3),
        ([ended(3, 2), ended(4, 1)], 4),
        ([ended(3, 1), ended(4, 1)], 3),
        ([not_started()], 128),
        ([ended(137, 1), not_started(2)], 137),
    ],
)
def test_the_first_failure_in_time_is_the_code_and_of_two_at_once_the_first_container(
    ends: list[Ended], code: int
) -> None:
    assert exit_code(ends) == code
