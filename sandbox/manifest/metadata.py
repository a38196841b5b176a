"""The table of `metadata`, which every kind has."""

from __future__ import annotations

from typing import Any

from sandbox.manifest import rules
from sandbox.manifest.fields import ListOf, Text, TextMap, Tree, Whole
from sandbox.manifest.records import Field, Record

METADATA: Record[dict[str, Any]] = Record(
    "ObjectMeta",
    dict,
    Field("name", Text(rules.dns_subdomain), required=True),
    Field("namespace", Text(rules.dns_label)),
    Field("labels", TextMap(rules.qualified_name, Text(rules.label_value))),
    Field("annotations", TextMap(rules.annotation_key, Text(), max_bytes=256 << 10)),
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
    idle={"generateName": ("",)},
)
