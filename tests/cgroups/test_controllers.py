"""Controllers on the real kernel: what is written takes effect, what is refused is taken back, what is counted is read.

On a host whose controllers are bound to cgroup v1 only the refusals can be seen.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from cgroups import Cgroup, CgroupError, Cpu, Hugetlb, Memory, Pids, Unsupported, detect, page_sizes

Spawn = Callable[[Cgroup], "subprocess.Popen[bytes]"]
AsNobody = Callable[[], AbstractContextManager[None]]

pytestmark = pytest.mark.root

ALL = ("cpu", "hugetlb", "memory", "pids")


def read(cgroup: Cgroup, file: str) -> str:
    return (cgroup.path / file).read_text().strip()


def subtree_control(cgroup: Cgroup) -> set[str]:
    return set(read(cgroup, "cgroup.subtree_control").split())


# ---- writing ----


@pytest.mark.controllers(*ALL)
def test_what_is_applied_stands_in_the_files(tree: Cgroup) -> None:
    web = tree.create_child("web")
    web.apply(
        Memory(max=64 << 20, low=1 << 20, swap_max=0, oom_group=True),
        Cpu(weight=59, quota=50_000, period=100_000),
        Pids(max=20),
        Hugetlb(max={2 << 20: 4 << 20}),
    )
    files = ["memory.max", "memory.low", "memory.swap.max", "memory.oom.group", "cpu.weight", "cpu.max", "pids.max"]
    files += ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]
    assert [read(web, file) for file in files] == [
        *("67108864", "1048576", "0", "1"),
        *("59", "50000 100000", "20"),
        *("4194304", "4194304"),
    ]


@pytest.mark.controllers("cpu", "memory")
def test_what_is_not_named_is_left_as_it_is_and_max_lifts_a_limit(tree: Cgroup) -> None:
    web = tree.create_child("web")
    web.apply(Memory(max=64 << 20), Cpu(quota=50_000, period=20_000))
    web.apply(Memory(max="max"), Cpu(weight=7))
    assert [read(web, file) for file in ("memory.max", "cpu.max", "cpu.weight")] == ["max", "50000 20000", "7"]
    web.apply(Cpu(quota="max"))
    assert read(web, "cpu.max") == "max 20000"


@pytest.mark.controllers("cpu", "memory")
def test_one_value_that_the_kernel_does_not_take_takes_back_all(tree: Cgroup) -> None:
    web = tree.create_child("web")
    web.apply(Memory(max=64 << 20, oom_group=True))
    with pytest.raises(CgroupError, match="a weight is 1 to 10000") as caught:
        web.apply(Memory(max=32 << 20, high=16 << 20, oom_group=False), Cpu(weight=10001))
    assert caught.value.errno == errno.ERANGE
    assert caught.value.filename == f"{web}/cpu.weight"
    assert caught.value.value == "10001"
    assert [read(web, f"memory.{file}") for file in ("max", "high", "oom.group")] == ["67108864", "max", "1"]


@pytest.mark.controllers("cpu", "pids")
@pytest.mark.parametrize(
    ("knobs", "hint"),
    [
        (Cpu(quota=999), "a quota is 1000 microseconds at least"),
        (Cpu(quota=1000, period=2_000_000), "a period 1000 to 1000000"),
        (Pids(max=4_194_305), "at most 4194304"),
    ],
)
def test_a_refusal_names_the_rule(tree: Cgroup, knobs: Cpu | Pids, hint: str) -> None:
    with pytest.raises(CgroupError, match=hint) as caught:
        tree.create_child("web").apply(knobs)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.controllers("memory")
def test_nothing_to_apply_touches_nothing(tree: Cgroup) -> None:
    tree.create_child("web").apply(Memory(), Pids())
    assert subtree_control(tree) == set()
    tree.child("ghost").apply()


@pytest.mark.controllers("memory")
def test_a_cgroup_that_is_missing_is_no_such_cgroup(tree: Cgroup) -> None:
    with pytest.raises(CgroupError, match="no such cgroup"):
        tree.child("ghost").apply(Memory(max=1 << 20))


# ---- controllers along the path ----


@pytest.mark.controllers(*ALL)
def test_only_the_controllers_that_are_needed_are_turned_on_all_the_way(tree: Cgroup) -> None:
    leaf = tree.create_child("a").create_child("b").create_child("c")
    leaf.apply(Pids(max=10))
    assert subtree_control(tree) == subtree_control(tree.child("a")) == {"pids"}
    leaf.apply(Memory(max=1 << 26), Cpu())
    assert subtree_control(tree) == subtree_control(tree.child("a").child("b")) == {"pids", "memory"}
    assert subtree_control(leaf) == set()


@pytest.mark.controllers("cpu", "memory")
def test_enable_is_for_the_children(tree: Cgroup) -> None:
    inner = tree.create_child("inner")
    inner.enable("memory", "cpu")
    assert subtree_control(inner) == {"cpu", "memory"}
    assert read(inner.create_child("web"), "memory.max") == "max"
    inner.enable()


@pytest.mark.controllers("memory")
def test_a_cgroup_with_processes_on_the_way_is_named_with_the_cure(tree: Cgroup, spawn: Spawn) -> None:
    spawn(tree)
    web = tree.create_child("web")
    with pytest.raises(CgroupError, match="move them into a child cgroup first") as caught:
        web.apply(Memory(max=1 << 26))
    assert caught.value.errno == errno.EBUSY
    assert caught.value.filename == f"{tree}/cgroup.subtree_control"
    assert caught.value.value == "+memory"
    assert tree.why_not("memory") == web.why_not("memory") is not None
    assert f"{tree} holds processes" in (web.why_not("memory") or "")


@pytest.mark.controllers("memory")
def test_a_controller_that_can_be_had_has_no_obstacle(tree: Cgroup, spawn: Spawn) -> None:
    assert tree.why_not("memory") is None
    assert tree.child("not").child("made").why_not("memory") is None
    tree.enable("memory")
    spawn(tree.create_child("web"))
    assert tree.why_not("memory") is None, "a leaf with processes is in nobody's way"
    assert tree.child("web").why_not("memory") is not None


@pytest.mark.controllers("memory")
def test_without_the_right_to_write_the_error_says_so(tree: Cgroup, as_nobody: AsNobody) -> None:
    web = tree.create_child("web")
    with as_nobody(), pytest.raises(CgroupError, match="a subtree that was delegated") as caught:
        web.apply(Memory(max=1 << 26))
    assert caught.value.errno == errno.EACCES


def test_a_controller_that_the_host_lacks_is_unsupported_with_reason_and_cure(tree: Cgroup) -> None:
    layout = detect()
    missing = next(
        (each for each in (Memory(max=1), Cpu(weight=1), Pids(max=1)) if layout.why_not(each.controller)), None
    )
    if missing is None:
        pytest.skip("this host has all controllers")
    web = tree.create_child("web")
    with pytest.raises(Unsupported) as caught:
        web.apply(missing)
    assert caught.value.filename == f"{layout.mount_point}/cgroup.subtree_control"
    assert caught.value.needs == (
        f"the cgroup v2 controller {missing.controller}: {layout.why_not(missing.controller)}"
    )
    assert web.why_not(missing.controller) == layout.why_not(missing.controller)
    assert subtree_control(tree) == set()


@pytest.mark.controllers("memory", "hugetlb")
def test_a_knob_that_the_kernel_lacks_says_what_it_needs(tree: Cgroup) -> None:
    web = tree.create_child("web")
    with pytest.raises(Unsupported, match="huge pages of this size") as caught:
        web.apply(Hugetlb(max={3 << 20: 0}))
    assert caught.value.filename == f"{web}/hugetlb.3MB.rsvd.max"


# ---- what is counted ----


def test_processor_time_is_counted_whatever_controllers_there_are(tree: Cgroup, spawn: Spawn) -> None:
    web = tree.create_child("web")
    spawn(web)
    stat = web.stat()
    assert stat.cpu.usage_usec >= stat.cpu.user_usec
    assert (stat.memory, stat.pids, dict(stat.hugetlb)) == (None, None, {}), "nothing is on for the children of `tree`"


@pytest.mark.controllers(*ALL)
def test_the_statistics_of_a_cgroup_with_all_controllers(tree: Cgroup, spawn: Spawn) -> None:
    web = tree.create_child("web")
    web.apply(Memory(max=1 << 28), Cpu(quota="max"), Pids(max=100), Hugetlb(max=dict.fromkeys(page_sizes(), 0)))
    process = spawn(web)
    stat = web.stat()
    assert stat.memory and stat.pids
    assert stat.memory.current == pytest.approx(int(read(web, "memory.current")), abs=1 << 20)
    assert 0 <= stat.memory.working_set <= stat.memory.current
    assert (stat.pids.current, stat.pids.refused) == (1, 0), process.pid
    assert (stat.cpu.nr_periods, stat.cpu.nr_throttled) == (0, 0)
    assert {size: each.current for size, each in stat.hugetlb.items()} == dict.fromkeys(page_sizes(), 0)


@pytest.mark.controllers("memory")
def test_an_oom_kill_is_counted_where_it_happened_and_above(tree: Cgroup) -> None:
    pod = tree.create_child("pod")
    tree.enable("memory")
    web = pod.create_child("web")
    web.apply(Memory(max=8 << 20, swap_max=0, oom_group=True))
    result = subprocess.run(
        ["sh", "-c", f"echo 0 > {web}/cgroup.procs; exec python3 -c 'bytearray(64 << 20)'"], check=False
    )
    assert result.returncode == -9
    memory, above = web.stat().memory, pod.stat().memory
    assert memory and above
    assert memory.events.oom_kill == above.events.oom_kill >= 1
    assert memory.events.oom_group_kill == 1


@pytest.mark.controllers("pids")
def test_a_fork_beyond_the_limit_is_refused_and_counted(tree: Cgroup) -> None:
    web = tree.create_child("web")
    web.apply(Pids(max=1))
    result = subprocess.run(
        ["sh", "-c", f"echo 0 > {web}/cgroup.procs; (exit 0) || exit 3"], check=False, capture_output=True, text=True
    )
    assert result.returncode != 0, os.strerror(errno.EAGAIN)
    pids = web.stat().pids
    assert pids and pids.refused >= 1
