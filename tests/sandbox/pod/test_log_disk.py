"""Logs on a disk that stalls or is full: podmon serves everybody else, loses what it says, and tears no line."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from sandbox.pod import logs
from sandbox.pod import sandbox as sandbox_module
from sandbox.pod.child import LogState
from sandbox.pod.entries import Entry
from sandbox.pod.podmon import Podmon, Stage, readable
from sandbox.pod.sandbox import PodSandbox
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.streams import LogTarget
from tests import disk
from tests.sandbox.pod.test_attach import WAIT, go
from tests.sandbox.pod.test_podmon import comes_to_rest
from tests.sandbox.pod.test_sandbox import ENV, ContainerSpec, Lab, bounded, output_of

pytestmark = pytest.mark.root

AFTER = "until [ -e /dev/shm/after ]; do sleep 0.02; done; "


async def start(lab: Lab, box: PodSandbox, script: str, name: str = "c", *, block: bool = False) -> SandboxContainer:
    """A container whose log `0.log` is in a directory of that name, and is not rotated."""
    spec = ContainerSpec(("sh", "-c", script), lab.busybox, ENV)
    log = LogTarget(lab.logs / name, "0.log", size=1 << 30, block=block)
    container = await box.create_container(name, spec, log=log)
    await container.start()
    return container


def logged(lab: Lab, name: str = "c") -> list[Entry]:
    return list(logs.read(lab.logs / name, 0))


def numbers(last: int) -> list[bytes]:
    return [str(number).encode() for number in range(1, last + 1)]


async def log_state(container: SandboxContainer, *, failing: bool) -> LogState:
    """The next state of its log that is one, or is none, of a failure."""
    async for state in container.log_states():
        if bool(state.error) == failing:
            return state
    raise AssertionError("it ended, and nothing was said of its log")


# --- a disk that stalls


def test_a_stalled_disk_holds_up_who_writes_to_it_and_nobody_else(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_module, "STALL_TIMEOUT", 0.5)

    async def test() -> None:
        async with lab.box() as box:
            writer = await start(lab, box, WAIT + "seq 1 200000; exit 4")
            ends = await start(lab, box, "exec sleep 600", "ends")
            killed = await start(lab, box, WAIT + "seq 1 200000", "killed")
            with disk.frozen(lab.logs):
                await go(box, ends)
                assert await asyncio.to_thread(comes_to_rest, box.pid)  # it has read what it can, and spins on nothing
                assert await output_of(box, ends, "echo", "served") == (0, "served\n")
                second = await Podmon.connect(lab.directory)
                assert sorted(second.children) == [writer.number, ends.number, killed.number]
                second.detach()
                ends.kill()
                killed.kill()
                assert (await ends.wait()).signal == 9
                assert (await killed.wait()).signal == 9
                await killed.forget()
                assert writer.stage is Stage.RUNNING, "its pipe is full, and it waits"
            assert (await writer.wait()).code == 4
            assert writer.child.log == LogState()
        assert [entry.text for entry in logged(lab)] == numbers(200000)

    with disk.freezable(lab.logs, tmp_path / "image"):
        bounded(test)


def test_the_last_words_of_who_ended_while_the_disk_stalled_come_to_the_log(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its end was told before, and it is forgotten."""
    monkeypatch.setattr(sandbox_module, "STALL_TIMEOUT", 0.5)

    async def test() -> None:
        async with lab.box() as box:
            container = await start(lab, box, WAIT + "seq 1 9000; printf last; exit 4")
            with disk.frozen(lab.logs):
                await go(box, container)
                assert (await container.wait()).code == 4
                await container.forget()
                client = await Podmon.connect(lab.directory)
                assert list(client.children) == []
                client.detach()
            other = await start(lab, box, "echo other", "other")  # its log is written after the other's
            await other.wait()
            assert [entry.text for entry in logged(lab)] == [*numbers(9000), b"last"]

    with disk.freezable(lab.logs, tmp_path / "image"):
        bounded(test)


def test_a_container_is_created_once_its_log_is_there(lab: Lab, tmp_path: Path) -> None:
    async def test() -> None:
        (lab.logs / "c").mkdir()
        async with lab.box() as box:
            first = await start(lab, box, "exec sleep 600", "first")
            with disk.frozen(lab.logs):
                making = asyncio.create_task(start(lab, box, "echo late"))
                while len(box._podmon.children) < 2:
                    assert (await output_of(box, first, "true"))[0] == 0
                late = box._podmon.children[2]
                await late.until(Stage.PREPARED)
                assert await asyncio.to_thread(comes_to_rest, box.pid)
                assert late.stage is Stage.PREPARED
            assert (await (await making).wait()).code == 0
        assert [entry.text for entry in logged(lab)] == [b"late"]

    with disk.freezable(lab.logs, tmp_path / "image"):
        bounded(test)


def test_a_podmon_that_is_to_end_while_the_disk_stalls_takes_its_containers_along(lab: Lab, tmp_path: Path) -> None:
    """Its thread cannot die before that write returns, and until then the kernel would leave them alone."""

    async def test() -> None:
        async with lab.box() as box:
            writer = await start(lab, box, WAIT + "seq 1 200000; exec sleep 600")
            other = await start(lab, box, "exec sleep 600", "other")
            assert writer.pidfd is not None
            assert other.pidfd is not None
            with disk.frozen(lab.logs):
                await go(box, other)
                assert await asyncio.to_thread(comes_to_rest, box.pid)
                pidfds = [os.dup(writer.pidfd), os.dup(other.pidfd)]
                await box._podmon._send("SHUTDOWN", box._podmon._new_own(()))
                for pidfd in pidfds:
                    await readable(pidfd)
                    os.close(pidfd)

    with disk.freezable(lab.logs, tmp_path / "image"):
        bounded(test)


# --- a full disk: what is lost


def test_what_a_full_disk_loses_is_counted_and_the_log_goes_on_when_there_is_room(lab: Lab) -> None:
    count = 50000

    async def test() -> None:
        async with lab.box() as box:
            last = AFTER.replace("after", "end")
            script = f"{WAIT} seq 1 {count}; {AFTER} echo after; echo error >&2; {last} echo end"
            container = await start(lab, box, script)
            (lab.logs / "filler").write_bytes(b"x" * (200 << 10))
            await go(box, container)
            failing = await log_state(container, failing=True)
            assert failing.error == errno.ENOSPC
            assert await asyncio.to_thread(comes_to_rest, box.pid)
            (lab.logs / "filler").unlink()
            await output_of(box, container, "touch", "/dev/shm/after")
            state = await log_state(container, failing=False)
            await output_of(box, container, "touch", "/dev/shm/end")
            assert (await container.wait()).code == 0
            assert container.child.log == state
            entries = logged(lab)
            assert [entry.text for entry in entries[-3:]] == [b"after", b"error", b"end"]
            kept = [int(entry.text) for entry in entries[:-3]]
            assert kept == sorted(set(kept)), "in order, and none of them torn"
            assert kept[:1000] == list(range(1, 1001))
            lost = set(range(1, count + 1)) - set(kept)
            assert (state.lost_lines, state.lost_bytes) == (len(lost), sum(len(str(each)) + 1 for each in lost))
            assert lost
            learner = await Podmon.connect(lab.directory)  # an engine that comes later is told as well
            assert learner.children[container.number].log == state
            learner.detach()

    with disk.small(lab.logs):
        bounded(test)


def test_a_line_that_a_full_disk_cuts_off_is_not_joined_to_the_next(lab: Lab) -> None:
    """It had come to disk in part; what is lost of it is counted, and its end begins no line of its own."""
    length = 400_000

    async def test() -> None:
        async with lab.box() as box:
            line = f"head -c {length} /dev/zero | tr '\\0' y; echo end"
            container = await start(lab, box, f"echo before; {WAIT} {line}; {AFTER} echo after")
            await go(box, container)
            await log_state(container, failing=True)
            assert await asyncio.to_thread(comes_to_rest, box.pid)
            (lab.logs / "filler").unlink()
            await output_of(box, container, "touch", "/dev/shm/after")
            await container.wait()
            before, cut, after = logged(lab)
            assert (before.text, after.text, after.partial) == (b"before", b"after", False)
            assert cut.text == b"y" * len(cut.text)
            assert 16384 <= len(cut.text) < length
            assert container.child.log == LogState(0, 1, length + len("end\n") - len(cut.text))

    with disk.small(lab.logs):
        (lab.logs / "filler").write_bytes(b"x" * (100 << 10))
        bounded(test)


def test_a_log_that_cannot_be_made_anew_is_tried_again_with_every_write(lab: Lab) -> None:
    """A rotation that finds no room for a file: tmpfs has no inode left."""

    async def test() -> None:
        async with lab.box() as box:
            script = f"echo before; {WAIT} echo lost; {AFTER} echo after"
            container = await start(lab, box, script)
            path = lab.logs / "c" / "0.log"
            while not path.stat().st_size:
                await output_of(box, container, "true")
            path.rename(lab.logs / "kept")
            fillers = 0
            with pytest.raises(OSError, match="No space left"):
                while True:
                    (lab.logs / f"filler{fillers}").touch()
                    fillers += 1
            await box._podmon.reopen_log(container.child)
            await go(box, container)
            failing = await log_state(container, failing=True)
            assert failing == LogState(errno.ENOSPC, 1, 5)
            (lab.logs / "filler0").unlink()
            await output_of(box, container, "touch", "/dev/shm/after")
            await container.wait()
            assert [entry.text for entry in logged(lab)] == [b"after"]
            assert container.child.log == LogState(0, 1, 5)

    with disk.small(lab.logs, "256k,nr_inodes=20"):
        bounded(test)


# --- a full disk: who waits


def test_with_block_a_container_waits_for_room_and_no_line_is_lost(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await start(lab, box, f"{WAIT} seq 1 50000; exit 4", block=True)
            other = await start(lab, box, "exec sleep 600", "other", block=True)
            (lab.logs / "filler").write_bytes(b"x" * (3 << 20))
            await go(box, other)
            assert await log_state(container, failing=True) == LogState(errno.ENOSPC, 0, 0)
            assert await output_of(box, other, "echo", "served") == (0, "served\n")
            other.kill()
            assert (await other.wait()).signal == 9, "its end is told, though nothing can be written"
            assert container.stage is Stage.RUNNING
            (lab.logs / "filler").unlink()
            assert (await container.wait()).code == 4
            assert container.child.log == LogState(0, 0, 0)
            assert [entry.text for entry in logged(lab)] == numbers(50000)

    with disk.small(lab.logs, "4m"):
        bounded(test)


def test_with_block_the_last_words_of_who_ended_meanwhile_are_kept(lab: Lab) -> None:
    """Of the last sixteen, as each costs podmon some fds; and nobody waits for the disk to hear of an end."""
    many = 18

    async def test() -> None:
        async with lab.box() as box:
            first = await start(lab, box, f"{WAIT} head -c 150000 /dev/zero | tr '\\0' '\\n'", block=True)
            ended = [await start(lab, box, f"{AFTER} echo {name}", f"n{name}", block=True) for name in range(many)]
            (lab.logs / "filler").write_bytes(b"x" * (11 << 20))
            await go(box, first)
            await log_state(first, failing=True)
            await output_of(box, first, "touch", "/dev/shm/after")
            for each in ended:
                assert (await each.wait()).code == 0
                await each.forget()
            (lab.logs / "filler").unlink()
            await first.wait()
            last = await start(lab, box, "echo last", "last", block=True)
            await last.wait()
            kept = [name for name in range(many) if [each.text for each in logged(lab, f"n{name}")]]
            assert kept == list(range(many - 16, many))

    with disk.small(lab.logs, "12m"):
        bounded(test)
