"""The logs of containers: files in the CRI's format, read as lines, to the end or as they grow.

One instance of a container writes `0.log`, `1.log`, … (the number is its restart count) and rotation makes older
parts of it `0.log.1`, `0.log.2`, …, the oldest with the largest number.  Who writes makes the fresh `0.log` itself,
after its last write to the old one; a reader relies on that to lose nothing across a rotation.

This module reads only, and knows nothing of pods; where their logs stand says sandbox.pod.paths.
"""

from __future__ import annotations

import itertools
import os
import select
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from inotify_simple import INotify, flags

from sandbox.pod.entries import MAX_LINE, Entry, Joiner, Splitter, Stream, parse
from sandbox.pod.paths import log_path

BLOCK = 65536  # bytes read at a time

# What can mean that there is more to read (a write, to a fresh file too), or that nothing more will come: the writer's
# last close, the end of the files and of the directory itself.
_EVENTS = flags.MODIFY | flags.CLOSE_WRITE | flags.DELETE | flags.ONLYDIR


@dataclass(frozen=True)
class Options:
    """Which lines to read: the last `tail` (None: all), of these those since a time or for a duration up to now, of
    these streams; with `follow` also what is written from now on."""

    tail: int | None = None
    since: datetime | timedelta | None = None
    follow: bool = False
    streams: frozenset[Stream] = frozenset(Stream)


# ---- files ----


class _File:
    """One log file, open: it stays the same file whatever it is renamed to."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        stat = os.fstat(fd)
        self.identity = (stat.st_dev, stat.st_ino)
        self.size = stat.st_size  # when it was opened
        self.position = 0

    def close(self) -> None:
        os.close(self._fd)

    def removed(self) -> bool:
        return os.fstat(self._fd).st_nlink == 0

    def read(self, end: int | None = None) -> Iterator[bytes]:
        """What stands from `position` up to `end`, or as far as there is something."""
        while data := os.pread(self._fd, BLOCK if end is None else min(BLOCK, end - self.position), self.position):
            self.position += len(data)
            yield data

    def whole_records(self, splitter: Splitter) -> Iterator[Entry]:
        """The records from `position` on.  What follows the last is read again next time: a full disk may have podmon
        take it back.  (Not of one that is larger than a block, which is none of podmon's.)"""
        while data := os.pread(self._fd, BLOCK, self.position):
            begins_here = splitter.is_empty and len(data) < BLOCK
            entries = splitter.feed(data)
            taken = len(data) - (splitter.take_back() if begins_here or b"\n" in data else 0)
            if not taken:
                break
            self.position += taken
            yield from entries

    def records_backward(self) -> Iterator[tuple[int, bytes]]:
        """The lines that stood here when it was opened, the last first, each with its offset.  The first to come is
        what follows the last line end: nothing, or the beginning of a record."""
        start, head = self.size, b""
        while start > 0:
            length = min(BLOCK, start)
            start -= length
            text = os.pread(self._fd, length, start) + head
            offset = start + len(text) + 1
            head, *lines = text.split(b"\n")
            for line in reversed(lines):
                offset -= len(line) + 1
                yield offset, line
        yield 0, head


class _Files:
    """The log files of one instance of a container, those that are open; closes them."""

    def __init__(self, directory: Path, instance: int) -> None:
        self._directory = directory
        self._instance = instance
        self._open: list[_File] = []
        self.lost = False  # a file was rotated away before `newer` could open it, or as good as

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self.release(self._open[-1])

    def release(self, file: _File) -> None:
        self._open.remove(file)
        file.close()

    def newer(self, than: _File | None = None) -> list[_File]:
        """Open the files that are newer than this one (None: all), the oldest first.

        A rotation may go on meanwhile.  It makes numbers larger, so going up from 0 meets every file: one that was just
        renamed is met twice, and known by its inode, which cannot be used again while the file is open.
        """
        found: dict[tuple[int, int], _File] = {}
        for age in itertools.count():
            try:
                path = log_path(self._directory, self._instance, age)
                file = _File(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            except FileNotFoundError:
                if age > self._oldest():  # asked after it was not there, as rotations go on
                    self.lost = than is not None and bool(found)
                    break
                continue
            self._open.append(file)
            if than is not None and file.identity == than.identity:
                self.release(file)
                break
            if file.identity in found:
                self.release(file)
                found[file.identity] = found.pop(file.identity)  # those met since are newer
            else:
                found[file.identity] = file
        return list(reversed(found.values()))

    def _oldest(self) -> int:
        rotated = self._directory.glob(f"{self._instance}.log.*")
        ages = (path.name.rpartition(".")[2] for path in rotated)
        return max((int(age) for age in ages if age.isascii() and age.isdigit()), default=0)


# ---- the last lines ----


@dataclass
class _Tail:
    """Decides, going backwards record by record, where the last `wanted` lines begin.

    A line may have parts before the end of a line of the other stream, so its beginning is known only once the end of
    the line before it in its own stream is seen: until then the search goes on, by MAX_LINE at most.
    """

    wanted: int
    surplus: int = 0  # lines that end after where it begins, and are not wanted
    _seen: set[Stream] = field(default_factory=set)
    _unbegun: set[Stream] = field(default_factory=set)
    _looked_back: int = 0

    def begins_after(self, entry: Entry) -> bool:
        """Whether nothing wanted stands at or before this record."""
        ends_a_line = not entry.partial or entry.stream not in self._seen
        self._seen.add(entry.stream)
        if ends_a_line and self.wanted:
            self.wanted -= 1
            self._unbegun.add(entry.stream)
            return False
        if self.wanted:
            return False
        if ends_a_line:
            self._unbegun.discard(entry.stream)
        self._looked_back += len(entry.text)
        if not self._unbegun or self._looked_back > MAX_LINE:
            return True
        self.surplus += not entry.partial
        return False


def _seek(files: list[_File], options: Options) -> int:
    """Put every file where reading is to begin; how many lines are then to be left out."""
    if options.tail is None:
        return 0
    tail = _Tail(options.tail)
    for index, file in reversed(list(enumerate(files))):
        backward = file.records_backward()
        after, _ = next(backward)  # a record that is not whole is not counted, and always read
        for offset, record in backward:
            entry = parse(record)
            if entry and entry.stream in options.streams and tail.begins_after(entry):
                file.position = after
                for older in files[:index]:
                    older.position = older.size
                return tail.surplus
            after = offset
    return tail.surplus


# ---- reading ----


class _Tells(NamedTuple):
    finished: Callable[[], bool]
    caught_up: Callable[[], None]
    lost: Callable[[], None]


def read(
    directory: Path,
    instance: int,
    options: Options = Options(),
    *,
    finished: Callable[[], bool] = lambda: False,
    wake: int | None = None,
    caught_up: Callable[[], None] = lambda: None,
    lost: Callable[[], None] = lambda: None,
    now: datetime | None = None,
) -> Iterator[Entry]:
    """The lines of one instance of a container, the oldest first.

    With `follow` it goes on until `finished()` is true and everything was read.  That is asked again whenever
    something is written, and when the fd `wake` is readable: `finished` must have its new answer by then.  It ends as
    well when the directory is removed.  `caught_up` is called before each waiting: all that there is was handed on.
    `lost` is called where lines may have been rotated away before they could be read.

    `now` is what a duration in `since` counts back from.  Raises OSError.
    """
    tells = _Tells(finished, caught_up, lost)
    since = options.since
    if isinstance(since, timedelta):
        since = (now or datetime.now(UTC)) - since
    with ExitStack() as stack:
        # The watch comes before the first look, so that nothing falls between the two.
        changes = stack.enter_context(_Changes(directory, wake)) if options.follow else None
        files = stack.enter_context(_Files(directory, instance))
        there = files.newer()
        surplus = _seek(there, options)
        entries = _grown(files, there, changes, tells) if changes else _there(files, there)
        for line in _lines(entry for entry in entries if entry.stream in options.streams):
            if surplus:
                surplus -= not line.partial
            elif since is None or line.time >= since:
                yield line


def _lines(entries: Iterable[Entry]) -> Iterator[Entry]:
    joiner = Joiner()
    yield from joiner.join(entries)
    yield from joiner.end()


def _there(files: _Files, there: list[_File]) -> Iterator[Entry]:
    """The records of these files, as far as they went when they were opened."""
    for file in there:
        yield from _rest(files, file, Splitter(), end=file.size)


def _grown(files: _Files, there: list[_File], changes: _Changes, tells: _Tells) -> Iterator[Entry]:
    """The records of these files, and those still to come, in whatever file."""
    splitter = Splitter()
    current: _File | None = None
    newer = there
    while True:
        if newer:
            for file in [current, *newer[:-1]] if current else newer[:-1]:
                yield from _rest(files, file, splitter)
            current = newer[-1]
        ended = tells.finished() or changes.gone  # asked first: what was written before that is read below
        if current:
            yield from current.whole_records(splitter)
        newer = files.newer(current)
        if files.lost:
            tells.lost()
        if newer:
            continue
        if current and (ended or current.removed()):
            # With what is not whole.  An open file would keep its directory, and so the watch on it, from ever ending.
            yield from _rest(files, current, splitter)
            current = None
        if ended:
            break
        tells.caught_up()
        changes.wait()


def _rest(files: _Files, file: _File, splitter: Splitter, *, end: int | None = None) -> Iterator[Entry]:
    """All of a file that nobody writes to any more, or up to where it ended once: what is torn stays so."""
    for data in file.read(end):
        yield from splitter.feed(data)
    yield from splitter.end()
    files.release(file)


class _Changes:
    """Waits until something happened in a directory, or to the fd `wake`."""

    def __init__(self, directory: Path, wake: int | None) -> None:
        self.gone = False  # the directory
        self._inotify = INotify()
        self._poll = select.poll()
        self._poll.register(self._inotify.fileno(), select.POLLIN)
        if wake is not None:
            self._poll.register(wake, select.POLLIN)
        try:
            self._inotify.add_watch(directory, _EVENTS)
        except OSError as error:
            self._inotify.close()
            error.filename = str(directory)
            raise

    def __enter__(self) -> _Changes:
        return self

    def __exit__(self, *_: object) -> None:
        self._inotify.close()

    def wait(self) -> None:
        self._poll.poll()
        for event in self._inotify.read(timeout=0):
            self.gone = self.gone or bool(event.mask & flags.IGNORED)
