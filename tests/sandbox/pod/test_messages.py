"""Last words of containers: read from whatever has become of their file, cut, decoded, or taken from the log."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.model import MessagePolicy, Pod
from sandbox.pod import messages
from tests.sandbox.pod.values import a_pod, an_end

STAMP = b"2026-01-01T12:00:00.000000001Z"


def falling_back(*names: str) -> Pod:
    pod = a_pod(*names)
    policy = MessagePolicy.FALLBACK_TO_LOGS_ON_ERROR
    return replace(pod, containers=tuple(replace(each, termination_message_policy=policy) for each in pod.containers))


def message(directory: Path, pod: Pod | None = None, *, code: int = 1, known: str = "") -> str:
    pod = pod or a_pod()
    end = replace(an_end(code), message=known)
    found = messages.with_message(pod, pod.containers[0], end, directory=directory, log=directory / "0.log")
    assert replace(found, message=known) == end, "nothing else of it is changed"
    return found.message


def log(directory: Path, records: Iterable[tuple[bytes, bytes]]) -> None:
    (directory / "0.log").write_bytes(b"".join(b"%s %s %s\n" % (STAMP, head, text) for head, text in records))


def test_what_was_written_is_the_message(tmp_path: Path) -> None:
    path = messages.make_file(tmp_path)
    assert message(tmp_path) == ""
    path.write_text("out of beans\n")
    assert message(tmp_path) == message(tmp_path, code=0) == "out of beans\n"
    assert message(tmp_path, known="no such file") == "no such file: out of beans\n"


def test_anybody_may_write_to_the_file_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        path = messages.make_file(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_of_much_the_last_4096_bytes_are_read(tmp_path: Path) -> None:
    (tmp_path / messages.FILE).write_bytes(b"a" * 10_000 + b"b" * 4095 + b"c")
    assert message(tmp_path) == "b" * 4095 + "c"


def test_a_file_of_10_gigabytes_is_read_as_fast_as_any(tmp_path: Path) -> None:
    with (tmp_path / messages.FILE).open("wb") as file:
        file.truncate(10 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    assert message(tmp_path) == "\0" * (4096 - 7) + "the end"


def test_the_containers_of_a_pod_share_12_kibibytes(tmp_path: Path) -> None:
    (tmp_path / messages.FILE).write_bytes(b"x" * 4096)
    assert len(message(tmp_path, a_pod("a", "b", "c"))) == 4096
    assert len(message(tmp_path, a_pod("a", "b", "c", "d"))) == 3072
    pod = a_pod("a", "b", "c")
    assert len(message(tmp_path, replace(pod, init_containers=a_pod("d", "e", "f").containers))) == 2048


def test_what_is_no_utf8_is_replaced_and_no_character_is_cut(tmp_path: Path) -> None:
    (tmp_path / messages.FILE).write_bytes(b"a\xffb")
    assert message(tmp_path) == "a\ufffdb"
    (tmp_path / messages.FILE).write_bytes(b"\xff" * 4096)
    assert message(tmp_path) == "\ufffd" * 1365


@given(data=st.binary(max_size=6000), containers=st.integers(1, 200))
def test_whatever_was_written_is_text_of_bounded_size(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, containers: int
) -> None:
    directory = tmp_path_factory.mktemp("instance")
    (directory / messages.FILE).write_bytes(data)
    said = message(directory, a_pod(*(f"c{number}" for number in range(containers))))
    assert len(said.encode()) <= min(4096, 12288 // containers)


# ---- what else may stand there ----


def test_no_link_leads_to_another_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    (tmp_path / messages.FILE).symlink_to(secret)
    log(tmp_path, [(b"stdout F", b"of the log")])
    assert message(tmp_path, falling_back()) == "Error on reading termination log: Too many levels of symbolic links"


def test_a_pipe_or_a_directory_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / messages.FILE)
    assert message(tmp_path) == "Error on reading termination log: it is not a regular file"
    (tmp_path / messages.FILE).unlink()
    (tmp_path / messages.FILE).mkdir()
    assert message(tmp_path) == "Error on reading termination log: it is not a regular file"


@pytest.mark.root
def test_nothing_is_read_from_a_device(tmp_path: Path) -> None:
    os.mknod(tmp_path / messages.FILE, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    assert "Error on reading termination log" in message(tmp_path)


def test_an_instance_that_has_no_file_said_nothing(tmp_path: Path) -> None:
    assert message(tmp_path, known="it could not be made") == "it could not be made"


# ---- from the log ----


def test_an_error_without_a_word_is_told_by_the_log(tmp_path: Path) -> None:
    path = messages.make_file(tmp_path)
    log(tmp_path, [(b"stdout F", b"hello"), (b"stderr F", b"out of beans")])
    assert message(tmp_path, falling_back()) == "hello\nout of beans\n"
    assert message(tmp_path, falling_back(), code=0) == "", "it did what it was to do"
    assert message(tmp_path) == "", "the policy is File"
    path.write_text("beans!")
    assert message(tmp_path, falling_back()) == "beans!"


def test_the_last_80_lines_are_taken(tmp_path: Path) -> None:
    messages.make_file(tmp_path)
    log(tmp_path, [(b"stdout F", b"%d" % number) for number in range(1000)])
    assert message(tmp_path, falling_back()) == "".join(f"{number}\n" for number in range(920, 1000))


def test_no_more_than_the_last_2048_bytes_are_taken(tmp_path: Path) -> None:
    messages.make_file(tmp_path)
    log(tmp_path, [(b"stdout P", b"a" * 16_384), (b"stdout F", b"b" * 2000), (b"stderr F", b"c" * 30)])
    assert message(tmp_path, falling_back()) == "a" * 16 + "b" * 2000 + "\n" + "c" * 30 + "\n"


def test_a_line_of_many_records_is_one(tmp_path: Path) -> None:
    messages.make_file(tmp_path)
    short = [(b"stdout F", b"")] * 79
    log(
        tmp_path,
        [(b"stdout F", b"old"), (b"stdout P", b"one "), (b"stdout P", b"two "), (b"stdout F", b"three"), *short],
    )
    assert message(tmp_path, falling_back()) == "one two three\n" + "\n" * 79


def test_there_may_be_no_log(tmp_path: Path) -> None:
    messages.make_file(tmp_path)
    assert message(tmp_path, falling_back()) == ""
