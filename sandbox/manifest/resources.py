"""The resources of a container: the names that there are, amounts of them, and what limits and requests must be to
each other.  The rules and the words are the API server's (validation.go, ValidateContainerResourceRequirements).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from sandbox import quantity
from sandbox.errors import quoted
from sandbox.manifest import rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Amount, Refused, Type
from sandbox.manifest.records import Field, Record
from sandbox.model import HUGE_PAGES, Resources
from sandbox.quantity import Quantity

_OF_CONTAINERS = ("cpu", "memory", "ephemeral-storage")
_OF_QUOTAS = (
    "configmaps", "limits.cpu", "limits.ephemeral-storage", "limits.memory", "persistentvolumeclaims", "pods",
    "replicationcontrollers", "requests.cpu", "requests.ephemeral-storage", "requests.memory", "requests.storage",
    "resourcequotas", "secrets", "services", "storage",
)  # fmt: skip


def _name_reasons(name: str) -> Iterator[str]:
    """What is wrong with the name of a resource; for a resource that no container has yet, nothing."""
    wrong = list(rules.qualified_name(name))
    yield from wrong
    if wrong or "/" in name or name in _OF_CONTAINERS or name.startswith(HUGE_PAGES):
        return
    if name not in _OF_QUOTAS:
        yield "must be a standard resource type or fully qualified"
    yield "must be a standard resource for containers"


def _amount_reasons(name: str, amount: Quantity) -> Iterator[str]:
    if amount.value < 0:
        yield "must be greater than or equal to 0"
    if name.startswith(HUGE_PAGES) and not _is_whole_pages(name, amount):
        yield f"{amount} is not positive integer multiple of {name}"


def _is_whole_pages(name: str, amount: Quantity) -> bool:
    try:
        page = quantity.parse(name.removeprefix(HUGE_PAGES))
    except ValueError:
        return False
    return page.value > 0 and page.value % 1 == 0 and amount.to_int() % page.to_int() == 0


class Amounts(Type[Mapping[str, Quantity]]):
    """An object of amounts by the name of a resource; those in `moot` have no effect, for the reason given."""

    called = "an object"

    def __init__(self, *, moot: Mapping[str, str] | None = None) -> None:
        self._moot = moot or {}

    def read(self, at: Cursor) -> Mapping[str, Quantity]:
        if not isinstance(at.node.value, Mapping):
            raise self.refuse_type(at)
        amounts = {}
        for name, entry in at.fields():
            with suppress(Refused):
                amounts[name] = self._entry(name, entry)
        return amounts

    def _entry(self, name: str, entry: Cursor) -> Quantity:
        wrong = list(_name_reasons(name))
        for reason in wrong:
            entry.refuse(wording.invalid(quoted(name), reason), at=entry.named)
        if not wrong and "/" in name:
            entry.refuse(wording.not_implemented(name), at=entry.named)
        if name in self._moot:
            entry.warn(wording.no_effect(self._moot[name]))
        # As Go reads JSON: null is nothing of it.
        amount = quantity.parse("0") if entry.node.value is None else AMOUNT.read(entry)
        for reason in _amount_reasons(name, amount):
            entry.refuse(wording.invalid(quoted(str(amount)), reason))
        return amount


AMOUNT = Amount()

# ---- limits and requests beside each other ----


def _readable(amounts: Cursor | None) -> dict[str, tuple[Cursor, Quantity]]:
    """The amounts that are well-formed; what is said of the others is said elsewhere."""
    found = {}
    for name, entry in amounts.fields() if amounts else ():
        with suppress(ValueError):
            found[name] = entry, quantity.parse("0" if entry.node.value is None else str(entry.node.value).strip())
    return found


def _requests_keep_to_limits(resources: Cursor) -> None:
    limits, requests = _readable(resources.field("limits")), _readable(resources.field("requests"))
    for name, (entry, amount) in requests.items():
        limit = limits[name][1] if name in limits else None
        path = wording.child(resources.path, "requests")
        if limit is None and name.startswith(HUGE_PAGES):
            missing = wording.required("Limit must be set for non overcommitable resources")
            resources.refuse(missing, at=entry.named, path=wording.child(resources.path, "limits"))
        elif limit is not None and name.startswith(HUGE_PAGES) and amount != limit:
            entry.refuse(wording.invalid(quoted(str(amount)), f"must be equal to {name} limit of {limit}"), path=path)
        elif limit is not None and amount > limit:
            reason = f"must be less than or equal to {name} limit of {limit}"
            entry.refuse(wording.invalid(quoted(str(amount)), reason), path=path)


def _huge_pages_are_not_alone(resources: Cursor) -> None:
    names = {name for kind in ("limits", "requests") for name in _readable(resources.field(kind))}
    if any(name.startswith(HUGE_PAGES) for name in names) and names.isdisjoint(("cpu", "memory")):
        resources.refuse(wording.forbidden("HugePages require cpu or memory"), at=resources.named)


def _resources(
    limits: Mapping[str, Quantity] | None = None, requests: Mapping[str, Quantity] | None = None
) -> Resources:
    """As the API server sees them: what has a limit alone has that as its request too."""
    return Resources(limits or {}, {**(limits or {}), **(requests or {})})


RESOURCES = Record(
    "ResourceRequirements",
    _resources,
    Field("limits", Amounts()),
    Field("requests", Amounts(moot={"ephemeral-storage": "nothing is reserved on a disk"})),
    rules=(_requests_keep_to_limits, _huge_pages_are_not_alone),
)
