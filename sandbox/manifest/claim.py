"""The tables of a v1 PersistentVolumeClaim: every field Kubernetes has, which of them are implemented, their rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.claim import AccessMode, PersistentVolumeClaim
from sandbox.manifest import rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Amount, Choice, ListOf, Text, Tree
from sandbox.manifest.metadata import METADATA
from sandbox.manifest.records import Field, Record
from sandbox.quantity import Quantity

_ONE_POD = AccessMode.READ_WRITE_ONCE_POD


def _one_pod_alone(modes: Cursor) -> None:
    named = [item.node.value for item in modes.items()]
    if _ONE_POD in named and any(each != _ONE_POD for each in named):
        modes.refuse(wording.forbidden(f"may not use {_ONE_POD} with other access modes"), at=modes.named)


def _more_than_nothing(amount: Quantity) -> Iterator[str]:
    if amount.value <= 0:
        yield "must be greater than zero"


REQUESTS: Record[dict[str, Any]] = Record(
    "VolumeResourceList", dict, Field("storage", Amount(_more_than_nothing), required=True)
)

RESOURCES: Record[dict[str, Any]] = Record(
    "VolumeResourceRequirements",
    dict,
    Field("requests", REQUESTS, required=True),
    idle={"limits": ({},)},
)

SPEC: Record[dict[str, Any]] = Record(
    "PersistentVolumeClaimSpec",
    dict,
    Field(
        "accessModes",
        ListOf(Choice(*sorted(AccessMode)), _one_pod_alone),
        required="at least 1 access mode is required",
    ),
    Field("resources", RESOURCES, required=True),
    Field("storageClassName", Text(rules.dns_subdomain)),
    Field("volumeName", Text(rules.dns_subdomain)),
    settled=(Field("volumeMode", Choice("Filesystem", known=("Block",))),),
)


def _claim(api_version: str, kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> PersistentVolumeClaim:
    storage: Mapping[str, Quantity] = spec.pop("resources")["requests"]
    return PersistentVolumeClaim(**metadata, **spec, storage=storage["storage"])


CLAIM = Record(
    "PersistentVolumeClaim",
    _claim,
    Field("apiVersion", Choice("v1"), required=True),
    Field("kind", Choice("PersistentVolumeClaim"), required=True),
    Field("metadata", METADATA, required=True),
    Field("spec", SPEC, required=True),
    ignored=(Field("status", Tree()),),
)
