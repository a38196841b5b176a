"""The last words of containers: what an instance has left in its message file, or, where its policy says so, the end of
its log (SEMANTICS, terminationMessage).

The file is one of the host's, bound into the container, which can write to it but puts nothing in its place.  All the
same it is read as what may be anything: it holds up nobody, and no link leads to another file.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from sandbox.effects import effect
from sandbox.model import Container, MessagePolicy, Pod
from sandbox.pod.entries import Entry, Splitter
from sandbox.status import Terminated

FILE = "termination-log"  # below the instance's own directory, and so removed with it
MODE = 0o666  # whoever the container's programs run as, they can write to it
MAX_MESSAGE = 4096  # bytes, of a container
MAX_OF_POD = 12 << 10  # bytes, of all of its containers, each having the same share
LAST_LINES = 80  # of a log
LAST_BYTES = 2048
_TAIL = 64 << 10  # bytes: more than LAST_LINES records with LAST_BYTES of text in them can have


@effect("make a message file")
def make_file(directory: Path) -> Path:
    """Make the message file of an instance, empty, in the instance's own directory."""
    path = directory / FILE
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
    try:
        os.fchmod(fd, MODE)
    finally:
        os.close(fd)
    return path


def with_message(pod: Pod, asked: Container, end: Terminated, *, directory: Path, log: Path) -> Terminated:
    """The end of an instance with what it had to say; `directory` is its own.

    What is known of the end already stays in front, as in kubelet.
    """
    said = ""
    falls_back = asked.termination_message_policy is MessagePolicy.FALLBACK_TO_LOGS_ON_ERROR and end.exit_code != 0
    try:
        said = _text(_tail(directory / FILE, MAX_MESSAGE))
        if not said and falls_back:
            said = _text(_last_of_log(log))
    except FileNotFoundError:  # it never got as far as that
        pass
    except OSError as error:
        said = f"Error on reading termination log: {error.strerror}"
    share = MAX_OF_POD // max(len(pod.all_containers), 1)
    message = _cut(": ".join(filter(None, (end.message, said))), min(MAX_MESSAGE, share))
    return replace(end, message=message)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _cut(text: str, size: int) -> str:
    """The first `size` bytes of it, and no half of a character."""
    return text.encode()[:size].decode(errors="ignore")


def _tail(path: Path, size: int) -> bytes:
    """The last `size` bytes of a regular file.  Raises OSError."""
    # O_NONBLOCK: to open a pipe or a terminal could wait for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is not a regular file", str(path))
        return os.pread(fd, size, max(found.st_size - size, 0))
    finally:
        os.close(fd)


def _last_of_log(path: Path) -> bytes:
    """The last of the text of a log's newest file, of both streams as they came."""
    splitter = Splitter()
    entries = [*splitter.feed(_tail(path, _TAIL)), *splitter.end()]
    return b"".join(_last_lines(entries))[-LAST_BYTES:]


def _last_lines(entries: list[Entry]) -> list[bytes]:
    """As kubelet counts them: a line that is several records is one."""
    lines, taken = 0, []
    for entry in reversed(entries):
        lines += not entry.partial
        if lines > LAST_LINES:
            break
        taken.append(entry.line())
    return taken[::-1]
