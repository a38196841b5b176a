"""Claims on disk, at every point where the engine may be killed or the disk be full, and where somebody was there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.pod import claim_files as module
from sandbox.pod.claim_files import ClaimFiles, ClaimRecord
from sandbox.pod.trees import remove_unmounted
from tests.sandbox.pod.values import NOON, UID

KEY = ("default", "data")
RECORD = ClaimRecord(UID, NOON, {"kind": "PersistentVolumeClaim"})


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def files(tmp_path: Path, warnings: list[str]) -> ClaimFiles:
    return ClaimFiles(tmp_path, warnings.append)


def tree(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_claim_is_a_directory_that_anybody_may_write_to_below_one_that_root_alone_may_enter(
    files: ClaimFiles, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        files.make(KEY, RECORD)
    finally:
        os.umask(before)
    assert tree(tmp_path) == ["default", "default/data", "default/data/claim.json", "default/data/data"]
    assert files.data(KEY).stat().st_mode & 0o7777 == 0o777
    assert [each.stat().st_mode & 0o777 for each in (tmp_path / "default", files.path(KEY))] == [0o700] * 2
    assert files.is_whole(KEY)
    assert list(files.load()) == [(KEY, RECORD)]


class Killed(BaseException):
    """As if the engine were killed there: nobody undoes anything."""


STEPS = ("mkdir", "chmod", "rename", "fsync")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", range(4))
def test_an_engine_that_is_killed_while_it_makes_a_claim_leaves_all_or_nothing_of_it(
    files: ClaimFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    fail_at(monkeypatch, step, number, Killed())
    with pytest.raises(Killed):
        files.make(KEY, RECORD)
        raise Killed  # there are fewer such steps: killed right after
    monkeypatch.undo()
    again = ClaimFiles(tmp_path, pytest.fail)
    known = list(again.load())
    assert known in ([], [(KEY, RECORD)])
    assert not [name for name in tree(tmp_path) if name.startswith(".")]
    if not known:
        again.make(KEY, RECORD)
    assert again.is_whole(KEY)


def fail_at(monkeypatch: pytest.MonkeyPatch, step: str, number: int, error: BaseException) -> None:
    """Have the `number`th call of a system call's function raise."""
    calls = [0]

    def wrapped(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            calls[0] += 1
            if calls[0] == number + 1:
                raise error
            return original(*args, **options)

        return call

    owner = module.os if step == "fsync" else Path
    monkeypatch.setattr(owner, step, wrapped(getattr(owner, step)))


@pytest.mark.parametrize(
    ("step", "number"),
    [("mkdir", 0), ("mkdir", 1), ("mkdir", 2), ("chmod", 0), ("rename", 0), ("rename", 1)]
    + [("fsync", number) for number in range(4)],
)
def test_a_disk_that_is_full_at_any_step_leaves_nothing_of_a_claim(
    files: ClaimFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    fail_at(monkeypatch, step, number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(OSError, match="No space left on device"):
        files.make(KEY, RECORD)
    monkeypatch.undo()
    assert tree(tmp_path) in ([], ["default"])
    files.make(KEY, RECORD)
    assert files.is_whole(KEY)


def test_a_record_that_cannot_be_written_stays_as_it_was(files: ClaimFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.make(KEY, RECORD)
    fail_at(monkeypatch, "fsync", 0, OSError(errno.EIO, os.strerror(errno.EIO)))
    with pytest.raises(OSError, match=r"claim\.json"):
        files.write(KEY, ClaimRecord(UID, NOON, {"kind": "other"}))
    monkeypatch.undo()
    assert list(files.load()) == [(KEY, RECORD)]
    assert tree(files.path(KEY)) == ["claim.json", "data"]


def test_what_an_engine_left_half_made_or_half_removed_is_removed_by_the_next(
    files: ClaimFiles, tmp_path: Path, warnings: list[str]
) -> None:
    files.make(KEY, RECORD)
    files.take_away(KEY)  # and killed
    (tmp_path / ".new-1" / "data").mkdir(parents=True)
    assert list(files.load()) == []
    assert tree(tmp_path) == []
    assert warnings == []


def test_taking_a_claim_away_leaves_its_neighbours(files: ClaimFiles, tmp_path: Path) -> None:
    files.make(KEY, RECORD)
    files.make(("default", "other"), RECORD)
    remove_unmounted(files.take_away(KEY))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default"]
    assert [key for key, _ in files.load()] == [("default", "other")]


def test_a_claim_that_was_removed_by_hand_can_be_taken_away(files: ClaimFiles) -> None:
    files.make(KEY, RECORD)
    remove_unmounted(files.path(KEY))
    assert not files.is_whole(KEY)
    remove_unmounted(files.take_away(KEY))


# ---- somebody was there ----


def test_a_link_named_like_a_claim_is_no_claim_and_nothing_is_done_behind_it(
    files: ClaimFiles, tmp_path: Path, warnings: list[str]
) -> None:
    trap = tmp_path.parent / f"{tmp_path.name}-trap"
    (trap / "data").mkdir(parents=True)
    (trap / "claim.json").write_text("{}")
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "data").symlink_to(trap)
    assert list(files.load()) == []
    assert not files.is_whole(KEY)
    with pytest.raises(SandboxError, match="is in the way") as refused:
        files.make(KEY, RECORD)
    assert "move it away" in str(refused.value.hint)
    assert tree(trap) == ["claim.json", "data"]
    assert tree(tmp_path) == ["default", "default/data"]


@pytest.mark.parametrize("where", ["default", "default/data", "default/data/data"])
def test_a_link_in_the_place_of_any_of_a_claims_directories_makes_it_lost(
    files: ClaimFiles, tmp_path: Path, where: str
) -> None:
    files.make(KEY, RECORD)
    moved = tmp_path / "moved"
    (tmp_path / where).rename(moved)
    (tmp_path / where).symlink_to(moved)
    assert not files.is_whole(KEY)


def test_a_link_named_like_a_namespace_is_in_the_way(files: ClaimFiles, tmp_path: Path) -> None:
    (tmp_path / "default").symlink_to("/tmp")
    with pytest.raises(SandboxError, match=f"{tmp_path}/default is in the way"):
        files.make(KEY, RECORD)
    assert tree(tmp_path) == ["default"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uid": 5}', '"\\ud800"'])
def test_a_record_that_cannot_be_read_leaves_the_claim_alone_with_its_data(
    files: ClaimFiles, warnings: list[str], text: str
) -> None:
    files.make(KEY, RECORD)
    (files.data(KEY) / "treasure").write_text("")
    (files.path(KEY) / "claim.json").write_text(text)
    assert list(files.load()) == []
    assert len(warnings) == 1
    assert warnings[0].startswith("persistentvolumeclaim default/data is left alone: it cannot be read: ")
    with pytest.raises(SandboxError, match="is in the way"):
        files.make(KEY, RECORD)
    assert (files.data(KEY) / "treasure").exists()


def test_directories_that_are_nobodys_are_left_alone(files: ClaimFiles, tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "lost+found" / "x").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    assert list(files.load()) == []
    assert tree(tmp_path) == ["file", "lost+found", "lost+found/x"]
    assert len(warnings) == 1


@pytest.mark.root
def test_what_is_mounted_in_a_claim_is_not_removed_with_it(files: ClaimFiles) -> None:
    files.make(KEY, RECORD)
    left = files.take_away(KEY)
    mounted = left / "data" / "mounted"
    mounted.mkdir()
    (left / "data" / "file").write_text("")
    script = (
        "import sys, pathlib\n"
        "from sandbox.errors import SandboxError\n"
        "from sandbox.pod.trees import remove_unmounted\n"
        "try: remove_unmounted(pathlib.Path(sys.argv[1]))\n"
        "except SandboxError as error: print(error)\n"
    )
    command = 'mount -t tmpfs tmpfs "$1" && touch "$1/treasure" && "$2" -c "$3" "$4"; ls "$1"'
    words = ["sh", mounted, sys.executable, script, left]
    result = subprocess.run(["unshare", "-m", "sh", "-c", command, *words], capture_output=True, text=True, check=True)
    error, treasure = result.stdout.splitlines()
    assert "mounted" in error
    assert treasure == "treasure"
    remove_unmounted(left)
    assert not left.exists()
