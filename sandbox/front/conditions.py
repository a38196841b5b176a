"""What `seedpod wait --for` waits for, in kubectl's grammar and words.  Pure.

condition=Ready   condition=Ready=false   create   delete
jsonpath='{.status.phase}'=Running   jsonpath='{.status.podIP}'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.errors import SandboxError, quoted
from sandbox.front.errors import Usage
from sandbox.front.v1 import V1

_HINT = "--for=condition=Ready, --for=delete, --for=create or --for=jsonpath='{.status.phase}'=Running"
_PATH = re.compile(r"\{\.?([^{}]+)\}|\.?([^{}]+)")
_PATH_WRONG = (
    "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"
)
_EXAMPLE = "--for=jsonpath='{.status.readyReplicas}'"
_NO_VALUE = f"jsonpath wait has to have a value after equal sign, like {_EXAMPLE}=3"
_FORM = f"jsonpath wait format must be {_EXAMPLE}=3 or {_EXAMPLE}"


@dataclass(frozen=True)
class Condition:
    """What is to be true of a pod: that it is there, that it is gone, or what `holds` says of its object.

    `holds` raises SandboxError where it can never be told.
    """

    holds: Callable[[V1], bool]
    create: bool = False
    delete: bool = False


def parse(text: str) -> Condition:
    """The value of `--for`.  Raises Usage."""
    kind, given, rest = text.partition("=")
    if text.lower() == "delete":
        return Condition(lambda pod: False, delete=True)
    if text.lower() == "create":
        return Condition(lambda pod: True, create=True)
    if kind == "condition" and given:
        name, _, wanted = rest.partition("=")
        return Condition(_has_condition(name.casefold(), wanted.casefold() if "=" in rest else "true"))
    if kind == "jsonpath" and given:
        return Condition(_at_path(rest))
    raise Usage(f"unrecognized condition: {quoted(text)}", hint=_HINT)


def _has_condition(name: str, wanted: str) -> Callable[[V1], bool]:
    def holds(pod: V1) -> bool:
        known = {each["type"].casefold(): each["status"].casefold() for each in pod["status"]["conditions"]}
        return known.get(name) == wanted

    return holds


def _at_path(text: str) -> Callable[[V1], bool]:
    from sandbox.front import jsonpath  # its grammar takes as long to compile as all the rest to import

    expression, *values = _split(text)
    found = _PATH.fullmatch(expression)
    if len(values) > 1:
        raise Usage(_FORM)
    if found is None:
        raise Usage(_PATH_WRONG)
    wanted = values[0].strip("'\"") if values else None
    if wanted == "":
        raise Usage(_NO_VALUE)
    try:
        template = jsonpath.parse(f"{{.{found[1] or found[2]}}}")
    except SandboxError as error:
        raise Usage(str(error)) from None
    return lambda pod: _is(template.values(pod), wanted)


def _split(text: str) -> list[str]:
    """At each single "="; two of them compare."""
    return [part.replace("\0", "==") for part in text.replace("==", "\0").split("=")]


def _is(values: list[Any], wanted: str | None) -> bool:
    if len(values) > 1:
        raise SandboxError("given jsonpath expression matches more than one value")
    if not values or wanted is None:
        return bool(values)
    (value,) = values
    if isinstance(value, dict | list):
        raise SandboxError("jsonpath leads to a nested object or list which is not supported")
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return shown.strip() == wanted.strip()
