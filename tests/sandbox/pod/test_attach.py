"""Clients attached to a container: what each gets, how a slow one is treated, and who may write to its stdin."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.errors import KernelError
from sandbox.linux import native
from sandbox.pod import sandbox as sandbox_module
from sandbox.pod.container import ContainerSpec
from sandbox.pod.ground import PRIVATE, Sharing
from sandbox.pod.podmon import Podmon, Stage
from sandbox.pod.sandbox import PodSandbox
from sandbox.pod.sandbox_container import SandboxContainer
from tests.sandbox.pod.test_sandbox import ENV, Lab, bounded, output_of

pytestmark = pytest.mark.root

STDIN, STDOUT, STDERR = (native.STREAM[name] for name in ("STDIN", "STDOUT", "STDERR"))
WAIT = "until [ -e /dev/shm/go ]; do sleep 0.02; done; "


async def go(box: PodSandbox, container: SandboxContainer) -> None:
    assert (await output_of(box, container, "touch", "/dev/shm/go"))[0] == 0


@asynccontextmanager
async def attached(podmon: Podmon, container: SandboxContainer, *streams: int) -> AsyncIterator[list[socket.socket]]:
    """Our ends of sockets that are attached, in the order of the bits."""
    pairs = [socket.socketpair() for _ in streams]
    try:
        await podmon.attach(container.child, sum(streams), [its.fileno() for _, its in pairs])
        # The kernel shares O_NONBLOCK between all copies of an fd: podmon must not have set it.
        assert [its.getblocking() and os.get_blocking(its.fileno()) for _, its in pairs] == [True] * len(pairs)
        for _, its in pairs:
            its.close()
        yield [ours for ours, _ in pairs]
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


def read_all(ours: socket.socket) -> bytes:
    data = b""
    while piece := ours.recv(1 << 16):
        data += piece
    return data


async def read_until(ours: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = await asyncio.to_thread(ours.recv, 1 << 16)
        assert piece, data
        data += piece
    return data


# --- output


def test_every_client_and_the_log_get_all_output_and_then_its_end(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, WAIT + "seq 1 50000; seq 1 1000 >&2")
            podmon = box._podmon
            async with (
                attached(podmon, container, STDOUT, STDERR) as (out, err),
                attached(podmon, container, STDOUT) as (other,),
            ):
                reads = [asyncio.create_task(asyncio.to_thread(read_all, end)) for end in (out, err, other)]
                await go(box, container)
                texts = await asyncio.gather(*reads)
            expected = [b"".join(b"%d\n" % n for n in range(1, top + 1)) for top in (50000, 1000)]
            assert texts == [expected[0], expected[1], expected[0]]
            await container.wait()
            assert len(lab.log()) == 51000

    bounded(test)


def test_a_slow_client_holds_the_container_up_and_loses_nothing(lab: Lab) -> None:
    size = 4 << 20

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, WAIT + f"exec head -c {size} /dev/zero")
            async with attached(box._podmon, container, STDOUT) as (out,):
                await go(box, container)
                await read_some_and_look(box, container, out)
                rest = await asyncio.to_thread(read_all, out)
                assert len(rest) == size - 1
                assert (await container.wait()).code == 0

    async def read_some_and_look(box: PodSandbox, container: SandboxContainer, out: socket.socket) -> None:
        await asyncio.to_thread(out.recv, 1)
        wchan = Path(f"/proc/{container.pid}/wchan")
        for _ in range(30):  # turns of podmon's loop, in which it could read all of it
            assert (await output_of(box, container, "true"))[0] == 0
        assert container.stage is Stage.RUNNING
        assert "pipe_write" in wchan.read_text()

    bounded(test)


def test_a_client_that_takes_nothing_is_dropped_and_the_container_goes_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_module, "STALL_TIMEOUT", 0.3)
    size = 4 << 20

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, WAIT + f"exec head -c {size} /dev/zero")
            podmon = box._podmon
            async with (
                attached(podmon, container, STDOUT) as (stalled,),
                attached(podmon, container, STDOUT) as (reads,),
            ):
                reading = asyncio.create_task(asyncio.to_thread(read_all, reads))
                began = time.monotonic()
                await go(box, container)
                assert (await container.wait()).code == 0
                assert time.monotonic() - began >= 0.3
                assert len(await reading) == size
                assert len(await asyncio.to_thread(read_all, stalled)) < size

    bounded(test)


def test_a_client_that_takes_little_is_not_dropped(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket is writable only when most of it is free: that is not yet what taking nothing means."""
    monkeypatch.setattr(sandbox_module, "STALL_TIMEOUT", 1.0)
    size = 1 << 20

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, WAIT + f"exec head -c {size} /dev/zero")
            async with attached(box._podmon, container, STDOUT) as (out,):
                await go(box, container)
                began, got, piece = time.monotonic(), 0, 1 << 15
                while time.monotonic() - began < 2.5:
                    if got < (time.monotonic() - began) * 45000:
                        got += len(await asyncio.to_thread(out.recv, piece))
                    await output_of(box, container, "true")
                assert got + len(await asyncio.to_thread(read_all, out)) == size

    bounded(test)


def test_a_client_that_goes_changes_nothing(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, WAIT + "seq 1 100000; exit 4", stdin=True)
            fds = Path(f"/proc/{box.pid}/fd")
            before = len(list(fds.iterdir()))
            for _ in range(10):
                async with attached(box._podmon, container, STDIN, STDOUT, STDERR):
                    pass
            while len(list(fds.iterdir())) != before:  # an event each
                await output_of(box, container, "true")
            async with attached(box._podmon, container, STDOUT) as (out,):
                await go(box, container)
                await asyncio.to_thread(out.recv, 1)  # and gone in the middle
            assert (await container.wait()).code == 4
            assert len(lab.log()) == 100000

    bounded(test)


def test_an_end_is_told_at_once_though_a_client_has_not_taken_all(lab: Lab) -> None:
    size = 240_000  # more than its socket and one read of podmon's hold, less than those and the pipe

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, WAIT + f"exec head -c {size} /dev/zero")
            async with attached(box._podmon, container, STDOUT) as (out,):
                await go(box, container)
                began = time.monotonic()
                await container.wait()
                assert time.monotonic() - began < sandbox_module.STALL_TIMEOUT
                assert len(await asyncio.to_thread(read_all, out)) == size

    bounded(test)


def test_who_holds_the_pipes_open_delays_neither_the_end_nor_the_clients(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=Sharing(pid=True)) as box:
            container = await lab.run(box, WAIT + "sleep 600 & echo last; exit 6")
            async with attached(box._podmon, container, STDOUT) as (out,):
                await go(box, container)
                assert await asyncio.to_thread(read_all, out) == b"last\n"
            assert (await container.wait()).code == 6
            assert container.scope.events().populated

    bounded(test)


# --- stdin


def test_stdin_stays_open_from_client_to_client(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "while read x; do echo got $x; done; echo end", stdin=True)
            for word in (b"one", b"two"):
                async with attached(box._podmon, container, STDIN, STDOUT) as (stdin, out):
                    stdin.sendall(word + b"\n")
                    assert await read_until(out, b"\n") == b"got " + word + b"\n"
                    stdin.shutdown(socket.SHUT_WR)
            await output_of(box, container, "true")
            assert container.stage is Stage.RUNNING

    bounded(test)


def test_stdin_once_ends_with_the_first_client(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec wc -c", stdin=True, stdin_once=True)
            async with attached(box._podmon, container, STDIN) as (stdin,):
                await asyncio.to_thread(stdin.sendall, b"x" * 1_000_000)
            assert (await container.wait()).code == 0
            assert lab.log() == [("stdout", "F", "1000000")]

    bounded(test)


def test_a_container_that_does_not_read_holds_only_its_own_clients_up(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, WAIT + "exec wc -c", stdin=True, stdin_once=True)
            async with attached(box._podmon, container, STDIN) as (stdin,):
                sending = asyncio.create_task(asyncio.to_thread(stdin.sendall, b"x" * 3_000_000))
                for _ in range(10):
                    assert (await output_of(box, container, "true"))[0] == 0
                assert not sending.done()
                await go(box, container)
                await sending
            await container.wait()
            assert lab.log() == [("stdout", "F", "3000000")]

    bounded(test)


def test_without_stdin_it_is_at_its_end_from_the_start(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec wc -c")
            await container.wait()
            assert lab.log() == [("stdout", "F", "0")]

    bounded(test)


def test_a_client_learns_that_nobody_reads_its_stdin_any_more(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec <&-; echo closed; " + WAIT, stdin=True)
            async with attached(box._podmon, container, STDIN, STDOUT) as (stdin, out):
                while not lab.log():
                    await output_of(box, container, "true")
                stdin.sendall(b"x")
                assert await asyncio.to_thread(stdin.recv, 1) == b""
                assert out.fileno() >= 0
            assert container.stage is Stage.RUNNING

    bounded(test)


# --- terminals


BOTH = pytest.mark.parametrize("sharing", [PRIVATE, Sharing(pid=True)], ids=["private pid", "shared pid"])


@BOTH
def test_a_container_with_a_terminal_is_shown_resized_and_interrupted(lab: Lab, sharing: Sharing) -> None:
    script = "tty; trap 'stty size' WINCH; trap 'echo interrupted; exit 6' INT; echo $TERM up; "
    script += "while :; do read x && echo got $x; done"

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, script, tty=True, stdin=True)
            podmon = box._podmon
            while ("stdout", "F", "xterm up") not in lab.log():
                await output_of(box, container, "true")
            assert lab.log()[0] == ("stdout", "F", "/dev/pts/0")
            async with (
                attached(podmon, container, STDIN, STDOUT, STDERR) as (stdin, out, err),
                attached(podmon, container, STDOUT) as (other,),
            ):
                assert err.recv(1) == b"", "a terminal has no stderr"
                stdin.sendall(b"word\n")
                assert b"got word\r\n" in await read_until(out, b"got word\r\n")
                await podmon.resize(container.child, 33, 101)
                stdin.sendall(b"\n")
                await read_until(out, b"33 101\r\n")
                stdin.sendall(b"\x03")
                assert (await asyncio.to_thread(read_all, out)).endswith(b"interrupted\r\n")
                assert b"33 101\r\n" in await asyncio.to_thread(read_all, other)
            assert (await container.wait()).code == 6
            assert lab.log()[-1][2].endswith("interrupted")

    bounded(test)


@BOTH
def test_its_first_process_leads_a_session_whose_terminal_it_is(lab: Lab, sharing: Sharing) -> None:
    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "exec sleep 600", tty=True)
            fields = Path(f"/proc/{container.pid}/stat").read_text().rpartition(")")[2].split()
            session, terminal = int(fields[3]), int(fields[4])
            assert session == container.pid
            assert os.major(terminal) == 136
            links = {str(Path(f"/proc/{container.pid}/fd/{fd}").readlink()) for fd in range(3)}
            assert links == {"/dev/pts/0"}

    bounded(test)


def test_a_terminal_that_is_not_read_does_not_stop_podmon(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "stty raw -echo; echo up; exec sleep 600", tty=True, stdin=True)
            async with attached(box._podmon, container, STDIN) as (stdin,):
                while not lab.log():
                    await output_of(box, container, "true")
                sending = asyncio.create_task(asyncio.to_thread(stdin.sendall, b"x" * 2_000_000))
                for _ in range(10):
                    assert (await output_of(box, container, "true"))[0] == 0
                assert not sending.done()
                container.kill()
                with pytest.raises(OSError, match=r"Broken pipe|reset"):
                    await sending

    bounded(test)


def test_the_size_of_what_is_no_terminal_cannot_be_set(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec sleep 600")
            with pytest.raises(KernelError, match="ENOTTY"):
                await box._podmon.resize(container.child, 24, 80)

    bounded(test)


def test_the_last_words_on_a_terminal_are_not_lost(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            for number in range(20):
                container = await lab.run(box, "seq 1 500; exit 0", f"c{number}", tty=True)
                await container.wait()
                assert len(lab.log(f"c{number}.log")) == 500

    bounded(test)


# --- what is refused


def test_what_cannot_be_attached_is_refused_and_harms_nobody(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec sleep 600")
            podmon = box._podmon
            read, write = os.pipe()
            stream, packet = socket.socketpair(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            good = stream[0].fileno()
            inet = socket.socket()
            cases: list[tuple[int, list[int], int]] = [
                (STDIN, [good], errno.ENXIO),
                (STDOUT, [write], errno.ENOTSOCK),
                (STDOUT, [packet[0].fileno()], errno.ENOTSOCK),
                (STDOUT, [inet.fileno()], errno.ENOTSOCK),
                (STDOUT, [], errno.EINVAL),
                (STDOUT, [good, good], errno.EINVAL),
                (0, [], errno.EINVAL),
                (8, [good], errno.EINVAL),
                (STDOUT | 1 << 31, [good, good], errno.EINVAL),
            ]
            before = len(list(Path(f"/proc/{box.pid}/fd").iterdir()))
            for streams, fds, number in cases:
                with pytest.raises(KernelError) as refused:
                    await podmon.attach(container.child, streams, fds)
                assert refused.value.errno == number, (streams, fds)
            assert (await output_of(box, container, "true"))[0] == 0
            assert len(list(Path(f"/proc/{box.pid}/fd").iterdir())) == before
            os.close(read)
            os.close(write)
            for end in (*stream, *packet, inet):
                end.close()

    bounded(test)


def test_only_a_container_that_is_there_and_whose_output_podmon_has_is_attached_to(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exit 0")
            await container.wait()
            unlogged = await box.create_container("u", ContainerSpec(("sleep", "600"), lab.busybox, ENV))
            for attached_to, number in ((container, errno.ESRCH), (unlogged, errno.EOPNOTSUPP)):
                with pytest.raises(KernelError) as refused:
                    async with attached(box._podmon, attached_to, STDOUT):
                        pass
                assert refused.value.errno == number

    bounded(test)


def test_a_container_at_its_gate_can_be_attached_to_so_that_no_word_is_missed(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            spec = ContainerSpec(("echo", "first"), lab.busybox, ENV, tty=True)
            container = await box.create_container("c", spec)
            async with attached(box._podmon, container, STDOUT) as (out,):
                await container.start()
                assert await asyncio.to_thread(read_all, out) == b"first\r\n"

    bounded(test)


def test_signals_of_no_kind_and_to_nobody_are_refused(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.run(box, "exec sleep 600")
            with pytest.raises(KernelError, match="EINVAL"):
                await box._podmon._ask("SIGNAL", container.child, signal=1000)
            container.signal(signal.SIGKILL)
            await container.wait()
            with pytest.raises(KernelError, match="ESRCH"):
                await box._podmon._ask("SIGNAL", container.child, signal=15)

    bounded(test)
