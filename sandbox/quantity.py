"""Quantities as Kubernetes writes them: `1Gi`, `500m`, `0.5`, `1e3`.  Pure: text in, an exact number out, and back.

The grammar, the limits and the canonical form are those of `k8s.io/apimachinery/pkg/api/resource`.  What a quantity
counts (bytes, cores) is not known here.
"""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from enum import StrEnum

MAX = Decimal(2**63 - 1)  # what is larger counts as this much
SMALLEST = Decimal("1e-9")  # what is finer is rounded up to it, away from zero: who asks for some gets some

_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_WRONG_SUFFIX = "unable to parse quantity's suffix"

_QUANTITY = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[+-]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_BY_POWER_OF_TEN = {power: suffix for suffix, power in _DECIMAL_SUFFIXES.items()}
_BY_POWER_OF_1024 = {0: "", **{power: suffix for suffix, power in _BINARY_SUFFIXES.items()}}

# Enough digits for MAX in units of SMALLEST; a result that needs more is rounded as SMALLEST says.
_ARITHMETIC = decimal.Context(prec=40, rounding=ROUND_UP, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])
_FAR = 10**8  # an exponent beyond it makes a number of any length that a manifest can hold too large or too small


class Format(StrEnum):
    """How a quantity was written, and will be."""

    BINARY = "BinarySI"  # 1Gi
    DECIMAL = "DecimalSI"  # 1G, 500m
    EXPONENT = "DecimalExponent"  # 1e9


@dataclass(frozen=True, order=True)
class Quantity:
    """A number, exact to SMALLEST and at most MAX.  Those of one value are equal, however they were written.

    `str` gives the canonical form, which the API server shows: `1024Mi` is `1Gi`, `0.5` is `500m`.
    """

    value: Decimal
    format: Format = field(default=Format.DECIMAL, compare=False)

    def to_int(self, scale: int = 0) -> int:
        """The value in units of 10**`scale` (0: bytes or cores, -3: millicores), rounded up, away from zero."""
        return int(self.value.scaleb(-scale, _ARITHMETIC).to_integral_value(ROUND_UP))

    def __str__(self) -> str:
        # Of less than a Ki the binary form would lose what stands behind the point.
        if self.format is Format.BINARY and abs(self.value) >= 1024:
            return self._binary()
        return self._decimal()

    def _binary(self) -> str:
        number, power = self.to_int(), 0
        while number % 1024 == 0 and power < max(_BY_POWER_OF_1024):
            number, power = number // 1024, power + 1
        return f"{number}{_BY_POWER_OF_1024[power]}"

    def _decimal(self) -> str:
        number, power = self.to_int(-9), -9
        while number and number % 1000 == 0 and power < max(_BY_POWER_OF_TEN):
            number, power = number // 1000, power + 3
        if not number:
            return "0"
        if self.format is Format.EXPONENT:
            return f"{number}e{power}" if power else str(number)
        return f"{number}{_BY_POWER_OF_TEN[power]}"


def parse(text: str) -> Quantity:
    """The quantity that `text` is.  Raises ValueError, in the API server's words."""
    parts = _QUANTITY.fullmatch(text)
    if not parts or not (parts[2] or parts[3]):
        raise ValueError(_WRONG)
    sign, whole, fraction, suffix = parts.groups(default="")
    number = _ARITHMETIC.create_decimal(f"{sign}{whole or 0}.{fraction or 0}")
    if suffix in _BINARY_SUFFIXES:
        return Quantity(_bounded(_ARITHMETIC.multiply(number, 1024 ** _BINARY_SUFFIXES[suffix])), Format.BINARY)
    if suffix in _DECIMAL_SUFFIXES:
        return Quantity(_bounded(number.scaleb(_DECIMAL_SUFFIXES[suffix], _ARITHMETIC)))
    exponent = _EXPONENT.fullmatch(suffix)
    if not exponent or len(exponent[1]) > len(str(2**63)):
        raise ValueError(_WRONG_SUFFIX)
    power = min(max(int(exponent[1]), -_FAR), _FAR)
    return Quantity(_bounded(number.scaleb(power, _ARITHMETIC)), Format.EXPONENT)


def _bounded(number: Decimal) -> Decimal:
    limited = min(max(number, -MAX), MAX)
    return limited.quantize(SMALLEST, ROUND_UP, _ARITHMETIC).normalize(_ARITHMETIC)
