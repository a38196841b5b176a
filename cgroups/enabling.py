"""Turning controllers on along a path (cgroup-v2.rst, "Enabling and Disabling", "Top-down Constraint").

A cgroup has the files of a controller if that is in cgroup.subtree_control of its parent, which is possible only if
the parent has them itself; and a cgroup that has any there may hold no processes, unless it is the root cgroup
("No Internal Process Constraint").
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

from cgroups import files
from cgroups.errors import Unsupported
from cgroups.mount import detect

CONTROL = "cgroup.subtree_control"


def enable(path: Path, controllers: Iterable[str]) -> None:
    """Turn controllers on for the children of the cgroup at `path`: in it, and in those above that lack them.

    What is on already costs one read.  Nothing is turned off again where a step fails: others may use it by then.
    Raises Unsupported where the host or the cgroup above does not offer one, and CgroupError EBUSY where a cgroup on
    the way holds processes.
    """
    lacking: list[tuple[Path, set[str]]] = []
    wanted = set(controllers)
    for cgroup in _upwards(path) if wanted else ():
        with files.opened(cgroup) as directory:
            wanted = wanted - _enabled(directory)
        if not wanted:
            break
        lacking.append((cgroup, wanted))
    for cgroup, names in reversed(lacking):
        with files.opened(cgroup) as directory:
            _refuse_what_is_not_offered(directory, names)
            directory.write(CONTROL, " ".join(f"+{name}" for name in sorted(names)))


def enabled(path: Path) -> frozenset[str]:
    """The controllers that are on for the children of the cgroup at `path`."""
    with files.opened(path) as directory:
        return _enabled(directory)


def _enabled(directory: files.Directory) -> frozenset[str]:
    return frozenset(directory.read(CONTROL).split())


def why_not(path: Path, controller: str) -> str | None:
    """Why the children of the cgroup at `path`, made or not, cannot have a controller, and the cure; None where they
    can."""
    reason = detect().why_not(controller)
    if reason is not None:
        return reason
    for cgroup in _upwards(path):
        with files.opened(cgroup) as directory:
            if controller in _enabled(directory):
                return None
            if directory.has("cgroup.type") and directory.read("cgroup.procs"):  # the root has no type
                return f"{cgroup} holds processes, so its children can have no controllers: move them into one of those"
    return None


def _upwards(path: Path) -> Iterator[Path]:
    """The cgroups that are there, from the one at `path` to the root of the mount."""
    for cgroup in (path, *path.parents):
        if files.is_cgroup2(cgroup):
            yield cgroup
        elif cgroup.exists():
            return


def _refuse_what_is_not_offered(directory: files.Directory, names: set[str]) -> None:
    missing = sorted(names - set(directory.read("cgroup.controllers").split()))
    if missing:
        reason = detect().why_not(missing[0]) or f"{directory.path} does not offer it"
        filename, value = str(directory.path / CONTROL), f"+{missing[0]}"
        needs = f"the cgroup v2 controller {missing[0]}: {reason}"
        raise Unsupported(errno.ENOENT, "no such controller", filename, needs=needs, value=value)
