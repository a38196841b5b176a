from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from sandbox.front.output import CHUNK, Output


def carried(prefix: str, write: Callable[[int, int], None], capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What comes out when `write` has written to the two pipes."""

    async def run() -> None:
        output = Output(lambda error: pytest.fail(str(error)))
        stdout, stderr = output.open(prefix)
        await asyncio.to_thread(write, stdout, stderr)
        os.close(stdout)
        os.close(stderr)
        await asyncio.wait_for(output.finished(), 60)

    asyncio.run(run())
    captured = capfd.readouterr()
    return captured.out, captured.err


def test_each_stream_goes_to_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    def write(stdout: int, stderr: int) -> None:
        os.write(stdout, b"out\n")
        os.write(stderr, b"err\n")

    assert carried("c | ", write, capfd) == ("c | out\n", "c | err\n")


def test_a_line_written_in_pieces_has_one_prefix(capfd: pytest.CaptureFixture[str]) -> None:
    def write(stdout: int, _: int) -> None:
        for piece in (b"a", b"b\nc", b"d\n"):
            os.write(stdout, piece)

    assert carried("c | ", write, capfd)[0] == "c | ab\nc | cd\n"


def test_a_last_line_without_an_end_gets_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert carried("c | ", lambda stdout, _: os.write(stdout, b"a\nb"), capfd)[0] == "c | a\nc | b\n"


def test_empty_lines_stay(capfd: pytest.CaptureFixture[str]) -> None:
    assert carried("c | ", lambda stdout, _: os.write(stdout, b"\n\n"), capfd)[0] == "c | \nc | \n"


def test_a_line_without_end_is_not_kept_for_ever(capfd: pytest.CaptureFixture[str]) -> None:
    size = 5 * CHUNK

    def write(stdout: int, _: int) -> None:
        view = memoryview(b"x" * size)
        while view:
            view = view[os.write(stdout, view) :]

    lines = carried("c | ", write, capfd)[0].splitlines()
    assert len(lines) > 1
    assert sum(len(line.removeprefix("c | ")) for line in lines) == size


def test_without_a_prefix_bytes_pass_as_they_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    async def run() -> None:
        output = Output(lambda error: pytest.fail(str(error)))
        stdout, stderr = output.open("")
        os.write(stdout, b"\x00\xff no end")
        os.close(stdout)
        os.close(stderr)
        await asyncio.wait_for(output.finished(), 60)

    asyncio.run(run())
    assert capfdbinary.readouterr().out == b"\x00\xff no end"
