"""`exec` and `attach` through the command line, on a terminal and in scripts (CONTRACT; DESIGN, row 7)."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from pathlib import Path

import pytest

from tests.runner import TIMEOUT, Manifest, Seedpod
from tests.terminal import terminal

pytestmark = pytest.mark.root

STAYS = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'exit 0' TERM; read _ <&3"


@pytest.fixture
def web(seedpod: Seedpod) -> Seedpod:
    """A pod "web" that stays, with the containers a and b."""
    return standing(seedpod, seedpod.pod(seedpod.shell("a", STAYS), seedpod.shell("b", STAYS)))


def standing(seedpod: Seedpod, pod: Manifest) -> Seedpod:
    result = seedpod.command("run", "-d", "--wait", "-", input=json.dumps(pod))
    assert result.returncode == 0, result
    return seedpod


def words(seedpod: Seedpod, *rest: str) -> list[str | Path]:
    return [seedpod.program, "--root", seedpod.root, *rest]


# ---- exec ----


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_the_exit_code_of_exec_is_the_commands(web: Seedpod, code: int) -> None:
    assert web.command("exec", "web", "-c", "b", "--", "sh", "-c", f"exit {code}").returncode == code


def test_a_command_that_a_signal_ends_is_128_and_its_number(web: Seedpod) -> None:
    """# A24"""
    assert web.command("exec", "web", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_a_command_that_is_not_there_is_127_with_a_word_about_it(web: Seedpod) -> None:
    result = web.command("exec", "web", "-c", "a", "--", "nosuch")
    assert result.returncode == 127
    assert result.stderr.startswith("error: run nosuch: execve: No such file or directory")
    denied = web.command("exec", "web", "-c", "a", "--", "/etc/hosts")
    assert denied.returncode == 126


def test_streams_are_apart_and_stdin_only_where_it_is_asked_for(web: Seedpod) -> None:
    script = "cat; echo out; echo err >&2"
    result = web.command("exec", "-i", "web", "-c", "a", "--", "sh", "-c", script, input="in\n")
    assert (result.stdout, result.stderr) == ("in\nout\n", "err\n")
    result = web.command("exec", "web", "-c", "a", "--", "sh", "-c", script, input="in\n")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_program_sees_the_containers_world(web: Seedpod) -> None:
    result = web.command(
        "exec", "web", "-c", "b", "--", "sh", "-c", "hostname; echo $HOSTNAME; ls -l /proc/self/fd | wc -l"
    )
    assert result.stdout.split() == ["web", "web", "5"], "0 to 2 and the one that reads; and a heading"


def test_a_gibibyte_comes_through_unharmed(web: Seedpod) -> None:
    """Of zeros and of bytes that count, out and in."""
    script = "dd if=/dev/zero bs=1M count=1024 2>/dev/null"
    with subprocess.Popen(
        words(web, "exec", "web", "-c", "a", "--", "sh", "-c", script), stdout=subprocess.PIPE
    ) as out:
        assert out.stdout is not None
        digest, size = hashlib.md5(), 0
        while data := out.stdout.read(1 << 20):
            digest.update(data)
            size += len(data)
        assert (out.wait(TIMEOUT), size) == (0, 1 << 30)
    block = bytes(range(256)) * 4096
    expected = hashlib.md5(block * 64).hexdigest()
    arguments = words(web, "exec", "-i", "web", "-c", "a", "--", "md5sum")
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as into:
        assert into.stdin is not None
        assert into.stdout is not None
        for _ in range(64):
            into.stdin.write(block)
        into.stdin.close()
        assert into.stdout.read().split()[0].decode() == expected


def test_a_shell_on_a_terminal(web: Seedpod) -> None:
    """Its size, a change of it, Ctrl-C, and its exit code."""
    with terminal(words(web, "exec", "-it", "web", "-c", "a", "--", "sh")) as screen:
        screen.type(b"stty size\n")
        screen.until(b"24 80\r\n")
        screen.resize(40, 100)
        screen.type(b"while [ \"$(stty size)\" != '40 100' ]; do :; done; echo fit$((1+1))\n")
        screen.until(b"fit2\r\n")
        # Said from inside the job that is then in the foreground: the shell itself is still about to make it before.
        screen.type(b"sh -c 'echo run$((5*5)); exec sleep 600' && echo slept\n")
        screen.until(b"run25\r\n")
        screen.type(b"\x03")
        screen.until(b"/ # ", after=b"^C")
        screen.type(b"echo back$((20+3)); exit 9\n")
        screen.until(b"back23\r\n")
        assert screen.end() == 9
    assert b"\nslept" not in screen.seen


def test_many_at_once_each_with_its_own_answer(web: Seedpod) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = web.command("exec", "web", "-c", "a", "--", "sh", "-c", f"echo {number}").stdout

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(24)}


def test_a_pod_that_has_ended_cannot_be_entered(seedpod: Seedpod) -> None:
    pod = seedpod.pod(seedpod.shell("c", "exit 0"))
    assert seedpod.command("run", "--keep", "-", input=json.dumps(pod)).returncode == 0
    result = seedpod.command("exec", "web", "--", "true")
    assert result.returncode == 1
    assert result.stderr == "error: cannot exec into a container in a completed pod; current phase is Succeeded\n"


# ---- attach ----


def test_clients_that_attach_all_see_what_the_container_writes_and_one_types(seedpod: Seedpod) -> None:
    script = "while read x; do echo got $x; test $x = end && exit 5; done"
    standing(seedpod, seedpod.pod(seedpod.shell("c", script, stdin=True), restartPolicy="Never"))
    quiet = subprocess.Popen(words(seedpod, "attach", "web"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert quiet.stderr is not None
    assert quiet.stderr.readline() == "If you don't see a command prompt, try pressing enter.\n", "it is attached"
    with subprocess.Popen(
        words(seedpod, "attach", "-i", "web"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as typing:
        assert typing.stdin is not None
        assert typing.stdout is not None
        typing.stdin.write("one\n")
        typing.stdin.flush()
        assert typing.stdout.readline() == "got one\n"
        typing.stdin.close()
        typing.terminate()
    result = seedpod.command("attach", "-i", "web", input="end\n")
    assert result.stdout == "got end\n", "the end of one client's stdin was not the container's"
    assert quiet.communicate(timeout=TIMEOUT)[0] == "got one\ngot end\n"
    assert seedpod.command("logs", "web").stdout == "got one\ngot end\n"


def test_stdin_ends_with_its_first_client_where_it_is_once(seedpod: Seedpod) -> None:
    standing(seedpod, seedpod.pod(seedpod.shell("c", "cat; echo eof", stdin=True, stdinOnce=True)))
    assert seedpod.command("attach", "-i", "web", input="all\n").stdout == "all\neof\n"


def test_a_containers_own_terminal_is_attached_to(seedpod: Seedpod) -> None:
    standing(seedpod, seedpod.pod(seedpod.container("c", "sh", stdin=True, tty=True)))
    with terminal(words(seedpod, "attach", "-it", "web")) as screen:
        screen.type(b"tty; stty size; echo a$((1+1))\n")
        screen.until(b"a2\r\n")
        assert b"/dev/pts/0\r\n24 80\r\n" in screen.seen
        screen.type(b"exit 4\n")
        assert screen.end() == 0
    state = seedpod.command("get", "web", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}")
    assert state.stdout == "4"


def test_without_stdin_nobody_can_type(web: Seedpod) -> None:
    result = web.command("attach", "-i", "web", "-c", "a", input="x")
    assert result.returncode == 1
    assert result.stderr.startswith("error: Unable to use stdin - the container did not allocate one\n")
