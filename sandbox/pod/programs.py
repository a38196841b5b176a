"""A further program in a container that runs, with asyncio: started, and run to its end with its output.

The same without asyncio is in sandbox.pod.joining.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios
from contextlib import ExitStack
from dataclasses import dataclass

from sandbox.errors import KernelError, SpawnError, TimedOut, WrongState, shown
from sandbox.linux import host, mounts
from sandbox.pod import wire
from sandbox.pod.child import Child, Stage
from sandbox.pod.container import ExecSpec, compile_exec, placed
from sandbox.pod.podmon import Podmon, writable
from sandbox.pod.privileges import Privileges
from sandbox.pod.streams import passable

BLOCK = 1 << 16
DEATH_TIMEOUT = 5.0  # seconds in which what is killed is gone, unless it waits for a disk


async def execute(
    podmon: Podmon,
    container: Child,
    spec: ExecSpec,
    privileges: Privileges,
    stdio: tuple[int, int, int] | None,
    *,
    called: str = "the container",
) -> Child:
    """Start a program in the container of `podmon`: see PodSandbox.execute."""
    init = container.pidfd
    if init is None or container.stage is not Stage.RUNNING:
        current = container.stage.name.lower()
        raise WrongState(f"{called} is {current}", current=current, wanted="running")
    given = None if stdio is None else (passable(stdio[0]), passable(stdio[1]), passable(stdio[2]))
    placed_here = placed(spec, host.own_oom_score_adj())
    with ExitStack() as fds:
        listed = compile_exec(placed_here, privileges, init=init, stdio=given, proc=mounts.open_proc(fds))
        child = await podmon.execute(listed, cgroup_of=container.number)
    try:
        async with asyncio.timeout(wire.JOIN_TIMEOUT):
            await child.until(Stage.RUNNING)
    except KernelError as error:
        if isinstance(error, SpawnError) or error.errno != errno.ESRCH:
            raise
        raise wire.does_not_run() from None  # it has ended since we looked
    except (TimeoutError, asyncio.CancelledError) as error:
        await _kill(child)
        if isinstance(error, TimeoutError):
            raise wire.joined_too_late() from None
        raise
    return child


async def _kill(child: Child) -> None:
    """SIGKILL it, once podmon has made it, and wait for its end: who sees the waiting over sees the program gone.

    What the kernel does not let die, and a podmon that does not answer, are waited for no longer than DEATH_TIMEOUT.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DEATH_TIMEOUT):
            while child.stage < Stage.ENDED:  # on its way into the container it becomes another process
                child.signal(signal.SIGKILL)
                await child.changed()


@dataclass(frozen=True)
class Completed:
    """A program that has ended: how, and what it wrote.

    `exit_code` is 128 + n where signal n ended it.
    """

    exit_code: int
    output: bytes
    errors: bytes
    oom_killed: bool = False

    @property
    def stdout(self) -> str:
        """What it wrote to its stdout, as UTF-8; what is none is replaced: `output` has the bytes."""
        return self.output.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it wrote to its stderr, likewise; `errors` has the bytes."""
        return self.errors.decode(errors="replace")


async def run(
    podmon: Podmon,
    container: Child,
    spec: ExecSpec,
    privileges: Privileges,
    *,
    stdin: bytes | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run a program in the container to its end; `stdin` is what it reads (None: nothing).

    Raises TimedOut after `timeout` seconds, SpawnError where it cannot be started.  Then, and where the caller is
    cancelled, it is killed; what it has started itself goes on.  A process that it left behind and that holds its pipes
    open is not waited for.
    """
    with ExitStack() as ours:
        with ExitStack() as its:  # the program has copies of its ends once it runs
            input_ = ours.enter_context(ExitStack())
            source, sink = _pipe(input_, its, write=True) if stdin is not None else (-1, -1)
            outputs = [_pipe(ours, its) for _ in range(2)]
            child = await execute(podmon, container, spec, privileges, (source, *(end for _, end in outputs)))  # type: ignore[arg-type]
        written = [ours.enter_context(_Reader(end)) for end, _ in outputs]
        feeding = asyncio.ensure_future(_feed(sink, stdin or b"", input_))
        try:
            async with asyncio.timeout(timeout):
                await child.until(Stage.ENDED)
        except TimeoutError:
            raise TimedOut(f"{shown(' '.join(spec.argv))}: still running after {timeout:g} s: killed") from None
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await _kill(child)  # unless it has ended
        output, errors = (each.rest() for each in written)
    if child.exit is None:
        raise wire.podmon_ended()
    return Completed(child.exit.code, output, errors, child.exit.oom_killed)


def _pipe(ours: ExitStack, its: ExitStack, *, write: bool = False) -> tuple[int, int]:
    """Our end of a pipe and the program's; with `write` ours comes last, as the one that is written to."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    our_end, its_end = (write_end, read_end) if write else (read_end, write_end)
    ours.callback(os.close, our_end)
    its.callback(os.close, its_end)
    os.set_blocking(our_end, False)
    return read_end, write_end


async def _feed(sink: int, data: bytes, end: ExitStack) -> None:
    """Write what the program is to read, and then its end."""
    left = memoryview(data)
    with end:
        while left:
            try:
                left = left[os.write(sink, left) :]
            except BlockingIOError:
                await writable(sink)
            except BrokenPipeError:
                return


class _Reader:
    """All that comes from a pipe, collected while the loop runs."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._data = bytearray()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> _Reader:
        self._loop.add_reader(self._fd, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._fd)

    def _read(self, most: int = BLOCK) -> int:
        try:
            block = os.read(self._fd, most)
        except BlockingIOError:
            return 0
        self._data += block
        if not block:
            self._loop.remove_reader(self._fd)
        return len(block)

    def rest(self) -> bytes:
        """All of it, with what is in the pipe now, and no more: somebody may go on writing for ever."""
        (left,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, struct.pack("i", 0)))
        while left > 0 and (got := self._read(left)):
            left -= got
        return bytes(self._data)
