"""A program of somebody else's that uses the library, as a process: it can be killed, and fork."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.runner import TIMEOUT


class Program:
    """A running one; `say` and `hear` are lines of its stdin and stdout."""

    def __init__(self, script: str, root: Path, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "SEEDPOD_ROOT": str(root)},
            cwd=Path(__file__).parent.parent,
        )

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def say(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait until it has ended by itself."""
        self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode


@contextmanager
def program(script: str, root: Path, *words: object) -> Iterator[Program]:
    """Run a program with this SEEDPOD_ROOT; what is left of it at the end of the block is killed."""
    running = Program(script, root, *words)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def told_by(
    module: str, root: Path, *words: object, timeout: float, under: Sequence[str] = (), watchdog: float | None = None
) -> Any:
    """What a module that is a program prints as JSON, run with this SEEDPOD_ROOT; it must succeed.

    `under` is a command that runs it; after `watchdog` seconds each of its threads tells where it is, and it ends.
    """
    watch = f"faulthandler.dump_traceback_later({watchdog}, exit=True); " if watchdog else ""
    run = f"import faulthandler, runpy; {watch}runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    done = subprocess.run(
        [*under, sys.executable, "-c", run, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "SEEDPOD_ROOT": str(root)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- pieces of scripts ----

# An ad-hoc pod, its UID told.
SCRATCH = """
    import sandbox
    pod = sandbox.Pod("scratch")
    pod.create()
    stays = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"
    app = pod.run("app", ["sh", "-c", stays], image="localhost/busybox")
    print(pod.uid, flush=True)
"""

# A sandbox in which two processes run: rootfs and "bound" or not come as words; its podmon, app and directory are told.
BOX = """
    import sandbox, sys
    box = sandbox.PodSandbox.create(name="box", bound=sys.argv[2] == "bound")
    app = box.create_container("app", sandbox.ContainerSpec(["sh", "-c", "sleep 1000 & sleep 1000"], sys.argv[1]))
    app.start()
    print(box.pid, app.pid, box.directory, flush=True)
"""

# A child that only waits, its pid told.
FORK = """
    import os, signal
    child = os.fork()
    if child == 0:
        signal.pause()
    print(child, flush=True)
"""

# Until it is told to go on.
WAIT = "    input()\n"


def gone(pid: int) -> bool:
    """Wait until that process has ended; False where it has not within a minute."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], 60)[0])
    finally:
        os.close(pidfd)


def fds_of(pid: int | str = "self") -> list[str]:
    """What the fds of a process refer to."""
    targets = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            targets.append(str(fd.readlink()))
        except FileNotFoundError:  # the one by which the directory is read
            continue
    return sorted(targets)


def fds_of_podmon(pid: int) -> list[str]:
    """What the fds of a podmon refer to, but for the eventfd that it has once there was something to do on disk."""
    return [target for target in fds_of(pid) if target != "anon_inode:[eventfd]"]
