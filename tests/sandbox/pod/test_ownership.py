"""A volume's tree given to a group: what is changed, what is left, and that no link leads out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.pod import ownership
from sandbox.pod.ownership import give_to_group

pytestmark = pytest.mark.root

GID = 4711


def of(path: Path) -> tuple[int, int, str]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.filemode(found.st_mode)


def test_a_tree_is_the_groups_to_read_and_write_and_owners_stay(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b").chmod(0o700)
    (tree / "a" / "file").write_text("")
    (tree / "a" / "file").chmod(0o600)
    os.chown(tree / "a" / "file", 1000, 1000)
    (tree / "program").write_text("")
    (tree / "program").chmod(0o4755)
    tree.chmod(0o777)
    give_to_group(tree, GID)
    assert of(tree) == (0, GID, "drwxrwsrwx")
    assert of(tree / "a" / "b") == (0, GID, "drwxrws---")
    assert of(tree / "a" / "file") == (1000, GID, "-rw-rw----")
    assert of(tree / "program") == (0, GID, "-rwsrwxr-x"), "as kubelet does: chmod puts back what chown takes away"
    (tree / "a" / "new").write_text("")
    assert (tree / "a" / "new").stat().st_gid == GID


def test_what_is_the_groups_already_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "program").write_text("")
    (tmp_path / "a" / "program").chmod(0o4755)
    (tmp_path / "link").symlink_to("nowhere")
    give_to_group(tmp_path, GID)
    paths = [tmp_path, *tmp_path.rglob("*")]
    before = [(path.lstat().st_ctime_ns, of(path)) for path in paths]
    give_to_group(tmp_path, GID)
    assert [(path.lstat().st_ctime_ns, of(path)) for path in paths] == before
    (tmp_path / "a" / "program").chmod(0o400)
    os.chown(tmp_path / "a", -1, 0)
    give_to_group(tmp_path, GID)
    assert of(tmp_path / "a" / "program") == (0, GID, "-rw-rw----")
    assert of(tmp_path / "a") == (0, GID, "drwxrwsr-x")


def test_links_pipes_and_sockets_are_given_away_and_not_followed_or_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    before = of(outside)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    (tree / "nowhere").symlink_to("/nowhere")
    (tree / "up").symlink_to(tmp_path)
    os.mkfifo(tree / "pipe", 0o600)
    give_to_group(tree, GID)
    assert of(outside) == before
    assert tmp_path.stat().st_gid != GID
    assert [path.lstat().st_gid for path in sorted(tree.iterdir())] == [GID] * 4
    assert of(tree / "pipe")[2] == "prw-rw----"


def test_a_link_in_the_place_of_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(OSError, match="link"):
        give_to_group(tmp_path / "link", GID)


def test_a_tree_that_is_too_deep_is_refused_and_no_fd_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "MAX_DEPTH", 3)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    give_to_group(tmp_path / "a", GID)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SandboxError, match="deeper than 3 levels"):
        give_to_group(tmp_path, GID)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
