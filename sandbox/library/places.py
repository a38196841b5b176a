"""Where sandboxes without an engine stand, and what becomes of those whose program was killed.

    <root>/boxes/<id>/      a sandbox: a directory, or a link to the one that its maker named
        lock                flock'ed by the program that drives it
        box.json            what it is, for `connect`
        podmon.sock records/ containers/<id>/{upper,work}
    <root>/boxes/.lock      flock'ed by whoever makes one, or looks for those that are dead

A sandbox that nobody drives is dead where it was bound to its maker, or where its podmon is: the next that is made in
the root, or `clean`, removes what is left of it.  All of it blocks, for moments.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cgroups import Cgroup, CgroupError
from sandbox.errors import KernelError, NotFound, SandboxError, WrongState
from sandbox.pod import codec, config, forks, wire
from sandbox.pod.files import write_file
from sandbox.pod.ground import PRIVATE, Sharing
from sandbox.pod.paths import unlock
from sandbox.pod.slices import Slices
from sandbox.pod.trees import remove_tree

_log = logging.getLogger("sandbox")

NOTE = "box.json"
LOCK = "lock"
_OURS = (NOTE, wire.SOCKET, "records", "containers", LOCK)  # in the directory of a sandbox; the lock goes last


@dataclass(frozen=True)
class Made:
    """A container as `connect` must know it: podmon's number for it, its name, its id."""

    number: int
    name: str
    identity: str


@dataclass(frozen=True)
class Note:
    """What stands in box.json."""

    identity: str
    root: Path
    name: str
    bound: bool
    sharing: Sharing = PRIVATE
    containers: tuple[Made, ...] = ()


@dataclass
class Place:
    """One sandbox's place, held: nobody else drives it, or takes it for dead."""

    note: Note
    directory: Path
    cgroup: Cgroup
    entry: Path  # below <root>/boxes
    made_directory: bool  # it was not there before
    _lock: int = field(repr=False)

    def write(self, note: Note) -> None:
        """Replace its box.json.  Raises OSError."""
        write_file(self.directory / NOTE, json.dumps(codec.encode(note)))
        self.note = note

    def let_go(self) -> None:
        """Drive it no more.  Idempotent."""
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            unlock(lock)

    def remove(self) -> None:
        """Kill what is left in it, and remove all of it.  Idempotent.

        Where that fails it is let go all the same: what is left is then for the next that is made in the root.
        """
        try:
            _remove(self.directory, self.cgroup, self.entry, keep=not self.made_directory)
        finally:
            self.let_go()


def make(root: Path, name: str, directory: Path | None, *, bound: bool, sharing: Sharing) -> Place:
    """A place for a new sandbox; `directory` is made if it is missing, and must be empty.

    Raises KernelError, WrongState where the directory is in use.
    """
    with _boxes(root) as boxes, ExitStack() as undo:
        slices = _slices(root)
        _sweep(boxes, slices)
        note = Note(secrets.token_hex(6), root, name, bound, sharing)
        entry = boxes / note.identity
        fresh = directory is None or not directory.exists()
        where = entry if directory is None else directory.absolute()
        if fresh:
            where.mkdir(mode=0o700, parents=True)
            undo.callback(where.rmdir)
        elif any(where.iterdir()):
            raise WrongState(f"{where} is not empty", current="in use", wanted="empty", hint="name another directory")
        if where != entry:
            entry.symlink_to(where)
            undo.callback(entry.unlink)
        place = Place(note, where, slices.box(note.identity), entry, fresh, _locked(where))
        undo.callback((where / LOCK).unlink)
        undo.callback(place.let_go)
        place.write(note)
        undo.callback((where / NOTE).unlink)
        Cgroup.create(place.cgroup.path)
        undo.pop_all()
    return place


def take(directory: Path) -> Place:
    """The place of a sandbox that stands in `directory`, driven from now on by this program.

    Raises NotFound where there is none, WrongState where another program drives it.
    """
    note = _note(directory)
    if note is None:
        raise NotFound("sandbox", str(directory), f"no sandbox stands in {directory}")
    lock = _try_lock(directory)
    if lock is None:
        raise WrongState(f"another program drives the sandbox in {directory}", current="driven", wanted="left")
    entry = note.root / "boxes" / note.identity
    made = entry == directory or not entry.is_symlink()
    return Place(note, directory, _slices(note.root).box(note.identity), entry, made, lock)


def remove_layer(directory: Path, identity: str) -> None:
    """Remove what a container that is no more had written, and the record of its end.  Idempotent."""
    _remove_path(directory / "containers" / identity)
    _remove_path(directory / "records" / identity)


def standing(root: Path) -> list[Path]:
    """The directories of the sandboxes that stand in the root."""
    with _boxes(root) as boxes:
        _sweep(boxes, _slices(root))
        return [entry.resolve() for entry in _entries(boxes)]


# ---- those that are dead ----


def _sweep(boxes: Path, slices: Slices) -> None:
    """Remove what dead ones have left.  What cannot be removed now is tried again the next time."""
    entries = list(_entries(boxes))
    for entry in entries:
        with _told(entry.name):
            _remove_if_dead(entry, slices)
    for identity in slices.boxes() - {entry.name for entry in entries}:
        with _told(identity):
            slices.box(identity).remove_tree()


@contextmanager
def _told(identity: str) -> Iterator[None]:
    try:
        yield
    except (SandboxError, CgroupError, OSError) as error:
        _log.warning("what is left of sandbox %s cannot be removed: %s", identity, error)


def _remove_if_dead(entry: Path, slices: Slices) -> None:
    directory = entry.resolve()
    lock = None
    if (directory / LOCK).exists():  # the lock goes last: without it there is nothing that could be driven
        lock = _try_lock(directory)
        if lock is None:
            return
    try:
        note = _note(directory)
        if note is None or note.bound or not _answers(directory):
            _remove(directory, slices.box(entry.name), entry, keep=entry.is_symlink())
    finally:
        if lock is not None:
            unlock(lock)


def _answers(directory: Path) -> bool:
    """Whether the podmon of a sandbox is there."""
    try:
        wire.connected(directory).close()
    except NotFound:
        return False
    return True


def _remove(directory: Path, cgroup: Cgroup, entry: Path, *, keep: bool) -> None:
    """Its processes first, its entry last: whoever is killed in the middle leaves something that is still found."""
    cgroup.remove_tree()
    if keep and directory.is_dir():
        for name in _OURS:
            _remove_path(directory / name)
    elif directory.is_dir():
        remove_tree(directory)
    if entry.is_symlink():
        entry.unlink()


def _remove_path(path: Path) -> None:
    if path.is_dir():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


# ---- files ----


def _slices(root: Path) -> Slices:
    return Slices(root, config.load(root).cgroup_parent)


@contextmanager
def _boxes(root: Path) -> Iterator[Path]:
    """The directory of all entries, while nobody else makes or removes any."""
    boxes = root / "boxes"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        boxes.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(boxes / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KernelError(error.errno or 0, step="make the root directory", filename=str(error.filename)) from error
    forks.guard(lock)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise KernelError(error.errno or 0, step="lock", filename=str(boxes / ".lock")) from None
        yield boxes
    finally:
        unlock(lock)


def _entries(boxes: Path) -> Iterator[Path]:
    return (entry for entry in sorted(boxes.iterdir()) if not entry.name.startswith("."))


def _locked(directory: Path) -> int:
    lock = _try_lock(directory, os.O_CREAT)
    assert lock is not None, "the directory was empty, and the registry is ours"
    return lock


def _try_lock(directory: Path, flags: int = 0) -> int | None:
    """The lock of a sandbox; None where another program has it."""
    lock = forks.guard(os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC | flags, 0o600))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        unlock(lock)
        return None
    except OSError as error:
        if flags:
            (directory / LOCK).unlink()
        unlock(lock)
        raise KernelError(error.errno or 0, step="lock", filename=str(directory / LOCK)) from None
    return lock


def _note(directory: Path) -> Note | None:
    """What the box.json of a sandbox says; None where there is none, or half of one."""
    with suppress(OSError, ValueError):
        return codec.read(Note, (directory / NOTE).read_bytes())
    return None
