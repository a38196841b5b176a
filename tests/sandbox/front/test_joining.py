"""`exec` and `attach` as a person at a terminal has them, or a script without one."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys

import pytest

from tests.sandbox.pod.test_joining import Pod, pod
from tests.sandbox.pod.test_sandbox import ENV, Lab
from tests.terminal import Terminal, terminal

pytestmark = pytest.mark.root

TIMEOUT = 10

CALL = """
import json, sys
from pathlib import Path
from sandbox.errors import SandboxError
from sandbox.front import joining
from sandbox.front.errors import print_error
from sandbox.pod.privileges import DEFAULT_PRIVILEGES

verb, directory, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
options, argv = map(json.loads, sys.argv[4:6])
made = {"tty": options.get("tty", False), "stdin": options.get("stdin", False)}
target = joining.Target(directory, number, options["env"], "/", **made, privileges=DEFAULT_PRIVILEGES)
stdin, tty = options.get("i", False), options.get("t", False)
try:
    if verb == "exec":
        code = joining.exec_(target, argv, stdin=stdin, tty=tty)
    else:
        code = joining.attach(target, stdin=stdin)
except SandboxError as error:
    print_error(error)
    code = 99
print("code", code)
sys.exit(code)
"""


def command(target: Pod, verb: str, *argv: str, **options: object) -> list[str]:
    words = [str(target.directory), str(target.number), json.dumps({"env": ENV, **options}), json.dumps(argv)]
    return [sys.executable, "-c", CALL, verb, *words]


# --- exec with a terminal


def test_a_shell_on_a_terminal_has_its_size_and_kind_and_follows_it(lab: Lab) -> None:
    script = "trap 'stty size' WINCH; stty size; echo $TERM; x=; "
    script += 'until test end = "$x"; do read x && echo got $x; done; exit 4'
    with pod(lab) as target, terminal(command(target, "exec", "sh", "-c", script, i=True, t=True)) as screen:
        screen.until(b"24 80\r\nvt220\r\n")
        assert screen.is_raw()
        screen.resize(33, 101)
        os.kill(screen.process.pid, signal.SIGWINCH)  # as the terminal is not its controlling one here
        screen.until(b"33 101\r\n", poke=b"\n")
        screen.type(b"word\n")
        screen.until(b"got word\r\n")
        screen.type(b"end\n")
        screen.until(b"code 4")
        assert screen.end() == 4


def test_ctrl_c_reaches_the_program_and_not_us(lab: Lab) -> None:
    with pod(lab) as target, terminal(command(target, "exec", "sleep", "600", i=True, t=True)) as screen:
        while not screen.is_raw():
            os.sched_yield()
        screen.type(b"\x03")
        assert screen.end() == 130
        with terminal(command(target, "exec", "sh", "-c", "trap 'exit 7' INT; echo up; while :; do sleep 0.02; done",
                              i=True, t=True)) as second:  # fmt: skip
            second.until(b"up")
            second.type(b"\x03")
            assert second.end() == 7


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT"])
def test_a_signal_to_us_restores_the_terminal_and_hangs_the_program_up(lab: Lab, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    script = "trap 'touch /dev/shm/hung; exit' HUP; echo up; while :; do sleep 0.02; done"
    with pod(lab) as target:
        with terminal(command(target, "exec", "sh", "-c", script, i=True, t=True)) as screen:
            screen.until(b"up")
            while not screen.is_raw():
                os.sched_yield()
            screen.process.send_signal(number)
            assert screen.end() == 128 + number
        while target.execute("test", "-e", "/dev/shm/hung")[0]:
            pass


def test_a_signal_ends_it_on_a_terminal_that_nobody_reads(lab: Lab) -> None:
    with pod(lab) as target, terminal(command(target, "exec", "yes", i=True, t=True)) as screen:
        while not is_full(screen):
            os.sched_yield()
        screen.process.send_signal(signal.SIGTERM)
        assert screen.end() == 128 + signal.SIGTERM


def is_full(screen: Terminal) -> bool:
    """Whether the program on it has come to wait for somebody to read."""
    return screen.is_raw() and not select.select([], [screen.peer], [], 0)[1]


def test_without_a_terminal_of_ours_there_is_a_warning_and_none_is_made(lab: Lab) -> None:
    with pod(lab) as target:
        words = command(target, "exec", "sh", "-c", "cat; test -t 0 || exit 3", i=True, t=True)
        result = subprocess.run(words, input="in\n", capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert result.stdout == "in\ncode 3\n"
        assert result.stderr == "Unable to use a TTY - input is not a terminal or the right kind of file\n"
        assert result.returncode == 3


def test_a_terminal_without_stdin_is_none_as_kubectl_has_it(lab: Lab) -> None:
    with pod(lab) as target:
        words = command(target, "exec", "sh", "-c", "cat; test -t 1 || exit 3", t=True)
        result = subprocess.run(words, input="in\n", capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert (result.stdout, result.stderr, result.returncode) == ("code 3\n", "", 3)


# --- exec without


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT"])
def test_a_signal_to_us_is_the_programs(lab: Lab, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    script = f"trap 'exit 5' {name}; echo up; while :; do sleep 0.02; done"
    with pod(lab) as target:
        for argv, code in ((("sh", "-c", script), 5), (("sh", "-c", "echo up; exec sleep 600"), 128 + number)):
            process = subprocess.Popen(
                command(target, "exec", *argv), stdout=subprocess.PIPE, restore_signals=True, start_new_session=True
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.send_signal(number)
            process.communicate(timeout=TIMEOUT)
            assert process.returncode == code


def test_a_reader_that_goes_ends_it_by_sigpipe(lab: Lab) -> None:
    with pod(lab) as target:
        process = subprocess.Popen(command(target, "exec", "yes"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        process.wait(TIMEOUT)
        while b"yes" in target.execute("sh", "-c", "cat /proc/[0-9]*/comm")[1].split():
            pass


# --- attach


def test_attach_on_a_terminal_shows_the_containers_and_follows_its_size(lab: Lab) -> None:
    script = "trap 'stty size' WINCH; while :; do read x && echo got $x && test $x = end && exit 3; done"
    with pod(lab, script, '{"tty": true, "stdin": true}') as target:
        words = command(target, "attach", i=True, t=True, tty=True, stdin=True)
        with terminal(words) as screen:
            screen.until(b"If you don't see a command prompt, try pressing enter.")
            while not screen.is_raw():
                os.sched_yield()
            screen.until(b"24 80\r\n", poke=b"\n")
            screen.resize(40, 120)
            os.kill(screen.process.pid, signal.SIGWINCH)
            screen.until(b"40 120\r\n", poke=b"\n")
            screen.type(b"end\n")
            screen.until(b"got end\r\n")
            assert screen.end() == 0


def test_attach_without_stdin_leaves_the_container_alone_when_interrupted(lab: Lab) -> None:
    with pod(lab, "while :; do echo x; sleep 0.02; done") as target:
        process = subprocess.Popen(
            command(target, "attach"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"x\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TIMEOUT)
        assert process.returncode == -signal.SIGTERM
        assert said == b"If you don't see a command prompt, try pressing enter.\n"
        target.turn()


def test_attach_to_a_stdin_that_is_not_there_is_an_error(lab: Lab) -> None:
    with pod(lab) as target:
        result = subprocess.run(
            command(target, "attach", i=True), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert result.returncode == 99
        assert result.stderr.startswith("error: Unable to use stdin - the container did not allocate one\n")
