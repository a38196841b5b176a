"""One cgroup: making it, what is in it, freezing, killing, removing.

A `Cgroup` is a path and nothing else; every call asks the kernel anew, so handles may be made, kept and dropped
freely.  Only the core files (`cgroup.*`) are known here.  What a controller adds has a file of its own, and is written
and read through `apply` and `stat`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cgroups import enabling, files
from cgroups.errors import CgroupError, NoSuchCgroup
from cgroups.events import Events
from cgroups.knobs import Knobs
from cgroups.stat import Stat

_NAMED = 10  # how many pids or children an error message lists


@dataclass(frozen=True, order=True)
class Cgroup:
    """The cgroup at `path`: absolute, free of symlinks and "..", below a cgroup2 mount; it need not exist yet.

    Every method raises CgroupError: NoSuchCgroup where the cgroup is missing, Unsupported where this kernel lacks the
    file, EINVAL for a path that leads elsewhere than into cgroup2.  Source: Documentation/admin-guide/cgroup-v2.rst,
    by the names of its sections.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_absolute() or ".." in self.path.parts:
            hint = "name a cgroup by an absolute path without '..'"
            raise CgroupError(errno.EINVAL, "not the path of a cgroup", str(self.path), hint=hint)

    @classmethod
    def create(cls, path: str | os.PathLike[str], exist_ok: bool = False) -> Cgroup:
        """Makes the cgroup; its parent must exist.  One that is there already is EEXIST, or fine if `exist_ok`."""
        cgroup = cls(Path(path))
        with files.opened(cgroup.path.parent) as parent:
            try:
                parent.make(cgroup.name)
            except CgroupError as error:
                if not (exist_ok and error.errno == errno.EEXIST):
                    raise
        return cls.open(path) if exist_ok else cgroup

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Cgroup:
        """The cgroup at `path`, which must exist."""
        cgroup = cls(Path(path))
        with cgroup.fd():
            return cgroup

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)

    def child(self, name: str) -> Cgroup:
        """The handle of a child, made or not.  EINVAL for what cannot be one component of a path."""
        if name in ("", ".", "..") or "/" in name:
            raise CgroupError(errno.EINVAL, f"not a name for a cgroup: {name!r}", str(self.path))
        return Cgroup(self.path / name)

    def create_child(self, name: str, exist_ok: bool = False) -> Cgroup:
        """Makes the child `name`, as `create` does."""
        return Cgroup.create(self.child(name).path, exist_ok)

    @contextmanager
    def fd(self) -> Iterator[int]:
        """An O_PATH descriptor of the directory (close-on-exec), closed at the end of the block.

        It serves clone3's CLONE_INTO_CGROUP and the dir_fd of other calls; to list the directory, use `children`.
        """
        with files.opened(self.path) as directory:
            yield directory.fd

    def procs(self) -> list[int]:
        """The pids of the processes right here, not below: ascending, each once; 0 for any in a pid namespace that
        this one cannot see.  EOPNOTSUPP in a threaded cgroup ("Core Interface Files", cgroup.procs)."""
        with files.opened(self.path) as directory:
            return sorted({int(pid) for pid in directory.read("cgroup.procs").split()})

    def add(self, pid: int) -> None:
        """Moves the whole process `pid` here; 0 is the caller ("Processes").

        ESRCH: no such process.  EBUSY: controllers are on for the children ("No Internal Process Constraint").
        EACCES: outside of what was delegated ("Delegation Containment").
        """
        with files.opened(self.path) as directory:
            directory.write("cgroup.procs", str(pid))

    def events(self) -> Events:
        """Whether it is populated and frozen, now.  The root cgroup has no such file: Unsupported."""
        with files.opened(self.path) as directory:
            return Events.parse(directory.read("cgroup.events"))

    def wait_empty(self, timeout: float | None) -> bool:
        """Waits until no process lives here or below; False after `timeout` seconds (None: for ever).

        A cgroup that is gone is empty.  The kernel delays a notification by up to 10 ms after the one before, so to
        learn of the death of one process, wait on its pidfd instead.  A zombie does not count as alive.
        """
        try:
            with files.opened(self.path) as directory:
                return directory.wait("cgroup.events", lambda text: not Events.parse(text).populated, timeout)
        except NoSuchCgroup:
            return True

    def kill(self) -> None:
        """SIGKILL to every process here and below, forks under way included; returns before they are dead.

        Works on frozen cgroups too.  Unsupported before kernel 5.14 and in the root cgroup ("Core Interface Files",
        cgroup.kill).  Never put a process into a cgroup again that saw this, or into one below it: since some kernel
        after 6.12 (seen on 6.18) whatever CLONE_INTO_CGROUP starts there is killed at once.  Remove it and make anew.
        """
        with files.opened(self.path) as directory:
            directory.write("cgroup.kill", "1")

    def freeze(self, timeout: float = 10.0) -> None:
        """Stops every process here and below; returns once all are stopped ("Core Interface Files", cgroup.freeze).

        ETIMEDOUT after `timeout` seconds: the request stands, and takes effect when it can, until `thaw`.
        """
        self._set_frozen(True, timeout, "a process may be in uninterruptible sleep; thaw() withdraws the request")

    def thaw(self, timeout: float = 10.0) -> None:
        """Lets them go on; returns once they may.  ETIMEDOUT after `timeout` seconds: a cgroup above is frozen."""
        self._set_frozen(False, timeout, "a cgroup above is frozen; thaw that one")

    def _set_frozen(self, frozen: bool, timeout: float, hint: str) -> None:
        value = "1" if frozen else "0"
        with files.opened(self.path) as directory:
            directory.write("cgroup.freeze", value)
            if not directory.wait("cgroup.events", lambda text: Events.parse(text).frozen is frozen, timeout):
                reason = f"still not {'frozen' if frozen else 'thawed'} after {timeout:g} s"
                filename = str(self.path / "cgroup.freeze")
                raise CgroupError(errno.ETIMEDOUT, reason, filename, value=value, hint=hint)

    # ---- controllers ----

    def apply(self, *settings: Knobs) -> None:
        """Writes settings, one file after the other, all or none: those written before one that is refused are taken
        back.

        A controller that this cgroup does not have yet is turned on for it first, in all cgroups above, and stays on
        ("Top-down Constraint").  Unsupported where the host lacks a controller or a knob, EBUSY where a cgroup above
        holds processes, EINVAL and ERANGE for values that the kernel does not take.
        """
        values = {file: value for each in settings for file, value in each.values().items()}
        if not values:
            return
        enabling.enable(self.path.parent, {each.controller for each in settings if each.values()})
        with files.opened(self.path) as directory, ExitStack() as undo:
            for file, value in values.items():
                before = directory.read(file)
                directory.write(file, value)
                undo.callback(_restore, directory, file, before.rstrip("\n"))
            undo.pop_all()

    def enable(self, *controllers: str) -> None:
        """Turns controllers on for the children to come, as `apply` on one of them would; cheaper while no process
        lives in any."""
        enabling.enable(self.path, controllers)

    def enabled(self) -> frozenset[str]:
        """The controllers that are on for the children."""
        return enabling.enabled(self.path)

    def has(self, file: str) -> bool:
        """Whether there is this file: its controller is on for this cgroup, and the kernel knows the knob."""
        with files.opened(self.path) as directory:
            return directory.has(file)

    def why_not(self, controller: str) -> str | None:
        """Why the children of this cgroup, which need not exist yet, cannot have a controller ("memory"), and the cure;
        None where they can."""
        return enabling.why_not(self.path, controller)

    def stat(self) -> Stat:
        """What its controllers count, read one after the other."""
        with files.opened(self.path) as directory:
            return Stat.read(directory)

    # ---- the subtree ----

    def children(self) -> list[Cgroup]:
        """The cgroups right below, by name."""
        with files.opened(self.path) as directory:
            return [Cgroup(self.path / name) for name in directory.children()]

    def walk(self) -> Iterator[Cgroup]:
        """Every cgroup of the subtree, each after all that lie below it, itself last.

        What is removed meanwhile may or may not appear; where nothing is there at all, only the handle itself does.
        """
        found = [self]
        for cgroup in found:  # breadth first, growing as it goes: parents stand before their children
            with suppress(NoSuchCgroup):
                found += cgroup.children()
        return reversed(found)

    def remove(self, timeout: float = 2.0) -> None:
        """Removes this cgroup; fine where it is missing already.

        While processes are inside, waits up to `timeout` seconds for them to leave or die.  EBUSY then names the
        pids, and at once the child cgroups if it has any: those are `remove_tree`'s business.
        """
        with suppress(NoSuchCgroup), files.opened(self.path.parent) as parent:
            if not self._removed_from(parent):
                if not self.children():
                    self.wait_empty(timeout)
                if not self._removed_from(parent):
                    raise self._busy()

    def _removed_from(self, parent: files.Directory) -> bool:
        """Whether rmdir did it; False where the kernel says EBUSY."""
        try:
            parent.remove(self.name)
        except CgroupError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def remove_tree(self, kill: bool = True, timeout: float = 10.0) -> None:
        """Removes the whole subtree, this cgroup last; fine where it is missing already.

        Kills what lives in it (the caller too, if it does), or with `kill=False` waits for it to end.  EBUSY with the
        pids after `timeout` seconds, and then nothing has been removed.  The root of a cgroup2 mount is refused
        (EINVAL) before anything happens.
        """
        deadline = time.monotonic() + timeout
        with suppress(NoSuchCgroup):
            with files.opened(self.path.parent):  # the root's parent is not on cgroup2
                if kill:
                    self.kill()
            if not self.wait_empty(timeout):
                raise self._busy()
            for cgroup in self.walk():
                cgroup.remove(max(0.0, deadline - time.monotonic()))

    def _busy(self) -> CgroupError:
        """The EBUSY that says what is in the way."""
        pids: list[int] = []
        for cgroup in self.walk():
            with suppress(NoSuchCgroup):
                pids += cgroup.procs()
        children = [child.name for child in self.children()]
        inside = [_listed("process", "processes", list(map(str, pids)))] if pids else []
        inside += [_listed("child cgroup", "child cgroups", children)] if children else []
        if inside:
            reason, hint = f"still holds {' and '.join(inside)}", "remove_tree() kills and removes all of it"
        else:
            reason, hint = "in use", "is something mounted on it, or did a process pass through? try again"
        return CgroupError(errno.EBUSY, reason, str(self.path), hint=hint)


def _restore(directory: files.Directory, file: str, value: str) -> None:
    """What the kernel does not take back either is left: the error under way says more."""
    with suppress(CgroupError):
        directory.write(file, value)


def _listed(one: str, many: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{one if len(names) == 1 else many} {', '.join(names[:_NAMED])}{more}"
