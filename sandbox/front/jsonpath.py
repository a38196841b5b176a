"""Templates of `-o jsonpath=…` as kubectl has them: text, and `{actions}` that pick values out of an object.

The language is kubectl's dialect, not RFC 9535: an expression need not start with `$`, `{range …}{end}` repeats what
stands between, a field that is absent prints nothing, lists print their items with blanks between.  Why it is our own
stands in docs/decisions/0004-jsonpath.md.  Pure.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.errors import SandboxError
from sandbox.front.encode import json_text

Values = list[Any]
Step = Callable[[Values], Values]
Holds = Callable[[Any], bool]

_KINDS = {str: "string", bool: "bool", int: "number", float: "number"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class _Wrong(Exception):
    """What is wrong with the template, or with applying it to this object."""


# ---- the template ----


@dataclass(frozen=True)
class Template:
    """A template that was read; `render` applies it to an object as often as needed."""

    text: str
    parts: tuple[str | _Action | _Range, ...]

    def render(self, obj: Any) -> str:
        """The text for one object of dicts, lists and scalars.  Raises SandboxError."""
        try:
            return _render(self.parts, obj)
        except _Wrong as wrong:
            raise self._error(wrong) from None

    def values(self, obj: Any) -> Values:
        """What its actions pick out of an object.  Raises SandboxError."""
        try:
            return [value for part in self.parts if isinstance(part, _Action) for value in part.find(obj)]
        except _Wrong as wrong:
            raise self._error(wrong) from None

    def _error(self, wrong: _Wrong) -> SandboxError:
        return SandboxError(f'error executing jsonpath "{self.text}": Error executing template: {wrong}')


@dataclass(frozen=True)
class _Action:
    steps: tuple[Step, ...]
    keyword: str = ""  # range, end

    def find(self, obj: Any) -> Values:
        return _walk(self.steps, [obj])


@dataclass(frozen=True)
class _Range:
    over: _Action
    body: tuple[str | _Action | _Range, ...]


def parse(text: str) -> Template:
    """Read a template.  Raises SandboxError, in kubectl's words."""
    try:
        return Template(text, tuple(_nest(_pieces(text), inside=False)))
    except _Wrong as wrong:
        raise SandboxError(f"error parsing jsonpath {text}, {wrong}") from None


def _nest(pieces: Iterator[str | _Action], *, inside: bool) -> Iterator[str | _Action | _Range]:
    """Give each range its body.  One that nothing ends reaches to the end of the text, as with kubectl."""
    for piece in pieces:
        if isinstance(piece, str) or not piece.keyword:
            yield piece
        elif piece.keyword == "range":
            yield _Range(piece, tuple(_nest(pieces, inside=True)))
        elif inside:
            return
        else:
            raise _Wrong("not in range, nothing to end")


def _pieces(text: str) -> Iterator[str | _Action]:
    position = 0
    while (brace := text.find("{", position)) >= 0:
        if brace > position:
            yield text[position:brace]
        action, position = _action(text, brace + 1)
        yield action
    yield text[position:]


def _render(parts: tuple[str | _Action | _Range, ...], obj: Any) -> str:
    out = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
        elif isinstance(part, _Range):
            out += [_render(part.body, item) for item in part.over.find(obj)]
        else:
            out.append(" ".join(_shown(value) for value in part.find(obj)))
    return "".join(out)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


# ---- what one step does: from values to values ----


def _walk(steps: tuple[Step, ...], values: Values) -> Values:
    for step in steps:
        values = step(values)
    return values


def _field(name: str) -> Step:
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]


def _children(value: Any) -> Values:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _wildcard(values: Values) -> Values:
    return [child for value in values for child in _children(value)]


def _descend(values: Values) -> Values:
    return [each for value in values if _children(value) for each in [value, *_descend(_children(value))]]


def _lists(values: Values, complaint: str) -> Iterator[list[Any]]:
    for value in values:
        if isinstance(value, list):
            yield value
        elif value is not None:
            raise _Wrong(f"{_KINDS.get(type(value), 'map')} is not array or slice{complaint}")


def _slice(start: int | None, stop: int | None, step: int | None, *, single: bool) -> Step:
    def apply(values: Values) -> Values:
        found = []
        for items in _lists(values, ""):
            first = (start or 0) + (len(items) if (start or 0) < 0 else 0)
            last = first + 1 if single else len(items) if stop is None else stop + (len(items) if stop < 0 else 0)
            if first != last:
                _check_bounds(first, last, step, len(items))
            found += items[first : last : step or 1]
        return found

    return apply


def _check_bounds(first: int, last: int, step: int | None, length: int) -> None:
    for index, wrong in ((first, not 0 <= first < length), (last - 1, not 0 <= last <= length)):
        if wrong:
            raise _Wrong(f"array index out of bounds: index {index}, length {length}")
    if first > last:
        raise _Wrong(f"starting index {first} is greater than ending index {last}")
    if step is not None and step <= 0:
        raise _Wrong("step must be > 0")


def _union(members: list[tuple[Step, ...]]) -> Step:
    return lambda values: [found for steps in members for found in _walk(steps, values)]


def _literal(value: object) -> Step:
    return lambda values: [value]


def _filter(holds: Holds) -> Step:
    return lambda values: [item for items in _lists(values, " and cannot be filtered") for item in items if holds(item)]


def _comparison(left: tuple[Step, ...], compare: Callable[[Any, Any], bool], right: tuple[Step, ...]) -> Holds:
    def holds(item: Any) -> bool:
        lefts, rights = _walk(left, [item]), _walk(right, [item])
        if not lefts or not rights:
            return False
        if len(lefts) > 1 or len(rights) > 1:
            raise _Wrong("can only compare one element at a time")
        kinds = {_KINDS.get(type(value), "other") for value in (lefts[0], rights[0])}
        if len(kinds) > 1 or kinds == {"other"}:
            raise _Wrong("incompatible types for comparison")
        return compare(lefts[0], rights[0])

    return holds


# ---- reading an action ----

# What an action is made of, between its braces.
_TOKEN = re.compile(
    r"""
      (?P<end> \})
    | (?P<nothing> [ @$])                                             # the object at hand, which needs no word
    | \[\?\( (?P<filter> (?: "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [^)"'\n] )* ) \)\]
    | \[ (?P<brackets> [^]\n]*) \]
    | \.\. (?P<descend> (?:\w (?:\\. | [^\s.,\[\]$@{}\\])*)? )
    | \.   (?P<field> (?:\\. | [^\s.,\[\]$@{}\\])* )
    | (?P<quoted> "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    | (?P<number> [-+\d] [.\d]* )
    | (?P<word> \w [^\s.,\[\]$@{}]* )
    """,
    re.VERBOSE,
)
_UNCLOSED = {"": "unclosed action", "\n": "unclosed action", "\r": "unclosed action", "[": "unterminated array"}
_UNCLOSED |= dict.fromkeys("\"'", "unterminated quoted string")

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_INDEX = re.compile(r"(-?\d*)(:-?\d*)?(:-?\d*)?")
_COMPARISON = re.compile(r"([^!<>=]+)([!<>=]+)(.+)", re.DOTALL)


def _action(text: str, position: int) -> tuple[_Action, int]:
    """Read one action from behind its `{`; where the text goes on behind its `}` comes back with it."""
    steps: list[Step] = []
    keyword = ""
    while True:
        token = _TOKEN.match(text, position)
        if token is None:
            raise _unreadable(text[position : position + 3])
        position = token.end()
        kind, inner = str(token.lastgroup), token[str(token.lastgroup)]
        if kind == "end":
            return _Action(tuple(steps), keyword), position
        if kind == "word" and inner in ("range", "end"):
            keyword = inner
        elif kind != "nothing":
            steps += _READ[kind](inner)


def _unreadable(rest: str) -> _Wrong:
    known = "unterminated filter" if rest == "[?(" else _UNCLOSED.get(rest[:1])
    return _Wrong(known or f"unrecognized character in action: U+{ord(rest[0]):04X} '{rest[0]}'")


def _steps(expression: str) -> tuple[Step, ...]:
    return _action(f"{expression}}}", 0)[0].steps


def _read_field(written: str) -> Iterable[Step]:
    return [_wildcard if written == "*" else _field(written.replace("\\", ""))]


def _read_descend(written: str) -> Iterable[Step]:
    return [_descend, *(_read_field(written) if written else [])]


def _read_word(word: str) -> Iterable[Step]:
    if word not in ("true", "false"):
        raise _Wrong(f"unrecognized identifier {word}")
    return [_literal(word == "true")]


def _read_number(written: str) -> Iterable[Step]:
    try:
        return [_literal(float(written) if "." in written else int(written))]
    except ValueError:
        raise _Wrong(f"cannot parse number {written}") from None


def _read_quoted(written: str) -> Iterable[Step]:
    def meant(escape: re.Match[str]) -> str:
        code = escape[1] or escape[2] or escape[3]
        if not code and escape[4] not in {*_ESCAPED, "\\", '"', "'"}:
            raise _Wrong(f"unquote string {written} error invalid syntax")
        return chr(int(code, 16)) if code else _ESCAPED.get(escape[4], escape[4])

    return [_literal(_ESCAPE.sub(meant, written[1:-1]))]


def _read_brackets(inner: str) -> Iterable[Step]:
    members = inner.split(",")
    if len(members) > 1:
        return [_union([_steps(f"[{member.strip(' ')}]") for member in members])]
    if quoted := re.fullmatch("'([^']*)'", inner):
        return _steps(f".{quoted[1]}")
    found = _INDEX.fullmatch(":" if inner == "*" else inner)
    if found is None:
        raise _Wrong(f"invalid array index {inner}")
    start, stop, step = (int(digits) if (digits := (part or "").lstrip(":")) else None for part in found.groups())
    return [_slice(start, stop, step, single=found[2] is None)]


def _read_filter(inner: str) -> Iterable[Step]:
    found = _COMPARISON.fullmatch(inner)
    if found is None:
        path = _steps(inner)
        return [_filter(lambda item: bool(_walk(path, [item])))]
    left, compare, right = found.groups()
    if compare not in _OPERATORS:
        raise _Wrong(f"unrecognized filter operator {compare}")
    return [_filter(_comparison(_steps(left), _OPERATORS[compare], _steps(right)))]


_READ: dict[str, Callable[[str], Iterable[Step]]] = {
    "filter": _read_filter,
    "brackets": _read_brackets,
    "descend": _read_descend,
    "field": _read_field,
    "quoted": _read_quoted,
    "number": _read_number,
    "word": _read_word,
}
