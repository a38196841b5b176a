"""A process that has every verb loaded and forks to be `seedpod` for whoever calls csrc/seedpod.c, where that is drawn.

To start Python and load what a verb needs takes longer than most verbs do.  So an engine that is a process of its own
has this one beside it, which ends with it.  The caller passes its standard fds and a pipe that ends with it; all else
that makes a process is read from /proc while the caller waits.  A caller that differs from this process in what
a fork cannot change, as its user or its namespaces, is told so before anything is done, and starts Python itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import io
import os
import pkgutil
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

import sandbox.front
from sandbox.front import cli
from sandbox.linux import privileges
from sandbox.pod.paths import WARM_SOCKET, is_bindable

PATIENCE = 2.0  # seconds in which a caller has to say a word
LAUNCHER = Path(sys.executable).with_name("seedpod")

_FRESH = f".{WARM_SOCKET}.new"  # the socket's name until it listens
_END = struct.Struct("ii")  # struct end of csrc/seedpod.c
_ELF = b"\x7fELF"
_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
# Of /proc/<pid>/status and /proc/<pid>: what must be the same.
_STATUS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
_LINKS = (
    "ns/cgroup", "ns/ipc", "ns/mnt", "ns/net", "ns/pid", "ns/pid_for_children", "ns/time", "ns/time_for_children",
    "ns/user", "ns/uts", "root",
)  # fmt: skip
# What the caller passes on: heeded from the caller's word to begin to the verb's end.
_PASSED = {
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
}  # fmt: skip


@contextlib.contextmanager
def beside(root: Path) -> Iterator[Callable[[], None]]:
    """One that ends with the block.  Call what is yielded to start it, once the engine takes clients.

    There is none without the launcher, or where no socket could have its path.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if _is_launcher(LAUNCHER) and is_bindable(root / _FRESH):
            command = [sys.executable, "-P", "-m", "sandbox.front.warm", str(root)]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/"))

    try:
        yield start
    finally:
        for process in started:
            process.communicate()  # the end of its stdin is its own


def _is_launcher(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


# ---- the process ----


def main(root: Path) -> int:
    """Listen for callers until the engine, which has the other end of our stdin, ends."""
    privileges.name_thread("seedpod:warm")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's are for the engine
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _listen(root)
    except OSError as error:  # verbs are slower now, no more
        print(f"no more verbs are kept warm: {error}", file=sys.stderr)
        return 1
    return 0


def _listen(root: Path) -> None:
    for module in pkgutil.iter_modules(sandbox.front.__path__, "sandbox.front."):
        importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # what is there now is not looked through by each child, which would copy it
    launcher = _identity(LAUNCHER)
    path, fresh = root / WARM_SOCKET, root / _FRESH
    fresh.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(fresh))
        fresh.chmod(0o600)
        listener.listen(100)
        fresh.rename(path)  # that of a process that was killed may be there
        try:
            _take(listener, launcher)
        finally:
            path.unlink(missing_ok=True)


def _take(listener: socket.socket, launcher: object) -> None:
    """Fork for each caller, and tell it where the child was killed; else that tells its end itself."""
    children: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == 0:
                return
            if fd == listener.fileno():
                sock, _ = listener.accept()
                pid = os.fork()
                if pid == 0:
                    os.closerange(3, sock.fileno())  # the listener, and all that is other callers'
                    os.closerange(sock.fileno() + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
                    _act(sock, launcher)
                child = os.pidfd_open(pid)
                children[child] = (pid, sock)
                poll.register(child, select.POLLIN)
            else:
                pid, sock = children.pop(fd)
                _, status = os.waitpid(pid, 0)
                if os.WIFSIGNALED(status):
                    _tell(sock, _END.pack(os.WTERMSIG(status), 0))
                sock.close()
                poll.unregister(fd)
                os.close(fd)


def _tell(sock: socket.socket, message: bytes) -> None:
    with contextlib.suppress(OSError):  # a caller that has gone needs no answer
        sock.send(message, socket.MSG_NOSIGNAL)


# ---- its children ----


def _act(sock: socket.socket, launcher: object) -> NoReturn:
    """Be `seedpod` for the caller behind the socket."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED)
    try:
        caller = _greet(sock, launcher)
        if caller is not None:
            code = _main(caller)
            _let_go()
            _tell(sock, _END.pack(0, code))
    finally:
        os._exit(1)


class _Caller(NamedTuple):
    """What it has asked for, and the signals that it had blocked."""

    words: list[str]
    blocked: set[int]


def _greet(sock: socket.socket, launcher: object) -> _Caller | None:
    """Become what the caller is, and have its word to begin; None where that cannot be, or does not come.

    What is read of its /proc is the caller's, and no later process's of the same number: at the end it is still there.
    """
    sock.settimeout(PATIENCE)
    try:
        sock.send(b"hello", socket.MSG_NOSIGNAL)
        _, fds, _, _ = socket.recv_fds(sock, 8, 4)
        if len(fds) != 4:
            return None
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        caller = _become(pid, launcher)
        if caller is None:
            _tell(sock, b"cold")
            return None
        _end_with(fds[3])
        _take_stdio(fds[:3])
        socket.send_fds(sock, [b"warm"], [os.pidfd_open(os.getpid())])
        if sock.recv(8) != b"go":
            return None
    except (OSError, ValueError):  # it has gone, takes too long, or has limits above ours; nothing was done
        return None
    return caller


def _let_go() -> None:
    """Have nothing of the caller's any more: where it has ended, its files and its directory are free."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.chdir("/")


def _end_with(pipe: int) -> None:
    """Have the kernel kill this process when the caller, who has the other end, is no more."""
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:
        raise ConnectionError("the caller has ended")


def _become(pid: int, launcher: object) -> _Caller | None:
    """Take on what the process `pid` has; None where a fork of ours cannot be like it."""
    proc = Path(f"/proc/{pid}")
    status = _status(proc)
    environment: dict[bytes, bytes] = {}
    for name, found, value in (each.partition(b"=") for each in (proc / "environ").read_bytes().split(b"\0")):
        if found:
            environment.setdefault(name, value)  # of two with a name the first counts
    if not (_identity(proc / "exe") == launcher and _is_like_us(proc, status) and _is_usual(environment)):
        return None
    for limit in _LIMITS:
        resource.setrlimit(limit, resource.prlimit(pid, limit))
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, pid))
    os.chdir(proc / "cwd")
    os.umask(int(status["Umask"], 8))
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()
    ignored = int(status["SigIgn"], 16)
    for number in _PASSED:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if ignored >> (number - 1) & 1 else usual)
    blocked = int(status["SigBlk"], 16)
    words = [os.fsdecode(word) for word in (proc / "cmdline").read_bytes().split(b"\0")[1:-1]]
    return _Caller(words, {each for each in signal.valid_signals() if blocked >> (each - 1) & 1})


def _status(proc: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in (proc / "status").read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _is_like_us(proc: Path, status: Mapping[str, str]) -> bool:
    """Whether it has our privileges, namespaces and root directory."""
    ours, own = _status(Path("/proc/self")), Path("/proc/self")
    return all(status.get(name) == ours.get(name) for name in _STATUS) and all(
        _same(proc / link, own / link) for link in _LINKS
    )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other) and one.readlink() == other.readlink()
    except FileNotFoundError:  # a kind of namespace that this kernel does not have
        return not one.exists() and not other.exists()


def _is_usual(environment: Mapping[bytes, bytes]) -> bool:
    """Whether Python, started with this environment, would be as it is here: it reads the same there, and UTF-8."""
    return _locale(environment) is not None and _for_python(environment) == _for_python(os.environb)


def _for_python(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in environment.items() if name.startswith(b"PYTHON")}


def _locale(environment: Mapping[bytes, bytes]) -> str | None:
    """What errors in UTF-8 are on stdin and stdout, by Python's rules; None where the locale has another encoding."""
    names = (environment.get(name) for name in (b"LC_ALL", b"LC_CTYPE", b"LANG"))
    locale = next(filter(None, names), b"C").lower()
    if locale in (b"c", b"posix", b"c.utf-8", b"c.utf8"):
        return "surrogateescape"
    return "strict" if b"utf-8" in locale or b"utf8" in locale else None


def _identity(path: Path) -> object:
    """What tells a file from others, also from one that takes its place."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _take_stdio(fds: Sequence[int]) -> None:
    """Have these as fds 0 to 2, and Python's files of them as a fresh Python would."""
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    errors = _locale(os.environb) or "strict"
    sys.stdin = _text(0, "r", errors)
    sys.stdout = _text(1, "w", errors, by_line=os.isatty(1))
    sys.stderr = _text(2, "w", "backslashreplace", by_line=True)


def _text(fd: int, mode: str, errors: str, *, by_line: bool = False) -> TextIO:
    at_once = bool(os.environb.get(b"PYTHONUNBUFFERED")) and mode == "w"
    file = open(fd, f"{mode}b", 0 if at_once else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        typing.cast(typing.BinaryIO, file), "utf-8", errors, "\n", line_buffering=by_line, write_through=at_once
    )


def _main(caller: _Caller) -> int:
    """`seedpod` with these words: its exit code, as the interpreter would have it.  Signals are blocked at the end."""
    try:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, caller.blocked)
            code = cli.main(caller.words)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:  # before `main` heeds it, or after
        code = 128 + signal.SIGINT
    except Exception:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            file.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
