"""How a run is ended from outside: gracefully, at once, and by a kill of seedpod itself (SEMANTICS A34, A35, A37)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sandbox.pod.slices import Slices
from tests.runner import TIMEOUT, Manifest, Seedpod

pytestmark = pytest.mark.root

# `read` from an empty named pipe waits without end and without a child that would outlive the shell's trap.
PATIENT = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'echo got TERM; exit 7' TERM; echo up; read _ <&3"
STUBBORN = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'echo got TERM' TERM; echo up; while :; do read _ <&3; done"


def started(seedpod: Seedpod, *pods: Manifest, containers: int = 1) -> subprocess.Popen[str]:
    """A run all of whose containers have said that they are up."""
    process = seedpod.start(*pods)
    assert process.stdout is not None
    for _ in range(containers):
        assert process.stdout.readline().endswith("up\n")
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_run_gracefully(seedpod: Seedpod, number: int, code: int) -> None:
    """# A35"""
    process = started(seedpod, seedpod.pod(seedpod.shell("c", PATIENT)))
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=TIMEOUT)
    assert stdout == "got TERM\n"
    assert process.returncode == code


def test_every_container_of_every_pod_gets_term(seedpod: Seedpod) -> None:
    """# A35"""
    pods = [seedpod.pod(seedpod.shell("a", PATIENT), seedpod.shell("b", PATIENT), name=name) for name in ("one", "two")]
    process = started(seedpod, *pods, containers=4)
    process.terminate()
    stdout, _ = process.communicate(timeout=TIMEOUT)
    assert sorted(stdout.splitlines()) == [f"{pod}/{c} | got TERM" for pod in ("one", "two") for c in ("a", "b")]


def test_what_ignores_term_is_killed_after_the_grace_period(seedpod: Seedpod) -> None:
    """# A30, A37: not before it is over, and not much later."""
    process = started(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN), terminationGracePeriodSeconds=3))
    begin = time.monotonic()
    process.terminate()
    stdout, _ = process.communicate(timeout=TIMEOUT)
    assert stdout == "got TERM\n"
    assert 3.0 <= time.monotonic() - begin < 13
    assert process.returncode == 143


def test_a_grace_period_of_zero_is_two_seconds(seedpod: Seedpod) -> None:
    """# A34: kubelet's minimum."""
    process = started(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN), terminationGracePeriodSeconds=0))
    begin = time.monotonic()
    process.terminate()
    assert process.communicate(timeout=TIMEOUT)[0] == "got TERM\n"
    assert time.monotonic() - begin >= 2.0


def test_a_second_interrupt_ends_it_at_once(seedpod: Seedpod) -> None:
    process = started(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN), terminationGracePeriodSeconds=3600))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "got TERM\n", "the first one is at work"
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 130


def test_nothing_survives_whatever_it_did_to_hide(seedpod: Seedpod) -> None:
    """# A37: grandchildren, own sessions, another uid, everything ignored, a frozen look."""
    hide = (
        "trap '' TERM INT HUP QUIT; (setsid sh -c 'setsid sleep 601 & sleep 602') & "
        "(trap '' TERM; while :; do sleep 603; done) & echo up; wait"
    )
    process = started(seedpod, seedpod.pod(seedpod.shell("c", hide)))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)  # two SIGINTs at once are one; of these, either may be first
    assert process.wait(TIMEOUT) in (130, 143)
    # The fixture no_leaks looks at the cgroups and processes of the whole machine.


def test_a_killed_seedpod_leaves_its_pods_running_and_any_verb_finds_them(seedpod: Seedpod) -> None:
    process = started(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN)))
    (uid,) = (path.name for path in (seedpod.root / "pods").iterdir())
    process.kill()
    process.wait()
    assert seedpod.command("get", "web", "-o", "jsonpath={.metadata.uid} {.status.phase}").stdout == f"{uid} Running"
    refused = seedpod.run(seedpod.pod(seedpod.shell("c", "echo never")))
    assert refused.stderr == 'Error from server (AlreadyExists): pods "web" already exists\n'
    assert seedpod.command("delete", "web", "--now").stdout == 'pod "web" deleted\n'
    assert seedpod.run(seedpod.pod(seedpod.shell("c", "echo again"))).stdout == "again\n", "the name is free again"
    assert not Slices(seedpod.root).path(uid).exists()


def test_a_killed_podmon_ends_the_run_with_137_and_a_word_about_it(seedpod: Seedpod) -> None:
    process = started(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN)))
    (uid,) = (path.name for path in (seedpod.root / "pods").iterdir())
    podmon = int((Slices(seedpod.root).path(uid) / "podmon.scope" / "cgroup.procs").read_text())
    os.kill(podmon, signal.SIGKILL)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 137
    assert stderr == 'error: pod "web": its podmon was killed, and with it all that ran\n'


def test_a_reader_that_goes_away_ends_the_run(seedpod: Seedpod) -> None:
    """As `seedpod run … | head -n 1`: 128 + SIGPIPE, no traceback."""
    process = seedpod.start(seedpod.pod(seedpod.shell("c", "while :; do echo line; done")))
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.wait(TIMEOUT) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""


def test_a_reader_that_stands_still_does_not_hold_up_the_end(seedpod: Seedpod) -> None:
    """The pipe to us is full and nobody reads: two interrupts still end it."""
    process = seedpod.start(seedpod.pod(seedpod.shell("c", "while :; do echo line; done")))
    assert process.stdout is not None
    assert process.stdout.readline() == "line\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) in (130, 143)


def test_two_runs_of_one_root_stand_side_by_side_but_not_under_one_name(seedpod: Seedpod) -> None:
    first = started(seedpod, seedpod.pod(seedpod.shell("c", PATIENT), name="first"))
    refused = seedpod.run(seedpod.pod(seedpod.shell("c", "echo never"), name="first"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == 'Error from server (AlreadyExists): pods "first" already exists\n'
    assert seedpod.run(seedpod.pod(seedpod.shell("c", "echo beside"), name="second")).stdout == "beside\n"
    assert first.poll() is None
    first.terminate()
    assert first.communicate(timeout=TIMEOUT)[0] == "got TERM\n"


def test_two_roots_never_meet(seedpod: Seedpod, tmp_path: Path) -> None:
    other = Seedpod(tmp_path / "other", seedpod.probe, seedpod.program)
    first = started(seedpod, seedpod.pod(seedpod.shell("c", PATIENT)))
    assert other.run(other.pod(other.shell("c", "echo same name"))).stdout == "same name\n"
    first.terminate()
    assert first.wait(TIMEOUT) == 143
    assert list((other.root / "pods").iterdir()) == []


def test_nohup_is_respected(seedpod: Seedpod) -> None:
    process = seedpod.start(
        seedpod.pod(seedpod.shell("c", PATIENT)), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGHUP)
    process.terminate()
    assert process.wait(TIMEOUT) == 143


def test_signals_that_our_caller_blocked_end_the_run_all_the_same(seedpod: Seedpod) -> None:
    process = seedpod.start(
        seedpod.pod(seedpod.shell("c", PATIENT)),
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(TIMEOUT) == 143


def test_a_stopped_podmon_does_not_hold_up_the_end(seedpod: Seedpod) -> None:
    """It cannot report the end of what was killed; it is killed itself."""
    process = started(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN)))
    (uid,) = (path.name for path in (seedpod.root / "pods").iterdir())
    podmon = int((Slices(seedpod.root).path(uid) / "podmon.scope" / "cgroup.procs").read_text())
    os.kill(podmon, signal.SIGSTOP)
    process.terminate()
    assert process.wait(TIMEOUT) == 143
