from __future__ import annotations

import os
import subprocess
import uuid
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
    store = Store(root, pytest.fail)
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
    store = Store(root, pytest.fail)
    first = store.claim(Pod("web"))
    with pytest.raises(AlreadyExists, match='pods "web" already exists'):
        store.claim(Pod("web"))
    store.release(first)
    second = store.claim(Pod("web"))
    assert second.uid != first.uid
    store.release(second)


def test_the_same_name_in_another_namespace_is_another_pod(root: Path, no_leaks: None) -> None:
    store = Store(root, pytest.fail)
    claims = [store.claim(Pod("web", namespace=namespace)) for namespace in ("a", "b")]
    for claim in claims:
        store.release(claim)


def test_what_a_dead_owner_left_is_removed_by_the_next_claim(root: Path, no_leaks: None) -> None:
    store = Store(root, pytest.fail)
    dead = store.claim(Pod("web"))
    (dead.directory / "volumes").mkdir()
    dead.pod_slice.create_child("left.scope")
    os.close(dead.lock)
    store.release(store.claim(Pod("web")))
    assert not dead.directory.exists()
    assert not dead.pod_slice.path.exists()


def test_a_directory_that_was_never_finished_is_removed_too(root: Path, no_leaks: None) -> None:
    """Its owner was killed between mkdir and the record."""
    store = Store(root, pytest.fail)
    half = root / "pods" / str(uuid.uuid4())
    half.mkdir()
    store.release(store.claim(Pod("web")))
    assert not half.exists()


def test_a_slice_that_cannot_be_made_leaves_no_directory(
    root: Path, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root, pytest.fail)

    def refuse(self: Slices, uid: str) -> Cgroup:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Slices, "create", refuse)
    with pytest.raises(OSError, match="No space left"):
        store.claim(Pod("web"))
    assert list((root / "pods").iterdir()) == []


def test_a_root_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match="make the root directory"):
        Store(tmp_path / "file" / "root", pytest.fail)


def test_other_roots_have_other_slices_and_the_usual_one_the_plain_name(tmp_path: Path) -> None:
    names = {Slices(path).name for path in (tmp_path, tmp_path / "a", Path("/var/lib/seedpod"))}
    assert len(names) == 3
    assert Slices(Path("/var/lib/seedpod")).name == "seedpod.slice"


def test_what_is_no_pod_is_left_alone(root: Path, no_leaks: None) -> None:
    store = Store(root, pytest.fail)
    (root / "pods" / "README").write_text("")
    store.release(store.claim(Pod("web")))
    (root / "pods" / "README").unlink()


def test_a_slice_whose_directory_somebody_removed_is_removed(root: Path, no_leaks: None) -> None:
    """As after a kill and `rm -rf` of the root."""
    store = Store(root, pytest.fail)
    lost = store.claim(Pod("lost"))
    os.close(lost.lock)
    (lost.directory / "pod.json").unlink()
    lost.directory.rmdir()
    store.release(store.claim(Pod("web")))
    assert not lost.pod_slice.path.exists()


def test_what_cannot_be_removed_is_a_warning_and_stops_nobody(root: Path, no_leaks: None) -> None:
    warnings: list[str] = []
    store = Store(root, warnings.append)
    dead = store.claim(Pod("dead"))
    stuck = dead.directory / "stuck"
    stuck.write_text("")
    subprocess.run(["chattr", "+i", stuck], check=True)
    os.close(dead.lock)
    store.release(store.claim(Pod("web")))
    assert len(warnings) == 1
    assert dead.uid in warnings[0]
    assert "Operation not permitted" in warnings[0]
    subprocess.run(["chattr", "-i", stuck], check=True)
    store.release(store.claim(Pod("web")))
    assert len(warnings) == 1
    assert not dead.directory.exists()
