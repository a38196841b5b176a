"""Profiles of others: OCI's JSON (config-linux.md, "Seccomp"), with what Docker's form adds to it.

The only place that knows these names.  Strict: what would not be done is refused, so that a profile never means less
than it says.  The one exception is the name of a system call that is not known here, as a profile is written for many
kernels and libraries: the call is left to the default action.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EPERM
from typing import Any, NoReturn, TypeVar

from sandbox.capabilities import CAPABILITIES
from sandbox.errors import ProfileError, quoted
from sandbox.linux.seccomp.profile import (
    MAX_ARGUMENTS,
    MAX_ERRNO,
    Action,
    ActionKind,
    Argument,
    Comparison,
    Excluded,
    Flag,
    Included,
    Profile,
    Rule,
)

_T = TypeVar("_T")

_ACTIONS: dict[str, ActionKind] = {
    "SCMP_ACT_KILL": "KILL_THREAD",
    "SCMP_ACT_KILL_THREAD": "KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS": "KILL_PROCESS",
    "SCMP_ACT_TRAP": "TRAP",
    "SCMP_ACT_ERRNO": "ERRNO",
    "SCMP_ACT_TRACE": "TRACE",
    "SCMP_ACT_LOG": "LOG",
    "SCMP_ACT_ALLOW": "ALLOW",
}
_COMPARISONS: dict[str, Comparison] = {
    f"SCMP_CMP_{name}": name for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
}
_FLAGS: dict[str, Flag | None] = {
    "SECCOMP_FILTER_FLAG_LOG": "LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": "SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC": None,  # for other threads, of which a container that starts has none
}
# All that OCI knows: one that this machine cannot run is no mistake, and no matter.
_ARCHITECTURES = {
    f"SCMP_ARCH_{name.upper()}": name
    for name in (
        "x86", "x86_64", "x32", "arm", "aarch64", "loongarch64", "m68k", "mips", "mips64", "mips64n32", "mipsel",
        "mipsel64", "mipsel64n32", "parisc", "parisc64", "ppc", "ppc64", "ppc64le", "riscv64", "s390", "s390x", "sh",
        "sheb",
    )
}  # fmt: skip
# Docker's `arches` are Go's names of architectures: of those that a machine of ours can be, as `uname -m` has them.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"} | {
    name: name
    for name in (
        "386", "arm", "loong64", "mips", "mips64", "mips64n32", "mipsel", "mipsel64", "mipsel64n32", "ppc64", "ppc64le",
        "riscv64", "s390", "s390x", "x32", "x86",
    )
}  # fmt: skip
_CAPABILITIES = {f"CAP_{name}": name for name in CAPABILITIES}


def parse(text: str, file: str) -> Profile:
    """The profile in `text`; `file` is for messages.  Raises ProfileError."""
    return _profile(_Value(_json(text, file), file))


def _json(text: str, file: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ProfileError(file, "", f"the key {quoted(twice)} stands twice in one object")
        return found

    def no_number(name: str) -> NoReturn:
        raise ProfileError(file, "", f"{name} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except json.JSONDecodeError as error:
        raise ProfileError(f"{file}:{error.lineno}:{error.colno}", "", f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ProfileError(file, "", "not a profile: nested too deeply") from None
    except ProfileError:
        raise
    except ValueError:  # more digits than Python reads
        raise ProfileError(file, "", "not a profile: a number is too large") from None


@dataclass(frozen=True)
class _Value:
    """A value on its way through the tables, with the path to it."""

    value: Any
    file: str
    path: str = ""

    def refuse(self, message: str, hint: str | None = None) -> NoReturn:
        raise ProfileError(self.file, self.path, message, hint=hint)

    def field(self, name: str) -> _Value:
        """The value of a key; of one that is not there None, which also stands for a Go program's empty value."""
        return _Value(self.value.get(name), self.file, f"{self.path}.{name}" if self.path else name)

    def object(self, *known: str) -> _Value:
        """This, which is an object and has no other keys."""
        if not isinstance(self.value, dict):
            self.refuse(f"must be an object, not {_kind(self.value)}")
        for name in self.value:
            if name not in known:
                self.refuse(f"unknown key {quoted(name)}", f"the keys here are {', '.join(known)}")
        return self

    def items(self) -> Iterator[_Value]:
        """The items of an array; none where there is none."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            self.refuse(f"must be an array, not {_kind(self.value)}")
        for index, item in enumerate(self.value):
            yield _Value(item, self.file, f"{self.path}[{index}]")

    def optional(self, read: Callable[[_Value], _T], otherwise: _T) -> _T:
        return otherwise if self.value is None else read(self)

    def text(self) -> str:
        if self.value is None:
            self.refuse("is required")
        if not isinstance(self.value, str):
            self.refuse(f"must be a string, not {_kind(self.value)}")
        return self.value

    def one_of(self, choices: dict[str, _T]) -> _T:
        name = self.text()
        if name not in choices:
            self.refuse(f"unknown value {quoted(name)}", f"one of {', '.join(choices)}")
        return choices[name]

    def number(self, most: int) -> int:
        if self.value is None:
            self.refuse("is required")
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.refuse(f"must be an integer, not {_kind(self.value)}")
        if not 0 <= self.value <= most:
            self.refuse(f"must be between 0 and {most}")
        return self.value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return "null" if value is None else kinds.get(type(value), "a number with a fraction")


def _profile(top: _Value) -> Profile:
    known = ("defaultAction", "defaultErrnoRet", "architectures", "archMap", "flags", "syscalls")
    for name in ("listenerPath", "listenerMetadata"):
        if isinstance(top.value, dict) and top.value.get(name):
            top.field(name).refuse("there is no agent here that SCMP_ACT_NOTIFY could ask", f"remove {name}")
    top.object(*known, "listenerPath", "listenerMetadata")
    default_number = top.field("defaultErrnoRet").optional(_errno, EPERM)
    default = _action(top.field("defaultAction"), top.field("defaultErrnoRet"), default_number)
    return Profile(
        default=default,
        rules=tuple(_rule(item, default_number) for item in top.field("syscalls").items()),
        architectures=tuple(item.one_of(_ARCHITECTURES) for item in top.field("architectures").items()),
        siblings=tuple(_siblings(item) for item in top.field("archMap").items()),
        flags=tuple(flag for item in top.field("flags").items() if (flag := item.one_of(_FLAGS)) is not None),
    )


def _siblings(value: _Value) -> tuple[str, tuple[str, ...]]:
    value.object("architecture", "subArchitectures")
    own = value.field("architecture").one_of(_ARCHITECTURES)
    return own, tuple(item.one_of(_ARCHITECTURES) for item in value.field("subArchitectures").items())


def _errno(value: _Value) -> int:
    return value.number(MAX_ERRNO)


def _action(value: _Value, number: _Value, otherwise: int) -> Action:
    """`number` is the profile's word for the errno, and `otherwise` what it is without."""
    if value.value == "SCMP_ACT_NOTIFY":
        value.refuse("SCMP_ACT_NOTIFY needs an agent to ask, and there is none here", "use SCMP_ACT_ERRNO")
    kind = value.one_of(_ACTIONS)
    if kind in ("ERRNO", "TRACE"):
        return Action(kind, number.optional(_errno, otherwise))
    if number.value is not None:
        number.refuse(f"has no meaning with {value.value}", "remove it, or use SCMP_ACT_ERRNO")
    return Action(kind)


def _rule(value: _Value, default_number: int) -> Rule:
    value.object("names", "action", "errnoRet", "args", "comment", "includes", "excludes")
    names = tuple(_name(item) for item in value.field("names").items())
    if not names:
        value.field("names").refuse("must name a system call")
    value.field("comment").optional(_Value.text, "")
    return Rule(
        names=names,
        action=_action(value.field("action"), value.field("errnoRet"), EPERM),
        arguments=tuple(_argument(item) for item in value.field("args").items()),
        included=value.field("includes").optional(_included, Included()),
        excluded=value.field("excludes").optional(_excluded, Excluded()),
    )


def _name(value: _Value) -> str:
    name = value.text()
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        value.refuse(f"not the name of a system call: {quoted(name)}")
    return name


def _argument(value: _Value) -> Argument:
    value.object("index", "value", "valueTwo", "op")
    return Argument(
        index=value.field("index").number(MAX_ARGUMENTS - 1),
        comparison=value.field("op").one_of(_COMPARISONS),
        value=value.field("value").number(2**64 - 1),
        value_two=value.field("valueTwo").optional(lambda two: two.number(2**64 - 1), 0),
    )


def _included(value: _Value) -> Included:
    machines = _machines(value)
    return Included(_capabilities(value), machines or None, _kernel(value))


def _excluded(value: _Value) -> Excluded:
    return Excluded(_capabilities(value), _machines(value), _kernel(value))


def _machines(value: _Value) -> frozenset[str]:
    value.object("caps", "arches", "minKernel")
    return frozenset(item.one_of(_MACHINES) for item in value.field("arches").items())


def _capabilities(value: _Value) -> frozenset[str]:
    return frozenset(item.one_of(_CAPABILITIES) for item in value.field("caps").items())


def _kernel(value: _Value) -> tuple[int, int] | None:
    field = value.field("minKernel")
    if not field.value:
        return None
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", field.text())
    if match is None:
        field.refuse("must be the first two numbers of a kernel's version", 'as in "5.15"')
    return int(match[1]), int(match[2])
