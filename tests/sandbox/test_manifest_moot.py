"""Fields of a Pod that have no meaning on one machine: accepted, told, and wrong where they are wrong."""

from __future__ import annotations

import pytest

from sandbox import manifest
from sandbox.errors import Finding, ManifestError

MOOT = {
    "affinity": {"podAntiAffinity": {}},
    "nodeSelector": {"disk": "ssd"},
    "schedulerName": "mine",
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -1}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    ],
    "preemptionPolicy": "Never",
    "priority": -5,
    "priorityClassName": "high",
    "automountServiceAccountToken": False,
    "serviceAccount": "robot",
    "serviceAccountName": "robot",
}


def with_spec(**fields: object) -> dict[str, object]:
    spec = {"containers": [{"name": "c", "image": "i"}], **fields}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize("field", MOOT)
def test_a_field_without_meaning_here_is_accepted_with_a_warning(field: str) -> None:
    warnings: list[Finding] = []
    plain = manifest.from_dict(with_spec())
    assert manifest.from_dict(with_spec(**{field: MOOT[field]}), warn=warnings.append) == plain
    assert [(each.field, each.warning) for each in warnings] == [(f"spec.{field}", True)]


@pytest.mark.parametrize("field", MOOT)
def test_and_is_refused_where_it_has_another_type(field: str) -> None:
    wrong: object = "text" if not isinstance(MOOT[field], str) else 7
    with pytest.raises(ManifestError, match=f"spec.{field}"):
        manifest.from_dict(with_spec(**{field: wrong}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enableServiceLinks", True),
        ("enableServiceLinks", False),
        ("priority", 0),
        ("schedulerName", "default-scheduler"),
        ("serviceAccountName", "default"),
        ("tolerations", []),
        ("nodeSelector", None),
    ],
)
def test_what_says_nothing_is_no_warning(field: str, value: object) -> None:
    warnings: list[Finding] = []
    manifest.from_dict(with_spec(**{field: value}), warn=warnings.append)
    assert warnings == []


def test_a_slip_in_a_field_without_meaning_is_found() -> None:
    with pytest.raises(ManifestError, match=r'spec.tolerations\[0\].opertor: unknown field "opertor", did you mean'):
        manifest.from_dict(with_spec(tolerations=[{"opertor": "Exists"}]))
