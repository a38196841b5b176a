"""What every client of a podmon shares, with asyncio or without: where its socket is, and what its words mean.

The wire itself is described in csrc/spawn.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.effects import effect, register
from sandbox.errors import KernelError, NotFound, Unsupported, WrongState
from sandbox.linux import native
from sandbox.status import ExitStatus

SOCKET = "podmon.sock"  # in the pod's directory
JOIN_TIMEOUT = 30.0  # seconds in which a program that joins a container must have come to run


@contextlib.contextmanager
def _socket_path(directory: Path) -> Iterator[str]:
    """The path of the pod's socket, short whatever the directory: a socket's path ends at 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)


@effect("bind podmon's socket")
def bound_listener(directory: Path) -> socket.socket:
    """A socket bound in the pod's directory, for podmon to listen on."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _socket_path(directory) as path:
            listener.bind(path)
            listener.setblocking(False)  # a client may be gone again before podmon comes to accept it
            Path(path).chmod(0o600)
    except OSError as error:
        listener.close()
        raise KernelError(error.errno or 0, step="make podmon's socket", filename=str(directory / SOCKET)) from None
    return listener


def connected(directory: Path) -> socket.socket:
    """A connection to the podmon of the pod in `directory`.  Raises NotFound where there is none any more."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _socket_path(directory) as path:
            control.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        control.close()
        raise NotFound("podmon", str(directory), f"no podmon is running for {directory}") from None
    except OSError:
        control.close()
        raise
    return control


def end_unheard(pidfd: int) -> None:
    """Kill a podmon to which nothing was said yet, reap it, and close its pidfd."""
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | native.WALL)
    os.close(pidfd)


def podmon_ended() -> WrongState:
    """The error of whatever was asked of a podmon that is no more."""
    return WrongState("the pod's podmon has ended", current="gone", wanted="running")


def not_spoken(protocol: int) -> Unsupported:
    """The error for a podmon of another seedpod's; 0 is a protocol whose messages are shorter than all that we know."""
    its = str(protocol or f"below {native.PROTOCOL_OLDEST}")
    ours = f"{native.PROTOCOL_OLDEST} to {native.PROTOCOL}"
    return Unsupported(
        "joining the pod",
        needs=f"a podmon of protocol {ours}",
        message=f"the pod's podmon speaks protocol {its}, and this seedpod {ours}",
        hint="use the seedpod that made the pod, or delete the pod and run it anew",
    )


def is_spoken(protocol: int) -> bool:
    """Whether this seedpod speaks it."""
    return native.PROTOCOL_OLDEST <= protocol <= native.PROTOCOL


def does_not_run() -> WrongState:
    """The error for whoever would join a container that has ended."""
    return WrongState("the container does not run", current="not running", wanted="running")


def podmon_silent() -> KernelError:
    """The error for a podmon that is there and does not answer."""
    return KernelError(
        errno.ETIMEDOUT, step="ask the pod's podmon", hint="its process is stopped, or its cgroup frozen"
    )


def refused(number: int) -> KernelError:
    """The error for a request that podmon refused with this errno."""
    return KernelError(number, step="podmon refused the request")


def joined_too_late() -> KernelError:
    """The error for a program that was stopped on its way into a container."""
    hint = "something in the container stops what joins it, or its cgroup is frozen"
    return KernelError(errno.ETIMEDOUT, step="join the container", hint=hint)


def killed_while_made(*, oom_killed: bool) -> WrongState:
    """The error for a container that ended before its program could be run."""
    what, hint = "the container was killed while it was made", None
    if oom_killed:
        what, hint = f"{what}: it was out of memory", "give it a higher limit of memory"
    return WrongState(what, current="ended", wanted="created", hint=hint)


def exit_status(message: Any) -> ExitStatus:
    """The end that an EXITED message tells."""
    killer = message.signal or None
    return ExitStatus(
        code=128 + killer if killer else message.code,
        signal=killer,
        oom_killed=bool(message.oom_killed),
        started=time_of(message.started_ns) if message.ran else None,
        finished=time_of(message.finished_ns) or datetime.now(UTC),
    )


def time_of(nanoseconds: int) -> datetime | None:
    """A time of CLOCK_REALTIME as podmon sends it; None for 0."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds else None


def type_of(message: Any) -> str:
    """The name of a message's type: "EXITED"; "" for one that only a newer podmon knows."""
    return _TYPES.get(message.type, "")


# What a client tells podmon, each an effect.
TOLD = {
    kind: register(f"tell podmon {kind}")
    for kind in (
        "SETUP",
        "SUBSCRIBE",
        "SPAWN",
        "OPEN_GATE",
        "SIGNAL",
        "REOPEN",
        "RESIZE",
        "ATTACH",
        "FORGET",
        "SHUTDOWN",
    )
}

_TYPES = {number: name for name, number in native.MESSAGE.items()}
