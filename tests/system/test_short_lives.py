"""Containers and further programs by the hundred, each gone as soon as it came (issue 5): none is lost or mixed up."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandbox import aio
from sandbox.status import ExitStatus

pytestmark = pytest.mark.root

COUNT = 10_000 if os.environ.get("SEEDPOD_LONG") else 500
AT_ONCE = 20
TIMEOUT = 60  # seconds for one life; generous, for machines that emulate
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGUSR1, signal.SIGSEGV, signal.SIGTERM)


def end_of(number: int) -> tuple[int, signal.Signals | None]:
    """How the life with this number ends: every other one with a code of its own, else by a signal."""
    if number % 2:
        return 1 + number // 2 % 250, None
    killer = SIGNALS[number // 2 % len(SIGNALS)]
    return 128 + killer, killer


def script_of(number: int) -> str:
    code, killer = end_of(number)
    return f"echo {number}; kill -{killer:d} $$; sleep {TIMEOUT}" if killer else f"echo {number}; exit {code}"


async def container_of(box: aio.PodSandbox, rootfs: Path, number: int) -> tuple[int, signal.Signals | None]:
    """A container's life, and what podmon wrote down of it."""
    spec = aio.ContainerSpec(("sh", "-c", script_of(number)), rootfs)
    container = await box.create_container(f"c{number}", spec, stdout=-3)  # subprocess.DEVNULL
    await container.start()
    status = await container.wait(TIMEOUT)
    record = dict(line.split() for line in (box.directory / "records" / container.id).read_text().splitlines())
    assert (int(record["code"]) or 128 + int(record["signal"])) == status.code
    await container.remove()
    return status.code, status.signal and signal.Signals(status.signal)  # type: ignore[return-value]


async def exec_of(standing: aio.SandboxContainer, number: int) -> tuple[int, signal.Signals | None]:
    """The life of a program that joins a container, and what it wrote."""
    done = await standing.exec(("sh", "-c", script_of(number)), timeout=TIMEOUT)
    assert (done.stdout, done.stderr) == (f"{number}\n", "")
    return done.exit_code, end_of(number)[1]


async def lives(box: aio.PodSandbox, rootfs: Path, numbers: Sequence[int]) -> None:
    """Half of them containers and half of them execs, so many at a time."""
    standing = await box.create_container("standing", aio.ContainerSpec(("sleep", "100000"), rootfs))
    await standing.start()
    for first in range(0, len(numbers), AT_ONCE):
        wave = numbers[first : first + AT_ONCE]
        lived = [
            container_of(box, rootfs, number) if number % 4 < 2 else exec_of(standing, number) for number in wave
        ]
        ends = await asyncio.gather(*lived)
        assert dict(zip(wave, ends, strict=True)) == {number: end_of(number) for number in wave}
    assert standing.poll() is None
    assert list(box.containers) == ["standing"]


@pytest.mark.usefixtures("no_leaks")
def test_five_hundred_short_lives_each_with_an_end_of_its_own(root: Path, busybox: Path) -> None:
    """In a sandbox whose containers share a pid namespace, where the first process is like any other and a signal of
    its own ends it, and execs in one where each has its own.  With SEEDPOD_LONG=1 there are ten thousand."""

    async def in_two() -> None:
        async with (
            aio.PodSandbox.create(name="shared", root=root, share_process_namespace=True) as shared,
            aio.PodSandbox.create(name="private", root=root) as private,
        ):
            ...

    asyncio.run(in_two())
