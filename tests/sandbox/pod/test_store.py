from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgroups import Cgroup
from sandbox.errors import AlreadyExists, KernelError
from sandbox.model import Pod
from sandbox.pod.slices import Slices
from sandbox.pod.store import Store

pytestmark = pytest.mark.root


def test_a_claim_has_a_uid_a_directory_and_a_slice_of_its_own(root: Path, no_leaks: None) -> None:
    """# A12"""
    store = Store(root)
    one, two = store.claim(Pod("one")), store.claim(Pod("two"))
    assert one.uid != two.uid
    assert one.directory != two.directory
    assert one.pod_slice.path != two.pod_slice.path
    store.release(one)
    assert not one.directory.exists()
    assert not one.pod_slice.path.exists()
    assert two.pod_slice.path.exists()
    store.release(two)
    assert not two.pod_slice.path.parent.exists(), "the parents go with the last pod"


def test_a_name_is_free_again_after_release_and_its_uid_is_new(root: Path, no_leaks: None) -> None:
    """# A12, A14"""
    store = Store(root)
    first = store.claim(Pod("web"))
    with pytest.raises(AlreadyExists, match='pods "web" already exists'):
        store.claim(Pod("web"))
    store.release(first)
    second = store.claim(Pod("web"))
    assert second.uid != first.uid
    store.release(second)


def test_the_same_name_in_another_namespace_is_another_pod(root: Path, no_leaks: None) -> None:
    store = Store(root)
    claims = [store.claim(Pod("web", namespace=namespace)) for namespace in ("a", "b")]
    for claim in claims:
        store.release(claim)


def test_what_a_dead_owner_left_is_removed_by_the_next_claim(root: Path, no_leaks: None) -> None:
    store = Store(root)
    dead = store.claim(Pod("web"))
    (dead.directory / "volumes").mkdir()
    dead.pod_slice.create_child("left.scope")
    os.close(dead.lock)
    store.release(store.claim(Pod("web")))
    assert not dead.directory.exists()
    assert not dead.pod_slice.path.exists()


def test_a_directory_that_was_never_finished_is_removed_too(root: Path, no_leaks: None) -> None:
    """Its owner was killed between mkdir and the record."""
    store = Store(root)
    (root / "pods" / "half").mkdir()
    store.release(store.claim(Pod("web")))
    assert not (root / "pods" / "half").exists()


def test_a_slice_that_cannot_be_made_leaves_no_directory(
    root: Path, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)

    def refuse(self: Slices, uid: str) -> Cgroup:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Slices, "create", refuse)
    with pytest.raises(OSError, match="No space left"):
        store.claim(Pod("web"))
    assert list((root / "pods").iterdir()) == []


def test_a_root_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match="make the root directory"):
        Store(tmp_path / "file" / "root")


def test_other_roots_have_other_slices_and_the_usual_one_the_plain_name(tmp_path: Path) -> None:
    names = {Slices(path).name for path in (tmp_path, tmp_path / "a", Path("/var/lib/seedpod"))}
    assert len(names) == 3
    assert Slices(Path("/var/lib/seedpod")).name == "seedpod.slice"
