"""One cgroup on the real kernel: every verb, and how each of them fails."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cgroups import Cgroup, CgroupError, Events, NoSuchCgroup, Unsupported

Spawn = Callable[[Cgroup], "subprocess.Popen[bytes]"]
AsNobody = Callable[[], AbstractContextManager[None]]

pytestmark = pytest.mark.root

LONG = 60.0  # seconds: a bound for what should take milliseconds, generous for an emulated guest
CLONE_INTO_CGROUP = 1 << 33
SYS_CLONE3 = 435  # the same on every architecture


def test_a_created_cgroup_exists_and_a_second_create_says_so(tree: Cgroup) -> None:
    made = Cgroup.create(tree.path / "web")
    assert made.path.is_dir()
    assert made.name == "web"
    assert str(made) == f"{tree}/web"
    with pytest.raises(CgroupError) as caught:
        Cgroup.create(made.path)
    assert caught.value.errno == errno.EEXIST
    assert caught.value.filename == str(made.path)


def test_create_with_exist_ok_takes_what_is_there(tree: Cgroup) -> None:
    assert tree.create_child("web") == tree.create_child("web", exist_ok=True) == Cgroup.open(tree.path / "web")


def test_create_with_exist_ok_does_not_take_a_file_for_a_cgroup(tree: Cgroup) -> None:
    with pytest.raises(CgroupError) as caught:
        tree.create_child("cgroup.procs", exist_ok=True)
    assert caught.value.errno == errno.ENOTDIR


def test_create_below_a_missing_parent_names_what_is_missing(tree: Cgroup) -> None:
    with pytest.raises(NoSuchCgroup) as caught:
        Cgroup.create(tree.path / "no" / "web")
    assert caught.value.filename == str(tree.path / "no")


def test_create_beyond_the_limit_of_descendants_names_the_limit(tree: Cgroup) -> None:
    (tree.path / "cgroup.max.descendants").write_text("1")
    tree.create_child("one")
    with pytest.raises(CgroupError, match=r"cgroup\.max\.descendants") as caught:
        tree.create_child("two")
    assert caught.value.errno == errno.EAGAIN


def test_open_of_a_missing_cgroup_is_no_such_cgroup(tree: Cgroup) -> None:
    with pytest.raises(NoSuchCgroup) as caught:
        Cgroup.open(tree.path / "ghost")
    assert str(caught.value) == f"{tree}/ghost: no such cgroup (ENOENT)"


def test_without_the_right_to_write_the_error_names_the_path_and_the_cure(tree: Cgroup, as_nobody: AsNobody) -> None:
    with as_nobody(), pytest.raises(CgroupError, match="be root, or use a subtree that was delegated") as caught:
        tree.create_child("mine")
    assert caught.value.errno == errno.EACCES
    assert caught.value.filename == str(tree.path / "mine")
    with as_nobody(), pytest.raises(CgroupError, match="common ancestor") as caught:
        tree.add(0)
    assert caught.value.errno == errno.EACCES
    assert caught.value.value == "0"
    assert tree.children() == []


def test_reading_needs_no_privilege(tree: Cgroup, as_nobody: AsNobody) -> None:
    with as_nobody():
        assert Cgroup.open(tree.path).events() == Events(populated=False, frozen=False)


def test_add_moves_a_process_and_procs_lists_it(tree: Cgroup) -> None:
    leaf = tree.create_child("leaf")
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            leaf.add(process.pid)
            assert leaf.procs() == [process.pid]
            assert tree.procs() == []
            assert tree.events() == Events(populated=True, frozen=False)
        finally:
            process.kill()


def test_add_of_a_dead_process_names_its_pid(tree: Cgroup) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(CgroupError, match=f"writing '{process.pid}'") as caught:
        tree.add(process.pid)
    assert caught.value.errno == errno.ESRCH
    assert caught.value.value == str(process.pid)
    assert caught.value.filename == str(tree.path / "cgroup.procs")


def test_add_of_what_is_no_pid_is_refused_by_the_kernel(tree: Cgroup) -> None:
    with pytest.raises(CgroupError, match="not a pid") as caught:
        tree.add(-1)
    assert caught.value.errno == errno.EINVAL


def test_add_to_a_cgroup_whose_children_have_controllers_is_busy_and_says_why(tree: Cgroup, spawn: Spawn) -> None:
    if "memory" not in (tree.path / "cgroup.controllers").read_text().split():
        pytest.skip("needs the cgroup v2 controller memory")
    (tree.path / "cgroup.subtree_control").write_text("+memory")
    with pytest.raises(CgroupError, match="use a child cgroup") as caught:
        tree.add(spawn(tree.create_child("leaf")).pid)
    assert caught.value.errno == errno.EBUSY


def test_procs_of_a_threaded_cgroup_says_why_not(tree: Cgroup) -> None:
    (tree.create_child("leaf").path / "cgroup.type").write_text("threaded")
    with pytest.raises(CgroupError, match=r"threaded.*cgroup\.type") as caught:
        tree.child("leaf").procs()
    assert caught.value.errno == errno.EOPNOTSUPP


def test_the_fd_serves_clone_into_cgroup(tree: Cgroup) -> None:
    gate_read, gate_write = os.pipe()
    with tree.fd() as fd:
        assert not os.get_inheritable(fd)
        pid = clone_into(fd, gate_read)
    assert tree.procs() == [pid]
    os.write(gate_write, b"go")
    assert os.waitpid(pid, 0) == (pid, 0)
    os.close(gate_read)
    os.close(gate_write)


def test_the_fd_is_closed_at_the_end_of_the_block(tree: Cgroup) -> None:
    with tree.fd() as fd:
        os.fstat(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_no_call_leaves_a_descriptor_open(tree: Cgroup) -> None:
    before = open_descriptors()
    Cgroup.create(tree.path / "a", exist_ok=True)
    tree.freeze(LONG)
    tree.thaw(LONG)
    tree.wait_empty(0)
    for failing in (lambda: Cgroup.open(tree.path / "no" / "no"), lambda: tree.add(-1), lambda: Cgroup.open("/proc")):
        with pytest.raises(CgroupError):
            failing()
    tree.remove_tree()
    tree.remove_tree()
    assert open_descriptors() == before


def test_kill_ends_grandchildren_and_those_below(tree: Cgroup, family: subprocess.Popen[bytes], spawn: Spawn) -> None:
    below = spawn(tree.create_child("below"))
    assert len(tree.procs()) == 4
    tree.kill()
    assert tree.wait_empty(LONG)
    assert family.wait() == -signal.SIGKILL
    assert below.wait() == -signal.SIGKILL
    assert tree.procs() == []


def test_the_root_cgroup_cannot_be_killed_frozen_or_waited_for(tree: Cgroup, as_nobody: AsNobody) -> None:
    root = Cgroup.open(tree.path.parent)
    if (root.path / "cgroup.events").exists():
        pytest.skip("needs the root cgroup itself; the mount of this cgroup namespace begins below it")
    calls: list[Callable[[], object]] = [root.kill, root.events, lambda: root.wait_empty(0), lambda: root.freeze(0)]
    with as_nobody():  # so that broken code could do no harm
        for call in calls:
            with pytest.raises(Unsupported) as caught:
                call()
            assert caught.value.needs == "a cgroup below the root cgroup"


def test_freeze_returns_when_all_are_stopped_and_thaw_lets_them_go(tree: Cgroup) -> None:
    leaf = tree.create_child("leaf")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as echo:
        assert echo.stdin is not None and echo.stdout is not None
        leaf.add(echo.pid)
        tree.freeze(LONG)
        assert leaf.events() == Events(populated=True, frozen=True)
        echo.stdin.write(b"hello\n")
        echo.stdin.close()
        assert select.select([echo.stdout], [], [], 0.1)[0] == []
        tree.thaw(LONG)
        assert echo.stdout.read() == b"hello\n"
    assert tree.events() == Events(populated=False, frozen=False)


def test_kill_works_on_a_frozen_cgroup(tree: Cgroup, spawn: Spawn) -> None:
    process = spawn(tree)
    tree.freeze(LONG)
    tree.kill()
    assert process.wait(LONG) == -signal.SIGKILL
    assert tree.wait_empty(LONG)


def test_thaw_below_a_frozen_cgroup_times_out_and_says_why(tree: Cgroup, spawn: Spawn) -> None:
    leaf = tree.create_child("leaf")
    spawn(leaf)
    tree.freeze(LONG)
    with pytest.raises(CgroupError, match=r"still not thawed after 0\.05 s .*a cgroup above is frozen") as caught:
        leaf.thaw(0.05)
    assert caught.value.errno == errno.ETIMEDOUT
    assert caught.value.value == "0"


def test_wait_empty_times_out_while_a_process_lives(tree: Cgroup, spawn: Spawn) -> None:
    spawn(tree.create_child("leaf"))
    begun = time.monotonic()
    assert tree.wait_empty(0.3) is False
    assert time.monotonic() - begun >= 0.3


def test_wait_empty_is_woken_by_the_last_exit(tree: Cgroup, spawn: Spawn) -> None:
    process = spawn(tree)
    killer = threading.Timer(0.05, process.kill)
    killer.start()
    assert tree.wait_empty(None) is True
    killer.join()


def test_wait_empty_of_a_missing_cgroup_is_true(tree: Cgroup) -> None:
    assert tree.child("ghost").wait_empty(0)


def test_wait_empty_ends_when_the_cgroup_is_removed_before_its_notification_is_sent(tree: Cgroup, spawn: Spawn) -> None:
    leaf = tree.create_child("leaf")
    for _ in range(2):  # the second death falls into the 10 ms in which the kernel holds notifications back
        process = spawn(leaf)
        waiting = threading.Thread(target=leaf.wait_empty, args=(None,), daemon=True)
        waiting.start()
        process.kill()
        process.wait()
    leaf.path.rmdir()
    waiting.join(LONG)
    assert not waiting.is_alive()


def test_children_and_walk_give_the_leaves_first(tree: Cgroup) -> None:
    for path in ("a", "a/x", "a/y", "b"):
        Cgroup.create(tree.path / path)
    assert [child.name for child in tree.children()] == ["a", "b"]
    walked = list(tree.walk())
    assert set(walked) == {tree, *(Cgroup(tree.path / path) for path in ("a", "a/x", "a/y", "b"))}
    for index, cgroup in enumerate(walked):
        assert not any(cgroup.path in later.path.parents for later in walked[index:])


def test_children_of_a_missing_cgroup_is_no_such_cgroup(tree: Cgroup) -> None:
    with pytest.raises(NoSuchCgroup):
        tree.child("ghost").children()


def test_a_name_that_would_leave_the_cgroup_is_refused() -> None:
    for name in ("", ".", "..", "a/b", "/etc"):
        with pytest.raises(CgroupError, match="not a name for a cgroup"):
            Cgroup(Path("/sys/fs/cgroup")).child(name)


def test_a_path_that_is_relative_or_climbs_is_refused() -> None:
    for path in ("web", "/sys/fs/cgroup/../../etc"):
        with pytest.raises(CgroupError, match="absolute path") as caught:
            Cgroup.open(path)
        assert caught.value.errno == errno.EINVAL


def test_remove_is_idempotent(tree: Cgroup) -> None:
    tree.remove()
    assert not tree.path.exists()
    tree.remove()
    tree.child("ghost").remove()


def test_remove_names_the_processes_still_inside(tree: Cgroup, spawn: Spawn) -> None:
    pids = sorted(spawn(tree).pid for _ in range(2))
    with pytest.raises(CgroupError, match=f"still holds processes {pids[0]}, {pids[1]} ") as caught:
        tree.remove(timeout=0.05)
    assert caught.value.errno == errno.EBUSY
    assert caught.value.filename == str(tree.path)
    assert tree.path.exists()


def test_remove_waits_for_the_last_process_to_end(tree: Cgroup, spawn: Spawn) -> None:
    process = spawn(tree)
    killer = threading.Timer(0.1, process.kill)
    killer.start()
    tree.remove(LONG)
    assert not tree.path.exists()
    killer.join()


def test_remove_leaves_child_cgroups_alone_and_names_them_at_once(tree: Cgroup, spawn: Spawn) -> None:
    tree.create_child("a")
    process = spawn(tree.create_child("b"))
    begun = time.monotonic()
    with pytest.raises(CgroupError, match=f"still holds process {process.pid} and child cgroups a, b ") as caught:
        tree.remove(timeout=LONG)
    assert time.monotonic() - begun < LONG / 2
    assert caught.value.errno == errno.EBUSY
    assert len(tree.children()) == 2


def test_an_error_lists_ten_names_at_most(tree: Cgroup) -> None:
    for number in range(12):
        tree.create_child(f"c{number:02}")
    with pytest.raises(CgroupError, match=r"child cgroups c00, .*, c09 and 2 more "):
        tree.remove()


def test_remove_tree_kills_and_removes_everything_below(
    tree: Cgroup, family: subprocess.Popen[bytes], spawn: Spawn
) -> None:
    for path in ("a", "a/x", "b"):
        spawn(Cgroup.create(tree.path / path))
    tree.freeze(LONG)
    tree.remove_tree(timeout=LONG)
    assert not tree.path.exists()
    assert family.wait() == -signal.SIGKILL
    tree.remove_tree()


def test_remove_tree_without_kill_removes_nothing_while_a_process_lives(tree: Cgroup, spawn: Spawn) -> None:
    tree.create_child("empty")
    process = spawn(tree.create_child("busy"))
    with pytest.raises(CgroupError, match=f"still holds process {process.pid} ") as caught:
        tree.remove_tree(kill=False, timeout=0.05)
    assert caught.value.errno == errno.EBUSY
    assert process.poll() is None
    assert [child.name for child in tree.children()] == ["busy", "empty"]


def test_the_root_of_the_mount_is_refused_by_whatever_removes(tree: Cgroup, as_nobody: AsNobody) -> None:
    root = Cgroup.open(tree.path.parent)
    calls: list[Callable[[], object]] = [root.remove, root.remove_tree, lambda: root.remove_tree(kill=False, timeout=0)]
    with as_nobody():  # so that broken code could do no harm
        for call in calls:
            with pytest.raises(CgroupError, match="neither made nor removed") as caught:
                call()
            assert caught.value.errno == errno.EINVAL


def test_nothing_outside_of_cgroup2_is_made_or_removed(tmp_path: Path) -> None:
    inner = tmp_path / "looks-like" / "a-cgroup"
    inner.mkdir(parents=True)
    (inner / "cgroup.procs").touch()
    outside = Cgroup(inner.parent)
    for call in (outside.remove, outside.remove_tree, outside.kill, outside.procs, lambda: outside.create_child("x")):
        with pytest.raises(CgroupError, match="not on a cgroup2 filesystem") as caught:
            call()
        assert caught.value.errno == errno.EINVAL
    assert sorted(inner.parent.rglob("*")) == [inner, inner / "cgroup.procs"]


def test_a_missing_path_outside_of_cgroup2_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match="not on a cgroup2 filesystem"):
        Cgroup(tmp_path / "ghost" / "web").remove()


def test_a_symlink_is_never_followed_wherever_it_stands(tree: Cgroup, tmp_path: Path) -> None:
    leaf = tree.create_child("leaf")
    link = tmp_path / "link"
    link.symlink_to(tree.path)
    for path in (link, link / "leaf"):
        swapped = Cgroup(path)
        calls: list[Callable[[], object]] = [swapped.kill, swapped.remove, swapped.remove_tree, swapped.procs]
        for call in calls:
            with pytest.raises(CgroupError) as caught:
                call()
            assert caught.value.errno in (errno.ENOTDIR, errno.EINVAL)
    with pytest.raises(CgroupError, match="'link' is a symbolic link"):
        Cgroup.open(link / "leaf")
    assert leaf.path.exists()


def test_a_directory_swapped_for_a_symlink_between_two_calls_is_refused(tree: Cgroup, tmp_path: Path) -> None:
    leaf = tree.create_child("leaf")
    place = tmp_path / "place"
    place.mkdir()
    handle = Cgroup(place / "leaf")
    place.rmdir()
    place.symlink_to(tree.path)
    with pytest.raises(CgroupError, match="symbolic link"):
        handle.remove()
    assert leaf.path.exists()


def open_descriptors() -> list[Path]:
    return sorted(Path("/proc/self/fd").iterdir())


def clone_into(cgroup_fd: int, gate: int) -> int:
    """clone3 as a plain fork into the cgroup; the child waits at the pipe `gate` and exits with 0."""
    fields = [0] * 11  # struct clone_args, version 2
    fields[0], fields[4], fields[10] = CLONE_INTO_CGROUP, signal.SIGCHLD, cgroup_fd
    args = (ctypes.c_uint64 * 11)(*fields)
    libc = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL, so that the child has it too
    pid = int(libc.syscall(SYS_CLONE3, ctypes.byref(args), ctypes.sizeof(args)))
    if pid == 0:
        os._exit(0 if os.read(gate, 2) == b"go" else 1)
    assert pid > 0, os.strerror(ctypes.get_errno())
    return pid
