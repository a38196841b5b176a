"""The host's device nodes, found and made anew in a filesystem of their own."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePath

import pytest

from sandbox.linux import devices
from sandbox.linux.devices import Node, filesystem, find

pytestmark = pytest.mark.root


def a_node(path: Path, kind: int = stat.S_IFCHR, mode: int = 0o640, uid: int = 3, gid: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, kind | mode, os.makedev(1, 5))
    path.chmod(mode)
    os.chown(path, uid, gid)


def test_nodes_are_found_at_any_depth_with_all_that_they_are(tmp_path: Path) -> None:
    a_node(tmp_path / "zero")
    a_node(tmp_path / "a" / "b" / "disk", stat.S_IFBLK, 0o600, 0, 6)
    assert find(tmp_path) == [
        Node(PurePath("a/b/disk"), stat.S_IFBLK | 0o600, 0, 6, os.makedev(1, 5)),
        Node(PurePath("zero"), stat.S_IFCHR | 0o640, 3, 4, os.makedev(1, 5)),
    ]


def test_what_is_no_device_and_what_a_container_has_of_its_own_is_left_out(tmp_path: Path) -> None:
    a_node(tmp_path / "zero")
    for name in ("pts/0", "shm/x", "fd/x", "mqueue/x", ".lxc/x", ".udev/x", "console", "ptmx"):
        a_node(tmp_path / name)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("zero")
    (tmp_path / "up").symlink_to("..")
    os.mkfifo(tmp_path / "pipe")
    assert [str(node.path) for node in find(tmp_path)] == ["zero"]


def test_the_hosts_own_have_null_and_no_terminals_of_others() -> None:
    paths = {str(node.path) for node in find()}
    assert {"null", "zero", "full", "random", "urandom", "tty"} <= paths
    assert not [path for path in paths if path.startswith("pts/")]


def test_the_filesystem_has_nodes_like_those_and_nothing_else_whatever_the_umask(tmp_path: Path) -> None:
    a_node(tmp_path / "zero", mode=0o666)
    a_node(tmp_path / "a" / "b" / "disk", stat.S_IFBLK, 0o660)
    before = os.umask(0o077)
    try:
        fd = filesystem(find(tmp_path))
    finally:
        os.umask(before)
    try:
        mounted = Path(f"/proc/self/fd/{fd}")
        made = sorted(path for path in mounted.rglob("*") if not path.is_dir())
        assert [(path.relative_to(mounted), path.lstat().st_mode) for path in made] == [
            (PurePath("a/b/disk"), stat.S_IFBLK | 0o660),
            (PurePath("zero"), stat.S_IFCHR | 0o666),
        ]
        assert {(path.lstat().st_uid, path.lstat().st_gid, path.lstat().st_rdev) for path in made} == {
            (3, 4, os.makedev(1, 5))
        }
        assert {stat.S_IMODE(path.stat().st_mode) for path in (mounted / "a", mounted / "a" / "b")} == {0o755}
    finally:
        os.close(fd)


def test_it_has_a_limit_of_inodes_and_of_bytes() -> None:
    """# finding 13"""
    fd = filesystem(find())
    try:
        figures = os.statvfs(fd)
    finally:
        os.close(fd)
    assert 0 < figures.f_files < len(find()) * 3 + 2 * devices._SPARE
    assert figures.f_blocks * figures.f_frsize == devices._SIZE


def test_what_cannot_be_made_leaves_no_fd() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    twice = Node(PurePath("zero"), stat.S_IFCHR | 0o600, 0, 0, os.makedev(1, 5))
    with pytest.raises(FileExistsError):
        filesystem([twice, twice])
    assert sorted(Path("/proc/self/fd").iterdir()) == before
