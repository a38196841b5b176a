"""hostPath's types, each way, in kubelet's words."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.errors import NotFound, SandboxError
from sandbox.model import HostPath, HostPathType
from sandbox.pod.host_paths import check, create

WHAT = {
    "Directory": "a directory",
    "DirectoryOrCreate": "a directory",
    "File": "a file",
    "FileOrCreate": "a file",
    "Socket": "a socket file",
    "CharDevice": "a character device",
    "BlockDevice": "a block device",
}
# What fits; everything fits the type "".
FITS = {
    "directory": {"Directory", "DirectoryOrCreate"},
    "file": {"File", "FileOrCreate"},
    "socket": {"Socket"},
    "null": {"CharDevice"},
    "block": {"BlockDevice"},
    "pipe": set[str](),
    "link": {"File", "FileOrCreate"},
}


@pytest.fixture
def things(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    if os.geteuid() == 0:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(tmp_path / "block", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is short
        listener.bind("socket")
        os.chdir(here)
        yield tmp_path


@pytest.mark.root
@pytest.mark.parametrize("kind", [str(kind) for kind in HostPathType])
@pytest.mark.parametrize("thing", FITS)
def test_what_stands_there_has_to_be_of_the_type(things: Path, thing: str, kind: str) -> None:
    source = HostPath(str(things / thing), HostPathType(kind))
    if kind == "" or kind in FITS[thing]:
        check("v", source)
        assert create("v", source) == things / thing
        return
    with pytest.raises(SandboxError) as refused:
        check("v", source)
    reason = f"hostPath type check failed: {things / thing} is not {WHAT[kind]}"
    assert str(refused.value) == f'volume "v": {reason}'


@pytest.mark.parametrize("kind", ["Directory", "File", "Socket", "CharDevice", "BlockDevice"])
def test_what_is_not_there_is_not_of_the_type(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SandboxError, match=f"hostPath type check failed: {tmp_path}/x is not {WHAT[kind]}"):
        check("v", HostPath(f"{tmp_path}/x", HostPathType(kind)))
    assert list(tmp_path.iterdir()) == []


def test_without_a_type_there_has_to_be_something(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        check("v", HostPath(f"{tmp_path}/x"))


@pytest.mark.parametrize("name", ["a", "a/b/c"])
def test_a_directory_is_made_with_its_parents_whatever_the_umask_and_only_when_asked(tmp_path: Path, name: str) -> None:
    source = HostPath(f"{tmp_path}/{name}", HostPathType.DIRECTORY_OR_CREATE)
    check("v", source)
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0o077)
    try:
        made = create("v", source)
    finally:
        os.umask(before)
    while made != tmp_path:
        assert stat.filemode(made.stat().st_mode) == "drwxr-xr-x"
        made = made.parent
    create("v", source)


def test_a_file_is_made_whatever_the_umask_but_not_its_parents(tmp_path: Path) -> None:
    source = HostPath(f"{tmp_path}/file", HostPathType.FILE_OR_CREATE)
    check("v", source)
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0o077)
    try:
        made = create("v", source)
    finally:
        os.umask(before)
    assert stat.filemode(made.stat().st_mode) == "-rw-r--r--"
    made.write_text("kept")
    assert create("v", source).read_text() == "kept"
    with pytest.raises(SandboxError, match=f"{tmp_path}/a/file cannot be created: {tmp_path}/a is not a directory"):
        check("v", HostPath(f"{tmp_path}/a/file", HostPathType.FILE_OR_CREATE))


@pytest.mark.parametrize("kind", ["DirectoryOrCreate", "FileOrCreate"])
def test_what_cannot_be_made_is_refused_before_it_is_tried(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to("/nowhere")
    with pytest.raises(SandboxError, match=f"cannot be created: {tmp_path}/file is not a directory"):
        check("v", HostPath(f"{tmp_path}/file/x", HostPathType(kind)))
    with pytest.raises(SandboxError, match=f"cannot be created: {tmp_path}/nowhere is there"):
        check("v", HostPath(f"{tmp_path}/nowhere", HostPathType(kind)))


@pytest.mark.parametrize("kind", ["", "DirectoryOrCreate", "File"])
def test_a_path_that_the_kernel_does_not_take_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SandboxError, match="loop: Too many levels of symbolic links"):
        check("v", HostPath(f"{tmp_path}/loop", HostPathType(kind)))
    with pytest.raises(SandboxError, match="File name too long"):
        check("v", HostPath(f"{tmp_path}/{'x' * 300}", HostPathType(kind)))
