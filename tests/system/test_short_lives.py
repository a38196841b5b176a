"""Containers and further programs by the hundred, each gone as soon as it came (issue 5): none is lost or mixed up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from sandbox import aio
from tests.program import fds_of_podmon

pytestmark = pytest.mark.root

COUNT = 10_000 if os.environ.get("SEEDPOD_LONG") else 500
AT_ONCE = 20
TIMEOUT = 60  # seconds for one life; generous, for machines that emulate
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGUSR1, signal.SIGSEGV, signal.SIGTERM)

End = tuple[int, int | None]  # exit code, signal


def end_of(number: int) -> End:
    """How the life with this number is to end: two of three with a code, the others by a signal."""
    if number % 3:
        return 1 + number % 250, None
    killer = SIGNALS[number // 3 % len(SIGNALS)]
    return 128 + killer, killer


def script_of(number: int) -> str:
    code, killer = end_of(number)
    return f"echo {number}; kill -{killer:d} $$; exec sleep 1000" if killer else f"echo {number}; exit {code}"


class Lives:
    """What is lived in one sandbox: containers, and programs that join one that stays."""

    def __init__(self, box: aio.PodSandbox, rootfs: Path, *, shared: bool) -> None:
        """`shared` is whether the sandbox's containers share a pid namespace."""
        self._box, self._rootfs, self._shared = box, rootfs, shared
        self._standing: aio.SandboxContainer

    async def begin(self) -> Lives:
        self._standing = await self._container("standing", "exec sleep 100000")
        return self

    async def _container(self, name: str, script: str) -> aio.SandboxContainer:
        spec = aio.ContainerSpec(("sh", "-c", script), self._rootfs)
        container = await self._box.create_container(name, spec, stdout=subprocess.DEVNULL)
        await container.start()
        return container

    async def of_container(self, number: int) -> End:
        """To the first process of a pid namespace its own signals do nothing: that one is killed from outside."""
        own = self._shared or end_of(number)[1] is None
        container = await self._container(f"c{number}", script_of(number) if own else "exec sleep 1000")
        if not own:
            container.kill()
        status = await container.wait(TIMEOUT)
        lines = (self._box.directory / "records" / container.id).read_text().splitlines()
        assert {f"code {0 if status.signal else status.code}", f"signal {status.signal or 0}"} <= set(lines)
        await container.remove()
        assert own or (status.code, status.signal) == (137, signal.SIGKILL)
        return (status.code, status.signal) if own else end_of(number)

    async def of_program(self, number: int) -> End:
        done = await self._standing.exec(("sh", "-c", script_of(number)), timeout=TIMEOUT)
        assert (done.stdout, done.stderr) == (f"{number}\n", "")
        return done.exit_code, done.exit_code - 128 if end_of(number)[1] else None

    async def wave(self, numbers: range) -> None:
        """All at once: by turns a container and a program."""
        ends = await asyncio.gather(
            *(self.of_program(number) if number % 2 else self.of_container(number) for number in numbers)
        )
        assert ends == [end_of(number) for number in numbers]
        assert self._standing.poll() is None and list(self._box.containers) == ["standing"]


def test_five_hundred_short_lives_each_with_an_end_of_its_own(root: Path, no_leaks: None, busybox: Path) -> None:
    """In two sandboxes at once.  With SEEDPOD_LONG=1 there are ten thousand."""

    async def in_two() -> None:
        async with (
            await aio.PodSandbox.create(name="shared", root=root, share_process_namespace=True) as shared,
            await aio.PodSandbox.create(name="private", root=root) as private,
        ):
            boxes = (shared, private)
            lives = [await Lives(box, busybox, shared=box is shared).begin() for box in boxes]
            before = [fds_of_podmon(box.pid) for box in boxes]
            for first in range(0, COUNT, 2 * AT_ONCE):
                middle = first + AT_ONCE
                await asyncio.gather(
                    lives[0].wave(range(first, middle)),
                    lives[1].wave(range(middle, middle + AT_ONCE)),
                )
            assert [fds_of_podmon(box.pid) for box in boxes] == before

    asyncio.run(in_two())
