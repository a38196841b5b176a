"""Claims of a root: who may use one, what of one may change, and that a request that fails changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sandbox import manifest
from sandbox.claim import PersistentVolumeClaim
from sandbox.errors import AlreadyExists, NotFound, SandboxError, WrongState
from sandbox.model import ClaimVolume, Pod, Volume
from sandbox.pod.claims import Asked, Claims
from sandbox.pod.trees import remove_unmounted
from sandbox.status import ClaimPhase

UID = "0b7a2f34-9c1d-4e5f-8a6b-0123456789ab"
OTHER = "1b7a2f34-9c1d-4e5f-8a6b-0123456789ab"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def claims(tmp_path: Path, warnings: list[str]) -> Claims:
    return Claims(tmp_path, warnings.append)


def asked(
    name: str = "data", size: str = "1Gi", *, uid: str = UID, modes: tuple[str, ...] = (), **fields: Any
) -> Asked:
    namespace, labels = fields.pop("namespace", "default"), fields.pop("labels", {})
    written = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "accessModes": list(modes or ("ReadWriteOnce",)),
            "resources": {"requests": {"storage": size}},
            **fields,
        },
    }
    return Asked(uid, manifest.object_from_dict(written, PersistentVolumeClaim), written)


def pod(name: str = "web", *names: str, namespace: str = "default") -> Pod:
    sources = [ClaimVolume(each) for each in names or ("data",)]
    return Pod(name, namespace, volumes=tuple(Volume(f"v{i}", each) for i, each in enumerate(sources)))


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


# ---- making, changing ----


def test_a_claim_is_bound_to_a_volume_of_its_own_and_known_to_the_next_engine(claims: Claims, tmp_path: Path) -> None:
    claims.create(asked())
    (status,) = claims.statuses()
    assert (status.phase, status.uid) == (ClaimPhase.BOUND, UID)
    assert (status.claim.volume_name, status.claim.storage_class_name) == (f"pvc-{UID}", "local")
    assert status.path == claims.volume("default", "data") == tmp_path / "default" / "data" / "data"
    after = Claims(tmp_path, pytest.fail)
    after.load()
    assert after.statuses() == [status]


def test_a_claim_may_name_its_volume_and_class(claims: Claims) -> None:
    claims.create(asked(volumeName="pv-1", storageClassName="fast"))
    (status,) = claims.statuses()
    assert (status.claim.volume_name, status.claim.storage_class_name) == ("pv-1", "fast")


def test_to_create_one_twice_is_an_error_but_for_who_asks_again_with_the_same_uid(claims: Claims) -> None:
    claims.create(asked())
    claims.create(asked())
    with pytest.raises(AlreadyExists, match='persistentvolumeclaims "data" already exists'):
        claims.create(asked(uid=OTHER))
    claims.create(asked(uid=OTHER, namespace="prod"))
    assert [(each.claim.namespace, each.uid) for each in claims.statuses()] == [("default", UID), ("prod", OTHER)]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "unchanged"),
        ({"size": "1024Mi"}, "unchanged"),
        ({"storageClassName": "local"}, "unchanged"),
        ({"size": "2Gi"}, "configured"),
        ({"labels": {"a": "b"}}, "configured"),
    ],
)
def test_a_later_manifest_changes_what_it_may(claims: Claims, tmp_path: Path, change: Any, word: str) -> None:
    with claims.applied([asked()]):
        pass
    (claims.volume("default", "data") / "file").write_text("kept")
    later = asked(uid=OTHER, **change)
    assert claims.check([later]) == [word]
    with claims.applied([later]):
        pass
    (status,) = claims.statuses()
    assert (status.uid, status.claim.storage, status.claim.labels) == (UID, later.claim.storage, later.claim.labels)
    assert (status.path / "file").read_text() == "kept"
    after = Claims(tmp_path, pytest.fail)
    after.load()
    assert after.statuses() == [status]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modes": ("ReadWriteMany",)}, "spec: Forbidden: spec is immutable after creation except resources.requests"),
        ({"volumeName": "mine"}, "spec: Forbidden: spec is immutable"),
        ({"storageClassName": "fast"}, "spec: Forbidden: spec is immutable"),
        ({"size": "1Mi"}, "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"),
    ],
)
def test_what_may_not_change_is_refused_in_the_api_servers_words(
    claims: Claims, tmp_path: Path, change: Any, reason: str
) -> None:
    claims.create(asked())
    before = snapshot(tmp_path)
    with pytest.raises(SandboxError) as refused:
        claims.check([asked("other"), asked(**change)])
    assert str(refused.value).startswith(f'The PersistentVolumeClaim "data" is invalid: {reason}')
    assert snapshot(tmp_path) == before


def test_a_request_that_fails_leaves_every_claim_as_it_was(claims: Claims, tmp_path: Path) -> None:
    claims.create(asked("old"))
    before, statuses = snapshot(tmp_path), claims.statuses()
    with pytest.raises(ZeroDivisionError), claims.applied([asked("new"), asked("old", "2Gi"), asked("newer")]):
        assert [each.claim.name for each in claims.statuses()] == ["new", "newer", "old"]
        raise ZeroDivisionError
    assert snapshot(tmp_path) == before
    assert claims.statuses() == statuses


def test_one_of_several_claims_that_cannot_be_made_undoes_those_before_it(claims: Claims, tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "b").write_text("in the way")
    with pytest.raises(SandboxError, match="in the way"), claims.applied([asked("a"), asked("b"), asked("c")]):
        pytest.fail("nobody may come here")
    assert [path.name for path in tmp_path.rglob("*")] == ["default", "b"]
    assert claims.statuses() == []


def test_a_claim_that_was_copied_by_hand_is_left_alone(claims: Claims, tmp_path: Path, warnings: list[str]) -> None:
    claims.create(asked())
    shutil.copytree(tmp_path / "default" / "data", tmp_path / "default" / "copy")
    after = Claims(tmp_path, warnings.append)
    after.load()
    assert [each.claim.name for each in after.statuses()] == ["data"]
    (line,) = warnings
    assert line.startswith("persistentvolumeclaim default/copy is left alone: ")


# ---- who uses them ----


def test_a_claim_in_use_cannot_be_removed_and_says_by_whom(claims: Claims, tmp_path: Path) -> None:
    claims.create(asked())
    assert claims.take("1", pod("web")) is None
    assert claims.take("2", pod("app")) is None
    (status,) = claims.statuses()
    assert status.used_by == ("app", "web")
    with pytest.raises(WrongState, match=r'^persistentvolumeclaim "data" is in use by pods "app", "web"$') as refused:
        claims.remove(UID)
    assert refused.value.hint == "seedpod delete -n default app web"
    claims.release("1")
    with pytest.raises(WrongState, match=r'^persistentvolumeclaim "data" is in use by pod "app"$'):
        claims.remove(UID)
    claims.release("2")
    claims.release("2")
    left = claims.remove(UID)
    assert left is not None
    remove_unmounted(left)
    assert list(tmp_path.iterdir()) == []
    assert claims.remove(UID) is None, "who asks again is not told that it is gone"
    with pytest.raises(NotFound, match='persistentvolumeclaims "data" not found'):
        claims.find("default", "data")


def test_a_pod_waits_for_claims_in_the_schedulers_words_and_takes_all_or_none(claims: Claims) -> None:
    claims.create(asked())
    both = pod("web", "data", "later")
    assert claims.take("1", both) == 'persistentvolumeclaim "later" not found'
    assert claims.statuses()[0].used_by == ()
    changed = claims.changed
    claims.create(asked("later", uid=OTHER))
    assert changed.is_set()
    assert not claims.changed.is_set()
    assert claims.take("1", both) is None
    assert [each.used_by for each in claims.statuses()] == [("web",), ("web",)]


def test_a_claim_of_another_namespace_is_not_found(claims: Claims) -> None:
    claims.create(asked(namespace="prod"))
    assert claims.take("1", pod()) == 'persistentvolumeclaim "data" not found'
    assert claims.take("1", pod(namespace="prod")) is None


def test_of_a_claim_for_one_pod_a_second_pod_waits_until_the_first_is_over(claims: Claims) -> None:
    claims.create(asked(modes=("ReadWriteOncePod",)))
    assert claims.take("1", pod("web")) is None
    assert claims.take("1", pod("web")) is None, "its sandbox is made anew"
    reason = "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    assert claims.take("2", pod("app")) == reason
    changed = claims.changed
    claims.release("1")
    assert changed.is_set()
    assert claims.take("2", pod("app")) is None


def test_a_volume_that_was_removed_by_hand_is_lost_and_not_made_anew(claims: Claims, tmp_path: Path) -> None:
    claims.create(asked())
    remove_unmounted(claims.volume("default", "data"))
    (status,) = claims.statuses()
    assert status.phase is ClaimPhase.LOST
    reason = f'persistentvolumeclaim "data" bound to non-existent persistentvolume "pvc-{UID}"'
    assert claims.take("1", pod()) == reason
    with pytest.raises(SandboxError, match=reason):
        claims.volume("default", "data")
    left = claims.remove(UID)
    assert left
    remove_unmounted(left)
    claims.create(asked(uid=OTHER))
    assert claims.take("1", pod()) is None


def test_a_pod_that_an_engine_before_ran_keeps_its_claims_whatever_has_become_of_the_others(claims: Claims) -> None:
    claims.create(asked())
    claims.keep("1", pod("web", "gone", "data"))
    with pytest.raises(WrongState, match="in use by"):
        claims.remove(UID)
