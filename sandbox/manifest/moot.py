"""Fields of a Pod that have no meaning on one machine, each kind with the reason.

They are read as Kubernetes would read them, so that a slip in one is found, and change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.manifest import rules, scheduling
from sandbox.manifest.fields import Choice, Flag, ListOf, Text, TextMap, Whole
from sandbox.manifest.records import Field

OF_SPEC: Mapping[str, tuple[Field, ...]] = {
    "there is one node": (
        Field("affinity", scheduling.AFFINITY),
        Field("nodeSelector", TextMap(rules.qualified_name, Text(rules.label_value))),
        Field("schedulerName", Text(rules.dns_subdomain)),
        Field("tolerations", ListOf(scheduling.TOLERATION)),
        Field("topologySpreadConstraints", scheduling.TOPOLOGY_SPREAD_CONSTRAINTS),
    ),
    "no pod makes way for another": (
        Field("preemptionPolicy", Choice("PreemptLowerPriority", "Never")),
        Field("priority", Whole(bits=32)),
        Field("priorityClassName", Text(rules.dns_subdomain)),
    ),
    "there is no API server to talk to": (
        Field("automountServiceAccountToken", Flag()),
        Field("serviceAccount", Text(rules.dns_subdomain)),
        Field("serviceAccountName", Text(rules.dns_subdomain)),
    ),
}

_NAMES = tuple(field.name for fields in OF_SPEC.values() for field in fields)

# What changes nothing in Kubernetes either: nobody need be told.
IDLE: Mapping[str, tuple[object, ...]] = {
    "affinity": ({},),
    "nodeSelector": ({},),
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
