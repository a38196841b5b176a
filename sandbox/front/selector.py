"""Label selectors, `-l app=web,tier!=db`, in the grammar of kubectl's.  Pure.

requirement (, requirement)*      all must hold
key = value   key == value        has this value
key != value                      has another, or none
key in (a, b)   key notin (a, b)
key   !key                        has it, has it not
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from sandbox.errors import quoted
from sandbox.front.errors import Usage

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

_TOKEN = re.compile(r"\s*(?P<token>==|!=|[=!(),]|[A-Za-z0-9_./-]+|$)\s*")
_SIGNS = frozenset(["==", "!=", "=", "!", "(", ")", ",", ""])


def parse(text: str) -> Selector:
    """Whether labels are selected by `text`; an empty one selects all.  Raises Usage."""
    tokens = _Tokens(text)
    if tokens.peek() == "":
        return lambda labels: True
    requirements = [_requirement(tokens)]
    while tokens.peek() == ",":
        tokens.take()
        requirements.append(_requirement(tokens))
    tokens.expect("")
    return lambda labels: all(holds(labels) for holds in requirements)


class _Tokens:
    """The words and signs of a selector; at its end, the empty string."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rest = self._split()
        self._next = next(self._rest)

    def _split(self) -> Iterator[str]:
        position = 0
        while True:
            found = _TOKEN.match(self._text, position)
            if found is None:
                raise self.wrong(self._text[position])
            position = found.end()
            yield found["token"]

    def wrong(self, found: str) -> Usage:
        what = f"found {quoted(found)}" if found else "it ends too early"
        return Usage(
            f"unable to parse selector {quoted(self._text)}: {what}", hint="as in app=web,tier notin (db, cache)"
        )

    def peek(self) -> str:
        return self._next

    def take(self) -> str:
        token = self._next
        if token:
            self._next = next(self._rest)
        return token

    def word(self) -> str:
        if self._next in _SIGNS:
            raise self.wrong(self._next)
        return self.take()

    def expect(self, sign: str) -> None:
        if self._next != sign:
            raise self.wrong(self._next)
        self.take()


def _requirement(tokens: _Tokens) -> Selector:
    if tokens.peek() == "!":
        tokens.take()
        absent = tokens.word()
        return lambda labels: absent not in labels
    key = tokens.word()
    match tokens.peek():
        case "=" | "==":
            tokens.take()
            value = _value(tokens)
            return lambda labels: labels.get(key) == value
        case "!=":
            tokens.take()
            value = _value(tokens)
            return lambda labels: labels.get(key) != value
        case "in":
            tokens.take()
            values = _values(tokens)
            return lambda labels: labels.get(key) in values
        case "notin":
            tokens.take()
            values = _values(tokens)
            return lambda labels: labels.get(key) not in values
        case _:
            return lambda labels: key in labels


def _value(tokens: _Tokens) -> str:
    """One value; none at all is the empty one."""
    return "" if tokens.peek() in (",", ")", "") else tokens.word()


def _values(tokens: _Tokens) -> frozenset[str | None]:
    tokens.expect("(")
    values: set[str | None] = {_value(tokens)}
    while tokens.peek() == ",":
        tokens.take()
        values.add(_value(tokens))
    tokens.expect(")")
    return frozenset(values)
