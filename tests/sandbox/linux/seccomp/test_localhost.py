"""Profiles in a directory of the administrator's: which files are read, and what is said of others."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sandbox.errors import KernelError, NotFound, ProfileError
from sandbox.linux.seccomp import Action, read_localhost
from sandbox.linux.seccomp.localhost import MAX_SIZE

TEXT = '{"defaultAction": "SCMP_ACT_LOG"}'


@pytest.mark.parametrize("name", ["p.json", "team/web/p.json", "./p", "a b", "..p", "p..", "team/..p/.json"])
def test_a_file_below_the_directory_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT)
    assert read_localhost(tmp_path, name).default == Action("LOG")


@pytest.mark.parametrize(
    "name", ["", ".", "/", "..", "../p.json", "a/../../p.json", "a/..", "/etc/passwd", "//p.json", "p\0"]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "seccomp"
    directory.mkdir()
    (tmp_path / "p.json").write_text(TEXT)
    (directory / "p").write_text(TEXT)
    with pytest.raises(ProfileError, match=r"^localhostProfile: .* is not a path below .*/seccomp$") as raised:
        read_localhost(directory, name)
    assert raised.value.hint == "give a relative path without .."


def test_one_that_is_not_there_is_not_found_and_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=rf'^seccomp profile "{tmp_path}/web.json" not found$') as raised:
        read_localhost(tmp_path, "web.json")
    assert "puts profiles there" in str(raised.value.hint)


def test_what_is_no_file_is_refused_and_nothing_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dir").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text(TEXT)
    for name, number in (
        ("pipe", errno.EINVAL),
        ("dir", errno.EINVAL),
        ("loop", errno.ELOOP),
        ("file/x", errno.ENOTDIR),
    ):
        with pytest.raises(KernelError) as raised:
            read_localhost(tmp_path, name)
        assert (raised.value.errno, raised.value.filename) == (number, str(tmp_path / name))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff", "the text is not UTF-8"),
        (b" " * MAX_SIZE + TEXT.encode(), f"larger than {MAX_SIZE} bytes"),
        (b"{", ":1:2: not JSON"),
    ],
    ids=["binary", "too large", "not JSON"],
)
def test_a_file_that_is_no_profile_is_refused_by_its_path(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(data)
    with pytest.raises(ProfileError) as raised:
        read_localhost(tmp_path, "p.json")
    assert str(raised.value).startswith(str(path))
    assert says in str(raised.value)
