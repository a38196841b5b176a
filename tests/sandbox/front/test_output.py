from __future__ import annotations

import os
import threading
from datetime import UTC, datetime

import pytest

from sandbox.front.output import Output
from sandbox.pod.logs import Entry, Stream

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def entry(text: bytes, stream: Stream = Stream.STDOUT, *, partial: bool = False) -> Entry:
    return Entry(NOON.isoformat(), NOON, stream, text, partial)


def working() -> Output:
    return Output(lambda error: pytest.fail(str(error)))


def test_each_stream_goes_to_its_own_behind_its_prefix(capfd: pytest.CaptureFixture[str]) -> None:
    output = working()
    assert output.write(entry(b"out"), "c | ")
    assert output.write(entry(b"err", Stream.STDERR), "c | ")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("c | out\n", "c | err\n")


def test_a_line_without_an_end_gets_one_behind_a_prefix_alone(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = working()
    output.write(entry(b"a", partial=True), "c | ")
    output.write(entry(b"\x00\xff no end", partial=True), "")
    assert capfdbinary.readouterr().out == b"c | a\n\x00\xff no end"


def test_empty_lines_stay(capfd: pytest.CaptureFixture[str]) -> None:
    output = working()
    output.write(entry(b""), "c | ")
    output.write(entry(b""), "")
    assert capfd.readouterr().out == "c | \n\n"


def test_once_nobody_reads_it_says_so_once_and_goes_on_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = os.pipe()
    os.close(source)
    monkeypatch.setattr("sandbox.front.output._TARGETS", dict.fromkeys(Stream, sink))
    failures: list[OSError] = []
    output = Output(failures.append)
    output._writing[sink] = threading.Lock()
    assert not output.write(entry(b"a"), "")
    assert not output.write(entry(b"b"), "")
    assert [type(failure) for failure in failures] == [BrokenPipeError]
    os.close(sink)
