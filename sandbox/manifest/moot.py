"""Fields of a Pod that have no meaning on one machine, each kind with the reason.

They are read as Kubernetes would read them, so that a slip in one is found, and change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.manifest import rules
from sandbox.manifest.fields import Choice, Field, Flag, ListOf, Record, Text, TextMap, Tree, Whole

_TOLERATION: Record[dict[str, object]] = Record(
    dict,
    Field("key", Text(rules.qualified_name)),
    Field("operator", Choice("Equal", "Exists", "Lt", "Gt")),
    Field("value", Text()),
    Field("effect", Choice("NoSchedule", "PreferNoSchedule", "NoExecute")),
    Field("tolerationSeconds", Whole()),
)

_TOPOLOGY_SPREAD_CONSTRAINT: Record[dict[str, object]] = Record(
    dict,
    Field("maxSkew", Whole(minimum=1), required=True),
    Field("topologyKey", Text(rules.qualified_name), required=True),
    Field("whenUnsatisfiable", Choice("DoNotSchedule", "ScheduleAnyway"), required=True),
    Field("labelSelector", Tree()),
    Field("matchLabelKeys", ListOf(Text(rules.qualified_name))),
    Field("minDomains", Whole(minimum=1)),
    Field("nodeAffinityPolicy", Choice("Ignore", "Honor")),
    Field("nodeTaintsPolicy", Choice("Ignore", "Honor")),
)

_AFFINITY: Record[dict[str, object]] = Record(
    dict,
    Field("nodeAffinity", Tree()),
    Field("podAffinity", Tree()),
    Field("podAntiAffinity", Tree()),
)

OF_SPEC: Mapping[str, tuple[Field, ...]] = {
    "there is one node": (
        Field("affinity", _AFFINITY),
        Field("nodeSelector", TextMap(rules.qualified_name, Text(rules.label_value))),
        Field("schedulerName", Text(rules.dns_subdomain)),
        Field("tolerations", ListOf(_TOLERATION)),
        Field("topologySpreadConstraints", ListOf(_TOPOLOGY_SPREAD_CONSTRAINT)),
    ),
    "no pod makes way for another": (
        Field("preemptionPolicy", Choice("PreemptLowerPriority", "Never")),
        Field("priority", Whole()),
        Field("priorityClassName", Text(rules.dns_subdomain)),
    ),
    "there is no API server to talk to": (
        Field("automountServiceAccountToken", Flag()),
        Field("serviceAccount", Text(rules.dns_subdomain)),
        Field("serviceAccountName", Text(rules.dns_subdomain)),
    ),
    "there are no Services": (Field("enableServiceLinks", Flag()),),
}

_NAMES = tuple(field.name for fields in OF_SPEC.values() for field in fields)

# What changes nothing in Kubernetes either: nobody need be told.
IDLE: Mapping[str, tuple[object, ...]] = {
    "enableServiceLinks": (True, False),
    "preemptionPolicy": ("PreemptLowerPriority",),
    "priority": (0,),
    "schedulerName": ("default-scheduler",),
    "serviceAccount": ("default",),
    "serviceAccountName": ("default",),
}


def said(spec: Mapping[str, object]) -> dict[str, object]:
    """Those fields of a manifest's `spec` that say something, as they are written."""
    return {
        name: spec[name]
        for name in _NAMES
        if spec.get(name) not in (None, "", [], {}) and spec[name] not in IDLE.get(name, ())
    }
