"""Where things stand below a root, as far as others than its engine need to know; the rest is in sandbox.pod.store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.errors import KernelError, SandboxError
from sandbox.pod import forks

DEFAULT_ROOT = Path("/var/lib/seedpod")
SOCKET = "seedpod.sock"
WARM_SOCKET = "warm.sock"  # of sandbox.front.warm; csrc/seedpod.c names it, too
PID_FILE = "agent.pid"
LOG_FILE = "agent.log"  # of an engine in the background
LOCK = "lock"  # flock'ed by the engine that owns the root
START_LOCK = "start.lock"  # flock'ed by whoever looks for an engine and may start one
MAX_SOCKET_PATH = 107  # bytes, unix(7)
NAME_MAX = 255  # bytes; names of pods and namespaces are ASCII


def root_of(given: str | os.PathLike[str] | None = None) -> Path:
    """The root directory that is meant: the one given, else SEEDPOD_ROOT, else the usual one.

    One root has one name, however it was written: that of its cgroups is made of it.
    """
    return Path(os.path.realpath(given or os.environ.get("SEEDPOD_ROOT") or DEFAULT_ROOT))


def socket_path(root: Path) -> Path:
    """Where the engine of a root listens.  Raises SandboxError where the kernel could not bind it."""
    path = root / SOCKET
    if not is_bindable(path):
        raise SandboxError(
            f"root {root}: the path of its socket is longer than {MAX_SOCKET_PATH} bytes",
            hint="choose a shorter directory for --root",
        )
    return path


def is_bindable(path: Path) -> bool:
    """Whether a socket could have this path."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH


def make_root(root: Path) -> None:
    """Make the directories of a root where they are missing.  Raises KernelError."""
    try:
        for path in (root, root / "pods", root / "logs", root / "images", root / "claims"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(error.errno or 0, step="make the root directory", filename=str(error.filename)) from error


def pod_log_directory(root: Path, *, namespace: str, name: str, uid: str) -> Path:
    """Where the logs of a pod stand, a directory for each container.

    The longest names together are longer than a file's name can be: they are cut, the UID is not.
    """
    return root / "logs" / f"{f'{namespace}_{name}'[: NAME_MAX - len(uid) - 1]}_{uid}"


def log_directory(root: Path, *, namespace: str, name: str, uid: str, container: str) -> Path:
    """Where the logs of a container stand, all its instances."""
    return pod_log_directory(root, namespace=namespace, name=name, uid=uid) / container


def log_path(directory: Path, instance: int, age: int = 0) -> Path:
    """The file of one instance (its restart count); `age` counts the rotations since it was written."""
    return directory / (f"{instance}.log" if age == 0 else f"{instance}.log.{age}")


def _open_lock(root: Path, name: str) -> int:
    try:
        return forks.guard(os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise KernelError(error.errno or 0, step="open", filename=str(root / name)) from error


def unlock(fd: int) -> None:
    """Give up what an fd of ours has locked."""
    os.close(forks.release(fd))


def lock_root(root: Path) -> int | None:
    """Own the root for as long as the returned fd is open; None where another engine does."""
    fd = _open_lock(root, LOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        unlock(fd)
        return None
    return fd


def is_lock_of(root: Path, lock: int) -> bool:
    """Whether the fd that `lock_root` returned is still that of the root: not where it was removed meanwhile, and
    perhaps made anew for another engine."""
    try:
        return os.path.samestat(os.fstat(lock), (root / LOCK).stat())
    except OSError:
        return False


@contextmanager
def starting(root: Path) -> Iterator[None]:
    """Be the only one who looks for an engine and starts one: of two that race the second finds the first's."""
    fd = _open_lock(root, START_LOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        unlock(fd)
