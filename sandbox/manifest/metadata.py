"""The table of `metadata`, which every kind has.

The rules and the words are the API server's (apimachinery, ValidateObjectMeta).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.manifest import rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Flag, ListOf, Text, TextMap, Tree, Whole
from sandbox.manifest.records import Field, Record


def _not_empty(text: str) -> Iterator[str]:
    if not text:
        yield "must not be empty"


def _prefix(text: str) -> Iterator[str]:
    """What a name may begin with: it may end in a hyphen."""
    return rules.dns_subdomain(text[:-1] + "a" if text.endswith("-") else text)


def _name_is_not_generated(metadata: Cursor) -> None:
    """In Kubernetes, too, a name comes before what one would be made of."""
    generate = metadata.field("generateName")
    if generate and metadata.text("generateName") and not metadata.text("name"):
        why = "a pod has the name that its manifest gives it; use `name`"
        generate.refuse(wording.not_implemented("generateName", why), at=generate.named)


_OWNER: Record[dict[str, Any]] = Record(
    "OwnerReference",
    dict,
    *(Field(name, Text(_not_empty), absent="") for name in ("apiVersion", "kind", "name", "uid")),
    Field("controller", Flag()),
    Field("blockOwnerDeletion", Flag()),
)

METADATA: Record[dict[str, Any]] = Record(
    "ObjectMeta",
    dict,
    Field("name", Text(rules.dns_subdomain), required=True),
    Field("namespace", Text(rules.dns_label)),
    Field("labels", TextMap(rules.qualified_name, Text(rules.label_value))),
    Field("annotations", TextMap(rules.annotation_key, Text(), max_bytes=256 << 10)),
    settled=(Field("generateName", Text(_prefix)),),
    ignored=(
        Field("creationTimestamp", Text()),
        Field("deletionGracePeriodSeconds", Whole()),
        Field("deletionTimestamp", Text()),
        Field("generation", Whole()),
        Field("managedFields", ListOf(Tree())),
        Field("resourceVersion", Text()),
        Field("selfLink", Text()),
        Field("uid", Text()),
    ),
    moot={"nothing owns a pod": (Field("ownerReferences", ListOf(_OWNER)),)},
    rules=(_name_is_not_generated,),
)
