"""The opener: what it reads, writes and refuses, and how it explains the kernel's no."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cgroups import Cgroup, CgroupError, NoSuchCgroup, Unsupported, files
from tests.runner import TIMEOUT


def test_a_flat_keyed_file_becomes_a_dict() -> None:
    assert files.parse_keyed("populated 1\nfrozen 0\n") == {"populated": 1, "frozen": 0}
    assert files.parse_keyed("") == {}


def test_a_directory_of_another_filesystem_is_no_cgroup(tmp_path: Path) -> None:
    assert not files.is_cgroup2(tmp_path)
    assert not files.is_cgroup2(Path("/proc"))
    assert not files.is_cgroup2(tmp_path / "ghost")


@pytest.mark.root
def test_what_a_user_may_not_reach_is_no_cgroup_for_him(
    tmp_path: Path, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    (tmp_path / "shut" / "inner").mkdir(parents=True)
    (tmp_path / "shut").chmod(0)
    with as_nobody():
        assert not files.is_cgroup2(tmp_path / "shut" / "inner")


def test_where_no_descriptor_is_left_nothing_is_said_of_the_path(
    descriptors_left: Callable[[int], AbstractContextManager[None]],
) -> None:
    with descriptors_left(0), pytest.raises(OSError, match="Too many open files") as caught:
        files.is_cgroup2(Path("/proc"))
    assert caught.value.errno == errno.EMFILE


def test_a_symlink_to_itself_is_refused_and_not_chased(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CgroupError, match="'loop' is a symbolic link"), files.opened(tmp_path / "loop"):
        pass


@pytest.mark.root
def test_a_kernel_that_opens_no_path_at_once_is_asked_for_each_directory_of_it(tree: Cgroup) -> None:
    """Before Linux 5.6, or under a filter that knows no openat2."""
    program = f"from cgroups import files; from pathlib import Path; print(files.is_cgroup2(Path({str(tree.path)!r})))"
    fault = ["--trace=openat2", "--inject=openat2:error=ENOSYS", "-o", "|cat >&2"]
    done = subprocess.run(
        ["strace", *fault, sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert done.stdout == "True\n"
    assert f'"{tree.path}", ' in done.stderr and "(INJECTED)" in done.stderr, "or the fault was none"


@pytest.mark.root
def test_a_cgroup_is_one_wherever_the_mount_is(tree: Cgroup) -> None:
    assert files.is_cgroup2(tree.path)
    assert files.is_cgroup2(tree.path.parent)


@pytest.mark.root
def test_what_is_written_can_be_read_back(tree: Cgroup) -> None:
    with files.opened(tree.path) as directory:
        directory.write("cgroup.max.depth", "7")
        assert directory.read("cgroup.max.depth") == "7\n"
        assert directory.keyed("cgroup.events") == {"populated": 0, "frozen": 0}


@pytest.mark.root
def test_a_value_that_the_kernel_refuses_is_in_the_error(tree: Cgroup) -> None:
    with files.opened(tree.path) as directory, pytest.raises(CgroupError) as caught:
        directory.write("cgroup.max.depth", "seven")
    error = caught.value
    assert (error.errno, error.filename, error.value) == (errno.EINVAL, f"{tree}/cgroup.max.depth", "seven")
    assert str(error) == (
        f"{tree}/cgroup.max.depth: Invalid argument (EINVAL, writing 'seven'): the kernel does not take this value"
    )


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("memory.nonsense", "the cgroup v2 controller memory, in cgroup.subtree_control of the parent"),
        ("cgroup.nonsense", "a newer kernel"),
    ],
)
def test_a_file_that_is_not_there_says_what_it_needs(tree: Cgroup, name: str, needs: str) -> None:
    web = tree.create_child("web")  # a controller may be on for `tree`, and is not for its children
    with files.opened(web.path) as directory, pytest.raises(Unsupported) as caught:
        directory.write(name, "1")
    error = caught.value
    assert (error.errno, error.filename, error.value) == (errno.ENOENT, f"{web}/{name}", "1")
    assert error.needs == needs
    assert str(error).endswith(f": needs {needs}")


@pytest.mark.root
@pytest.mark.controllers("memory")
def test_a_knob_of_a_controller_that_is_on_needs_a_newer_kernel(tree: Cgroup) -> None:
    tree.enable("memory")
    with files.opened(tree.create_child("web").path) as directory, pytest.raises(Unsupported) as caught:
        directory.write("memory.nonsense", "1")
    assert caught.value.needs == "a newer kernel"


@pytest.mark.root
def test_a_directory_held_open_does_not_reach_its_successor_of_the_same_name(tree: Cgroup) -> None:
    leaf = tree.create_child("leaf")
    with files.opened(leaf.path) as directory:
        leaf.remove()
        leaf.path.mkdir()
        calls: list[Callable[[], object]] = [
            lambda: directory.read("cgroup.procs"),
            lambda: directory.write("cgroup.kill", "1"),
            lambda: directory.wait("cgroup.events", bool, 0),
            lambda: directory.make("below"),
            directory.children,
        ]
        for call in calls:
            with pytest.raises(NoSuchCgroup):
                call()
        assert files.is_cgroup2(leaf.path)


@pytest.mark.root
def test_a_cgroup_removed_while_its_file_is_waited_on_is_no_such_cgroup(tree: Cgroup) -> None:
    leaf = tree.create_child("leaf")

    def remove_then_wait_on(text: str) -> bool:
        leaf.path.rmdir()
        return False

    with files.opened(leaf.path) as directory, pytest.raises(NoSuchCgroup) as caught:
        directory.wait("cgroup.events", remove_then_wait_on, 60)
    assert caught.value.errno == errno.ENODEV


@pytest.mark.root
def test_only_child_cgroups_are_listed_and_removed(tree: Cgroup) -> None:
    with files.opened(tree.path) as directory:
        directory.make("b")
        directory.make("a")
        assert directory.children() == ["a", "b"]
        directory.remove("a")
        assert directory.children() == ["b"]
        with pytest.raises(CgroupError):
            directory.remove("cgroup.procs")
        with pytest.raises(NoSuchCgroup):
            directory.remove("a")


@pytest.mark.root
def test_a_file_longer_than_a_page_is_read_whole(tree: Cgroup) -> None:
    names = [f"cgroup-{number:04}" for number in range(200)]
    with files.opened(tree.path) as directory:
        for name in names:
            directory.make(name)
        assert directory.children() == names
        assert directory.keyed("cgroup.stat")["nr_descendants"] == len(names)
