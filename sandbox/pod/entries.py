"""What stands in a container's log: records in the CRI's format, and the lines that they make.  Pure.

A record is `<RFC3339Nano> stdout|stderr P|F text`; a line that is too long for one is several, all but the last with
a P.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

MAX_LINE = 1 << 20  # bytes; a longer line is handed on in parts


class Stream(StrEnum):
    """Which of its outputs a container wrote to."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Entry(NamedTuple):
    """One line of output, without its end.  A tuple: there are millions of them.

    `timestamp` is the time of its first byte as the log has it, with nanoseconds.  `partial` says that the line's end
    is not part of it: the container has not written it, or the line is over MAX_LINE and goes on in the next entry of
    the stream.
    """

    timestamp: str
    stream: Stream
    text: bytes
    partial: bool = False

    @property
    def time(self) -> datetime:
        """The time, cut to microseconds."""
        return datetime.fromisoformat(self.timestamp)

    def line(self, *, timestamps: bool = False) -> bytes:
        """The line as `logs` prints it."""
        return (f"{self.timestamp} ".encode() if timestamps else b"") + self.text + (b"" if self.partial else b"\n")


# ---- records ----

_RECORD = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([PF])(?::[^ ]*)? (.*)",
    re.DOTALL,
)


def parse(record: bytes) -> Entry | None:
    """One record, without its line end; None where it is not one (a torn write, say)."""
    found = _RECORD.fullmatch(record)
    if found is None:
        return None
    timestamp, stream, flag, text = found.groups()
    if not _is_a_time(timestamp[:19] + (b"Z" if timestamp.endswith(b"Z") else timestamp[-6:])):
        return None
    return Entry(timestamp.decode(), _STREAMS[stream], text, flag == b"P")


_STREAMS = {stream.value.encode(): stream for stream in Stream}


@functools.lru_cache(maxsize=16)  # lines come many a second
def _is_a_time(text: bytes) -> bool:
    """Whether there is such a time, unlike the 30th of February; it has no fraction."""
    try:
        datetime.fromisoformat(text.decode())
    except ValueError:
        return False
    return True


@dataclass
class Splitter:
    """Bytes in, records out, wherever the bytes are cut.  What is not a record is left out."""

    _rest: bytes = b""

    def feed(self, data: bytes) -> Iterator[Entry]:
        *records, self._rest = (self._rest + data).split(b"\n")
        return _parsed(records)

    @property
    def is_empty(self) -> bool:
        """Whether nothing follows the last line end."""
        return not self._rest

    def take_back(self) -> int:
        """Forget the bytes that follow the last line end, to be fed again: how many there are."""
        taken, self._rest = len(self._rest), b""
        return taken

    def end(self) -> Iterator[Entry]:
        """What follows the last line end, if that is enough to be a record."""
        record, self._rest = self._rest, b""
        return _parsed([record])


def _parsed(records: Iterable[bytes]) -> Iterator[Entry]:
    return (entry for record in records if (entry := parse(record)))


@dataclass
class Joiner:
    """Makes whole lines of the parts that P records are."""

    _open: dict[Stream, list[Entry]] = field(default_factory=dict)

    def join(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if not entry.partial and entry.stream not in self._open:
                yield entry  # nearly all are so
                continue
            parts = self._open.setdefault(entry.stream, [])
            parts.append(entry)
            if not entry.partial or sum(len(part.text) for part in parts) >= MAX_LINE:
                yield _joined(self._open.pop(entry.stream))

    def end(self) -> Iterator[Entry]:
        """The lines that have no end yet, the older first."""
        lines = sorted((_joined(parts) for parts in self._open.values()), key=lambda line: line.time)
        self._open.clear()
        yield from lines


def _joined(parts: list[Entry]) -> Entry:
    return parts[0]._replace(text=b"".join(part.text for part in parts), partial=parts[-1].partial)
