"""Programs that join a container from a process without an event loop, and clients attached from one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.errors import KernelError, NotFound, SandboxError, SpawnError, WrongState
from sandbox.pod import joining, wire
from sandbox.pod.container import ExecSpec
from sandbox.pod.privileges import DEFAULT_PRIVILEGES
from tests.sandbox.pod.test_sandbox import ENV, Lab

pytestmark = pytest.mark.root

TIMEOUT = 60


class Pod:
    """A sandbox that a process of its own made and left, with one container of a script: there is no loop in ours."""

    def __init__(self, lab: Lab, number: int, pid: int, init: int) -> None:
        self.lab = lab
        self.directory = lab.directory
        self.number = number
        self.pid = pid
        self.init = init

    def execute(self, *argv: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr."""
        with plumbing(stdin) as (fds, read):
            with joining.execute(
                self.directory,
                self.number,
                ExecSpec(argv, ENV),
                DEFAULT_PRIVILEGES,
                stdin=fds[0] if stdin is not None else None,
                stdout=fds[1],
                stderr=fds[2],
            ) as program:
                code = program.wait()
            return code, *read()

    def turn(self) -> None:
        """A turn of podmon's loop, and more."""
        assert self.execute("true")[0] == 0


@contextmanager
def plumbing(stdin: bytes | None) -> Iterator[tuple[tuple[int, int, int], object]]:
    """Fds for a program's client, and a function that closes them and gives what came out."""
    ends = [os.pipe() for _ in range(3)]
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = ends
    found: list[bytes] = [b"", b""]

    def collect(index: int, fd: int) -> None:
        with os.fdopen(fd, "rb") as pipe:
            found[index] = pipe.read()

    def feed() -> None:
        with os.fdopen(in_write, "wb") as pipe:
            pipe.write(stdin or b"")

    threads = [
        threading.Thread(target=feed),
        threading.Thread(target=collect, args=(0, out_read)),
        threading.Thread(target=collect, args=(1, err_read)),
    ]
    for thread in threads:
        thread.start()
    open_fds = [in_read, out_write, err_write]

    def close() -> None:
        while open_fds:
            os.close(open_fds.pop())
        for thread in threads:
            thread.join()

    def read() -> list[bytes]:
        close()
        return found

    try:
        yield (in_read, out_write, err_write), read
    finally:
        close()


MAKE = """
import asyncio, json, sys
from pathlib import Path
from cgroups import Cgroup
from sandbox.pod.ground import Sharing
from tests.sandbox.pod.test_sandbox import Lab

async def main():
    lab = Lab(Cgroup(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
    options = json.loads(sys.argv[5])
    async with lab.box(sharing=Sharing(pid=options.pop("shared", False))) as box:
        container = await lab.run(box, sys.argv[4], **options)
        print(container.number, box.pid, container.pid or 0, flush=True)  # 0: it has ended
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@contextmanager
def pod(lab: Lab, script: str = "exec sleep 600", options: str = "{}") -> Iterator[Pod]:
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKE, str(lab.slice.path), str(lab.directory), str(lab.busybox), script, options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert maker.stdin is not None
    assert maker.stdout is not None
    try:
        yield Pod(lab, *map(int, maker.stdout.readline().split()))
    finally:
        maker.communicate("", timeout=TIMEOUT)


# --- programs


def test_it_has_stdin_stdout_stderr_and_an_exit_code(lab: Lab) -> None:
    with pod(lab) as target:
        assert target.execute("sh", "-c", "cat; echo err >&2; exit 7", stdin=b"in") == (7, b"in", b"err\n")
        assert target.execute("sh", "-c", "kill -TERM $$")[0] == 143
        assert target.execute("cat") == (0, b"", b"")


def test_it_joins_the_containers_namespaces_and_cgroup(lab: Lab) -> None:
    with pod(lab, options='{"shared": true}') as target:
        script = "readlink /proc/self/ns/pid /proc/self/ns/mnt; cat /proc/self/cgroup"
        lines = target.execute("sh", "-c", script.replace("/proc/self/ns/mnt", ""))[1].decode().split()
        lines += target.execute("readlink", "/proc/self/ns/mnt")[1].decode().split()
        assert str(Path(f"/proc/{target.init}/ns/pid").readlink()) == lines[0]
        assert str(Path(f"/proc/{target.init}/ns/mnt").readlink()) == lines[-1]
        assert "0::/" in lines


def test_what_cannot_be_run_is_an_error_with_its_reason(lab: Lab) -> None:
    with pod(lab) as target:
        for argv, number in ((("no-such",), "ENOENT"), (("/etc",), "EACCES")):
            with pytest.raises(SpawnError, match=number):
                target.execute(*argv)
        with pytest.raises(NotFound, match="container"):
            joining.execute(
                target.directory, 77, ExecSpec(("true",)), DEFAULT_PRIVILEGES, stdin=None, stdout=1, stderr=2
            )
    with pytest.raises(NotFound, match="no podmon"):
        target.turn()


def test_a_container_that_has_ended_is_not_joined(lab: Lab) -> None:
    with pod(lab, "exit 0") as target:
        with pytest.raises(WrongState, match="does not run"):
            while True:
                with contextlib.suppress(SpawnError):  # it ended in the middle
                    target.execute("true")
        with pytest.raises(WrongState, match="does not run"):
            joining.attach(target.directory, target.number, stdin=None, stdout=1, stderr=2)


def test_a_podmon_that_is_stopped_is_not_waited_for_without_end(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pod(lab) as target:
        monkeypatch.setattr(wire, "JOIN_TIMEOUT", 0.2)
        os.kill(target.pid, signal.SIGSTOP)
        try:
            with pytest.raises(KernelError, match="ask the pod's podmon: Connection timed out"):
                target.execute("true")
        finally:
            os.kill(target.pid, signal.SIGCONT)


def test_one_that_is_stopped_on_its_way_is_given_up_and_killed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pod(lab) as target:
        scope = next(child for child in lab.slice.children() if child.name != "podmon.scope")
        scope.freeze()
        monkeypatch.setattr(wire, "JOIN_TIMEOUT", 0.2)
        with pytest.raises(KernelError, match=r"join the container: .*ETIMEDOUT"):
            target.execute("true")
        scope.thaw()
        monkeypatch.undo()
        while len(scope.procs()) > 1:
            target.turn()


def test_what_it_left_behind_does_not_keep_us_waiting_and_no_byte_is_lost(lab: Lab) -> None:
    with pod(lab) as target:
        script = "(while :; do echo late; sleep 0.01; done) & seq 1 100000; exit 5"
        code, out, _ = target.execute("sh", "-c", script)
        assert code == 5
        assert out.replace(b"late\n", b"") == b"".join(b"%d\n" % number for number in range(1, 100001))


def test_a_signal_is_its_own_until_it_has_ended(lab: Lab) -> None:
    with pod(lab) as target, plumbing(None) as (fds, _):
        spec = ExecSpec(("sleep", "600"), ENV)
        with joining.execute(
            target.directory, target.number, spec, DEFAULT_PRIVILEGES, stdin=None, stdout=fds[1], stderr=fds[2]
        ) as program:
            assert program.signal(signal.SIGINT)
            assert program.wait() == 130
            assert not program.signal(signal.SIGINT)


def test_our_fds_stay_open_and_blocking_as_they_were(lab: Lab) -> None:
    with pod(lab) as target, plumbing(b"x") as (fds, _):
        os.set_blocking(fds[1], False)
        before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in fds]
        spec = ExecSpec(("sh", "-c", "seq 1 200000"), ENV)
        with joining.execute(
            target.directory, target.number, spec, DEFAULT_PRIVILEGES, stdin=fds[0], stdout=fds[1], stderr=fds[2]
        ) as program:
            assert program.wait() == 0
        assert [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in fds] == before


GIB = 1 << 30


def test_a_gibibyte_passes_both_ways_unharmed(lab: Lab) -> None:
    with pod(lab) as target:
        block = bytes(range(256)) * 4096
        expected = hashlib.sha1(usedforsecurity=False)
        for _ in range(GIB // len(block)):
            expected.update(block)
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        found = hashlib.sha1(usedforsecurity=False)

        def feed() -> None:
            with os.fdopen(in_write, "wb", buffering=0) as pipe:
                for _ in range(GIB // len(block)):
                    view = memoryview(block)
                    while view:
                        view = view[pipe.write(view) :]

        def collect() -> None:
            with os.fdopen(out_read, "rb", buffering=0) as pipe:
                while piece := pipe.read(1 << 20):
                    found.update(piece)

        threads = [threading.Thread(target=feed), threading.Thread(target=collect)]
        for thread in threads:
            thread.start()
        spec = ExecSpec(("cat",), ENV)
        with joining.execute(
            target.directory, target.number, spec, DEFAULT_PRIVILEGES, stdin=in_read, stdout=out_write, stderr=out_write
        ) as program:
            assert program.wait() == 0
        os.close(in_read)
        os.close(out_write)
        for thread in threads:
            thread.join()
        assert found.digest() == expected.digest()


def test_many_at_once_are_each_their_own(lab: Lab) -> None:
    with pod(lab) as target:
        results: dict[int, tuple[int, bytes, bytes]] = {}

        def one(number: int) -> None:
            results[number] = target.execute("sh", "-c", f"cat; exit {number}", stdin=b"%d" % number)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {number: (number, b"%d" % number, b"") for number in range(20)}


def test_when_podmon_dies_the_program_is_no_riddle(lab: Lab) -> None:
    with pod(lab) as target, plumbing(None) as (fds, _):
        spec = ExecSpec(("sleep", "600"), ENV)
        with joining.execute(
            target.directory, target.number, spec, DEFAULT_PRIVILEGES, stdin=None, stdout=fds[1], stderr=fds[2]
        ) as program:
            os.kill(target.pid, signal.SIGKILL)
            with pytest.raises(WrongState, match="podmon has ended"):
                program.wait()


# --- attaching


def test_a_client_reads_what_the_container_writes_and_writes_what_it_reads(lab: Lab) -> None:
    script = "while read x; do echo got $x; echo err >&2; done; echo end"
    with pod(lab, script, '{"stdin": true, "stdin_once": true}') as target, plumbing(b"a\nb\n") as (fds, read):
        with joining.attach(target.directory, target.number, stdin=fds[0], stdout=fds[1], stderr=fds[2]) as attachment:
            attachment.wait()
        assert read() == [b"got a\ngot b\nend\n", b"err\nerr\n"]


def test_a_client_whose_reader_is_gone_is_done(lab: Lab) -> None:
    with pod(lab, "while :; do echo x; done") as target:
        read, write = os.pipe()

        def read_once() -> None:
            assert os.read(read, 2) == b"x\n"
            os.close(read)

        reader = threading.Thread(target=read_once)
        reader.start()
        with joining.attach(target.directory, target.number, stdin=None, stdout=write, stderr=write) as attachment:
            attachment.wait()
        reader.join()
        os.close(write)
        target.turn()


def test_a_stdin_that_is_not_open_is_refused(lab: Lab) -> None:
    with pod(lab) as target, pytest.raises(SandboxError, match="stdin is not open"):
        joining.attach(target.directory, target.number, stdin=0, stdout=1, stderr=2)


# --- what it costs


def test_neither_asyncio_nor_yaml_is_imported() -> None:
    script = (
        "import sys, sandbox.pod.joining, sandbox.front.joining; print(sorted({'asyncio', 'yaml'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
