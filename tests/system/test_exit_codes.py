"""How containers end and what `run` makes of it (SEMANTICS A24, CONTRACT "Exit code of run")."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sandbox.front.run import run
from sandbox.pod.client import Client
from sandbox.pod.slices import Slices
from sandbox.status import Running, Terminated
from tests.runner import TIMEOUT, Manifest, Seedpod

pytestmark = pytest.mark.root


def run_in_process(seedpod: Seedpod, manifest: Manifest, directory: Path) -> int:
    """What the verb `run` returns, without the start of an interpreter."""
    file = directory / "pod.json"
    file.write_text(json.dumps(manifest))
    return run(seedpod.root, str(file))


def test_every_exit_code_comes_out_of_run(seedpod: Seedpod, tmp_path: Path) -> None:
    """# A24"""
    codes = [run_in_process(seedpod, seedpod.pod(seedpod.shell("c", f"exit {code}")), tmp_path) for code in range(256)]
    assert codes == list(range(256))


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_the_program_itself_ends_with_the_code(seedpod: Seedpod, code: int) -> None:
    """# A24"""
    assert seedpod.run(seedpod.pod(seedpod.shell("c", f"exit {code}"))).returncode == code


@pytest.mark.parametrize("number", [signal.SIGILL, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV])
def test_a_fault_is_128_plus_its_signal(seedpod: Seedpod, tmp_path: Path, number: int) -> None:
    """# A24"""
    pod = seedpod.pod(seedpod.container("c", "/probe/probe", "raise", str(number)))
    assert run_in_process(seedpod, pod, tmp_path) == 128 + number


def test_a_kill_from_outside_is_137(seedpod: Seedpod) -> None:
    """# A24"""
    process = seedpod.start(seedpod.pod(seedpod.shell("c", "echo up; exec sleep 600")))
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (scope,) = Slices(seedpod.root).path(_only_uid(seedpod)).glob("[0-9a-f]*.scope")
    os.kill(int((scope / "cgroup.procs").read_text()), signal.SIGKILL)
    assert process.wait(TIMEOUT) == 137


@pytest.mark.parametrize(("number", "code"), [(15, 143), (1, 129), (10, 138), (2, 130)])
def test_a_signal_that_kills_a_child_is_the_shells_exit_code(
    seedpod: Seedpod, tmp_path: Path, number: int, code: int
) -> None:
    """# A24: what is not PID 1 dies of the default action."""
    pod = seedpod.pod(seedpod.shell("c", f"/probe/probe raise {number}; exit $?"))
    assert run_in_process(seedpod, pod, tmp_path) == code


def _only_uid(seedpod: Seedpod) -> str:
    (directory,) = (seedpod.root / "pods").iterdir()
    return directory.name


def test_the_first_container_that_failed_gives_the_code(seedpod: Seedpod) -> None:
    """The late one has a second to be late: nothing in a container tells that another has been reaped."""
    result = seedpod.run(
        seedpod.pod(
            seedpod.shell("fine", "exit 0"),
            seedpod.shell("late", "sleep 1; exit 3"),
            seedpod.shell("early", "exit 4"),
        )
    )
    assert result.returncode == 4


def test_a_container_that_cannot_start_is_128_and_the_others_run_on(seedpod: Seedpod) -> None:
    """# A24: StartError"""
    result = seedpod.run(
        seedpod.pod(seedpod.container("bad", "no-such-command"), seedpod.shell("good", "echo still here"))
    )
    assert result.returncode == 128
    assert result.stdout == "good | still here\n"
    assert result.stderr.splitlines()[0] == (
        'error: pod "web", container "bad": run no-such-command: execve: No such file or directory (ENOENT)'
    )
    assert result.stderr.splitlines()[1].startswith("hint: ")


def test_an_orphaned_grandchild_neither_delays_nor_outlives_the_end(seedpod: Seedpod) -> None:
    """# A24: PID 1's end is the container's end."""
    result = seedpod.run(seedpod.pod(seedpod.shell("c", "setsid sleep 600 & exit 5")))
    assert result.returncode == 5


def test_several_pods_run_at_once_and_any_failure_counts(seedpod: Seedpod) -> None:
    result = seedpod.run(
        seedpod.pod(seedpod.shell("c", "echo one"), name="one"),
        seedpod.pod(seedpod.shell("c", "echo two; exit 9"), name="two"),
    )
    assert result.returncode == 9
    assert sorted(result.stdout.splitlines()) == ["one/c | one", "two/c | two"]


def test_output_of_one_container_passes_unchanged(seedpod: Seedpod) -> None:
    """Bytes, not lines: binary data and a missing newline come through."""
    process = subprocess.run(
        [seedpod.program, "--root", seedpod.root, "run", "-"],
        input=json.dumps(seedpod.pod(seedpod.shell("c", r"printf '\000\377no newline'; printf 'err' >&2"))).encode(),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert process.stdout == b"\x00\xffno newline"
    assert process.stderr == b"err"


def test_a_container_that_writes_faster_than_we_are_read_waits_for_us(seedpod: Seedpod) -> None:
    """Or what its log rotates away would be lost; as a pipe would hold it up.  More than all files of a log hold."""
    other = "seq 1 5000000 > /dev/null"  # meanwhile the first one could have filled several files of its log
    process = seedpod.start(seedpod.pod(seedpod.shell("c", "seq 1 1500000"), seedpod.shell("other", other)))
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "c | 1\n"
    with Client(seedpod.root) as client, client.watch([client.find("default", "web")]) as watch:
        for (status,) in watch.until(time.monotonic() + TIMEOUT):
            assert status is not None
            first, second = status.containers
            if isinstance(second.state, Terminated):
                break
    assert isinstance(first.state, Running)
    (log,) = (seedpod.root / "logs").glob("*/c")
    assert [path.name for path in log.iterdir()] == ["0.log"], "nothing was rotated yet"
    size, last = 1, 1
    for line in process.stdout:
        number = int(line.removeprefix("c | "))
        size, last = size + (number == last + 1), number
    assert (process.wait(TIMEOUT), process.stderr.read()) == (0, "")
    assert (size, last) == (1500000, 1500000)


def test_a_flood_of_output_loses_nothing(seedpod: Seedpod) -> None:
    result = seedpod.run(
        seedpod.pod(seedpod.shell("one", "seq 1 200000"), seedpod.shell("two", "seq 1 200000; printf end"))
    )
    lines = result.stdout.splitlines()
    numbers = [str(number) for number in range(1, 200001)]
    assert [line[6:] for line in lines if line.startswith("one | ")] == numbers
    assert [line[6:] for line in lines if line.startswith("two | ")] == [*numbers, "end"]
    assert len(lines) == 400001
