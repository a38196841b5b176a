"""Objects with named fields: Record, a table of Fields, each of them one of the kinds in `fields`.

A Record is never built from parts of which anything was reported.  What Kubernetes has and no table, the `registry`
knows.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from sandbox.manifest import registry, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Refused, Type
from sandbox.manifest.scalars import Scalar
from sandbox.manifest.tree import Node

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """One row of a Record: the field's name in the manifest, its kind, and whether it must be there.

    `required` may be a text that says why.  A `pointer` is what Go's type is where the kind's zero is not an absent
    field.  `absent` is what an absent field is read as, where Kubernetes has no other word for it.
    """

    name: str
    type: Type[Any]
    required: bool | str = False
    pointer: bool = False
    absent: Scalar = None

    @property
    def attribute(self) -> str:
        """The name in Python's spelling: working_dir for workingDir, host_pid for hostPID."""
        return re.sub("[A-Z]+", lambda upper: "_" + upper[0].lower(), self.name)


class Record(Type[T]):
    """An object with named fields, made into a value by `build`, which gets those that are there by keyword.

    `of` is what Kubernetes calls it, and so names all fields that there are (`registry.FIELDS`).  `fields` are the
    implemented ones.  `ignored` are those that the API server sets itself, whatever a manifest says.  `moot` are
    fields without meaning on one machine, by the reason: they are read, so that they are right, and named in a
    warning; `settled` are read likewise, and allow no value but what holds anyway.  All others are refused by name; a
    value in `idle` is let pass without a word, being what tools write out although it says nothing, as an empty list
    does.
    """

    called = "an object"

    def __init__(
        self,
        of: str,
        build: Callable[..., T],
        *fields: Field,
        ignored: tuple[Field, ...] = (),
        idle: Mapping[str, tuple[object, ...]] | None = None,
        moot: Mapping[str, tuple[Field, ...]] | None = None,
        settled: tuple[Field, ...] = (),
        rules: tuple[Callable[[Cursor], None], ...] = (),
    ) -> None:
        self.of = of
        self._build = build
        self.fields = fields
        self.ignored = ignored
        self._idle = idle or {}
        self.moot = {field.name: (field, why) for why, group in (moot or {}).items() for field in group}
        self.settled = settled
        self._rules = rules

    @cached_property
    def known(self) -> frozenset[str]:
        """The fields that are not implemented."""
        ours = {field.name for field in (*self.fields, *self.settled, *self.ignored)} | self.moot.keys()
        return frozenset(registry.FIELDS[self.of].keys() - ours)

    def parts(self) -> Iterator[Type[Any]]:
        for field in (*self.fields, *self.settled, *self.ignored, *(field for field, _ in self.moot.values())):
            yield field.type

    def not_requiring(self, name: str, *below: str) -> Record[T]:
        """The same, where the field `name`, or the one at the path `below` it, may be missing."""
        other = copy.copy(self)
        other.fields = tuple(_not_required(field, below) if field.name == name else field for field in self.fields)
        return other

    def with_fields(self, *fields: Field) -> Record[T]:
        """The same, with these fields instead of its own of their names."""
        other = copy.copy(self)
        new = {field.name: field for field in fields}
        other.fields = tuple(new.get(field.name, field) for field in self.fields)
        return other

    def with_rules(self, *rules: Callable[[Cursor], None]) -> Record[T]:
        """The same, with these rules beside its own."""
        other = copy.copy(self)
        other._rules = (*self._rules, *rules)
        return other

    def read(self, at: Cursor) -> T:
        if not isinstance(at.node.value, Mapping):
            raise self.refuse_type(at)
        before = len(at.report)
        self._refuse_strangers(at)
        for rule in self._rules:
            rule(at)
        values: dict[str, Any] = {}
        for field in self.fields:
            try:
                values.update(self._value(at, field))
            except Refused:
                continue
        self._read_settled(at)
        self._warn_of_moot(at)
        if len(at.report) > before:
            raise Refused
        return self._build(**values)

    def _refuse_strangers(self, at: Cursor) -> None:
        for name, field in at.fields():
            if name not in registry.FIELDS[self.of]:
                _refuse_unknown(field, name, self.of)
            elif name in self.known and not self._says_nothing(name, field.node):
                field.refuse(wording.not_implemented(name, registry.WHY.get(f"{self.of}.{name}", "")), at=field.named)
                refuse_unknown_below(field, registry.FIELDS[self.of][name])

    def _says_nothing(self, name: str, node: Node) -> bool:
        nothing = (None, ()) if f"{self.of}.{name}" in registry.LISTS else (None,)
        idle = (*nothing, *self._idle.get(name, ()))
        return any(type(node.value) is type(each) and node.value == each for each in idle)

    def _read_settled(self, at: Cursor) -> None:
        for field in (*self.settled, *self.ignored):
            with contextlib.suppress(Refused):
                self._value(at, field)

    def _warn_of_moot(self, at: Cursor) -> None:
        for name, (field, why) in self.moot.items():
            there = at.field(name)
            with contextlib.suppress(Refused):
                if there and self._value(at, field) and not self._says_nothing(name, there.node):
                    there.warn(wording.no_effect(why))

    def _value(self, at: Cursor, field: Field) -> dict[str, Any]:
        there = at.field(field.name)
        if there is None and field.absent is not None:
            there = at.absent(field.name, field.absent)
            return {field.attribute: field.type.read(there)}
        if there and (field.pointer or field.absent is not None or not _is_zero(there.node, field.type)):
            return {field.attribute: field.type.read(there)}
        if field.required:
            reason = field.required if isinstance(field.required, str) else ""
            where = there.node.place if there else at.named
            at.refuse(wording.required(reason), at=where, path=wording.child(at.path, field.name))
        return {}


def _refuse_unknown(field: Cursor, name: str, of: str) -> None:
    field.refuse(wording.unknown_field(name, sorted(registry.FIELDS[of])), at=field.named)


def refuse_unknown_below(at: Cursor, kind: str) -> None:
    """What of a field that is not implemented is not even Kubernetes'; `kind` is its type, or that of its items."""
    for item in at.items():
        refuse_unknown_below(item, kind)
    known = registry.FIELDS.get(kind)
    for name, field in at.fields() if known is not None else ():
        if known and name in known:
            refuse_unknown_below(field, known[name])
        else:
            _refuse_unknown(field, name, kind)


def _is_zero(node: Node, kind: Type[Any]) -> bool:
    """Whether it is the kind's zero, and of its type: False is no number, though Python has it equal 0."""
    return node.value == kind.zero and (kind.zero != 0 or not isinstance(node.value, bool))


def _not_required(field: Field, below: tuple[str, ...]) -> Field:
    if not below:
        return replace(field, required=False)
    assert isinstance(field.type, Record)
    return replace(field, type=field.type.not_requiring(*below))
