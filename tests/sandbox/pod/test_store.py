"""What stands on disk, at every point where the engine may be killed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import effects
from sandbox.errors import SandboxError
from sandbox.pod import store as module
from sandbox.pod.files import write_file
from sandbox.pod.paths import make_root
from sandbox.pod.state import Deletion, PodRecord, PodState
from sandbox.pod.store import Store, is_uid
from sandbox.pod.trees import remove_tree
from tests.sandbox.pod.values import NOON, UID, a_manifest, a_record, a_state, ended, running

OTHER = "1b7a2f34-9c1d-4e5f-8a6b-0123456789ab"
IDENTITY = "b" * 64


class FakeSlices:
    """Slices that are only names."""

    def __init__(self, *uids: str) -> None:
        self.there = set(uids)
        self.removed: list[str] = []

    def uids(self) -> set[str]:
        return set(self.there)

    def remove(self, uid: str) -> None:
        self.removed.append(uid)
        self.there.discard(uid)


@pytest.fixture
def slices() -> FakeSlices:
    return FakeSlices()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, slices: FakeSlices, warnings: list[str]) -> Store:
    make_root(tmp_path)
    return Store(tmp_path, slices, warnings.append)  # type: ignore[arg-type]


def everything_below(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*"))


# ---- a pod's life on disk ----


def test_what_was_added_is_loaded_and_what_was_saved_last_counts(store: Store) -> None:  # A12
    store.add(a_record(), a_state())
    later = a_state(ended(code=3), deletion=Deletion(NOON, 5))
    store.save(UID, later)
    assert list(store.load()) == [(a_record(), later)]


def test_a_pod_is_found_by_its_uid_and_two_of_one_name_do_not_meet(store: Store) -> None:  # A12, A14, A40
    store.add(a_record(), a_state())
    store.add(a_record(OTHER), a_state(running()))
    store.remove(a_record())
    assert list(store.load()) == [(a_record(OTHER), a_state(running()))]
    assert store.logs(a_record(OTHER)).is_dir()


def test_a_removed_pod_leaves_nothing_and_can_be_removed_again(store: Store, slices: FakeSlices) -> None:
    before = everything_below(store.root)
    store.add(a_record(), a_state())
    (store.sandbox_directory(UID) / "containers" / IDENTITY / "upper").mkdir(parents=True)
    for _ in range(2):
        store.remove(a_record())
        assert everything_below(store.root) == before
    assert slices.removed == [UID, UID]


def test_a_sandbox_goes_and_the_pods_files_stay(store: Store) -> None:
    store.add(a_record(), a_state())
    (store.directory(UID) / "volumes" / "data").mkdir(parents=True)
    (store.sandbox_directory(UID) / "records").mkdir(parents=True)
    for _ in range(2):
        store.remove_sandbox(UID)
    assert sorted(path.name for path in store.directory(UID).iterdir()) == ["pod.json", "state.json", "volumes"]


def test_a_layer_goes_with_the_record_of_its_end_and_no_other(store: Store) -> None:
    store.add(a_record(), a_state())
    sandbox = store.sandbox_directory(UID)
    for identity in (IDENTITY, "c" * 64):
        (sandbox / "containers" / identity / "upper").mkdir(parents=True)
        (sandbox / "records").mkdir(exist_ok=True)
        (sandbox / "records" / identity).write_text("")
    for _ in range(2):
        store.remove_layer(UID, IDENTITY)
    assert [path.name for path in (sandbox / "containers").iterdir()] == ["c" * 64]
    assert [path.name for path in (sandbox / "records").iterdir()] == ["c" * 64]


def test_the_logs_of_two_instances_are_kept(store: Store) -> None:
    store.add(a_record(), a_state())
    directory = store.logs(a_record()) / "app"
    for name in ("0.log", "1.log", "1.log.20260101-120000", "2.log", "3.log", "10.log", "notes.log", "x"):
        (directory / name).write_text("")
    store.remove_old_logs(a_record(), "app", 3)
    assert {path.name for path in directory.iterdir()} == {"2.log", "3.log", "10.log", "notes.log", "x"}


@pytest.mark.parametrize("text", ["ü €", "\ud800", "\x00\x7f\u2028", "😀"])
def test_whatever_a_manifest_says_can_be_written_whatever_the_locale_is(store: Store, text: str) -> None:
    record = replace(a_record(), manifest={"metadata": {"annotations": {text: text}}})
    store.add(record, a_state())
    assert list(store.load()) == [(record, a_state())]
    assert (store.directory(UID) / "pod.json").read_bytes().isascii()


# ---- a killed engine ----


class Killed(BaseException):
    """As SIGKILL: nothing of ours runs after it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have the process be killed before the `step`th effect that it has."""
    steps = iter(range(1000))

    def maybe(_: str) -> None:
        if next(steps) >= step:
            raise Killed

    monkeypatch.setattr(effects, "witness", maybe)


STEPS = 12  # more than any of these take


@pytest.mark.parametrize("step", range(STEPS))
def test_an_engine_killed_while_it_adds_a_pod_leaves_it_whole_or_not_at_all(
    store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything_below(store.root)
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        try:
            store.add(a_record(), a_state())
        except Killed:
            pass
        else:
            assert step > 5
    known = list(store.load())
    assert known in ([], [(a_record(), a_state())])
    if not known:
        assert everything_below(store.root) == before
    store.remove(a_record())
    assert everything_below(store.root) == before


@pytest.mark.parametrize("step", range(STEPS))
def test_an_engine_killed_while_it_saves_a_state_leaves_the_old_or_the_new(
    store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = a_state(), a_state(running())
    store.add(a_record(), old)
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with contextlib.suppress(Killed):
            store.save(UID, new)
    ((_, known),) = store.load()
    assert known == (old if step < 2 else new)
    store.save(UID, new)
    assert sorted(path.name for path in store.directory(UID).iterdir()) == ["pod.json", "state.json"]


@pytest.mark.parametrize("step", range(STEPS))
def test_an_engine_killed_while_it_changes_a_pod_leaves_the_old_record_or_the_new_with_the_state(
    store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, state = a_record(), a_state(running())
    new = replace(old, manifest=a_manifest(hostname="x"), applied="a wish")
    store.add(old, a_state())
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with contextlib.suppress(Killed), store.changed([(old, new, state)]):
            pass
    assert list(store.load()) == [(old if step < 4 else new, a_state() if step < 2 else state)]


def test_a_change_that_is_not_carried_through_leaves_the_records_as_they_were(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = a_record(), a_record(OTHER, "db")
    changes = [(each, replace(each, applied="a wish"), a_state()) for each in (first, second)]
    for record in (first, second):
        store.add(record, a_state())
    with pytest.raises(SandboxError, match="no"), store.changed(changes):
        raise SandboxError("no")
    assert sorted(record.applied for record, _ in store.load()) == ["", ""]
    full = iter((False, False, False, True))  # the second record is not written

    def sometimes(path: Path, data: str, *, synced: bool = False) -> None:
        if next(full, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert synced is (path.name == "pod.json"), "what takes the place of a record outlives a power cut"
        write_file(path, data, synced=synced)

    monkeypatch.setattr(module, "write_file", sometimes)
    with pytest.raises(OSError, match="No space"), store.changed(changes):
        pass
    assert sorted(record.applied for record, _ in store.load()) == ["", ""]


@pytest.mark.parametrize("step", range(STEPS))
def test_an_engine_killed_while_it_removes_a_pod_leaves_the_pod_or_nothing_after_the_next(
    store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything_below(store.root)
    store.add(a_record(), a_state())
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with contextlib.suppress(Killed):
            store.remove(a_record())
    for record, _ in store.load():
        store.remove(record)  # its deletion stands in its state
    assert everything_below(store.root) == before


# ---- failures ----


@pytest.mark.parametrize("file", ["state.json", "pod.json"])
def test_a_pod_that_cannot_be_written_leaves_nothing(store: Store, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything_below(store.root)

    def full(path: Path, data: str) -> None:
        if path.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_file(path, data)

    monkeypatch.setattr(module, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        store.add(a_record(), a_state())
    assert everything_below(store.root) == before


def test_a_uid_that_is_taken_is_an_error_and_touches_nothing(store: Store) -> None:
    store.add(a_record(), a_state(running()))
    with pytest.raises(FileExistsError):
        store.add(a_record(name="other"), a_state())
    assert list(store.load()) == [(a_record(), a_state(running()))]


def test_a_file_that_could_not_be_written_keeps_what_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_file(path, "old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match=r"No space.*state\.json"):
        write_file(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]
    assert path.read_text() == "old"


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "zeros": lambda path: path.write_bytes(b"\0" * 200),
    "other": lambda path: path.write_text("[]"),
    "strange": lambda path: path.write_text('{"containers":[{"name":"a","instance":{"is":"Elsewhere"}}]}'),
    "deep": lambda path: path.write_bytes(b"[" * 100_000 + b"]" * 100_000),
    "latin": lambda path: path.write_bytes(b'{"uid":"\xe9"}'),
}


@pytest.mark.parametrize("file", ["pod.json", "state.json"])
@pytest.mark.parametrize("how", UNREADABLE)
def test_a_pod_whose_state_cannot_be_read_is_left_alone_and_stops_nobody(
    store: Store, slices: FakeSlices, warnings: list[str], file: str, how: str
) -> None:  # A13
    store.add(a_record(), a_state())
    store.add(a_record(OTHER), a_state())
    slices.there = {UID, OTHER}
    UNREADABLE[how](store.directory(UID) / file)
    before = everything_below(store.root)
    assert [record.uid for record, _ in store.load()] == [OTHER]
    assert everything_below(store.root) == before
    assert slices.removed == [], "what of it still runs is left alone too"
    assert len(warnings) == 1
    assert f"pod {UID} is left alone: its state cannot be read: " in warnings[0]


@pytest.mark.parametrize("how", [*UNREADABLE, "gone"])
def test_a_state_that_a_power_cut_took_is_that_of_an_earlier_moment(
    store: Store, slices: FakeSlices, warnings: list[str], how: str
) -> None:  # A13
    store.add(a_record(), a_state())
    store.keep(UID, a_state(running()))
    store.save(UID, a_state(ended()))
    (UNREADABLE | {"gone": Path.unlink})[how](store.directory(UID) / "state.json")
    assert list(store.load(rebooted=True)) == [(a_record(), a_state(running()))]
    assert warnings == [f"pod {UID}: its state was lost with the power, and is that of an earlier moment"]
    store.save(UID, a_state(ended()))
    assert list(store.load(rebooted=True)) == [(a_record(), a_state(ended()))], "what is whole is the newest"


@pytest.mark.parametrize("file", ["pod.json", "state.json"])
@pytest.mark.parametrize("how", [*UNREADABLE, "gone"])
def test_a_pod_of_which_nobody_was_told_before_the_power_cut_never_was(
    store: Store, warnings: list[str], file: str, how: str
) -> None:  # A13
    before = everything_below(store.root)
    store.add(a_record(), a_state())
    (UNREADABLE | {"gone": Path.unlink})[how](store.directory(UID) / file)
    assert list(store.load(rebooted=True)) == []
    assert everything_below(store.root) == before
    assert warnings == []


def test_a_pod_that_was_kept_and_cannot_be_read_is_left_alone(store: Store, warnings: list[str]) -> None:
    store.add(a_record(), a_state())
    store.keep(UID, a_state())
    for file in ("state.json", "kept.json"):
        (store.directory(UID) / file).write_bytes(b"\0" * 100)
    assert list(store.load(rebooted=True)) == []
    assert store.directory(UID).is_dir()
    assert f"pod {UID} is left alone: its state cannot be read: " in warnings[0]


def test_what_is_no_pod_is_left_alone(store: Store) -> None:
    (store.root / "pods" / "README").write_text("")
    (store.root / "pods" / "lost+found").mkdir()
    (store.root / "logs" / "README").write_text("")
    assert list(store.load()) == []
    assert {path.name for path in (store.root / "pods").iterdir()} == {"README", "lost+found"}
    assert (store.root / "logs" / "README").exists()


def test_a_slice_without_a_pod_is_removed(store: Store, slices: FakeSlices) -> None:
    """As after a kill and `rm -rf` of the pod's directory."""
    slices.there = {UID, OTHER}
    store.add(a_record(), a_state())
    list(store.load())
    assert slices.removed == [OTHER]


def test_logs_without_a_pod_are_removed(store: Store) -> None:
    strange = store.root / "logs" / f"default_web_{OTHER}"
    strange.mkdir()
    store.add(a_record(), a_state())
    list(store.load())
    assert not strange.exists()
    assert store.logs(a_record()).exists()


@pytest.mark.root
def test_what_cannot_be_removed_is_a_warning_and_stops_nobody(store: Store, warnings: list[str]) -> None:
    store.add(a_record(), a_state())
    half = store.directory(OTHER)
    half.mkdir()
    (half / "stuck").write_text("")
    subprocess.run(["chattr", "+i", half / "stuck"], check=True)
    try:
        assert [record.uid for record, _ in store.load()] == [UID]
    finally:
        subprocess.run(["chattr", "-i", half / "stuck"], check=True)
    assert len(warnings) == 1
    assert OTHER in warnings[0] and "Operation not permitted" in warnings[0]
    list(store.load())
    assert not half.exists()


def test_a_tree_deeper_than_a_path_can_name_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    remove_tree(top)
    assert not top.exists()


def test_a_tree_that_is_gone_meanwhile_is_an_end_too(tmp_path: Path) -> None:
    remove_tree(tmp_path / "ghost")


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        (UID, True),
        (str(uuid.uuid4()), True),
        (UID.upper(), False),
        (UID.replace("-", ""), False),
        (f"{{{UID}}}", False),
        ("..", False),
        ("", False),
        (f"{UID}/..", False),
    ],
)
def test_a_uid_is_a_plain_name(name: str, good: bool) -> None:
    assert is_uid(name) is good


def test_the_record_that_is_written_is_the_manifest_as_it_was(store: Store) -> None:
    record: PodRecord = replace(a_record(), manifest=a_manifest(restartPolicy="Never"))
    state: PodState = a_state()
    store.add(record, state)
    assert json.loads((store.directory(UID) / "pod.json").read_text())["manifest"] == a_manifest(restartPolicy="Never")


def test_an_error_of_removal_says_what_rm_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = subprocess.CompletedProcess((), 1, "", "rm: cannot remove 'x': Device or resource busy\nmore\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: busy)
    with pytest.raises(SandboxError, match=r"^rm: cannot remove 'x': Device or resource busy$"):
        remove_tree(tmp_path / "ghost")
