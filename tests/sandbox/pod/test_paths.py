"""Where things stand below a root, and who owns it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sandbox.errors import KernelError, SandboxError
from sandbox.pod.paths import MAX_SOCKET_PATH, lock_root, make_root, socket_path, starting


def root_of_length(tmp_path: Path, length: int) -> Path:
    """A root whose socket's path has so many bytes."""
    free = length - len(os.fsencode(tmp_path / "x" / "seedpod.sock")) + 1
    return tmp_path / ("r" * free)


def test_a_socket_path_may_have_107_bytes_and_no_more(tmp_path: Path) -> None:
    assert len(str(socket_path(root_of_length(tmp_path, MAX_SOCKET_PATH)))) == 107
    with pytest.raises(SandboxError, match="longer than 107 bytes") as caught:
        socket_path(root_of_length(tmp_path, 108))
    assert caught.value.hint == "choose a shorter directory for --root"


def test_bytes_are_counted_and_not_letters(tmp_path: Path) -> None:
    root = root_of_length(tmp_path, 100)
    with pytest.raises(SandboxError, match="longer than 107"):
        socket_path(root.with_name("ü" * len(root.name)))


def test_a_root_is_made_for_its_owner_alone_and_can_be_made_twice(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    make_root(root)
    make_root(root)
    assert sorted(path.name for path in root.iterdir()) == ["claims", "images", "logs", "pods"]
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (root, *root.iterdir()))


def test_a_root_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match="make the root directory") as caught:
        make_root(tmp_path / "file" / "root")
    assert caught.value.filename == str(tmp_path / "file" / "root")


def test_a_root_has_one_owner_at_a_time(tmp_path: Path) -> None:
    lock = lock_root(tmp_path)
    assert lock is not None
    assert lock_root(tmp_path) is None
    os.close(lock)
    again = lock_root(tmp_path)
    assert again is not None
    os.close(again)


def test_a_lock_is_not_inherited_by_a_program(tmp_path: Path) -> None:
    lock = lock_root(tmp_path)
    assert lock is not None
    assert not os.get_inheritable(lock)
    os.close(lock)


def test_a_lock_below_nothing_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=f"open {tmp_path}/ghost/lock"):
        lock_root(tmp_path / "ghost")


def test_of_two_that_start_an_engine_the_second_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    inside, second = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait()
        second.set()
        with starting(tmp_path):
            order.append("second")

    thread = threading.Thread(target=other)
    thread.start()
    with starting(tmp_path):
        inside.set()
        second.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
