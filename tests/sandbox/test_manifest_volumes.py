"""Volumes of a Pod and PersistentVolumeClaims in a manifest: what is accepted, and each refusal with its words."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import manifest
from sandbox.claim import AccessMode, PersistentVolumeClaim
from sandbox.errors import ManifestError
from sandbox.model import (
    ClaimVolume,
    EmptyDir,
    HostPath,
    HostPathType,
    Medium,
    Pod,
    VolumeSource,
)
from sandbox.quantity import parse

QUANTITIES = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def with_volume(**source: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", **source}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def refusals(document: dict[str, Any], kind: type[Pod] | type[PersistentVolumeClaim] = Pod) -> list[str]:
    with pytest.raises(ManifestError) as refused:
        manifest.object_from_dict(document, kind)
    return [f"{finding.field}: {finding.message}" for finding in refused.value.findings]


# ---- volumes of a pod ----


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({}, EmptyDir()),
        ({"emptyDir": {}}, EmptyDir()),
        ({"emptyDir": {"medium": "", "sizeLimit": 0}}, EmptyDir(size_limit=parse("0"))),
        ({"emptyDir": {"medium": "Memory"}}, EmptyDir(Medium.MEMORY)),
        ({"emptyDir": {"sizeLimit": "64Mi"}}, EmptyDir(Medium.DISK, parse("64Mi"))),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}, EmptyDir(Medium.MEMORY, parse("64Mi"))),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": 1048576}}, EmptyDir(Medium.MEMORY, parse("1Mi"))),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": 1e6}}, EmptyDir(Medium.MEMORY, parse("1M"))),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": " 1M "}}, EmptyDir(Medium.MEMORY, parse("1M"))),
        ({"hostPath": {"path": "/a"}}, HostPath("/a")),
        *[({"hostPath": {"path": "/a", "type": str(kind)}}, HostPath("/a", kind)) for kind in HostPathType],
        ({"persistentVolumeClaim": {"claimName": "data"}}, ClaimVolume("data")),
        ({"persistentVolumeClaim": {"claimName": "a.b", "readOnly": True}}, ClaimVolume("a.b", True)),
    ],
)
def test_a_volume_is_read(source: dict[str, Any], value: VolumeSource) -> None:
    (volume,) = manifest.from_dict(with_volume(**source)).volumes
    assert (volume.name, volume.source) == ("v", value)


@pytest.mark.parametrize(
    ("source", "refusal"),
    [
        (
            {"emptyDir": {"sizeLimit": "-1Gi"}},
            ".emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (
            {"emptyDir": {"medium": "Memory", "sizeLimit": "-1"}},
            ".emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        ({"emptyDir": {"sizeLimit": "much"}}, f'.emptyDir.sizeLimit: Invalid value: "much": {QUANTITIES}'),
        (
            {"emptyDir": {"sizeLimit": "1Mib"}},
            f'.emptyDir.sizeLimit: Invalid value: "1Mib": {QUANTITIES}',
        ),
        ({"emptyDir": {"sizeLimit": float("nan")}}, f'.emptyDir.sizeLimit: Invalid value: "nan": {QUANTITIES}'),
        (
            {"emptyDir": {"sizeLimit": True}},
            ".emptyDir.sizeLimit: Invalid value: true: must be a quantity, not a boolean",
        ),
        (
            {"emptyDir": {"medium": "HugePages-2Mi"}},
            '.emptyDir.medium: Unsupported value: "HugePages-2Mi": known but not implemented yet; '
            'supported values: "", "Memory"',
        ),
        (
            {"emptyDir": {"medium": "memory"}},
            '.emptyDir.medium: Unsupported value: "memory": supported values: "", "Memory"',
        ),
        (
            {"emptyDir": {"mode": 448}},
            '.emptyDir.mode: field "mode" is known but not implemented: '
            "in Kubernetes it is alpha; use an init container with chmod, or fsGroup",
        ),
        (
            {"hostPath": {"path": "/a", "type": "Pipe"}},
            '.hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", '
            '"Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
        ),
        ({"persistentVolumeClaim": {}}, ".persistentVolumeClaim.claimName: Required value"),
        ({"persistentVolumeClaim": {"claimName": ""}}, ".persistentVolumeClaim.claimName: Required value"),
        (
            {"persistentVolumeClaim": {"claimName": "a"}, "emptyDir": {}},
            ".emptyDir: Forbidden: may not specify more than 1 volume type",
        ),
    ],
)
def test_a_faulty_volume_is_refused(source: dict[str, Any], refusal: str) -> None:
    assert refusals(with_volume(**source)) == [f"spec.volumes[0]{refusal}"]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc", "../../etc", "A", "a\n", "-", "a..b", "x" * 254, "a\0"])
def test_a_hostile_name_of_a_claim_is_refused(name: str) -> None:
    (refusal,) = refusals(with_volume(persistentVolumeClaim={"claimName": name}))
    assert refusal.startswith("spec.volumes[0].persistentVolumeClaim.claimName: Invalid value: ")
    assert refusals(a_claim(name=name), PersistentVolumeClaim)[0].startswith("metadata.name: Invalid value: ")


def test_the_claims_of_a_pod_are_those_of_its_volumes_each_once() -> None:
    document = with_volume(persistentVolumeClaim={"claimName": "b"})
    for name, claim in (("w", "a"), ("x", "b")):
        document["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": claim}})
    document["spec"]["volumes"].append({"name": "y", "emptyDir": {}})
    assert manifest.from_dict(document).claims == ("b", "a")


# ---- claims ----


def a_claim(*, name: str = "data", metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {**base, **spec},
    }


def test_a_claim_is_read_whole() -> None:
    document = a_claim(
        metadata={"namespace": "prod", "labels": {"a": "b"}, "annotations": {"c": "d"}, "uid": "ignored"},
        accessModes=["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
        resources={"requests": {"storage": "0.5Gi"}, "limits": {}},
        storageClassName="fast",
        volumeMode="Filesystem",
        volumeName="pv-1",
    )
    document["status"] = {"phase": "Bound"}
    claim = manifest.object_from_dict(document, PersistentVolumeClaim)
    assert claim == PersistentVolumeClaim(
        "data",
        (AccessMode.READ_WRITE_ONCE, AccessMode.READ_ONLY_MANY, AccessMode.READ_WRITE_MANY),
        parse("512Mi"),
        namespace="prod",
        labels={"a": "b"},
        annotations={"c": "d"},
        storage_class_name="fast",
        volume_name="pv-1",
    )
    assert claim.storage.value == Decimal(2**29)


def test_a_claim_may_leave_most_to_us() -> None:
    claim = manifest.object_from_dict(a_claim(storageClassName="", volumeName=None), PersistentVolumeClaim)
    assert claim == PersistentVolumeClaim("data", (AccessMode.READ_WRITE_ONCE,), parse("1Gi"))


MODES = '"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({"accessModes": []}, "spec.accessModes: Required value: at least 1 access mode is required"),
        ({"accessModes": None}, "spec.accessModes: Required value: at least 1 access mode is required"),
        ({"accessModes": ["RWO"]}, f'spec.accessModes[0]: Unsupported value: "RWO": supported values: {MODES}'),
        (
            {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        ({"accessModes": [{}]}, "spec.accessModes[0]: Invalid value: {…}: must be a string, not an object"),
        ({"resources": None}, "spec.resources: Required value"),
        ({"resources": {}}, "spec.resources.requests: Required value"),
        ({"resources": {"requests": {}}}, "spec.resources.requests.storage: Required value"),
        (
            {"resources": {"requests": {"storage": "0"}}},
            'spec.resources.requests.storage: Invalid value: "0": must be greater than zero',
        ),
        (
            {"resources": {"requests": {"storage": "-1Gi"}}},
            'spec.resources.requests.storage: Invalid value: "-1Gi": must be greater than zero',
        ),
        (
            {"resources": {"requests": {"storage": "1 GB"}}},
            f'spec.resources.requests.storage: Invalid value: "1 GB": {QUANTITIES}',
        ),
        (
            {"resources": {"requests": {"storage": "1Gi"}, "limits": {"storage": "2Gi"}}},
            'spec.resources.limits: field "limits" is known but not implemented yet',
        ),
        (
            {"volumeMode": "Block"},
            'spec.volumeMode: Unsupported value: "Block": known but not implemented yet; '
            'supported values: "Filesystem"',
        ),
        (
            {"dataSource": {"kind": "x"}},
            'spec.dataSource: field "dataSource" is known but not implemented: '
            "a claim begins empty; fill it in an init container",
        ),
        (
            {"selector": {}},
            'spec.selector: field "selector" is known but not implemented: '
            "there are no volumes to choose from; leave it out",
        ),
        ({"accessmodes": []}, 'spec.accessmodes: unknown field "accessmodes", did you mean "accessModes"?'),
    ],
)
def test_a_faulty_claim_is_refused(spec: dict[str, Any], refusal: str) -> None:
    assert refusals(a_claim(**spec), PersistentVolumeClaim) == [refusal]


# ---- several kinds in one text ----

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: c, image: i}], volumes: [{name: v, persistentVolumeClaim: {claimName: web}}]}
"""
CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: web}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_kinds_may_be_mixed_and_of_two_kinds_one_may_have_the_others_name() -> None:
    found = manifest.documents(f"{POD}---\n{CLAIM}")
    assert [type(each.object) for each in found] == [Pod, PersistentVolumeClaim]
    assert [each.manifest["kind"] for each in found] == ["Pod", "PersistentVolumeClaim"]


def test_a_list_may_hold_several_kinds() -> None:
    items = json.dumps([each.manifest for each in manifest.documents(f"{POD}---\n{CLAIM}")])
    assert manifest.load(f"kind: List\nitems: {items}") == manifest.load(f"{POD}---\n{CLAIM}")


def test_two_claims_of_one_name_are_a_duplicate() -> None:
    with pytest.raises(ManifestError, match=r'8:18: metadata.name: Duplicate value: "default/web"'):
        manifest.load(f"{CLAIM}---\n{CLAIM}")


def test_what_has_to_be_a_pod_is_refused_where_it_is_a_claim_and_the_other_way_round() -> None:
    claim, pod = (manifest.documents(text)[0].manifest for text in (CLAIM, POD))
    assert refusals(claim) == ['kind: Unsupported value: "PersistentVolumeClaim": supported values: "Pod"']
    assert refusals(pod, PersistentVolumeClaim) == [
        'kind: Unsupported value: "Pod": supported values: "PersistentVolumeClaim"'
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda each: st.lists(each) | st.dictionaries(st.text(max_size=8), each),
        max_leaves=8,
    )
)
def test_no_claim_does_harm(spec: Any) -> None:
    document = {**a_claim(), "spec": spec}
    try:
        manifest.object_from_dict(document, PersistentVolumeClaim)
    except ManifestError as error:
        assert error.findings
