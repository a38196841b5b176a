"""`seedpod exec` and `seedpod attach` without their arguments: our terminal, our signals, and kubectl's words.

On the short path: nothing here imports asyncio, the engine or a parser.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from sandbox.errors import SandboxError
from sandbox.front import terminal
from sandbox.front.errors import say
from sandbox.pod import joining
from sandbox.pod.container import ExecSpec
from sandbox.pod.joining import Target

STDIN, STDOUT, STDERR = 0, 1, 2
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def exec_(target: Target, argv: Sequence[str], *, stdin: bool, tty: bool) -> int:
    """Run a program in a container as `kubectl exec`: its exit code.

    Without a terminal our INT, TERM, HUP and QUIT become its; with one, Ctrl-C is a key like any other, and a signal to
    us hangs it up.  Raises what joining.execute does: SpawnError where there is no such program.
    """
    size = _usable_terminal(stdin, tty)
    env = dict(target.env)
    if size is not None:
        env["TERM"] = os.environ.get("TERM", "xterm")
    spec = ExecSpec(tuple(argv), env, target.cwd, oom_score_adj=target.oom_score_adj)
    program = joining.execute(
        target.directory,
        target.number,
        spec,
        target.privileges,
        stdin=STDIN if stdin else None,
        stdout=STDOUT,
        stderr=STDERR,
        size=size,
    )
    with program:
        if size is None:
            with _forwarding(program.signal):
                return program.wait()
        with _showing(program.resize):
            return program.wait()


def attach(target: Target, *, stdin: bool) -> int:
    """Join a container's streams as `kubectl attach`, until it ends or we are interrupted: 0.

    A container that has a terminal is always shown as one.  Raises what joining.attach does.
    """
    if stdin and not target.stdin:
        raise SandboxError(
            "Unable to use stdin - the container did not allocate one", hint="set stdin: true in its manifest"
        )
    size = _usable_terminal(stdin, target.tty)
    attachment = joining.attach(
        target.directory, target.number, stdin=STDIN if stdin else None, stdout=STDOUT, stderr=STDERR
    )
    with attachment:
        say("If you don't see a command prompt, try pressing enter.")
        if size is None:
            attachment.wait()
            return 0
        attachment.resize(size[0] + 1, size[1] + 1)  # a change of size has full-screen programs draw anew
        with _showing(attachment.resize):
            attachment.wait()
    return 0


def _usable_terminal(stdin: bool, tty: bool) -> tuple[int, int] | None:
    """The size of our terminal where a terminal is asked for and can be had; kubectl's warning where not."""
    if not (stdin and tty):
        return None
    if not os.isatty(STDIN):
        say("Unable to use a TTY - input is not a terminal or the right kind of file")
        return None
    return terminal.size(STDIN)


@contextmanager
def _handling(numbers: Sequence[int], handle: Callable[[int], None]) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        handle(number)

    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup means it
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _forwarding(send: Callable[[int], bool]) -> Iterator[None]:
    """Interrupts are the program's; once it has ended, and only its output is left, ours."""

    def handle(number: int) -> None:
        if not send(number):
            _interrupted(number)

    with _handling(_INTERRUPTS, handle):
        yield


@contextmanager
def _showing(resize: Callable[[int, int], None]) -> Iterator[None]:
    """A container's terminal on ours: keys as bytes, the same size; an interrupt ends it, and ours is as it was."""

    def fit(number: int = signal.SIGWINCH) -> None:
        resize(*terminal.size(STDIN))

    with _handling(_INTERRUPTS, _interrupted), terminal.raw(STDIN), _handling([signal.SIGWINCH], fit):
        fit()  # it may have changed since
        yield


def _interrupted(number: int) -> None:
    raise SystemExit(128 + number)
