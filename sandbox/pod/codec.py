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
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return _encode_fields(value) if is_dataclass(value) else _encode_plain(value)


def _encode_plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Enum():
            return value.value
        case Path() | Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
    return value


def _encode_fields(value: Any) -> Any:
    said = {field.name: encode(getattr(value, field.name)) for field in fields(value) if not _idle(value, field)}
    return {"is": type(value).__name__, **said}


def _idle(value: Any, field: Field[Any]) -> bool:
    held = getattr(value, field.name)
    if field.default is not MISSING:
        return bool(held == field.default)
    return field.default_factory is not MISSING and bool(held == field.default_factory())


def decode(kind: type[T], data: Any) -> T:
    """The value of type `kind` that `encode` made `data` of.  Raises ValueError for anything else."""
    try:
        return typing.cast(T, _decode(kind, data))
    except (TypeError, KeyError, AttributeError, InvalidOperation) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from None


def read(kind: type[T], text: str | bytes) -> T:
    """The value of a file of JSON that `encode` was written to.  Raises ValueError for anything else."""
    try:
        return decode(kind, json.loads(text))
    except RecursionError:
        raise ValueError(f"not a {kind.__name__}: it is nested too deeply") from None


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decode(kind: Any, data: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(typing.get_args(kind), data)
    if origin is tuple:
        if not isinstance(data, list):
            raise TypeError(f"{data!r} is not a list")
        return tuple(_decode(typing.get_args(kind)[0], item) for item in data)
    if origin is not None:  # a Mapping
        return {key: _decode(typing.get_args(kind)[1], item) for key, item in data.items()}
    return _decode_fields(kind, data) if is_dataclass(kind) else _plain(kind, data)


def _plain(kind: Any, data: Any) -> Any:
    if kind is Any:
        return data
    if kind in (str, int, bool):
        if type(data) is not kind:  # not isinstance: a bool is no number here
            raise TypeError(f"{data!r} is not of type {kind.__name__}")
        return data
    return _READERS.get(kind, kind)(data)  # or a Path, an Enum


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


def _decode_fields(kind: Any, data: Any) -> Any:
    hints = _hints(kind)
    return kind(**{name: _decode(hints[name], item) for name, item in data.items() if name in hints})


def _decode_union(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    known = [kind for kind in kinds if kind is not type(None)]
    if isinstance(data, Mapping) and "is" in data:
        named = [kind for kind in known if kind.__name__ == data["is"]]
        if not named:
            raise ValueError(f"{data['is']!r} is none of {', '.join(kind.__name__ for kind in known)}")
        return _decode(named[0], data)
    return _decode(known[0], data)


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
