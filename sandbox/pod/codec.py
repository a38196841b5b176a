"""Values of ours as JSON and back: what stands in state files and crosses the engine's socket.

A dataclass becomes an object of its fields, read back by their type annotations; of a union of dataclasses the class's
name goes along as "is".  Fields that hold their default are left out, unknown ones are ignored: an engine reads what
an older or a newer one wrote.  Pure.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from sandbox.errors import (
    AlreadyExists,
    Finding,
    ManifestError,
    NotFound,
    SandboxError,
    Unsupported,
    WrongState,
)

T = TypeVar("T")

# ---- values ----


def encode(value: Any) -> Any:
    """`value` in what JSON has: dicts, lists, strings, numbers, booleans and None."""
    kind: Any = type(value)
    return value if kind in _AS_THEY_ARE else _writer(kind)(value)


Convert = Callable[[Any], Any]

_AS_THEY_ARE = frozenset((str, int, bool, float, type(None)))


@functools.cache
def _writer(kind: type) -> Convert:
    """What `encode` does to values of this very class: found out once, as there are thousands of each."""
    if issubclass(kind, Mapping):
        return lambda value: {key: encode(item) for key, item in value.items()}
    if issubclass(kind, list | tuple):
        return lambda value: [encode(item) for item in value]
    return _fields_writer(kind) if is_dataclass(kind) else _plain_writer(kind)


def _plain_writer(kind: type) -> Convert:
    if issubclass(kind, datetime):
        return datetime.isoformat
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, Path | Decimal):
        return str
    if issubclass(kind, bytes):
        return lambda value: base64.b64encode(value).decode()
    return lambda value: value


def _fields_writer(kind: Any) -> Convert:
    defaults = [(field.name, _default(field)) for field in fields(kind)]

    def write(value: Any) -> dict[str, Any]:
        said = {"is": kind.__name__}
        for name, default in defaults:
            held = getattr(value, name)
            if held is not default and held != default:
                said[name] = encode(held)
        return said

    return write


def _default(field: Field[Any]) -> Any:
    """What it holds where nothing is said; MISSING is equal to nothing."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def decode(kind: type[T], data: Any) -> T:
    """The value of type `kind` that `encode` made `data` of.  Raises ValueError for anything else."""
    try:
        return typing.cast(T, _reader(typing.cast(Any, kind))(data))
    except (TypeError, KeyError, AttributeError, InvalidOperation) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from None


def read(kind: type[T], text: str | bytes) -> T:
    """The value of a file of JSON that `encode` was written to.  Raises ValueError for anything else."""
    try:
        return decode(kind, json.loads(text))
    except RecursionError:
        raise ValueError(f"not a {kind.__name__}: it is nested too deeply") from None


@functools.cache
def _reader(kind: Any) -> Convert:
    """What `decode` does for a type, as an annotation names it: found out once."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(arguments)
    if origin is tuple:
        return _tuple_reader(_reader(arguments[0]))
    if origin is not None:  # a Mapping
        return _mapping_reader(_reader(arguments[1]))
    return _fields_reader(kind) if is_dataclass(kind) else _plain_reader(kind)


def _tuple_reader(item: Convert) -> Convert:
    def read(data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list):
            raise TypeError(f"{data!r} is not a list")
        return tuple(map(item, data))

    return read


def _mapping_reader(item: Convert) -> Convert:
    return lambda data: {key: item(value) for key, value in data.items()}


def _fields_reader(kind: Any) -> Convert:
    @functools.cache  # when the first is read: a class may have fields of its own kind
    def readers() -> dict[str, Convert]:
        hints = typing.get_type_hints(kind)  # class variables are among them, and are no fields
        return {field.name: _reader(hints[field.name]) for field in fields(kind)}

    def read(data: Any) -> Any:
        known = readers()
        return kind(**{name: known[name](item) for name, item in data.items() if name in known})

    return read


def _union_reader(kinds: tuple[Any, ...]) -> Convert:
    """Of a union of dataclasses the class's name stands in the data; else it is a number, a text, one kind, or None."""
    known = {kind.__name__: _reader(kind) for kind in kinds if kind is not type(None)}
    first = next(iter(known.values()))

    def read(data: Any) -> Any:
        if data is None and type(None) in kinds:
            return None
        if isinstance(data, dict) and "is" in data:
            if data["is"] not in known:
                raise ValueError(f"{data['is']!r} is none of {', '.join(known)}")
            return known[data["is"]](data)
        return known.get(type(data).__name__, first)(data)

    return read


def _plain_reader(kind: Any) -> Convert:
    if kind is Any:
        return lambda data: data
    if kind in (str, int, bool):
        return _exact_reader(kind)
    return _READERS.get(kind, kind)  # or a Path, an Enum


def _exact_reader(kind: type) -> Convert:
    def read(data: Any) -> Any:
        if type(data) is not kind:  # not isinstance: a bool is no number here
            raise TypeError(f"{data!r} is not of type {kind.__name__}")
        return data

    return read


def _moment(data: Any) -> datetime:
    moment = datetime.fromisoformat(data)
    if moment.tzinfo is None:
        raise ValueError(f"{data} is a time without its zone")
    return moment


def _float(data: Any) -> float:
    if type(data) not in (int, float) or not math.isfinite(data):
        raise TypeError(f"{data!r} is not a number")
    return float(data)


def _decimal(data: Any) -> Decimal:
    number = Decimal(data) if isinstance(data, str) else Decimal("NaN")
    if not number.is_finite():
        raise TypeError(f"{data!r} is not a number")
    return number


_READERS: Mapping[Any, Callable[[Any], Any]] = {
    bytes: lambda data: base64.b64decode(data, validate=True),
    datetime: _moment,
    Decimal: _decimal,
    float: _float,
}


# ---- errors ----


def encode_error(error: SandboxError | OSError) -> dict[str, Any]:
    """An error as the socket carries it; what has no class of its own in `_ERRORS` arrives as a SandboxError."""
    about = {name: getattr(error, name, None) for name in ("kind", "name", "current", "wanted", "feature", "needs")}
    message = error.message if isinstance(error, SandboxError) else _words(error)
    return {
        # A cgroups.Unsupported is not ours: it has other fields.
        "error": type(error).__name__ if isinstance(error, SandboxError) else "SandboxError",
        "message": message,
        "hint": getattr(error, "hint", None),
        **{name: value for name, value in about.items() if value is not None},
        "findings": [encode(finding) for finding in getattr(error, "findings", ())],
    }


def _words(error: OSError) -> str:
    about = f"{error.filename}: " if error.filename else ""
    return f"{about}{error.strerror or error}"


def decode_error(data: Mapping[str, Any]) -> SandboxError:
    """The error that `encode_error` was given."""
    make = _ERRORS.get(data["error"])
    return make(data) if make else SandboxError(data["message"], hint=data["hint"])


_ERRORS: Mapping[str, Callable[[Mapping[str, Any]], SandboxError]] = {
    "NotFound": lambda data: NotFound(data["kind"], data["name"], data["message"], hint=data["hint"]),
    "AlreadyExists": lambda data: AlreadyExists(data["kind"], data["name"], hint=data["hint"]),
    "WrongState": lambda data: WrongState(
        data["message"], current=data["current"], wanted=data["wanted"], hint=data["hint"]
    ),
    "Unsupported": lambda data: Unsupported(
        data["feature"], needs=data["needs"], message=data["message"], hint=data["hint"]
    ),
    "ManifestError": lambda data: ManifestError(
        tuple(decode(Finding, finding) for finding in data["findings"]), hint=data["hint"]
    ),
}
