"""A directory of our own in the real v2 tree, and processes to put into it.

What tidies up here uses plain file calls and none of the code under test, so that a broken `remove_tree` fails a
test and leaves nothing behind.
"""

from __future__ import annotations

import os
import resource
import secrets
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from cgroups import Cgroup, detect

Spawn = Callable[[Cgroup], "subprocess.Popen[bytes]"]
NOBODY = 65534


@pytest.fixture
def tree() -> Iterator[Cgroup]:
    """A fresh cgroup right below the mount; its name is unique and all of it is gone afterwards."""
    layout = detect()
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if layout.mount_point is None or not layout.writable:
        pytest.skip(f"needs a writable cgroup2 mount; this host has {layout.name}")
    path = layout.mount_point / f"seedpodtest-{os.getpid()}-{secrets.token_hex(4)}"
    path.mkdir()
    try:
        yield Cgroup(path)
    finally:
        _clear(path)


@pytest.fixture
def spawn(tree: Cgroup) -> Iterator[Spawn]:
    """Starts a process that only waits, inside a cgroup; all of them are dead and reaped afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(cgroup: Cgroup) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "600"])
        started.append(process)
        (cgroup.path / "cgroup.procs").write_text(str(process.pid))
        return process

    yield start
    for process in started:
        process.kill()
        if (freeze := tree.path / "cgroup.freeze").exists():
            freeze.write_text("0")
        process.wait()


@pytest.fixture
def family(tree: Cgroup) -> Iterator[subprocess.Popen[bytes]]:
    """A shell in `tree` that has two children there, one of them with a child of its own: four processes."""
    script = "read go; sleep 600 & (sleep 600 & echo ready; wait) & wait"
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    (tree.path / "cgroup.procs").write_text(str(process.pid))
    process.stdin.write(b"go\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.fixture
def as_nobody() -> Callable[[], AbstractContextManager[None]]:
    """A block run with the effective uid of nobody, hence without capabilities."""

    @contextmanager
    def block() -> Iterator[None]:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    return block


@pytest.fixture
def descriptors_left() -> Callable[[int], AbstractContextManager[None]]:
    """A block in which this process can open only so many more files."""

    @contextmanager
    def block(count: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken: list[int] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (_highest() + 1 + count, hard))
            with suppress(OSError):  # what is free below the highest
                while True:
                    taken.append(os.open("/", os.O_PATH))
            for fd in taken[len(taken) - count :]:
                os.close(fd)
            del taken[len(taken) - count :]
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in taken:
                os.close(fd)

    return block


def _highest() -> int:
    return max(int(fd.name) for fd in Path("/proc/self/fd").iterdir())


def _clear(path: Path) -> None:
    if not path.exists():
        return
    (path / "cgroup.kill").write_text("1")
    with (path / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            poll.poll(100)
            events.seek(0)
    for directory, _, _ in os.walk(path, topdown=False):
        Path(directory).rmdir()
