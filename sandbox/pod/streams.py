"""The stdin, stdout and stderr of what runs in a container: which fds it gets, and whose other ends podmon keeps.

Only pipes, sockets and the pod's /dev/null: anything else of the host could be opened anew through /proc/self/fd, or
be a terminal to push input into.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.linux import native
from sandbox.linux.ops import Log, Stdin
from sandbox.pod.container import ContainerSpec
from sandbox.pod.files import make_directory
from sandbox.pod.ground import DEVICES


@dataclass(frozen=True)
class LogTarget:
    """A log that podmon writes: `directory`/`name`, rotated at `size` bytes, `files` of it kept.

    Where its disk is full, the container waits with `block`; otherwise its output is lost, and counted.
    """

    directory: Path
    name: str
    size: int = 10 << 20
    files: int = 5
    block: bool = False


@dataclass(frozen=True)
class Streams:
    """The container's ends (None: /dev/null, or a terminal of its own), and what podmon is to be told of the others."""

    stdin: int | None
    stdout: int | None
    stderr: int | None
    log: Log | None
    input: Stdin | None


def passable(fd: int) -> int | None:
    """`fd` if a container may have it, None for /dev/null or no fd (-1).  Raises SandboxError for anything else."""
    if fd < 0:
        return None
    found = os.fstat(fd)
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        return fd
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(*DEVICES["null"]):
        return None
    hint = "relay it through a pipe"
    raise SandboxError("a program in a container can be given pipes, sockets and /dev/null only", hint=hint)


def open_streams(spec: ContainerSpec, target: LogTarget | None, stdio: tuple[int, int, int], fds: ExitStack) -> Streams:
    """What a container reads and writes: `stdio`, or pipes to a log and from clients, or its terminal.

    All fds close with `fds`: podmon and the container have their copies by then.
    """
    stdin, input_ = _open_stdin(spec, fds)
    if spec.tty:
        log = _open_log(target, (None, None), fds) if target is not None else None
        return Streams(None, None, None, log, input_)
    if target is None:
        given = passable(stdio[0]) if stdin is None else stdin
        return Streams(given, passable(stdio[1]), passable(stdio[2]), None, input_)
    (stdout, stdout_sink), (stderr, stderr_sink) = (pipe(fds, blocking=(False, True)) for _ in range(2))
    return Streams(stdin, stdout_sink, stderr_sink, _open_log(target, (stdout, stderr), fds), input_)


def pipe(fds: ExitStack, *, blocking: tuple[bool, bool] = (True, True)) -> tuple[int, int]:
    """A pipe whose ends close with `fds`.  O_NONBLOCK is set here, while nobody shares them."""
    ends = native.pipe()
    for end, blocks in zip(ends, blocking, strict=True):
        fds.callback(os.close, end)
        os.set_blocking(end, blocks)
    return ends


def _open_stdin(spec: ContainerSpec, fds: ExitStack) -> tuple[int | None, Stdin | None]:
    if not spec.stdin:
        return None, None
    if spec.tty:
        return None, Stdin(None, spec.stdin_once)
    source, sink = pipe(fds, blocking=(True, False))
    return source, Stdin(sink, spec.stdin_once)


def _open_log(target: LogTarget, sources: tuple[int | None, int | None], fds: ExitStack) -> Log:
    if not target.directory.is_dir():  # mkdir waits for a disk that stalls even where there is nothing to do
        make_directory(target.directory, exist_ok=True)
    directory = os.open(target.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fds.callback(os.close, directory)
    return Log(directory, target.name, *sources, target.size, target.files, target.block)
