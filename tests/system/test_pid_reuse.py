"""Process numbers that are soon another's, issue 5: every end is told right, and no stranger is ever sent a signal."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from tests.program import told_by
from tests.small_pids import FIRST_USED_AGAIN, LIMIT

pytestmark = pytest.mark.root

LIVES = 10_000 if os.environ.get("SEEDPOD_LONG") else 180
OWN_MACHINE = "SEEDPOD_OWN_MACHINE" in os.environ  # a guest, of which tests may change what no namespace has of its own

UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def limit_is_a_namespaces() -> bool:
    """kernel.pid_max is a pid namespace's own since Linux 6.14, and the machine's before."""
    major, minor = platform.release().split(".")[:2]
    return (int(major), int(minor.partition("-")[0])) >= (6, 14)


def test_numbers_that_come_around_again_harm_no_stranger_and_lose_no_end(
    root: Path, no_leaks: None, busybox: Path
) -> None:
    """Of 150 numbers, in our pid namespace and in podmon's: containers and execs take them by turns with processes that
    are none of ours and that block every signal, so that each one that they are sent is to be seen."""
    if not limit_is_a_namespaces() and not OWN_MACHINE:
        pytest.skip("kernel.pid_max is the whole machine's before Linux 6.14: SEEDPOD_OWN_MACHINE=1 in a guest")
    told = told_by("tests.small_pids", root, busybox, LIVES, timeout=max(900, LIVES), under=UNSHARE)
    assert told["harmed"] == []
    for mass in told["masses"]:
        assert mass["wrong"] == []
        assert min(mass["around"]) > 0, "numbers did come around"
        assert FIRST_USED_AGAIN < mass["highest"] < LIMIT
