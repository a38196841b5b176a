"""Finding the v2 tree, on texts of many hosts and on this one."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cgroups import Layout, detect
from cgroups.mount import Mount, parse_mountinfo, parse_v1_controllers, usable

PURE = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 23 0:27 / /sys/fs/cgroup rw,nosuid,nodev,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""

HYBRID = r"""
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 master:2 - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""

V1_ONLY = r"""
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""


def points(text: str) -> list[str]:
    return [mount.mount_point for mount in usable(parse_mountinfo(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PURE, ["/sys/fs/cgroup"]),
        (HYBRID, ["/sys/fs/cgroup/unified"]),
        (V1_ONLY, []),
        ("", []),
    ],
)
def test_the_mount_is_found_in_each_layout(text: str, expected: list[str]) -> None:
    assert points(text) == expected


def test_a_line_is_read_with_any_number_of_optional_fields() -> None:
    for optional in ("", "shared:1 ", "shared:1 master:2 propagate_from:3 unbindable "):
        line = f"9 1 0:9 /a /b rw,nosuid {optional}- cgroup2 none rw\n"
        assert parse_mountinfo(line) == [Mount(root="/a", mount_point="/b", fstype="cgroup2", writable=True)]


def test_octal_escapes_in_paths_are_undone() -> None:
    line = r"9 1 0:9 / /mnt/a\040b\011c\012d\134040 rw - cgroup2 none rw"
    assert points(line) == ["/mnt/a b\tc\nd\\040"]


def test_a_path_with_line_breaks_that_the_kernel_does_not_escape_stays_one_line() -> None:
    assert points("9 1 0:9 / /mnt/a\x0cb\x1cc\u2028d rw - cgroup2 none rw\n") == ["/mnt/a\x0cb\x1cc\u2028d"]
    assert parse_v1_controllers("3:cpuset:/a\x0cb\n0::/a\x0cb\n") == ("cpuset",)


def test_a_source_without_a_name_does_not_shift_the_fields() -> None:
    assert parse_mountinfo("9 1 0:9 / /m rw - cgroup2  ro\n")[0].writable is False


def test_a_bind_of_a_subtree_is_not_used() -> None:
    bind = "50 1 0:27 /docker/abc /mnt/part rw - cgroup2 cgroup2 rw\n"
    assert points(bind) == []
    assert points(bind + PURE) == ["/sys/fs/cgroup"]


@pytest.mark.parametrize(("options", "super_options"), [("ro,nosuid", "rw"), ("rw", "ro,nsdelegate")])
def test_a_read_only_mount_is_the_last_choice(options: str, super_options: str) -> None:
    read_only = f"50 1 0:27 / /mnt/ro {options} - cgroup2 cgroup2 {super_options}\n"
    assert points(read_only + PURE) == ["/sys/fs/cgroup", "/mnt/ro"]
    assert points(read_only) == ["/mnt/ro"]


def test_an_option_that_only_begins_with_ro_is_not_read_only() -> None:
    assert parse_mountinfo("9 1 0:9 / /m rw,root_squash - cgroup2 none rw\n")[0].writable is True


def test_of_several_writable_mounts_the_first_is_used() -> None:
    other = "60 1 0:27 / /mnt/other rw - cgroup2 cgroup2 rw\n"
    assert points(PURE + other)[0] == "/sys/fs/cgroup"
    assert points(other + PURE)[0] == "/mnt/other"


def test_a_mount_hidden_by_another_on_the_same_point_is_not_used() -> None:
    tmpfs = "70 31 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    bind = "71 31 0:27 /part /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert points(PURE + tmpfs) == []
    assert points(PURE + bind) == []


def test_the_controllers_of_v1_are_read_from_its_hierarchies() -> None:
    text = "9:name=systemd:/\n8:pids:/a:b\n2:cpu,cpuacct:/\n0::/user.slice\n"
    assert parse_v1_controllers(text) == ("cpu", "cpuacct", "pids")
    assert parse_v1_controllers("0::/\n") == ()


@pytest.mark.parametrize(
    ("mount_point", "v1", "name"),
    [
        ("/sys/fs/cgroup", (), "pure v2"),
        ("/sys/fs/cgroup/unified", ("memory",), "hybrid"),
        (None, ("memory",), "v1 only"),
        (None, (), "none"),
    ],
)
def test_a_layout_has_a_name(mount_point: str | None, v1: tuple[str, ...], name: str) -> None:
    assert Layout(Path(mount_point) if mount_point else None, True, (), v1).name == name


def test_a_controller_that_is_missing_comes_with_its_cure() -> None:
    hybrid = Layout(Path("/cg"), True, ("hugetlb",), ("blkio", "memory"))
    assert hybrid.why_not("hugetlb") is None
    assert "cgroup_no_v1=memory" in (hybrid.why_not("memory") or "")
    assert "cgroup_no_v1=blkio" in (hybrid.why_not("io") or "")
    assert "/cg/cgroup.controllers" in (hybrid.why_not("misc") or "")
    assert "not mounted" in (Layout(None, False, (), ()).why_not("memory") or "")


def test_a_host_is_not_without_cgroups_because_a_process_has_no_descriptor_left(
    descriptors_left: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Whatever the number of descriptors that are left: the layout, or what is wrong."""
    layout = detect()
    for left in range(6):
        with descriptors_left(left):
            try:
                found = detect()
            except OSError as error:
                assert error.errno == errno.EMFILE
            else:
                assert found == layout


def test_this_host_is_described_as_its_files_say() -> None:
    layout = detect()
    if layout.mount_point is None:
        pytest.skip(f"needs a cgroup2 mount; this host has {layout.name}")
    offered = (layout.mount_point / "cgroup.controllers").read_text().split()
    assert sorted(offered) == list(layout.controllers)
    assert not set(offered) & set(layout.v1_controllers)
