"""A Python process that is busy: threads that compute without end, and a large heap of small objects.

As a program (`python -m tests.busy ROOTFS BOXES CONTAINERS FORKS`) it makes sandboxes and containers through the
library from several threads at once, while signals arrive and children are forked, and prints what came of it as JSON.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import sandbox
from tests.program import fds_of

THREADS = 8
HEAP = 300 << 20
BLOCK = 4096
SPAWNERS = 4

# How long a thread may keep the interpreter's lock from one that waits for it.  By default it is 5 ms, so that with
# eight others before it a thread has the lock after 40 ms, and a container takes a hundred turns: what is tried here is
# the same, and more of it in a minute.
SWITCH_INTERVAL = 0.0001


class Busy:
    """The threads run until the end of the block."""

    def __init__(self, threads: int = THREADS, heap: int = HEAP) -> None:
        self.heap = [bytearray(BLOCK) for _ in range(heap // BLOCK)]
        self.turns = [0] * threads
        self.threads = [threading.Thread(target=self._compute, args=(number,)) for number in range(threads)]
        self._over = False

    def _compute(self, number: int) -> None:
        while not self._over:
            self.turns[number] += 1

    def __enter__(self) -> Busy:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for thread in self.threads:
            thread.join()


def code_of(number: int) -> int:
    """The exit code that the container with this number is to end with: never 0, which nobody would have to tell."""
    return 1 + number % 250


def run_box(rootfs: str, name: str, numbers: range) -> dict[int, int]:
    """A sandbox with a container for each number, one after the other: the exit codes."""
    codes = {}
    with sandbox.PodSandbox.create(name=name) as box:
        for number in numbers:
            spec = sandbox.ContainerSpec(["sh", "-c", f"exit {code_of(number)}"], rootfs)
            container = box.create_container(f"c{number}", spec)
            container.start()
            codes[number] = container.wait(60).code
            container.remove()
    return codes


class Spawners:
    """Threads that make boxes until all are made."""

    def __init__(self, rootfs: str, boxes: int, containers: int) -> None:
        self._rootfs, self._containers = rootfs, containers
        self._left: queue.SimpleQueue[int] = queue.SimpleQueue()
        for box in range(boxes):
            self._left.put(box)
        self.done: queue.SimpleQueue[dict[int, int] | None] = queue.SimpleQueue()  # None: a thread has ended
        self.errors: list[str] = []
        self.threads = [threading.Thread(target=self._work) for _ in range(SPAWNERS)]

    def _work(self) -> None:
        try:
            while True:
                box = self._left.get_nowait()
                first = box * self._containers
                self.done.put(run_box(self._rootfs, f"box{box}", range(first, first + self._containers)))
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001 - it is told where all is told
            self.errors.append(repr(error))
        finally:
            self.done.put(None)

    def run(self, meanwhile: Callable[[], None]) -> Counter[tuple[int, int]]:
        """How often which container ended with which code; `meanwhile` is done after each box."""
        ends: Counter[tuple[int, int]] = Counter()
        for thread in self.threads:
            thread.start()
        running = len(self.threads)
        while running:
            codes = self.done.get()
            running -= codes is None
            ends.update((codes or {}).items())
            meanwhile()
        for thread in self.threads:
            thread.join()
        return ends


class Disturbance:
    """Signals to threads and to the process, and children forked while other threads are anywhere in the library."""

    def __init__(self, rootfs: str, forks: int, threads: list[threading.Thread]) -> None:
        self._rootfs, self._forks, self._threads = rootfs, forks, threads
        self.heard: Counter[int] = Counter()
        self.children: list[int] = []  # how they ended
        for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, self._hear)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.heard[number] += 1

    def __call__(self) -> None:
        for thread in self._threads:
            if thread.ident is not None and thread.is_alive():
                signal.pthread_kill(thread.ident, signal.SIGUSR1)
        if len(self.children) < self._forks:
            self.children.append(self._fork())

    def _fork(self) -> int:
        """What a forked child makes is its own: it finds no lock of ours held by a thread that it has not."""
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not faulthandler, which in a forked child waits for ever
            signal.alarm(60)
            codes = run_box(self._rootfs, "forked", range(7, 8))
            os._exit(codes[7])
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)


def main(rootfs: str, boxes: int, containers: int, forks: int) -> dict[str, Any]:
    sys.setswitchinterval(SWITCH_INTERVAL)
    run_box(rootfs, "first", range(1))  # with it the library's loop is there
    before = fds_of()
    with Busy() as busy:
        spawners = Spawners(rootfs, boxes, containers)
        disturbance = Disturbance(rootfs, forks, [*busy.threads, *spawners.threads])
        ends = spawners.run(disturbance)
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "ends": sorted([*end, times] for end, times in ends.items()),
        "errors": spawners.errors,
        "fds": [before, fds_of()],
        "children": disturbance.children,
        "heard": {signal.Signals(number).name: times for number, times in disturbance.heard.items()},
        "turns": busy.turns,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))
