"""The words of findings: those of the Kubernetes API server wherever it has words for the matter."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sandbox.errors import quoted

REQUIRED = "Required value"


def child(path: str, name: str) -> str:
    """The path of the field `name` of the object at `path`: `spec.containers`, `metadata.labels["a/b"]`."""
    if not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
        return f"{path}[{quoted(name)}]"
    return f"{path}.{name}" if path else name


def required(reason: str = "") -> str:
    return f"{REQUIRED}: {reason}" if reason else REQUIRED


def invalid(shown: str, reason: str) -> str:
    return f"Invalid value: {shown}: {reason}"


def duplicate(value: str) -> str:
    return f"Duplicate value: {quoted(value)}"


def not_found(value: str) -> str:
    return f"Not found: {quoted(value)}"


def forbidden(reason: str) -> str:
    return f"Forbidden: {reason}"


def too_long(limit: int) -> str:
    return f"Too long: may not be more than {limit} bytes"


def too_many(count: int, limit: int) -> str:
    return f"Too many: {count}: must have at most {limit} items"


def unsupported(value: str, supported: Iterable[str], *, known: bool = False) -> str:
    """`known`: Kubernetes has this value, only seedpod has not yet."""
    later = "known but not implemented yet; " if known else ""
    return f"Unsupported value: {quoted(value)}: {later}supported values: {', '.join(map(quoted, supported))}"


def not_implemented(field: str, why: str = "") -> str:
    """`why` it will not be, and what to do instead."""
    return f"field {quoted(field)} is known but not implemented{f': {why}' if why else ' yet'}"


def no_effect(why: str) -> str:
    return f"has no effect here: {why}"


def unknown_field(field: str, candidates: Iterable[str]) -> str:
    return f"unknown field {quoted(field)}{near(field, candidates)}"


def near(written: str, candidates: Iterable[str]) -> str:
    """Names the candidate that was probably meant, when one is near; else empty."""
    import difflib  # for slips alone

    by_lower = {name.lower(): name for name in candidates}
    # A long one is no slip of the finger, and comparing it would take long.
    found = difflib.get_close_matches(written.lower(), by_lower, n=1, cutoff=0.75) if len(written) <= 64 else []
    return f", did you mean {quoted(by_lower[found[0]])}?" if found else ""


def already_set(key: str) -> str:
    return f"key {quoted(key)} already set in map"


def not_a_key(written: str) -> str:
    """`written`: a key that is not taken for a string, as it stands in the text; empty where it is no scalar."""
    return f"a key must be a string; quote it: {quoted(written)}" if written else "a key must be a string"
