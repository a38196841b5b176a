"""Process numbers come around again soon: containers and execs, among strangers that must not be sent a signal.

A program (`python -m tests.small_pids ROOTFS LIVES`) for a pid namespace of its own, or a machine.  It prints what came
of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from sandbox import aio

PID_MAX = Path("/proc/sys/kernel/pid_max")
FIRST_USED_AGAIN = 300  # RESERVED_PIDS of kernel/pid.c: lower numbers are given once, before the first time around
LIMIT = FIRST_USED_AGAIN + 150
AT_ONCE = 6
STRANGERS = 20
KEPT = 60


def command_in(podmon: int, *words: str) -> None:
    """Run a command in the pid namespace of a podmon."""
    subprocess.run(["nsenter", f"--target={podmon}", "--pid", *words], check=True, timeout=60)


@contextmanager
def few_numbers() -> Iterator[None]:
    """Where the limit is the whole machine's, it is as it was in the end."""
    before = PID_MAX.read_text()
    PID_MAX.write_text(str(LIMIT))
    try:
        yield
    finally:
        PID_MAX.write_text(before)


class Strangers:
    """Processes that block every signal, so that one that is sent to them is to be seen for ever."""

    def __init__(self) -> None:
        self.living: list[int] = []
        self.harmed: list[str] = []

    def spawn(self) -> int:
        pid = os.posix_spawn("/bin/sleep", ["sleep", "100000"], {}, setsigmask=signal.valid_signals())
        self.living.append(pid)
        return pid

    def retire(self, pid: int) -> None:
        """It ends; had it been sent a signal, or killed, that is noted."""
        self.living.remove(pid)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            self.harmed.append(f"{pid} ended with {os.waitstatus_to_exitcode(status)}")
            return
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        pending = [line for line in lines if line.startswith(("SigPnd", "ShdPnd")) and int(line.split()[1], 16)]
        self.harmed += [f"{pid}: {line}" for line in pending]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def take(self, number: int) -> int:
        """A stranger with that number, which nobody has any more."""
        while (pid := self.spawn()) != number:
            self.retire(pid)
        return pid

    def come_and_go(self, over: threading.Event) -> None:
        """So that every number that becomes free is soon a stranger's."""
        while not over.is_set():
            self.spawn()
            if len(self.living) > STRANGERS:
                self.retire(self.living[0])

    def end(self) -> list[str]:
        for pid in list(self.living):
            self.retire(pid)
        return self.harmed


def once_around(strangers: Strangers) -> None:
    """Until numbers are given again for the first time."""
    last = 0
    while (pid := strangers.spawn()) > last:
        last = pid
        strangers.retire(pid)
    strangers.retire(pid)


async def box_of(*, shared: bool) -> aio.PodSandbox:
    """A sandbox in whose pid namespace numbers come around, too."""
    box = await aio.PodSandbox.create(name="mass", share_process_namespace=shared)
    forks = f"n=0; while [ $n -lt {LIMIT} ]; do /bin/true; n=$((n + 1)); done"
    command_in(box.pid, "sh", "-c", f"echo {LIMIT} > {PID_MAX}; {forks}")
    return box


async def started(box: aio.PodSandbox, rootfs: str, name: str, script: str) -> aio.SandboxContainer:
    container = await box.create_container(name, aio.ContainerSpec(("sh", "-c", script), rootfs))
    await container.start()
    return container


# ---- the old number of one that has ended is a stranger's ----


async def of_a_container(rootfs: str, strangers: Strangers) -> None:
    async with await aio.PodSandbox.create(name="one") as box:
        container = await started(box, rootfs, "c", "exec sleep 1000")
        number = container.pid or 0
        container.kill()
        await container.wait(60)
        stranger = strangers.take(number)
        container.signal(signal.SIGTERM)
        container.signal(signal.SIGKILL)
        container.kill()
        await box.stop(2)
        await container.remove()
        strangers.retire(stranger)


async def of_podmon(rootfs: str, strangers: Strangers) -> None:
    async with await aio.PodSandbox.create(name="one") as box:
        container = await started(box, rootfs, "c", "exec sleep 1000")
        numbers = box.pid, container.pid or 0
        os.kill(numbers[0], signal.SIGKILL)
        os.waitpid(numbers[0], 0)
        taken = [strangers.take(number) for number in numbers]
        assert (await container.wait(60)).code == 137
        container.signal(signal.SIGTERM)
        container.kill()
        await box.stop(2)
        await box.remove()
        for stranger in taken:
            strangers.retire(stranger)


# ---- and in the mass ----


class Mass:
    def __init__(self, rootfs: str, box: aio.PodSandbox) -> None:
        self._rootfs, self._box = rootfs, box
        self._ended: list[aio.SandboxContainer] = []  # podmon still knows them, and their numbers are others' by now
        self.wrong: list[tuple[int, int, int]] = []  # number, code, and what the code was to be
        self.outer: list[int] = []  # numbers in the order in which they were given, in our pid namespace
        self.inner: list[int] = []  # in podmon's

    async def live(self, lives: int) -> None:
        standing = await started(self._box, self._rootfs, "standing", "exec sleep 100000")
        for first in range(0, lives, AT_ONCE):
            await asyncio.gather(*(self._one(standing, number) for number in range(first, first + AT_ONCE)))
        assert standing.poll() is None

    async def _one(self, standing: aio.SandboxContainer, number: int) -> None:
        wanted = 1 + number % 250
        if number % 2:
            code = (await standing.exec(("sh", "-c", f"exit {wanted}"), timeout=60)).exit_code
        else:
            killed = number % 4 == 2
            spec = aio.ContainerSpec(("sh", "-c", "exec sleep 1000" if killed else f"exit {wanted}"), self._rootfs)
            container = await self._box.create_container(f"c{number}", spec)
            self._note(container.pid)
            await container.start()
            if killed:
                container.signal(signal.SIGKILL)
                wanted = 137
            code = (await container.wait(60)).code
            self._ended.append(container)
            if len(self._ended) > KEPT:
                await self._ended.pop(0).remove()
        if code != wanted:
            self.wrong.append((number, code, wanted))

    def _note(self, pid: int | None) -> None:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        (numbers,) = (line.split()[1:] for line in lines if line.startswith("NSpid:"))
        self.outer.append(int(numbers[0]))
        self.inner.append(int(numbers[1]))


def times_around(given: list[int]) -> int:
    """How often the numbers began anew; those of one wave may come in any order."""
    return sum(after < before - (LIMIT - FIRST_USED_AGAIN) // 2 for before, after in pairwise(given))


async def in_the_mass(rootfs: str, lives: int, strangers: Strangers, *, shared: bool) -> dict[str, Any]:
    over = threading.Event()
    crowd = threading.Thread(target=strangers.come_and_go, args=(over,))
    async with await box_of(shared=shared) as box:
        mass = Mass(rootfs, box)
        crowd.start()
        try:
            await mass.live(lives)
        finally:
            over.set()
            crowd.join()
    return {
        "wrong": mass.wrong,
        "around": [times_around(mass.outer), times_around(mass.inner)],
        "highest": max(*mass.outer, *mass.inner),
    }


def main(rootfs: str, lives: int) -> dict[str, Any]:
    strangers = Strangers()
    with few_numbers():
        once_around(strangers)
        asyncio.run(of_a_container(rootfs, strangers))
        asyncio.run(of_podmon(rootfs, strangers))
        masses = [asyncio.run(in_the_mass(rootfs, lives, strangers, shared=shared)) for shared in (False, True)]
        return {"masses": masses, "harmed": strangers.end()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
