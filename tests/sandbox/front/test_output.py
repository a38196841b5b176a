from __future__ import annotations

import os
import threading

import pytest

from sandbox.front.output import ENOUGH, Lines, Output
from sandbox.pod.entries import Entry, Stream


def entry(text: bytes, stream: Stream = Stream.STDOUT, *, partial: bool = False) -> Entry:
    return Entry("2026-01-02T12:00:00Z", stream, text, partial)


def working() -> Output:
    return Output(lambda error: pytest.fail(str(error)))


def test_each_stream_goes_to_its_own_behind_its_prefix(capfd: pytest.CaptureFixture[str]) -> None:
    lines = Lines(working(), "c | ")
    assert lines.add(entry(b"out"))
    assert lines.add(entry(b"err", Stream.STDERR))
    assert lines.flush()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("c | out\n", "c | err\n")


def test_a_line_without_an_end_gets_one_behind_a_prefix_alone(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = working()
    for prefix, text in (("c | ", b"a"), ("", b"\x00\xff no end")):
        lines = Lines(output, prefix)
        lines.add(entry(text, partial=True))
        lines.flush()
    assert capfdbinary.readouterr().out == b"c | a\n\x00\xff no end"


def test_empty_lines_stay(capfd: pytest.CaptureFixture[str]) -> None:
    output = working()
    for prefix in ("c | ", ""):
        lines = Lines(output, prefix)
        lines.add(entry(b""))
        lines.flush()
    assert capfd.readouterr().out == "c | \n\n"


def test_lines_are_kept_until_they_are_enough_or_of_another_stream_or_flushed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(working(), "")
    lines.add(entry(b"one"))
    assert capfd.readouterr().out == ""
    lines.add(entry(b"other", Stream.STDERR))
    assert capfd.readouterr().out == "one\n"
    lines.add(entry(b"x" * ENOUGH, Stream.STDERR))
    assert capfd.readouterr().err == "other\n" + "x" * ENOUGH + "\n"
    lines.add(entry(b"last"))
    lines.flush()
    assert capfd.readouterr().out == "last\n"


def test_once_nobody_reads_it_says_so_once_and_goes_on_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = os.pipe()
    os.close(source)
    monkeypatch.setattr("sandbox.front.output._TARGETS", dict.fromkeys(Stream, sink))
    failures: list[OSError] = []
    output = Output(failures.append)
    output._writing[sink] = threading.Lock()
    lines = Lines(output, "")
    lines.add(entry(b"a"))
    assert not lines.flush()
    lines.add(entry(b"b"))
    assert not lines.flush()
    assert [type(failure) for failure in failures] == [BrokenPipeError]
    os.close(sink)
