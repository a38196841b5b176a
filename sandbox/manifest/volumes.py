"""The tables of a pod's volumes: each source Kubernetes has, which of them are implemented, and their rules."""

from __future__ import annotations

from sandbox import model
from sandbox.manifest import rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Amount, Choice, Flag, Text
from sandbox.manifest.records import Field, Record
from sandbox.quantity import parse

# ---- rules that look at more than one field ----


def _at_most_one_source(volume: Cursor) -> None:
    sources = [field for name, field in volume.fields() if name in _IMPLEMENTED_SOURCES and volume.field(name)]
    for extra in sources[1:]:
        extra.refuse(wording.forbidden("may not specify more than 1 volume type"), at=extra.named)


def _limit_is_not_negative(empty_dir: Cursor) -> None:
    field = empty_dir.field("sizeLimit")
    if not field:
        return
    try:
        limit = parse(str(field.node.value).strip())
    except ValueError:
        return  # the field's own finding
    if limit.value < 0:
        field.refuse(wording.forbidden("SizeLimit field must be a valid resource quantity"))


# ---- sources ----

EMPTY_DIR = Record(
    "EmptyDirVolumeSource",
    model.EmptyDir,
    Field("medium", Choice(*model.Medium, known=("HugePages", "HugePages-2Mi", "HugePages-1Gi"))),
    Field("sizeLimit", Amount()),
    rules=(_limit_is_not_negative,),
)

HOST_PATH = Record(
    "HostPathVolumeSource",
    model.HostPath,
    Field("path", Text(rules.absolute_path, rules.no_backsteps), required=True),
    Field("type", Choice(*sorted(model.HostPathType))),
)

CLAIM_VOLUME = Record(
    "PersistentVolumeClaimVolumeSource",
    model.ClaimVolume,
    Field("claimName", Text(rules.dns_subdomain), required=True),
    Field("readOnly", Flag()),
)

_IMPLEMENTED_SOURCES = ("emptyDir", "hostPath", "persistentVolumeClaim")


def _volume(name: str, **sources: model.VolumeSource) -> model.Volume:
    # The API server makes a volume without a source an emptyDir.
    return model.Volume(name, next(iter(sources.values()), model.EmptyDir()))


VOLUME = Record(
    "Volume",
    _volume,
    Field("name", Text(rules.dns_label), required=True),
    Field("emptyDir", EMPTY_DIR),
    Field("hostPath", HOST_PATH),
    Field("persistentVolumeClaim", CLAIM_VOLUME),
    rules=(_at_most_one_source,),
)
