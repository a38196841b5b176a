"""The kinds of field a manifest is made of, as small values that read a tree: Text, Whole, Between, Amount, Flag,
Choice, TextMap, ListOf, and Never, which nothing is; objects with named fields are `records`.

A manifest's tables (sandbox.manifest.pod) are built from these and say nothing about reading.  What is wrong goes to
the report, and reading goes on with the next sibling, so that every finding of a manifest is there at once.  Where no
value can be made Refused is raised; a list or a map may come back without the items that were refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from sandbox.errors import quoted
from sandbox.manifest import wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.rules import Rule, storable
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

    def parts(self) -> Iterator[Type[Any]]:
        """The kinds of what is in it."""
        yield from ()

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
        self.supported = supported
        self._known = known

    def read(self, at: Cursor) -> str:
        value = at.node.value
        if not isinstance(value, str):
            raise self.refuse_type(at)
        if value not in self.supported:
            at.refuse(wording.unsupported(value, self.supported, known=value in self._known))
            raise Refused
        return self.supported[self.supported.index(value)]  # the table's own, which may be a member of an enum


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

    def parts(self) -> Iterator[Type[Any]]:
        yield self._item

    def _readable(self, at: Cursor) -> Iterator[T]:
        for item in at.items():
            try:
                yield self._item.read(item)
            except Refused:
                continue
