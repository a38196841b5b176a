"""Ends of containers as the v1 status has them, from what was seen, written down, or is unknown."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.errors import KernelError, SpawnError
from sandbox.linux import native
from sandbox.pod import ends
from sandbox.pod.state import Instance
from sandbox.status import ExitStatus
from tests.sandbox.pod.values import IDENTITY, NOON, after

INSTANCE = Instance(IDENTITY, 1, 0, started_at=NOON)


@pytest.mark.parametrize(
    ("code", "signal", "oom", "reason"),
    [
        (0, None, False, "Completed"),
        (3, None, False, "Error"),
        (137, 9, False, "Error"),
        (143, 15, False, "Error"),
        (139, 11, False, "Error"),
        (137, 9, True, "OOMKilled"),
        (0, None, True, "OOMKilled"),
    ],
)
def test_an_end_that_was_seen(code: int, signal: int | None, oom: bool, reason: str) -> None:  # A24
    end = ends.by_exit(INSTANCE, ExitStatus(code, signal, oom, after(1), after(2)))
    assert (end.exit_code, end.signal, end.reason) == (code, signal, reason)
    assert (end.started_at, end.finished_at, end.container_id) == (after(1), after(2), IDENTITY)


def test_an_end_whose_beginning_nobody_told_has_it_from_the_instance() -> None:
    assert ends.by_exit(INSTANCE, ExitStatus(0, None, False, None, after(2))).started_at == NOON


def test_a_program_that_could_not_be_started_is_a_start_error() -> None:  # A24
    error = SpawnError(errno.ENOENT, op="run nonsense", call="execve", step="EXEC", hint="is it installed?")
    end = ends.by_failure(INSTANCE, error, after(1))
    assert (end.exit_code, end.reason, end.hint) == (128, "StartError", "is it installed?")
    assert end.message == "run nonsense: execve: No such file or directory (ENOENT)"
    assert (end.started_at, end.finished_at) == (None, after(1))


def test_an_error_of_the_host_is_a_start_error_too() -> None:  # A24
    end = ends.by_failure(INSTANCE, FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), NOON)
    assert (end.exit_code, end.hint) == (128, "")
    assert "/x" in end.message
    assert (
        ends.by_failure(INSTANCE, KernelError(errno.EIO, step="read"), NOON).message == "read: Input/output error (EIO)"
    )


def test_what_died_with_its_podmon_was_killed() -> None:  # A22, A24
    end = ends.with_podmon(INSTANCE, after(1))
    assert (end.exit_code, end.signal, end.reason, end.finished_at) == (137, 9, "Error", after(1))


def test_an_end_that_nobody_saw_is_unknown() -> None:  # A24
    end = ends.unseen(INSTANCE, after(1))
    assert (end.exit_code, end.signal, end.reason) == (137, None, "ContainerStatusUnknown")


# ---- records ----


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def write(directory: Path, **fields: int) -> Path:
    known = {
        "type": native.MESSAGE["EXITED"], "op": 0, "call": 0, "err": 0, "code": 0, "signal": 0, "ran": 1,
        "started_ns": nanoseconds(after(1)), "finished_ns": nanoseconds(after(2)), **fields,
    }  # fmt: skip
    path = directory / IDENTITY
    path.write_text("".join(f"{name} {value}\n" for name, value in known.items()))
    return path


def test_without_a_record_nothing_is_known(tmp_path: Path) -> None:
    assert ends.by_record(INSTANCE, tmp_path) is None
    assert ends.by_record(INSTANCE, tmp_path / "ghost") is None


@pytest.mark.parametrize(("fields", "code", "signal"), [({"code": 3}, 3, None), ({"signal": 15}, 143, 15)])
def test_a_record_of_an_end(tmp_path: Path, fields: dict[str, int], code: int, signal: int | None) -> None:  # A24
    write(tmp_path, **fields)
    end = ends.by_record(INSTANCE, tmp_path)
    assert end is not None
    assert (end.exit_code, end.signal, end.started_at, end.finished_at) == (code, signal, after(1), after(2))


@pytest.mark.parametrize(
    ("fields", "reason"), [({}, "Error"), ({"oom_killed": 0}, "Error"), ({"oom_killed": 1}, "OOMKilled")]
)
def test_a_record_says_whether_the_oom_killer_came(tmp_path: Path, fields: dict[str, int], reason: str) -> None:  # A24
    """One that an older podmon wrote says nothing of it."""
    write(tmp_path, signal=9, **fields)
    end = ends.by_record(INSTANCE, tmp_path)
    assert end is not None
    assert (end.exit_code, end.reason) == (137, reason)


def test_a_record_of_a_program_that_could_not_be_started(tmp_path: Path) -> None:  # A24
    write(tmp_path, type=native.MESSAGE["FAILED"], err=errno.ENOENT, op=4)
    end = ends.by_record(INSTANCE, tmp_path)
    assert end is not None
    assert (end.exit_code, end.reason, end.finished_at) == (128, "StartError", after(2))
    assert "No such file or directory" in end.message


def test_a_record_without_a_time_is_as_old_as_its_file(tmp_path: Path) -> None:
    os.utime(write(tmp_path, finished_ns=0, started_ns=0, ran=0), (1e9, 1e9))
    end = ends.by_record(INSTANCE, tmp_path)
    assert end is not None
    assert end.finished_at == datetime.fromtimestamp(1e9, UTC)


@pytest.mark.parametrize("kept", [0, 3, 5, 20, 60])
def test_a_record_that_a_power_failure_cut_off_is_none(tmp_path: Path, kept: int) -> None:  # A13
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert ends.by_record(INSTANCE, tmp_path) is None


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"type\n", b"\xff\xfe", b"type x\n", b"type 1e3\n"])
def test_a_record_of_garbage_is_none(tmp_path: Path, garbage: bytes) -> None:  # A13
    (tmp_path / IDENTITY).write_bytes(garbage)
    assert ends.by_record(INSTANCE, tmp_path) is None
