"""Containers of a program whose interpreter is busy, issue 5: none is lost, nothing is left, nobody waits for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.busy import HEAP, code_of
from tests.program import BOX, program, told_by

pytestmark = pytest.mark.root

BOXES, CONTAINERS = 20, 10
LONG = bool(os.environ.get("SEEDPOD_LONG"))
TIMES = 10 if LONG else 1
FORKS = 4 * TIMES
LIMIT = 300 * TIMES  # seconds until every thread's stack is printed, and the program ended

# As a program may that has children of its own.
REAPS = """
    import os, signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    os.kill(box.pid, signal.SIGKILL)
    signal.sigwait([signal.SIGCHLD])
    print(os.waitpid(-1, 0)[0], app.wait(60).code, flush=True)
    box.remove()
"""


def test_two_hundred_containers_of_a_busy_program(root: Path, no_leaks: None, busybox: Path) -> None:
    """Eight threads that compute, 300 MiB of small objects, four threads that make sandboxes and containers, signals to
    all of them, and children forked meanwhile.  With SEEDPOD_LONG=1 there are two thousand."""
    words = (busybox, BOXES * TIMES, CONTAINERS, FORKS)
    told = told_by("tests.busy", root, *words, timeout=LIMIT + 60, watchdog=LIMIT)
    assert told["errors"] == []
    count = BOXES * TIMES * CONTAINERS
    assert told["ends"] == [[number, code_of(number), 1] for number in range(count)]
    before, after = told["fds"]
    assert after == before
    assert told["children"] == [code_of(7)] * FORKS, "a forked child makes a sandbox of its own"
    assert min(told["turns"]) > 0 and told["rss"] > HEAP, "it was as busy as it was to be"
    assert told["heard"]["SIGUSR1"] > 0 and told["heard"]["SIGALRM"] > 0


def test_a_program_that_waits_for_any_child_may_reap_our_podmon(root: Path, no_leaks: None, busybox: Path) -> None:
    """execve makes it a child like any other, whatever the clone said: its end is a SIGCHLD, and wait() finds it."""
    with program(BOX + REAPS, root, busybox, "bound") as running:
        podmon = running.hear().split()[0]
        assert running.hear().split() == [podmon, "137"]
        assert running.end() == 0
