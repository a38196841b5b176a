"""Durations and times as kubectl's flags have them: Go's `1h30m` and RFC 3339.  Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sandbox.errors import SandboxError, quoted

_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),  # U+00B5, the micro sign
    "μs": Decimal("1e-6"),  # U+03BC, the letter
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_MOST = Decimal(2**63 - 1) / 10**9  # seconds: a duration is nanoseconds in 64 bits

_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def duration(text: str) -> timedelta:
    """`90s`, `1h30m`, `1.5h`, `100ms`, `0`; what is below a microsecond is rounded.  Raises SandboxError."""
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return timedelta(0)
    if not unsigned or _PART.sub("", unsigned):
        raise SandboxError(f"time: invalid duration {quoted(text)}")
    seconds = Decimal(0)
    for number, unit in _PART.findall(unsigned):
        if unit not in _UNITS:
            problem = f"unknown unit {quoted(unit)}" if unit else "missing unit"
            raise SandboxError(f"time: {problem} in duration {quoted(text)}")
        seconds += Decimal(number) * _UNITS[unit]
    if seconds > _MOST:
        raise SandboxError(f"time: invalid duration {quoted(text)}")
    return timedelta(microseconds=round(seconds * 10**6)) * (-1 if text.startswith("-") else 1)


def moment(text: str) -> datetime:
    """A time such as `2026-01-02T15:04:05Z`, with its zone.  Raises SandboxError."""
    try:
        if _RFC3339.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:  # the 30th of February
        pass
    raise SandboxError(f"{quoted(text)} is no time as in RFC 3339: 2026-01-02T15:04:05Z")


def rfc3339(time: datetime | None) -> str | None:
    """A time as the API writes it: UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else None
