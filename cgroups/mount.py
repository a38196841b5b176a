"""Where cgroup2 is mounted and what it offers here.

The parsers are pure: text in, dataclasses out.  `detect` reads /proc and the root of the mount, and changes nothing:
mounting cgroup2 anew is not its business (a mount from the first cgroup namespace resets the options of all others).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cgroups import files

LayoutName = Literal["pure v2", "hybrid", "v1 only", "none"]

# Controllers that v2 calls otherwise than v1 does.
_V1_NAMES = {"io": "blkio"}


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo, as far as it matters here (proc_pid_mountinfo(5))."""

    root: str  # the directory of the filesystem that is seen at mount_point; "/" where it is all of it
    mount_point: str
    fstype: str
    writable: bool  # neither the mount nor the filesystem is read-only


@dataclass(frozen=True)
class Layout:
    """How this host, as this process sees it, has its cgroups.

    `mount_point` is where cgroup2 is to be used, None where it is not mounted whole; `controllers` are those it
    offers at its root (cgroup.controllers), `v1_controllers` those that a v1 hierarchy holds, under their v1 names.
    """

    mount_point: Path | None
    writable: bool
    controllers: tuple[str, ...]
    v1_controllers: tuple[str, ...]

    @property
    def name(self) -> LayoutName:
        """A word for it.  v1 hierarchies without a controller (name=systemd) take nothing from v2 and do not count."""
        if self.mount_point is None:
            return "v1 only" if self.v1_controllers else "none"
        return "hybrid" if self.v1_controllers else "pure v2"

    def why_not(self, controller: str) -> str | None:
        """Why the v2 controller ("memory", "io") cannot be had here, and the cure; None where it can."""
        if controller in self.controllers:
            return None
        v1_name = _V1_NAMES.get(controller, controller)
        if v1_name in self.v1_controllers:
            cure = f"boot with systemd.unified_cgroup_hierarchy=1, or with cgroup_no_v1={v1_name}"
            return f"controller {controller} is bound to cgroup v1 ({v1_name}): {cure}"
        if self.mount_point is None:
            return f"controller {controller} needs cgroup2, which is not mounted whole anywhere: mount it, or boot " + (
                "with systemd.unified_cgroup_hierarchy=1"
            )
        return f"controller {controller} is not in {self.mount_point}/cgroup.controllers: the kernel lacks it, " + (
            "cgroup_disable= turned it off, or the cgroup above does not delegate it"
        )


def detect() -> Layout:
    """The layout that this process sees now.

    Raises CgroupError if the mount it found cannot be read, and OSError if it cannot look: no descriptor is left.
    """
    mounts = parse_mountinfo(os.fsdecode(Path("/proc/self/mountinfo").read_bytes()))
    v1_controllers = parse_v1_controllers(Path("/proc/self/cgroup").read_text(errors="surrogateescape"))
    # A mount can be hidden by one above it; only the filesystem that the path leads to is asked.
    mount = next((mount for mount in usable(mounts) if files.is_cgroup2(Path(mount.mount_point))), None)
    if mount is None:
        return Layout(None, False, (), v1_controllers)
    point = Path(mount.mount_point)
    with files.opened(point) as directory:
        controllers = tuple(sorted(directory.read("cgroup.controllers").split()))
    return Layout(point, mount.writable, controllers, v1_controllers)


def usable(mounts: Sequence[Mount]) -> list[Mount]:
    """The cgroup2 mounts that show the whole tree, in the order in which to prefer them: writable ones first.

    A bind of a subtree is left out: paths below it are not those of /proc/PID/cgroup, and what lies above, with its
    limits and its delegation, is out of reach.  A container's own mount in its cgroup namespace does count: the
    kernel reports roots as seen from there.  Of mounts stacked on one point only the topmost can be reached.
    """
    topmost = {mount.mount_point: mount for mount in mounts}  # mountinfo lists a mount before what is stacked on it
    whole = [mount for mount in topmost.values() if mount.fstype == "cgroup2" and mount.root == "/"]
    return sorted(whole, key=lambda mount: not mount.writable)  # stable: the first writable one


def parse_mountinfo(text: str) -> list[Mount]:
    """Every mount of a /proc/PID/mountinfo text, in its order.

    `38 31 0:35 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 none rw,nsdelegate`: six fields, any number of optional
    ones, a hyphen, three fields.
    """
    return [_parse_mount(line) for line in _lines(text)]


def parse_v1_controllers(text: str) -> tuple[str, ...]:
    """The controllers that v1 hierarchies hold, sorted, from a /proc/PID/cgroup text (`8:cpu,cpuacct:/x`, `0::/x`).

    This file and not the mounts: a hierarchy keeps its controllers even where it is not mounted.
    """
    names = {name for line in _lines(text) for name in line.split(":", 2)[1].split(",")}
    return tuple(sorted(name for name in names if name and not name.startswith("name=")))


def _lines(text: str) -> list[str]:
    """Not splitlines: a path may hold a form feed or any other character that ends a line for str but not here."""
    return [line for line in text.split("\n") if line]


def _parse_mount(line: str) -> Mount:
    fixed, _, filesystem = line.partition(" - ")  # no field has a bare space: they are escaped
    root, mount_point, options = fixed.split(" ")[3:6]
    fstype, _source, super_options = filesystem.split(" ")[:3]
    writable = "ro" not in options.split(",") and "ro" not in super_options.split(",")
    return Mount(_unescape(root), _unescape(mount_point), _unescape(fstype), writable)


def _unescape(field: str) -> str:
    """Undoes the kernel's octal escapes: `\\040` is a space, `\\134` a backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
