"""What the probe writes when asked to `flood`: numbered lines of any bytes, some of them long, the last without an
end.  tests/probe.c knows them too."""

from __future__ import annotations

from collections.abc import Iterator

_PATTERN = bytes(251 if byte == 10 else byte for byte in range(251)) * 300


def line(name: str, number: int) -> bytes:
    """Line `number` of stream "out" or "err"."""
    length = number * 997 % 60000 if number % 61 == 60 else number * 31 % 200
    start = number % 251
    return f"{name} {number} ".encode() + _PATTERN[start : start + length]


def lines(name: str, count: int) -> Iterator[bytes]:
    return (line(name, number) for number in range(count))
