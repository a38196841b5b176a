"""The kinds of field a manifest is made of, as small values that read a tree: Text, Whole, Between, Amount, Flag,
Choice, TextMap, ListOf, Tree, Record, and Never, which nothing is.

A manifest's tables (sandbox.manifest.pod) are built from these and say nothing about reading.  What is wrong goes to
the report, and reading goes on with the next sibling, so that every finding of a manifest is there at once.  Where no
value can be made Refused is raised; a list or a map may come back without the items that were refused, but a Record
is never built from parts of which anything was reported.
"""

from __future__ import annotations

import contextlib
import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sandbox.errors import quoted
from sandbox.manifest import wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.rules import Rule, storable
from sandbox.manifest.scalars import Scalar
from sandbox.manifest.tree import Node
from sandbox.quantity import Quantity, parse

T = TypeVar("T")


class Refused(Exception):
    """No value can be made here; the report says why."""


class Type(ABC, Generic[T]):
    """One kind of field: what it is called in messages, and how its value is read."""

    called: str  # as in "must be a string"
    zero: object = None  # the value that Kubernetes cannot tell from an absent field

    @abstractmethod
    def read(self, at: Cursor) -> T:
        """The value at `at`.  Raises Refused."""

    def refuse_type(self, at: Cursor) -> Refused:
        """Tell that the node is of another kind, and how to cure it where that is known."""
        cure = ""
        if self.zero == "" and isinstance(at.node.value, bool | int | float):
            cure = f"; quote it: {quoted(at.node.written)}"
        shown, got = _shown(at.node)
        at.refuse(wording.invalid(shown, f"must be {self.called}, not {got}{cure}"))
        return Refused()


def _shown(node: Node) -> tuple[str, str]:
    """A node as messages show it, and the name of its kind."""
    match node.value:
        case None:
            return "null", "null"
        case bool():
            return node.written, "a boolean"
        case int() | float():
            return node.written, "a number"
        case str():
            return quoted(node.value), "a string"
        case tuple():
            return "[…]", "a list"
        case _:
            return "{…}", "an object"


class Text(Type[str]):
    """A string that keeps the rules given."""

    called = "a string"
    zero = ""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules

    def read(self, at: Cursor) -> str:
        text = at.node.value
        if not isinstance(text, str):
            raise self.refuse_type(at)
        reasons = list(storable(text)) or [reason for rule in self._rules for reason in rule(text)]
        for reason in reasons:
            at.refuse(wording.invalid(quoted(text), reason))
        if reasons:
            raise Refused
        return text


class Tree(Type[object]):
    """An object whose fields are nobody's business here."""

    called = "an object"

    def read(self, at: Cursor) -> object:
        if not isinstance(at.node.value, Mapping):
            raise self.refuse_type(at)
        return at.node.value


class Whole(Type[int]):
    """An integer of so many bits, not below `minimum`; 30.0 is one, as Kubernetes reads YAML, 1.5 is not.

    With a `zero` of 0 that number is an absent one.
    """

    called = "an integer"

    def __init__(self, *, minimum: int = -(2**63), bits: int = 64, zero: int | None = None) -> None:
        self._minimum = minimum
        self._bits = bits
        self.zero = zero

    def read(self, at: Cursor) -> int:
        value = at.node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse_type(at)
        if value != value // 1 or not -(2 ** (self._bits - 1)) <= value < 2 ** (self._bits - 1):
            at.refuse(wording.invalid(at.node.written, f"must be a {self._bits}-bit integer"))
            raise Refused
        if value < self._minimum:
            at.refuse(wording.invalid(at.node.written, f"must be greater than or equal to {self._minimum}"))
            raise Refused
        return int(value)


class Amount(Type[Quantity]):
    """A quantity that keeps the rules given: a string, or a number, which Kubernetes takes by its JSON."""

    called = "a quantity"

    def __init__(self, *rules: Callable[[Quantity], Iterator[str]]) -> None:
        self._rules = rules

    def read(self, at: Cursor) -> Quantity:
        if isinstance(at.node.value, bool) or not isinstance(at.node.value, str | int | float):
            raise self.refuse_type(at)
        text = str(at.node.value)
        try:
            amount = parse(text.strip())
            reasons = [reason for rule in self._rules for reason in rule(amount)]
        except ValueError as error:
            reasons = [str(error)]
        for reason in reasons:
            at.refuse(wording.invalid(quoted(text), reason))
        if reasons:
            raise Refused
        return amount


class Between(Whole):
    """An integer from `low` to `high`."""

    def __init__(self, low: int, high: int, *, zero: int | None = None) -> None:
        super().__init__(zero=zero)
        self._low, self._high = low, high

    def read(self, at: Cursor) -> int:
        number = super().read(at)
        if not self._low <= number <= self._high:
            reason = f"must be between {self._low} and {self._high}, inclusive"
            at.refuse(wording.invalid(at.node.written, reason))
            raise Refused
        return number


PORT = Between(1, 65535, zero=0)


class Flag(Type[bool]):
    """A boolean."""

    called = "a boolean"

    def read(self, at: Cursor) -> bool:
        if not isinstance(at.node.value, bool):
            raise self.refuse_type(at)
        return at.node.value


class Choice(Type[str]):
    """One of the strings in `supported`; those in `known` are Kubernetes' too, but not implemented yet."""

    called = "a string"
    zero = ""

    def __init__(self, *supported: str, known: tuple[str, ...] = ()) -> None:
        self._supported = supported
        self._known = known

    def read(self, at: Cursor) -> str:
        value = at.node.value
        if not isinstance(value, str):
            raise self.refuse_type(at)
        if value not in self._supported:
            at.refuse(wording.unsupported(value, self._supported, known=value in self._known))
            raise Refused
        return self._supported[self._supported.index(value)]  # the table's own, which may be a member of an enum


class Never(Type[None]):
    """A field of Kubernetes' that may not be here, for the reason given, whatever it holds."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def read(self, at: Cursor) -> None:
        at.refuse(wording.forbidden(self._reason), at=at.named)
        raise Refused


class TextMap(Type[Mapping[str, str]]):
    """An object whose keys and values are strings: labels, annotations; a null value is an empty one."""

    called = "an object"

    def __init__(self, key: Rule, value: Text, *, max_bytes: int | None = None) -> None:
        self._key = key
        self._value = value
        self._max_bytes = max_bytes

    def read(self, at: Cursor) -> Mapping[str, str]:
        if not isinstance(at.node.value, Mapping):
            raise self.refuse_type(at)
        texts = {name: self._entry(at, name, entry) for name, entry in at.fields()}
        size = sum(len(name.encode("utf-8", "replace")) + len(text.encode()) for name, text in texts.items())
        if self._max_bytes is not None and size > self._max_bytes:
            at.refuse(wording.too_long(self._max_bytes), at=at.named)
        return texts

    def _entry(self, at: Cursor, name: str, entry: Cursor) -> str:
        for reason in self._key(name):
            at.refuse(wording.invalid(quoted(name), reason), at=entry.named)
        if entry.node.value is None:
            return ""
        try:
            return self._value.read(entry)
        except Refused:
            return ""


class ListOf(Type[tuple[T, ...]]):
    """A list of one kind of item, checked across items by `rules`."""

    called = "a list"
    zero = ()

    def __init__(self, item: Type[T], *rules: Callable[[Cursor], None]) -> None:
        self._item = item
        self._rules = rules

    def read(self, at: Cursor) -> tuple[T, ...]:
        if not isinstance(at.node.value, tuple):
            raise self.refuse_type(at)
        for rule in self._rules:
            rule(at)
        return tuple(self._readable(at))

    def _readable(self, at: Cursor) -> Iterator[T]:
        for item in at.items():
            try:
                yield self._item.read(item)
            except Refused:
                continue


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

    `fields` are the implemented ones; `known` are the names of all others that Kubernetes has, which are refused by
    name unless they hold one of the values in `idle`: what tools write out although it says nothing.  `ignored` are
    those that the API server sets itself, whatever a manifest says.  `moot` are fields without meaning on one machine,
    by the reason: they are read, so that they are right, and named in a warning.
    """

    called = "an object"

    def __init__(
        self,
        build: Callable[..., T],
        *fields: Field,
        known: str = "",
        ignored: str = "",
        idle: Mapping[str, tuple[object, ...]] | None = None,
        moot: Mapping[str, tuple[Field, ...]] | None = None,
        rules: tuple[Callable[[Cursor], None], ...] = (),
    ) -> None:
        self._build = build
        self.fields = fields
        self.known = frozenset(known.split())
        self.ignored = frozenset(ignored.split())
        self._idle = idle or {}
        self.moot = {field.name: (field, why) for why, group in (moot or {}).items() for field in group}
        self._rules = rules
        # Every field that Kubernetes has here.
        self.names = self.known | self.ignored | self.moot.keys() | {field.name for field in fields}

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
        self._warn_of_moot(at)
        if len(at.report) > before:
            raise Refused
        return self._build(**values)

    def _refuse_strangers(self, at: Cursor) -> None:
        for name, field in at.fields():
            if name not in self.names:
                field.refuse(wording.unknown_field(name, sorted(self.names)), at=field.named)
            elif name not in self.known:
                continue
            elif field.node.value is not None and field.node.value not in self._idle.get(name, ()):
                field.refuse(wording.not_implemented(name), at=field.named)

    def _warn_of_moot(self, at: Cursor) -> None:
        for name, (field, why) in self.moot.items():
            there = at.field(name)
            with contextlib.suppress(Refused):
                if there and self._value(at, field) and there.node.value not in self._idle.get(name, ()):
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


def _is_zero(node: Node, kind: Type[Any]) -> bool:
    """Whether it is the kind's zero, and of its type: False is no number, though Python has it equal 0."""
    return node.value == kind.zero and (kind.zero != 0 or not isinstance(node.value, bool))


def _not_required(field: Field, below: tuple[str, ...]) -> Field:
    if not below:
        return replace(field, required=False)
    assert isinstance(field.type, Record)
    return replace(field, type=field.type.not_requiring(*below))
