"""Logs under load: containers that flood both streams, rotations meanwhile, pipes that others keep open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.pod import logs
from sandbox.pod.container import BindMount, ContainerSpec
from sandbox.pod.entries import Entry, Joiner, Splitter, Stream
from sandbox.pod.ground import Sharing
from sandbox.pod.logs import Options
from sandbox.pod.paths import log_path
from sandbox.pod.podmon import Stage
from sandbox.pod.sandbox import PodSandbox
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.streams import LogTarget
from tests import flood
from tests.sandbox.pod.test_sandbox import ENV, Lab, bounded, output_of

pytestmark = pytest.mark.root

LINES = 3000  # of each stream: three megabytes of output


async def start(
    lab: Lab, box: PodSandbox, name: str, *argv: str, mounts: tuple[BindMount, ...] = ()
) -> SandboxContainer:
    """A container whose log stands as the engine has it, and is rotated thirty times in a flood, but never away."""
    spec = ContainerSpec(argv, lab.busybox, ENV, mounts=mounts)
    log = LogTarget(lab.logs / name, "0.log", size=200_000, files=1000)
    container = await box.create_container(name, spec, log=log)
    await container.start()
    return container


async def flooding(lab: Lab, box: PodSandbox, name: str, probe: Path) -> SandboxContainer:
    mounts = (BindMount(probe, "/probe", "the probe"),)
    return await start(lab, box, name, "/probe/probe", "flood", str(LINES), mounts=mounts)


def check_flood(entries: list[Entry]) -> None:
    """Every line of both streams is there, once, in order, as it was written; the last of each has no end."""
    for stream, name in ((Stream.STDOUT, "out"), (Stream.STDERR, "err")):
        found = [entry for entry in entries if entry.stream == stream]
        assert len(found) == LINES
        for entry, line in zip(found, flood.lines(name, LINES), strict=True):
            assert entry.text == line, line[:20]
        assert [entry.partial for entry in found] == [False] * (LINES - 1) + [True]


def records_of(directory: Path) -> Iterator[bytes]:
    for path in directory.iterdir():
        *lines, rest = path.read_bytes().split(b"\n")
        assert rest == b"", f"{path.name} is torn"
        yield from lines


def test_no_line_is_lost_or_torn_whatever_is_written_by_how_many(lab: Lab, probe: Path) -> None:
    """What stands on disk, and what a reader had that followed meanwhile."""

    def followed(directory: Path) -> list[Entry]:
        return list(logs.read(directory, 0, Options(follow=True), finished=lambda: over))

    over = False

    async def test() -> None:
        nonlocal over
        async with lab.box() as box:
            first = await start(lab, box, "first", "sleep", "600")
            flooded = [await flooding(lab, box, name, probe) for name in ("a", "b", "c")]
            readers = [asyncio.create_task(asyncio.to_thread(followed, lab.logs / each.name)) for each in flooded]
            for each in flooded:
                assert (await each.wait()).code == 0
            over = True
            for each in flooded:  # the readers look again with every change of their directory
                (lab.logs / each.name / "over").touch()
            assert first.stage is Stage.RUNNING
        for each, reader in zip(flooded, readers, strict=True):
            directory = lab.logs / each.name
            (directory / "over").unlink()
            check_flood(await reader)
            check_flood(list(logs.read(directory, 0)))
            assert all(list(Splitter().feed(record + b"\n")) for record in records_of(directory)), "a torn record"
            rotated = [path for path in directory.iterdir() if path != log_path(directory, 0)]
            assert len(rotated) > 10
            assert all(path.stat().st_size <= 200_000 for path in rotated)

    bounded(test)


def test_a_piece_of_a_line_is_marked_and_no_longer_than_16_kib(lab: Lab, probe: Path) -> None:
    async def test() -> None:
        async with lab.box() as box:
            await (await flooding(lab, box, "a", probe)).wait()
        entries = [entry for record in records_of(lab.logs / "a") for entry in Splitter().feed(record + b"\n")]
        assert max(len(entry.text) for entry in entries) == 16384
        pieces = [entry for entry in entries if entry.partial]
        assert len(pieces) > 50
        assert sum(len(entry.text) == 16384 for entry in pieces) == len(pieces) - 2, "all but what had no end"
        assert len(list(Joiner().join(entry for entry in entries if not entry.partial))) == 2 * (LINES - 1)

    bounded(test)


def test_a_container_that_closes_its_stdout_goes_on_and_so_does_its_stderr(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "echo out; exec >&-; seq 1 20000 >&2; exit 3")
            assert (await container.wait()).code == 3
            log = lab.log()
            assert ("stdout", "F", "out") in log
            assert [text for stream, _, text in log if stream == "stderr"] == [str(each) for each in range(1, 20001)]

    bounded(test)


def test_an_end_is_told_at_once_though_a_grandchild_has_its_pipe_and_what_that_writes_is_logged(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=Sharing(pid=True)) as box:
            other = await start(lab, box, "other", "sleep", "600")
            late = "until [ -e /dev/shm/go ]; do sleep 0.02; done; echo late; exec sleep 600"
            container = await start(lab, box, "c", "sh", "-c", f"echo early; ({late}) & exit 3")
            assert (await container.wait()).code == 3
            lines = logs.read(lab.logs / "c", 0, Options(follow=True))
            assert next(lines).text == b"early"
            assert (await output_of(box, other, "touch", "/dev/shm/go"))[0] == 0
            assert (await asyncio.to_thread(next, lines)).text == b"late"
            lines.close()  # type: ignore[attr-defined]

    bounded(test)


def test_a_grandchild_that_floods_for_ever_holds_no_end_up(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=Sharing(pid=True)) as box:
            other = await lab.start(box, "exec sleep 600", "other")
            container = await lab.start(box, "yes & yes & yes & yes & exit 3", size=1 << 20, files=2)
            assert (await container.wait()).code == 3
            assert (await output_of(box, other, "echo", "served")) == (0, "served\n")
            await container.forget()  # and its pipe is closed: the flood ends by SIGPIPE
            assert (await output_of(box, other, "echo", "served")) == (0, "served\n")

    bounded(test)
