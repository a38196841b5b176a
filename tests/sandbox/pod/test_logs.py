from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.pod import entries, logs
from sandbox.pod.entries import Entry, Joiner, Splitter, Stream, parse
from sandbox.pod.logs import Options, read
from sandbox.pod.paths import log_directory, log_path

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(text: str | bytes, stream: str = "stdout", flag: str = "F", *, second: int = 0) -> bytes:
    """One record as podmon writes it."""
    time = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    return f"{time} {stream} {flag} ".encode() + (text.encode() if isinstance(text, str) else text) + b"\n"


class Writer:
    """Writes an instance's log as podmon does: appends, and after a rotation makes the fresh file itself."""

    def __init__(self, directory: Path, instance: int = 0) -> None:
        self.directory = directory
        self.instance = instance

    def write(self, *records: bytes) -> None:
        with log_path(self.directory, self.instance).open("ab") as file:
            file.writelines(records)

    def lines(self, *texts: str) -> None:
        self.write(*(record(text) for text in texts))

    def rename(self, *, keep: int = 5) -> None:
        """The first half of a rotation."""
        for age in reversed(range(keep - 1)):
            if log_path(self.directory, self.instance, age).exists():
                log_path(self.directory, self.instance, age).rename(log_path(self.directory, self.instance, age + 1))

    def rotate(self, *, keep: int = 5) -> None:
        self.rename(keep=keep)
        self.write()


@pytest.fixture
def log(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


EVERYTHING = Options()


def texts(log: Writer, options: Options = EVERYTHING, instance: int = 0) -> list[str]:
    return [entry.text.decode() for entry in read(log.directory, instance, options)]


# ---- records ----


def test_a_record_is_time_stream_flag_and_text() -> None:  # A28
    entry = parse(b"2026-01-02T03:04:05.123456789Z stderr F hello  world ")
    assert entry == Entry("2026-01-02T03:04:05.123456789Z", Stream.STDERR, b"hello  world ")
    assert entry.time == START.replace(microsecond=123456)


def test_a_record_may_be_empty_and_hold_any_byte_but_a_line_end() -> None:
    assert parse(record("")[:-1]) is not None
    noise = bytes(set(range(256)) - {10})
    entry = parse(record(noise)[:-1])
    assert entry
    assert entry.text == noise


@pytest.mark.parametrize(
    "time",
    ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.1Z", "2026-01-02T05:04:05.5+02:00", "2026-01-02T03:04:05.123456789Z"],
)
def test_times_have_up_to_nine_digits_and_any_zone(time: str) -> None:
    entry = parse(f"{time} stdout F x".encode())
    assert entry
    assert entry.timestamp == time
    assert entry.time.replace(microsecond=0) == START


def test_tags_behind_the_first_are_not_ours_to_know() -> None:
    entry = parse(b"2026-01-02T03:04:05Z stdout P:new:tags x")
    assert entry
    assert (entry.partial, entry.text) == (True, b"x")


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"hello",
        b"2026-01-02T03:04:05Z",
        b"2026-01-02T03:04:05Z stdout",
        b"2026-01-02T03:04:05Z stdout F",
        b"2026-01-02T03:04:05Z stdlog F x",
        b"2026-01-02T03:04:05Z stdout X x",
        b"2026-02-30T03:04:05Z stdout F x",
        b"2026-01-02T03:04:05+99:99 stdout F x",
        b"2026-01-02 03:04:05Z stdout F x",
        b" 2026-01-02T03:04:05Z stdout F x",
    ],
)
def test_what_is_not_a_record_is_left_out(damaged: bytes) -> None:
    assert parse(damaged) is None
    assert [entry.text for entry in Splitter().feed(damaged + b"\n" + record("next"))] == [b"next"]


@given(st.lists(st.binary(max_size=200)))
def test_no_bytes_whatever_break_the_parser(pieces: list[bytes]) -> None:
    splitter = Splitter()
    for piece in pieces:
        list(splitter.feed(piece))
    list(splitter.feed(b"\n"))
    assert [entry.text for entry in splitter.feed(record("still here"))] == [b"still here"]


line_texts = st.binary(max_size=50).map(lambda text: text.replace(b"\n", b""))
records = st.lists(st.tuples(line_texts, st.sampled_from(["stdout", "stderr"]), st.sampled_from("FFP")), max_size=12)


@given(records, st.data())
def test_records_are_the_same_wherever_the_bytes_are_cut(
    written: list[tuple[bytes, str, str]], data: st.DataObject
) -> None:
    text = b"".join(record(*each) for each in written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    splitter = Splitter()
    found = [
        entry
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)
        for entry in splitter.feed(text[start:end])
    ]
    assert [(entry.text, str(entry.stream), entry.partial) for entry in found] == [
        (line, stream, flag == "P") for line, stream, flag in written
    ]


def test_a_torn_last_line_is_read_as_far_as_it_went() -> None:
    splitter = Splitter()
    assert [entry.text for entry in splitter.feed(record("whole") + record("torn")[:-3])] == [b"whole"]
    assert [entry.text for entry in splitter.end()] == [b"to"]
    assert list(splitter.end()) == []


# ---- lines ----


def joined(*records: bytes) -> list[tuple[str, bool]]:
    joiner = Joiner()
    entries = Splitter().feed(b"".join(records))
    lines = [*joiner.join(entries), *joiner.end()]
    return [(line.text.decode(), line.partial) for line in lines]


def test_parts_are_joined_by_stream() -> None:
    assert joined(
        record("a", flag="P"), record("x", "stderr", "P"), record("b"), record("y", "stderr"), record("c")
    ) == [("ab", False), ("xy", False), ("c", False)]  # fmt: skip


def test_a_joined_line_has_the_time_of_its_beginning() -> None:
    entries = Splitter().feed(record("a", flag="P", second=1) + record("b", second=2))
    assert [line.time.second for line in Joiner().join(entries)] == [6]


def test_a_line_without_an_end_comes_last_and_says_so() -> None:
    assert joined(record("prompt> ", flag="P"), record("x", "stderr")) == [("x", False), ("prompt> ", True)]


def test_a_line_that_is_too_long_is_handed_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_LINE", 4)
    assert joined(*(record("ab", flag="P") for _ in range(3)), record("c")) == [("abab", True), ("abc", False)]


@given(records)
def test_joining_loses_nothing(written: list[tuple[bytes, str, str]]) -> None:
    joiner = Joiner()
    entries = list(Splitter().feed(b"".join(record(*each) for each in written)))
    lines = [*joiner.join(entries), *joiner.end()]
    for stream in Stream:
        whole = b"".join(entry.line() for entry in entries if entry.stream == stream)
        assert b"".join(line.line() for line in lines if line.stream == stream) == whole


def test_a_line_prints_with_its_time_or_without() -> None:
    entry = parse(record("hello")[:-1])
    assert entry
    assert entry.line() == b"hello\n"
    assert entry.line(timestamps=True) == b"2026-01-02T03:04:05.123456789Z hello\n"
    assert Entry("t", Stream.STDOUT, b"prompt> ", partial=True).line() == b"prompt> "


# ---- files ----


def test_logs_stand_where_kubelet_has_them(tmp_path: Path) -> None:
    directory = log_directory(tmp_path, namespace="default", name="web", uid="u-1", container="app")
    assert log_path(directory, 3) == tmp_path / "logs/default_web_u-1/app/3.log"
    assert log_path(directory, 3, 2) == directory / "3.log.2"


def test_rotated_files_are_read_the_oldest_first(log: Writer) -> None:  # A28
    for number in range(12):
        log.lines(str(number))
        log.rotate(keep=20)
    assert texts(log) == [str(number) for number in range(12)]


def test_a_log_that_is_rotated_often_while_its_files_are_opened_is_read_whole(
    log: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotated_meanwhile(directory: Path, instance: int, age: int = 0) -> Path:
        if age == 1:
            for number in range(1, 6):
                log.rotate(keep=20)
                log.lines(str(number))
        return log_path(directory, instance, age)

    log.lines("0")
    monkeypatch.setattr(logs, "log_path", rotated_meanwhile)
    assert texts(log) == ["0", "1", "2", "3", "4"], "and not 5, which came after"


def test_instances_do_not_mix(log: Writer) -> None:
    for instance in (0, 1, 10):
        Writer(log.directory, instance).lines(f"instance {instance}")
        Writer(log.directory, instance).rotate()
    assert texts(log, instance=1) == ["instance 1"]
    assert texts(log, instance=10) == ["instance 10"]


def test_what_is_not_there_has_no_lines(log: Writer) -> None:
    assert texts(log) == []
    log.write()
    assert texts(log) == []


def test_a_directory_among_the_files_and_foreign_names_are_no_logs(log: Writer) -> None:
    log.lines("a")
    for name in ("0.log.gz", "0.log.x1", "0.log.", "0.log.²", "00.log"):
        (log.directory / name).write_bytes(record("foreign"))
    assert texts(log) == ["a"]


def test_a_link_is_not_followed(log: Writer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(record("secret"))
    log_path(log.directory, 0).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        texts(log)


def test_a_line_may_have_its_parts_in_two_files(log: Writer) -> None:
    log.write(record("a", flag="P"))
    log.rotate()
    log.write(record("b"))
    assert texts(log) == ["ab"]


def test_a_torn_line_of_a_rotated_file_does_not_swallow_the_next(log: Writer) -> None:
    log.write(record("a"), record("torn")[:-2])
    log.rotate()
    log.lines("b")
    assert texts(log) == ["a", "tor", "b"]


def test_a_gap_in_the_middle_of_a_rotation_hides_nothing(log: Writer) -> None:
    log.lines("a")
    log.rotate()
    log.lines("b")
    log.rename()
    log_path(log.directory, 0, 2).rename(log_path(log.directory, 0, 3))
    assert texts(log) == ["a", "b"]


def test_a_rotation_while_the_files_are_opened_repeats_nothing(log: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.log is renamed to 0.log.1 after it was opened: it is met again, and a step further on the old 0.log.1."""
    log.lines("a")
    log.rotate()
    log.lines("b")
    opened = os.open

    def open_and_rotate(path: Path, flags: int) -> int:
        fd = opened(path, flags)
        if path.name == "0.log":
            log.rotate()
        return fd

    monkeypatch.setattr(os, "open", open_and_rotate)
    assert texts(log) == ["a", "b"]


def test_what_is_written_meanwhile_is_left_to_the_next_reader(log: Writer) -> None:
    log.lines("a", "b")
    reader = read(log.directory, 0)
    assert next(reader).text == b"a"
    log.lines("c")
    assert [entry.text for entry in reader] == [b"b"]


def test_streams_can_be_had_apart(log: Writer) -> None:
    log.write(record("out"), record("err", "stderr"))
    assert texts(log) == ["out", "err"]
    assert texts(log, Options(streams=frozenset({Stream.STDERR}))) == ["err"]


def test_since_leaves_out_what_is_older(log: Writer) -> None:
    log.write(*(record(str(second), second=second) for second in range(5)))
    assert texts(log, Options(since=START + timedelta(seconds=3))) == ["3", "4"]
    since = Options(since=timedelta(seconds=2))
    now = START + timedelta(seconds=5.123456)
    assert [entry.text for entry in read(log.directory, 0, since, now=now)] == [b"3", b"4"]


def test_a_duration_counts_back_from_now(log: Writer) -> None:
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    log.write(record("old"), f"{time} stdout F new\n".encode())
    assert texts(log, Options(since=timedelta(hours=1))) == ["new"]


# ---- the last lines ----


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9])
def test_tail_gives_the_last_lines_across_files(log: Writer, count: int) -> None:
    log.lines("a", "b")
    log.rotate()
    log.lines("c")
    log.rotate()
    log.lines("d")
    assert texts(log, Options(tail=count)) == list("abcd")[max(0, 4 - count) :]


def test_tail_counts_lines_and_not_their_parts(log: Writer) -> None:
    log.write(record("a"), record("b", flag="P"), record("x", "stderr"), record("c"))
    assert texts(log, Options(tail=1)) == ["bc"]
    assert texts(log, Options(tail=2)) == ["x", "bc"]


def test_tail_counts_an_unfinished_line(log: Writer) -> None:
    log.write(record("a"), record("b"), record("prompt> ", flag="P"))
    assert texts(log, Options(tail=1)) == ["prompt> "]
    assert texts(log, Options(tail=2)) == ["b", "prompt> "]


def test_tail_counts_the_streams_asked_for(log: Writer) -> None:
    log.write(record("e1", "stderr"), record("e2", "stderr"), record("o1"), record("o2"))
    assert texts(log, Options(tail=1, streams=frozenset({Stream.STDERR}))) == ["e2"]


def test_since_picks_from_the_tail(log: Writer) -> None:
    log.write(*(record(str(second), second=second) for second in range(5)))
    assert texts(log, Options(tail=2, since=START)) == ["3", "4"]
    assert texts(log, Options(tail=3, since=START + timedelta(seconds=4))) == ["4"]


def last_lines(written: list[tuple[bytes, str, str]], count: int) -> list[tuple[bytes, bool]]:
    """The last lines and whether they are partial, by where they end so far; joined with no regard to cost."""
    begun: dict[str, tuple[int, bytes]] = {}
    lines = []
    for place, (text, stream, flag) in enumerate(written):
        begun[stream] = (place, begun.get(stream, (0, b""))[1] + text)
        if flag == "F":
            lines.append((*begun.pop(stream), False))
    lines += [(place, text, True) for place, text in begun.values()]
    return [(text, partial) for _, text, partial in sorted(lines)[max(0, len(lines) - count) :]]


@given(records, st.integers(0, 14), st.sampled_from([1, 7, 64, 65536]))
def test_tail_is_exact_whatever_the_order_of_parts_and_the_size_of_blocks(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[bytes, str, str]], count: int, block: int
) -> None:
    log = Writer(tmp_path_factory.mktemp("log"))
    for number, each in enumerate(written):
        log.write(record(*each))
        if number % 3 == 2:
            log.rotate(keep=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        tail = list(read(log.directory, 0, Options(tail=count)))
    wanted = last_lines(written, count)
    assert [line.text for line in tail if not line.partial] == [text for text, partial in wanted if not partial]
    # A line that has not ended may come in addition: it is still being written, however old its beginning is.
    assert {text for text, partial in wanted if partial} <= {line.text for line in tail if line.partial}


def test_tail_reads_from_the_end_only(log: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(*(record("x" * 100) for _ in range(20_000)))
    amount, pread = 0, os.pread

    def count(fd: int, length: int, offset: int) -> bytes:
        nonlocal amount
        data = pread(fd, length, offset)
        amount += len(data)
        return data

    monkeypatch.setattr(os, "pread", count)
    assert len(texts(log, Options(tail=10))) == 10
    assert amount <= 2 * logs.BLOCK


def test_looking_for_the_beginning_of_a_line_has_an_end(log: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line of stderr might have begun anywhere before."""
    monkeypatch.setattr(logs, "MAX_LINE", 1000)
    log.write(*(record("x" * 100) for _ in range(20_000)), record("err", "stderr"))
    log.lines("out")
    monkeypatch.setattr(logs, "BLOCK", 1024)
    begun = [logs._File(os.open(log_path(log.directory, 0), os.O_RDONLY))]
    surplus = logs._seek(begun, Options(tail=2))
    assert begun[0].size - begun[0].position < 4000
    begun[0].close()
    assert surplus < 20
    assert texts(log, Options(tail=2)) == ["err", "out"]


# ---- following ----


@pytest.fixture
def ended() -> threading.Event:
    return threading.Event()


Follow = Callable[..., Iterator[Entry]]


@pytest.fixture
def follow(log: Writer, ended: threading.Event) -> Iterator[Follow]:
    """Starts followers that end when `ended` is set; closes them."""
    started: list[Iterator[Entry]] = []

    def start(**options: int) -> Iterator[Entry]:
        started.append(read(log.directory, 0, Options(follow=True, **options), finished=ended.is_set))
        return started[-1]

    yield start
    for reader in started:
        reader.close()  # type: ignore[attr-defined]


def some(reader: Iterator[Entry], count: int) -> list[str]:
    return [next(reader).text.decode() for _ in range(count)]


def rest(reader: Iterator[Entry]) -> list[str]:
    return [entry.text.decode() for entry in reader]


def test_a_follower_gets_what_is_written_later(log: Writer, ended: threading.Event, follow: Follow) -> None:
    log.lines("a")
    reader = follow()
    assert some(reader, 1) == ["a"]
    log.lines("b", "c")
    assert some(reader, 2) == ["b", "c"]
    log.lines("d")
    ended.set()
    assert rest(reader) == ["d"]


def test_a_follower_goes_on_across_rotations(log: Writer, ended: threading.Event, follow: Follow) -> None:  # A28
    log.lines("a")
    reader = follow()
    assert some(reader, 1) == ["a"]
    log.lines("b")
    log.rename()
    log.write(record("c"))
    assert some(reader, 2) == ["b", "c"]
    for number in range(3):
        log.lines(f"d{number}")
        log.rotate()
    log.lines("e")
    assert some(reader, 4) == ["d0", "d1", "d2", "e"]
    ended.set()
    assert rest(reader) == []


def test_what_is_written_between_rename_and_fresh_file_is_not_lost(
    log: Writer, ended: threading.Event, follow: Follow
) -> None:
    log.lines("a")
    reader = follow()
    assert some(reader, 1) == ["a"]
    with log_path(log.directory, 0).open("ab", buffering=0) as old:
        log.rename()
        old.write(record("b"))
        assert some(reader, 1) == ["b"]
        old.write(record("c"))
        log.lines("d")
    assert some(reader, 2) == ["c", "d"]


def test_a_follower_that_is_slow_misses_only_what_is_gone(log: Writer, ended: threading.Event, follow: Follow) -> None:
    log.lines("a")
    reader = follow()
    assert some(reader, 1) == ["a"]
    for number in range(4):
        log.lines(f"b{number}")
        log.rotate(keep=3)
    ended.set()
    assert rest(reader) == ["b0", "b2", "b3"]  # it holds the file with b0 open, whatever became of it


def test_a_log_of_one_file_is_replaced_by_a_rotation(log: Writer, ended: threading.Event, follow: Follow) -> None:
    log.lines("a")
    reader = follow()
    assert some(reader, 1) == ["a"]
    log.lines("b")
    log_path(log.directory, 0).unlink()
    assert some(reader, 1) == ["b"]
    threading.Timer(0, lambda: log.lines("c")).start()
    assert some(reader, 1) == ["c"]


def test_a_follower_may_come_before_the_log(log: Writer, ended: threading.Event, follow: Follow) -> None:
    reader = follow()
    threading.Timer(0, lambda: log.lines("a")).start()
    assert some(reader, 1) == ["a"]


def test_a_record_that_is_being_written_is_waited_for(log: Writer, ended: threading.Event, follow: Follow) -> None:
    whole = record("hello world")
    log.write(record("a"), whole[:-6])
    reader = follow()
    assert some(reader, 1) == ["a"]
    log.write(whole[-6:])
    assert some(reader, 1) == ["hello world"]


def test_what_a_full_disk_has_podmon_take_back_is_not_read(log: Writer, ended: threading.Event, follow: Follow) -> None:
    """Half a record was there for a moment, and a reader came in that moment."""
    half = record("half")[:-3]
    log.write(record("a"), half)
    reader = follow()
    assert some(reader, 1) == ["a"]
    path = log_path(log.directory, 0)

    def caught_up() -> None:  # the reader has read what is there
        os.truncate(path, path.stat().st_size - len(half))
        log.lines("a longer line than was taken back")
        ended.set()

    looked = read(log.directory, 0, Options(follow=True), finished=ended.is_set, caught_up=caught_up)
    assert rest(looked) == ["a", "a longer line than was taken back"]
    assert rest(reader) == ["a longer line than was taken back"]


def test_what_never_ended_is_given_at_the_end(log: Writer, ended: threading.Event, follow: Follow) -> None:
    log.write(record("prompt> ", flag="P"), record("torn")[:-2])
    ended.set()
    assert rest(follow()) == ["prompt> tor"]


def test_tail_and_follow_start_with_the_last_lines(log: Writer, ended: threading.Event, follow: Follow) -> None:
    log.lines("a", "b")
    log.rotate()
    log.lines("c")
    reader = follow(tail=2)
    assert some(reader, 2) == ["b", "c"]
    log.lines("d")
    assert some(reader, 1) == ["d"]


def test_tail_of_none_does_not_cut_the_record_that_is_being_written(log: Writer) -> None:
    half = record("half")
    log.write(record("a"), half[:-3])

    def finished() -> bool:  # asked when the files are open and the place to begin is chosen
        log.write(half[-3:])
        return True

    assert rest(read(log.directory, 0, Options(follow=True, tail=0), finished=finished)) == ["half"]


class Following(threading.Thread):
    """Reads to the end on a thread of its own; `entries` has what it got."""

    def __init__(self, reader: Iterator[Entry]) -> None:
        super().__init__(daemon=True)
        self.reader = reader
        self.entries: list[str] = []

    def run(self) -> None:
        for entry in self.reader:
            self.entries.append(entry.text.decode())

    def wait(self) -> list[str]:
        self.join(30)
        assert not self.is_alive(), "it waits for ever"
        return self.entries


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a follower has looked at everything and goes to sleep."""
    asleep, wait = threading.Event(), logs._Changes.wait

    def tell_and_wait(changes: logs._Changes) -> None:
        asleep.set()
        wait(changes)

    monkeypatch.setattr(logs._Changes, "wait", tell_and_wait)
    return asleep


def test_a_follower_wakes_when_the_container_ends_without_a_word(
    log: Writer, ended: threading.Event, waiting: threading.Event
) -> None:
    log.lines("a")
    wake = os.eventfd(0)
    try:
        thread = Following(read(log.directory, 0, Options(follow=True), finished=ended.is_set, wake=wake))
        thread.start()
        assert waiting.wait(30)
        ended.set()
        os.eventfd_write(wake, 1)
        assert thread.wait() == ["a"]
    finally:
        os.close(wake)


def test_a_follower_wakes_with_every_write(log: Writer, ended: threading.Event, waiting: threading.Event) -> None:
    with log_path(log.directory, 0).open("ab", buffering=0) as file:
        thread = Following(read(log.directory, 0, Options(follow=True), finished=ended.is_set))
        thread.start()
        for number in range(5):
            assert waiting.wait(30)
            waiting.clear()
            file.write(record(str(number)))
        ended.set()
    assert thread.wait() == ["0", "1", "2", "3", "4"]


def test_a_follower_wakes_when_the_writer_closes_its_file(
    log: Writer, ended: threading.Event, waiting: threading.Event
) -> None:
    log.lines("a")
    with log_path(log.directory, 0).open("ab"):
        thread = Following(read(log.directory, 0, Options(follow=True), finished=ended.is_set))
        thread.start()
        assert waiting.wait(30)
        ended.set()
    assert thread.wait() == ["a"]


def test_a_follower_ends_with_the_directory(log: Writer, waiting: threading.Event) -> None:
    directory = log.directory / "app"
    directory.mkdir()
    Writer(directory).lines("a")
    thread = Following(read(directory, 0, Options(follow=True)))
    thread.start()
    assert waiting.wait(30)
    shutil.rmtree(directory)
    assert thread.wait() == ["a"]


def test_nothing_is_lost_or_repeated_while_a_writer_rotates(log: Writer, ended: threading.Event) -> None:
    """The real race: a writer that rotates all the time, and a follower that has to keep up."""
    log.write()
    wake = os.eventfd(0)
    try:
        thread = Following(read(log.directory, 0, Options(follow=True), finished=ended.is_set, wake=wake))
        thread.start()
        for number in range(2000):
            log.lines(str(number))
            if number % 20 == 19:
                log.rotate(keep=1000)
        ended.set()
        os.eventfd_write(wake, 1)
        assert thread.wait() == [str(number) for number in range(2000)]
    finally:
        os.close(wake)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open(log: Writer, ended: threading.Event, follow: Follow) -> None:
    before = open_files()
    log.lines("a")
    reader = follow()
    assert some(reader, 1) == ["a"]
    during = open_files()
    for number in range(8):
        log.rotate()
        log.lines(str(number))
        assert some(reader, 1) == [str(number)]
    assert open_files() == during
    reader.close()  # type: ignore[attr-defined]
    assert open_files() == before
    with pytest.raises(FileNotFoundError, match="nowhere"):
        next(read(log.directory / "nowhere", 0, Options(follow=True)))
    assert open_files() == before
