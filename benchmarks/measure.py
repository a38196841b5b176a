"""A measurement, and what many of them say.  Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """One operation: how long it took, and the processor time of all processes of the contender, its pod's included."""

    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Spread:
    """Of samples: the 90th percentile is by nearest rank."""

    minimum: float
    median: float
    p90: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        rank = math.ceil(0.9 * len(ordered))
        return cls(ordered[0], median(ordered), ordered[rank - 1], ordered[-1])


@dataclass(frozen=True)
class Ratio:
    """How many times longer one case takes than another, in one run.

    `paired` is the median of the ratios of each round, whose two halves had the same noise; `of_medians` that of the
    two medians; `cpu` is paired, too, of processor time.
    """

    paired: float
    of_medians: float
    cpu: float

    @classmethod
    def between(cls, long: Sequence[Sample], short: Sequence[Sample]) -> Ratio | None:
        """None where one was not measured."""
        pairs = list(zip(long, short, strict=True)) if long and short else []
        if not pairs:
            return None
        return cls(
            paired=median(a.wall_ms / b.wall_ms for a, b in pairs),
            of_medians=median(a.wall_ms for a, _ in pairs) / median(b.wall_ms for _, b in pairs),
            cpu=median(a.cpu_ms / b.cpu_ms for a, b in pairs),
        )
