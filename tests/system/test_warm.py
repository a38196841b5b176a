"""Verbs that the warm process beside an engine does in the launcher's place: as if Python had been started for them."""

from __future__ import annotations

import os
import pty
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inotify_simple import INotify, flags

from sandbox.pod.paths import WARM_SOCKET
from tests.runner import TIMEOUT, Seedpod
from tests.staying import detached, engine_pid, kill_engine, pod_json, wait_and_close

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

TALKS = "echo ready; mkfifo /tmp/f; exec 3<> /tmp/f; trap 'exit 0' TERM; read _ <&3"


@pytest.fixture
def web(seedpod: Seedpod) -> Seedpod:
    """A pod "web" that has said "ready", and an engine whose warm process takes callers."""
    with INotify() as inotify:
        inotify.add_watch(seedpod.root, flags.MOVED_TO)
        detached(seedpod, seedpod.pod(seedpod.shell("app", TALKS)))
        while not (seedpod.root / WARM_SOCKET).exists():
            assert inotify.read(timeout=TIMEOUT * 1000), "there is no warm process"
    return seedpod


@pytest.fixture
def following(web: Seedpod) -> Iterator[Any]:
    """Starts `logs -f`, or other words, and waits for its first line."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str, before: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        command = [*before, str(web.program), "--root", str(web.root), *(words or ("logs", "-f", "web"))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, **{**pipes, **options})
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=TIMEOUT)


def warm_pid(seedpod: Seedpod) -> int:
    (pid,) = (each for each in children(engine_pid(seedpod)) if name_of(each) == "seedpod:warm")
    return pid


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def sockets(pid: int) -> set[str]:
    links = (str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith("socket:")}


def is_warm(process: subprocess.Popen[str]) -> bool:
    """Whether the launcher is still itself, and so has found the warm process."""
    return Path(f"/proc/{process.pid}/exe").readlink().name == "seedpod"


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    return process.returncode, stdout, stderr


# ---- as Python's seedpod ----


def test_a_verb_is_done_without_starting_python_and_ends_as_it_would(following: Any) -> None:
    process = following()
    assert is_warm(process)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "", "")


def test_words_streams_and_directory_are_the_callers(web: Seedpod, tmp_path: Path) -> None:
    words = ("", "two\nlines", "\udce9")
    result = web.command("exec", "web", "--", "printf", "%s|", *words, errors="surrogateescape")
    assert (result.returncode, result.stdout) == (0, "|two\nlines|\udce9|")
    result = web.command("exec", "-i", "web", "--", "sh", "-c", "cat; echo err >&2; exit 3", input="in")
    assert (result.returncode, result.stdout, result.stderr) == (3, "in", "err\n")
    (tmp_path / "bad.yaml").write_text("kind: Pod\n")
    result = web.command("check", "bad.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout.splitlines()[0]) == (1, "bad.yaml:1:1: apiVersion: Required value")


def test_the_root_may_come_from_the_environment(web: Seedpod) -> None:
    environment = {**os.environ, "SEEDPOD_ROOT": str(web.root)}
    result = subprocess.run(
        [web.program, "get", "-o", "name"], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "pod/web\n", "")


def test_a_signal_is_the_programs(following: Any) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do read _; done"
    process = following("exec", "-i", "web", "--", "sh", "-c", script)
    assert is_warm(process)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (5, "", "")


def test_a_signal_that_is_ignored_stays_so(following: Any) -> None:
    process = following(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert is_warm(process)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "", "")


def test_a_stop_from_the_terminal_stops_both_and_they_go_on(web: Seedpod, following: Any) -> None:
    process = following("exec", "-i", "web", "--", "sh", "-c", "echo ready; read line; echo $line")
    assert is_warm(process)
    (child,) = children(warm_pid(web))
    process.send_signal(signal.SIGTSTP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    deadline = time.monotonic() + TIMEOUT
    while state_of(child) != "T":  # another CPU may still be on its way to stop it
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGCONT)
    process.stdin.write("on\n")
    assert ended(process) == (0, "on\n", "")


def test_a_signal_at_any_moment_ends_it_as_it_should(web: Seedpod) -> None:
    chance = random.Random(5)
    for number in 25 * (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        process = subprocess.Popen(
            [web.program, "--root", web.root, "logs", "-f", "web"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        select.select([], [], [], chance.random() * 0.03)
        process.send_signal(number)
        code, _, stderr = ended(process)
        assert (code, stderr) in ((-number, ""), (130 if number == signal.SIGINT else -number, "")), number


def test_what_a_verb_wrote_to_is_let_go_of_before_it_ends(web: Seedpod, tmp_path: Path) -> None:
    script = 'cd "$1" && "$2" --root "$3" exec -i web -- cat < /bin/true > prog && chmod +x prog && ./prog'
    for _ in range(20):
        assert subprocess.run(["sh", "-c", script, "sh", tmp_path, web.program, web.root], check=False).returncode == 0


# ---- at a terminal ----


BACKGROUND = """
import fcntl, os, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, preexec_fn=os.setpgrp)
print(os.read(0, 100))
"""


def test_a_verb_in_the_background_does_not_take_the_terminals_keys(web: Seedpod) -> None:
    """The kernel refuses them to a background job, and so must know it as one."""
    master, slave = pty.openpty()
    command = [sys.executable, "-c", BACKGROUND, web.program, "--root", web.root, "exec", "-i", "web", "--", "cat"]
    leader = subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, text=True, start_new_session=True)
    os.close(slave)
    os.write(master, b"a key\n")
    assert ended(leader)[:2] == (0, "b'a key\\n'\n")
    os.close(master)


# ---- what is out of the ordinary ----


def test_an_environment_that_is_pythons_to_read_has_it_started(following: Any) -> None:
    for name, value in {
        "LC_ALL": "de_DE.ISO-8859-1",
        "PYTHONPATH": "/nonexistent",
        "PYTHONIOENCODING": "latin1",
    }.items():
        process = following(env={**os.environ, name: value})
        assert not is_warm(process), name
        process.send_signal(signal.SIGINT)
        assert ended(process) == (130, "", ""), name


def test_another_namespace_or_privilege_has_python_started(following: Any) -> None:
    for before in (("unshare", "--net"), ("unshare", "--mount"), ("setpriv", "--no-new-privs")):
        process = following(before=before)
        assert not is_warm(process), before
        process.send_signal(signal.SIGINT)
        assert ended(process) == (130, "", ""), before


def test_a_user_who_is_not_root_is_refused_as_ever(web: Seedpod) -> None:
    command = ["setpriv", "--reuid", "65534", "--clear-groups", web.program, "--root", web.root, "get"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode in (1, 126)  # the program itself may be where only root comes to
    assert result.stdout == ""


def test_a_copy_of_the_launcher_is_not_taken_for_it(web: Seedpod, following: Any, tmp_path: Path) -> None:
    """It may be of another version than the engine."""
    beside = tmp_path / "bin"
    beside.mkdir()
    (beside / "seedpod").write_bytes(web.program.read_bytes())
    (beside / "seedpod").chmod(0o755)
    result = subprocess.run(
        [beside / "seedpod", "--root", web.root, "get"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (127, f"error: {beside}/python3: No such file or directory\n")


def test_a_closed_standard_fd_is_left_to_python(web: Seedpod) -> None:
    for fd in (0, 1, 2):
        command = ["sh", "-c", f'exec "$@" {fd}>&-', "sh", web.program, "--root", web.root, "get", "-o", "name"]
        result = subprocess.run(command, capture_output=True, check=False)
        assert (result.returncode, result.stdout) == (0, b"" if fd == 1 else b"pod/web\n"), fd


# ---- deaths ----


def test_a_killed_caller_takes_its_child_with_it(web: Seedpod, following: Any) -> None:
    """And not the program in the container, as it is without a warm process."""
    process = following("exec", "web", "--", "sh", "-c", "echo ready; exec sleep 1000")
    (child,) = children(warm_pid(web))
    pidfd = os.pidfd_open(child)
    process.kill()
    wait_and_close(pidfd)


def test_a_caller_ends_by_the_signal_that_ended_its_child(web: Seedpod, following: Any) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV):
        process = following()
        (child,) = children(warm_pid(web))
        os.kill(child, number)
        assert ended(process) == (-number, "", "")


def test_a_killed_warm_process_takes_nobody_with_it(web: Seedpod, following: Any) -> None:
    process = following("exec", "-i", "web", "--", "sh", "-c", "echo ready; read code; exit $code")
    pidfd = os.pidfd_open(warm_pid(web))
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    wait_and_close(pidfd)
    assert web.command("get", "-o", "name").stdout == "pod/web\n"
    process.stdin.write("7\n")
    assert ended(process) == (7, "", "")


def test_no_fork_has_the_connection_of_another(web: Seedpod, following: Any) -> None:
    """In whatever order they came and went: else a caller would not see the end of its own."""
    warm = warm_pid(web)
    first = following()
    others = children(warm)
    following()
    (second,) = set(children(warm)) - set(others)
    first.send_signal(signal.SIGINT)
    assert ended(first) == (130, "", "")
    while children(warm) != [second]:  # it has let go of the first, whose numbers of fds are the next one's
        pass
    following()
    (third,) = set(children(warm)) - {second}
    assert sockets(second) & sockets(third) == set()


def test_a_stopped_warm_process_is_not_waited_for_and_does_nothing_twice(web: Seedpod) -> None:
    pid = warm_pid(web)
    os.kill(pid, signal.SIGSTOP)
    try:
        detached(web, web.pod(web.shell("app", TALKS), name="second"))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert web.command("get", "-o", "name").stdout == "pod/second\npod/web\n"
    assert [event["reason"] for event in pod_json(web, "second")["status"].get("events", [])].count("Created") <= 1


def test_it_ends_with_its_engine_however_that_ends(web: Seedpod) -> None:
    pidfd = os.pidfd_open(warm_pid(web))
    kill_engine(web)
    wait_and_close(pidfd)
    assert web.command("get", "-o", "name").stdout == "pod/web\n"  # by Python, which starts the next engine


def test_an_engine_that_stops_leaves_no_socket(web: Seedpod) -> None:
    pidfd = os.pidfd_open(warm_pid(web))
    assert web.command("agent", "stop").returncode == 0
    wait_and_close(pidfd)
    assert not (web.root / WARM_SOCKET).exists()


# ---- others on its socket ----


def stray(seedpod: Seedpod, message: bytes, fds: list[int]) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(TIMEOUT)
    sock.connect(str(seedpod.root / WARM_SOCKET))
    if message:
        socket.send_fds(sock, [message], fds)
    return sock


def test_a_stray_caller_is_sent_away_and_holds_up_nobody(web: Seedpod) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        for message, fds in ((b"", 0), (b"fds", 0), (b"fds", 1), (b"x" * 4096, 4)):
            with stray(web, message, [null] * fds) as sock:
                assert web.command("get", "-o", "name").stdout == "pod/web\n"
                assert sock.recv(64) == b"hello"
                assert sock.recv(64) in (b"", b"cold")
    finally:
        os.close(null)


def test_a_caller_whose_warm_process_goes_silent_after_go_says_so(web: Seedpod, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        root = tmp_path / "r"
        root.mkdir()
        listener.bind(str(root / WARM_SOCKET))
        listener.listen()
        process = subprocess.Popen(
            [web.program, "--root", root, "get"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        sock, _ = listener.accept()
        with sock:
            sock.send(b"hello")
            message, fds, _, _ = socket.recv_fds(sock, 8, 8)
            assert (message, len(fds)) == (b"fds", 4)
            fds.append(os.pidfd_open(process.pid))
            socket.send_fds(sock, [b"warm"], [fds[4]])
            assert sock.recv(8) == b"go"
            assert not select.select([fds[3]], [], [], 0)[0]  # the pipe stays while the caller does
            for fd in fds:
                os.close(fd)
    assert ended(process) == (1, "", "error: the process that did this was killed\n")
