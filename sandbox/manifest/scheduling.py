"""The tables of what says on which node a pod may run: affinity, tolerations, the spread over a topology.

The rules and the words are the API server's (validation.go, validateAffinity, ValidateTolerations and
validateTopologySpreadConstraints; of selectors, those of apimachinery).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.errors import quoted
from sandbox.manifest import rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Choice, ListOf, Text, TextMap, Whole
from sandbox.manifest.records import Field, Record
from sandbox.manifest.tree import Place

Table = Record[dict[str, Any]]


def _field_or_parent(parent: Cursor, name: str) -> tuple[str, Place]:
    """What the field holds as messages show it, and where that is to be told."""
    field = parent.field(name)
    return (quoted(field.node.written), field.node.place) if field else ('""', parent.named)


def _refuse_field(parent: Cursor, name: str, reason: str) -> None:
    shown, where = _field_or_parent(parent, name)
    parent.refuse(wording.invalid(shown, reason), at=where, path=wording.child(parent.path, name))


def _count(parent: Cursor, name: str) -> int:
    return sum(1 for _ in parent.each(name))


# ---- selectors ----


def _operator(*operators: str) -> Text:
    def rule(text: str) -> Iterator[str]:
        if text not in operators:
            yield "not a valid selector operator"

    return Text(rule)


def _values_fit_operator(requirement: Cursor) -> None:
    values, count = requirement.field("values"), _count(requirement, "values")
    where = values.named if values else requirement.named
    path = wording.child(requirement.path, "values")
    match requirement.text("operator"):
        case "In" | "NotIn" if not count:
            missing = "must be specified when `operator` is 'In' or 'NotIn'"
            requirement.refuse(wording.required(missing), at=where, path=path)
        case "Exists" | "DoesNotExist" if count:
            reason = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            requirement.refuse(wording.forbidden(reason), at=where, path=path)
        case "Gt" | "Lt" if count != 1:
            missing = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            requirement.refuse(wording.required(missing), at=where, path=path)


_KEY = Text(rules.qualified_name)
_LABELS = TextMap(rules.qualified_name, Text(rules.label_value))
_LABEL_VALUES = ListOf(Text(rules.label_value))

_LABEL_REQUIREMENT: Table = Record(
    "LabelSelectorRequirement",
    dict,
    Field("key", _KEY, absent=""),
    Field("operator", _operator("In", "NotIn", "Exists", "DoesNotExist"), absent=""),
    Field("values", _LABEL_VALUES),
    rules=(_values_fit_operator,),
)

_LABEL_SELECTOR: Table = Record(
    "LabelSelector",
    dict,
    Field("matchLabels", _LABELS),
    Field("matchExpressions", ListOf(_LABEL_REQUIREMENT)),
)

# ---- affinity ----


def _one_value(requirement: Cursor) -> None:
    if requirement.text("operator") in ("In", "NotIn") and _count(requirement, "values") != 1:
        missing = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        values = requirement.field("values")
        where = values.named if values else requirement.named
        requirement.refuse(wording.required(missing), at=where, path=wording.child(requirement.path, "values"))


def _field_key(text: str) -> Iterator[str]:
    if text != "metadata.name":
        yield "not a valid field selector key"


def _node_selector_term(values: ListOf[str]) -> Table:
    by_label: Table = Record(
        "NodeSelectorRequirement",
        dict,
        Field("key", _KEY, absent=""),
        Field("operator", _operator("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"), absent=""),
        Field("values", values),
        rules=(_values_fit_operator,),
    )
    by_field: Table = Record(
        "NodeSelectorRequirement",
        dict,
        Field("key", Text(_field_key), absent=""),
        Field("operator", _operator("In", "NotIn"), absent=""),
        Field("values", ListOf(Text(rules.dns_subdomain))),
        rules=(_one_value,),
    )
    return Record(
        "NodeSelectorTerm",
        dict,
        Field("matchExpressions", ListOf(by_label)),
        Field("matchFields", ListOf(by_field)),
    )


def _weight(weighted: Cursor) -> None:
    field = weighted.field("weight")
    weight = field.node.value if field else 0
    if isinstance(weight, int | float) and not isinstance(weight, bool) and not 1 <= weight <= 100:
        shown, where = (field.node.written, field.node.place) if field else ("0", weighted.named)
        path = wording.child(weighted.path, "weight")
        weighted.refuse(wording.invalid(shown, "must be in the range 1-100"), at=where, path=path)


_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)

_NODE_SELECTOR: Table = Record(
    "NodeSelector",
    dict,
    Field(
        "nodeSelectorTerms",
        ListOf(_node_selector_term(_LABEL_VALUES)),
        required="must have at least one node selector term",
    ),
)

_PREFERRED_TERM: Table = Record(
    "PreferredSchedulingTerm",
    dict,
    Field("weight", Whole(bits=32)),
    Field("preference", _node_selector_term(ListOf(Text()))),
    rules=(_weight,),
)

_NODE_AFFINITY: Table = Record(
    "NodeAffinity",
    dict,
    Field(_REQUIRED, _NODE_SELECTOR),
    Field(_PREFERRED, ListOf(_PREFERRED_TERM)),
)


def _keys_need_a_selector(term: Cursor) -> None:
    for name in ("matchLabelKeys", "mismatchLabelKeys"):
        keys = term.field(name)
        if keys and _count(term, name) and not term.field("labelSelector"):
            keys.refuse(wording.forbidden("must not be specified when labelSelector is not set"), at=keys.named)


def _keys_in_both(term: Cursor) -> None:
    matched = [item.node.value for item in term.each("matchLabelKeys")]
    for item in term.each("mismatchLabelKeys"):
        if item.node.value in matched:
            item.refuse(
                wording.invalid(quoted(item.node.written), "exists in both matchLabelKeys and mismatchLabelKeys")
            )


_POD_TERM: Table = Record(
    "PodAffinityTerm",
    dict,
    Field("labelSelector", _LABEL_SELECTOR),
    Field("namespaceSelector", _LABEL_SELECTOR),
    Field("namespaces", ListOf(Text(rules.dns_label))),
    Field("topologyKey", _KEY, required="can not be empty"),
    Field("matchLabelKeys", ListOf(_KEY)),
    Field("mismatchLabelKeys", ListOf(_KEY)),
    rules=(_keys_need_a_selector, _keys_in_both),
)

_WEIGHTED_TERM: Table = Record(
    "WeightedPodAffinityTerm",
    dict,
    Field("weight", Whole(bits=32)),
    Field("podAffinityTerm", _POD_TERM, required=True),
    rules=(_weight,),
)


def _pod_affinity(of: str) -> Table:
    return Record(of, dict, Field(_REQUIRED, ListOf(_POD_TERM)), Field(_PREFERRED, ListOf(_WEIGHTED_TERM)))


AFFINITY: Table = Record(
    "Affinity",
    dict,
    Field("nodeAffinity", _NODE_AFFINITY),
    Field("podAffinity", _pod_affinity("PodAffinity")),
    Field("podAntiAffinity", _pod_affinity("PodAntiAffinity")),
)

# ---- tolerations ----


def _all_keys_exist(toleration: Cursor) -> None:
    if not toleration.text("key") and toleration.text("operator") != "Exists":
        reason = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        _refuse_field(toleration, "operator", reason)


def _seconds_of_no_execute(toleration: Cursor) -> None:
    if toleration.field("tolerationSeconds") and toleration.text("effect") != "NoExecute":
        _refuse_field(toleration, "effect", "effect must be 'NoExecute' when `tolerationSeconds` is set")


def _value_fits_operator(toleration: Cursor) -> None:
    value = toleration.field("value")
    if not value or not toleration.text("value"):
        return
    text = toleration.text("value")
    reasons = list(rules.label_value(text)) if toleration.text("operator") in ("", "Equal") else []
    if toleration.text("operator") == "Exists":
        reasons = ["value must be empty when `operator` is 'Exists'"]
    for reason in reasons:
        value.refuse(wording.invalid(quoted(text), reason), path=wording.child(toleration.path, "operator"))


TOLERATION: Table = Record(
    "Toleration",
    dict,
    Field("key", _KEY),
    Field("operator", Choice("Equal", "Exists", "Lt", "Gt")),
    Field("value", Text()),
    Field("effect", Choice("NoSchedule", "PreferNoSchedule", "NoExecute")),
    Field("tolerationSeconds", Whole()),
    rules=(_all_keys_exist, _seconds_of_no_execute, _value_fits_operator),
)

# ---- the spread over a topology ----


class _Positive(Whole):
    def read(self, at: Cursor) -> int:
        number = super().read(at)
        if number <= 0:
            at.refuse(wording.invalid(at.node.written, "must be greater than zero"))
        return number


def _domains_of_do_not_schedule(constraint: Cursor) -> None:
    domains, action = constraint.field("minDomains"), constraint.text("whenUnsatisfiable")
    if domains and action == "ScheduleAnyway":
        reason = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        domains.refuse(wording.invalid(domains.node.written, reason))


_CONSTRAINT: Table = Record(
    "TopologySpreadConstraint",
    dict,
    Field("maxSkew", _Positive(bits=32), absent=0),
    Field("topologyKey", _KEY, required="can not be empty"),
    Field("whenUnsatisfiable", Choice("DoNotSchedule", "ScheduleAnyway"), required=True),
    Field("labelSelector", _LABEL_SELECTOR),
    Field("matchLabelKeys", ListOf(_KEY)),
    Field("minDomains", _Positive(bits=32)),
    Field("nodeAffinityPolicy", Choice("Ignore", "Honor")),
    Field("nodeTaintsPolicy", Choice("Ignore", "Honor")),
    rules=(_keys_need_a_selector, _domains_of_do_not_schedule),
)


def _unlike_each_other(constraints: Cursor) -> None:
    seen = set()
    for constraint in constraints.items():
        pair = constraint.text("topologyKey"), constraint.text("whenUnsatisfiable")
        if all(pair) and pair in seen:
            path = f"{constraint.path}.{{topologyKey, whenUnsatisfiable}}"
            constraint.refuse(wording.duplicate(f"{{{', '.join(pair)}}}"), path=path)
        seen.add(pair)


TOPOLOGY_SPREAD_CONSTRAINTS = ListOf(_CONSTRAINT, _unlike_each_other)
