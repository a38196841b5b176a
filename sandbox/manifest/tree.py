"""YAML text as Kubernetes reads it: into a tree of values that know their line and column.

"As Kubernetes reads it" is sigs.k8s.io/yaml in strict mode: plain scalars mean what go-yaml v2 takes them for (`yes`
is a boolean, `017` is fifteen, a date is a string), keys are strings, whole numbers or booleans and stand once, `<<`
merges.  JSON is a subset.
Whatever the text, the work is bounded: its size, its depth, and its nodes with every alias counted as often as it is
used.  This module knows nothing of pods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from sandbox.errors import quoted
from sandbox.manifest import wording
from sandbox.manifest.scalars import Scalar, plain

MAX_BYTES = 3 << 20  # what the API server takes in one request
MAX_DEPTH = 100
MAX_NODES = 100_000

_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"  # since 0.2.6: from its scanner, at 1,000 levels

_PARSER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it


class Place(NamedTuple):
    """A position in the text, both counted from 1; line 0 where there is no text."""

    line: int
    column: int


NOWHERE = Place(0, 1)


class Entry(NamedTuple):
    """One field of a mapping: where its key stands, and its value."""

    key: Place
    node: Node


@dataclass(frozen=True, eq=False)
class Node:
    """A value and where it stands; `written` is a scalar as the text has it, for messages."""

    value: Scalar | tuple[Node, ...] | Mapping[str, Entry]
    place: Place
    written: str = ""


class Unreadable(Exception):
    """The text stops making sense at `place`: nothing after it is read.  Becomes a finding."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


# Tells of something wrong at a place and a field path that does not keep the rest from being read.
Refuse = Callable[[Place, str, str], None]


def documents(text: str | bytes, refuse: Refuse) -> Iterator[Node]:
    """Yield each non-empty document of `text`.

    Raises Unreadable where nothing more can be read, after yielding what stands before.
    """
    return _Composer(_events(_characters(text)), refuse).documents()


def from_python(value: object, refuse: Refuse) -> Node:
    """The tree of an already parsed manifest, made of dict, list, tuple, str, int, float, bool and None."""
    return _PythonReader(refuse).node(value, 1, "")


def to_python(node: Node) -> Any:
    """The tree as plain dicts, lists and scalars: what `from_python` takes, and JSON."""
    if isinstance(node.value, Mapping):
        return {name: to_python(entry.node) for name, entry in node.value.items()}
    if isinstance(node.value, tuple):
        return [to_python(item) for item in node.value]
    return node.value


# ---- characters ----

# What YAML does not allow in a stream (all but c-printable), and the byte order mark, which may only open it.
_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


def _characters(text: str | bytes) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        raise Unreadable(Place(1, 1), wording.too_long(MAX_BYTES))
    return _allowed(text if isinstance(text, str) else _decoded(text))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = _place_after(data[: error.start].decode("utf-8"))
        raise Unreadable(where, f"byte 0x{data[error.start]:02x} is not UTF-8") from None


def _allowed(text: str) -> str:
    text = text.removeprefix("\ufeff")
    if bad := _FORBIDDEN.search(text):
        where = _place_after(text[: bad.start()])
        raise Unreadable(where, f"character U+{ord(bad[0]):04X} is not allowed in YAML")
    return text


def _place_after(text: str) -> Place:
    lines = _LINE_BREAK.split(text)
    return Place(len(lines), len(lines[-1]) + 1)


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_PARSER)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from None
    # The parser without libyaml lets these two escape for absurd numbers in directives and escapes.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Unreadable(Place(1, 1), f"not valid YAML: {error}") from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    where = _place(mark) if mark else Place(1, 1)
    # The scanner may be that far ahead of the nodes, which are counted too.
    if error.problem == _LIBYAML_TOO_DEEP:
        return Unreadable(where, _TOO_DEEP)
    lines = _LINE_BREAK.split(text)
    if where.line <= len(lines) and lines[where.line - 1][where.column - 1 : where.column] == "\t":
        return Unreadable(where, "not valid YAML: a tab cannot indent: use spaces")
    return Unreadable(where, "not valid YAML: " + ", ".join(filter(None, [error.problem, error.context])))


# ---- events to nodes ----

_YAML_ORG = "tag:yaml.org,2002:"
_COLLECTION_TAGS = {yaml.MappingStartEvent: _YAML_ORG + "map", yaml.SequenceStartEvent: _YAML_ORG + "seq"}
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    _YAML_ORG + "bool": (bool,),
    _YAML_ORG + "int": (int,),
    _YAML_ORG + "float": (float, int),
    _YAML_ORG + "null": (type(None),),
}
_MERGE = "<<"


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _is_plain(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.tag is None and not event.style


class _Budget:
    """Counts nodes, those behind an alias each time they are used, and refuses to go past the limits."""

    def __init__(self) -> None:
        self.spent = 0

    def spend(self, nodes: int, depth: int, place: Place) -> None:
        self.spent += nodes
        if self.spent > MAX_NODES:
            raise Unreadable(place, f"Too many: more than {MAX_NODES} values, aliases counted as often as used")
        if depth > MAX_DEPTH:
            raise Unreadable(place, _TOO_DEEP)


class _Composer:
    """Builds nodes from parser events.

    PyYAML's own composer would do, but it counts nothing, and it resolves scalars by YAML 1.1 instead of by go-yaml.
    """

    def __init__(self, events: Iterator[Any], refuse: Refuse) -> None:
        self._events = events
        self._refuse = refuse
        self._budget = _Budget()
        self._anchors: dict[str, _Anchored] = {}

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                document = self._node(next(self._events), 1, "")
                if document.value is not None:
                    yield document

    def _node(self, event: Any, depth: int, path: str) -> Node:
        place = _place(event.start_mark)
        anchor: str = event.anchor or ""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(anchor, depth, place)
        before = self._budget.spent
        self._budget.spend(1, depth, place)
        node = Node(self._value(event, depth, path), place, getattr(event, "value", ""))
        if anchor:
            self._anchors[anchor] = _Anchored(node, self._budget.spent - before)
        return node

    def _alias(self, anchor: str, depth: int, place: Place) -> Node:
        # An anchor is known only once its node is complete, so no node can contain itself.
        known = self._anchors.get(anchor)
        if known is None:
            raise Unreadable(place, f"no anchor before this alias of {quoted(anchor)}")
        self._budget.spend(known.nodes, depth, place)
        return known.node

    def _value(self, event: Any, depth: int, path: str) -> Scalar | tuple[Node, ...] | Mapping[str, Entry]:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if event.tag not in (None, "!", _COLLECTION_TAGS[type(event)]):
            self._refuse_tag(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return tuple(self._items(depth, path))
        return self._mapping(depth, path)

    def _scalar(self, event: Any, path: str) -> Scalar:
        text: str = event.value
        if _is_plain(event):
            return plain(text)
        if event.tag in (None, "!", _YAML_ORG + "str"):
            return text
        value = plain(text)
        if not isinstance(value, _SCALAR_TAGS.get(event.tag, ())):
            self._refuse_tag(event, path)
        return value

    def _refuse_tag(self, event: Any, path: str) -> None:
        tag: str = event.tag
        short = "!!" + tag.removeprefix(_YAML_ORG) if tag.startswith(_YAML_ORG) else tag
        self._refuse(_place(event.start_mark), path, f"tag {quoted(short)} is not allowed here")

    def _items(self, depth: int, path: str) -> Iterator[Node]:
        index = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1, f"{path}[{index}]")
            index += 1

    def _mapping(self, depth: int, path: str) -> Mapping[str, Entry]:
        fields: dict[str, Entry] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            is_merge = _is_plain(event) and event.value == _MERGE
            key = self._node(event, depth + 1, path)
            known = _key(key.value)
            name = key.written if known is None else known
            child = wording.child(path, name)
            value = self._node(next(self._events), depth + 1, child)
            place = _place(event.start_mark)
            if is_merge:
                merged.append(value)
            elif known is None:
                self._refuse(place, path, wording.not_a_key(name))
            elif name in fields:
                self._refuse(place, child, wording.already_set(name))
            else:
                fields[name] = Entry(place, value)
        for node in merged:
            self._merge(node, fields, path)
        return fields

    def _merge(self, node: Node, fields: dict[str, Entry], path: str) -> None:
        """Fill into `fields` what `node`, the value of a `<<`, has and they lack."""
        sources = node.value if isinstance(node.value, tuple) else (node,)
        for source in sources:
            if isinstance(source.value, Mapping):
                fields.update({name: entry for name, entry in source.value.items() if name not in fields})
            else:
                self._refuse(source.place, path, "map merge requires map or sequence of maps as the value")


def _key(value: object) -> str | None:
    """What a key is called; None where it cannot be one.

    sigs.k8s.io/yaml makes strings of integers and booleans, so that is what `1: a` means to Kubernetes.  A float it
    would round to 32 bits before: better that somebody quotes it.
    """
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str) or (isinstance(value, int) and _is_64_bit(value)) else None


def _is_64_bit(value: int) -> bool:
    return -(2**63) <= value < 2**63


class _Anchored(NamedTuple):
    node: Node
    nodes: int  # how many values it stands for


# ---- Python values to nodes ----


class _PythonReader:
    """Builds nodes from Python values, under the same limits."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse
        self._budget = _Budget()

    def node(self, value: object, depth: int, path: str) -> Node:
        self._budget.spend(1, depth, NOWHERE)
        if isinstance(value, Mapping):
            return Node(dict(self._entries(value, depth, path)), NOWHERE)
        if isinstance(value, list | tuple):
            items = enumerate(value)
            return Node(tuple(self.node(item, depth + 1, f"{path}[{index}]") for index, item in items), NOWHERE)
        if isinstance(value, Scalar):
            return Node(value, NOWHERE, _as_yaml(value))
        self._refuse(NOWHERE, path, f"a manifest cannot hold a Python {type(value).__name__}")
        return Node(None, NOWHERE)

    def _entries(self, mapping: Mapping[Any, object], depth: int, path: str) -> Iterator[tuple[str, Entry]]:
        for name, value in mapping.items():
            if isinstance(name, str):
                yield name, Entry(NOWHERE, self.node(value, depth + 1, wording.child(path, name)))
            else:
                self._refuse(NOWHERE, path, wording.not_a_key(repr(name)))


def _as_yaml(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
