"""The cpu controller (cgroup-v2.rst, "CPU Interface Files")."""

from __future__ import annotations

from dataclasses import dataclass

from cgroups.files import Directory
from cgroups.knobs import Bound, Knobs, keyed, written


@dataclass(frozen=True)
class Cpu(Knobs):
    """`weight`: 1 to 10000, 100 where it was never set; the share among siblings that all want the processor.

    `quota`: microseconds of processor time, of all processors together, that may be used in each `period`, or "max".
    `period`: microseconds, 1000 to 1000000, 100000 where it was never set; it is written with a quota only.
    """

    controller = "cpu"

    weight: int | None = None
    quota: Bound | None = None
    period: int | None = None

    def __post_init__(self) -> None:
        if self.period is not None and self.quota is None:
            raise ValueError("a period needs a quota")

    def values(self) -> dict[str, str]:
        bandwidth = (
            None if self.quota is None else {"cpu.max": " ".join(map(str, filter(None, (self.quota, self.period))))}
        )
        return {**written({"cpu.weight": self.weight}), **(bandwidth or {})}


@dataclass(frozen=True)
class CpuStat:
    """Processor time in microseconds.  What the controller counts is None where it is off: time is counted anyway.

    Of `nr_periods` in which something wanted to run `nr_throttled` used up the quota, for `throttled_usec` in all.
    """

    usage_usec: int
    user_usec: int
    system_usec: int
    nr_periods: int | None = None
    nr_throttled: int | None = None
    throttled_usec: int | None = None

    @classmethod
    def read(cls, directory: Directory) -> CpuStat:
        return keyed(cls, directory.read("cpu.stat"))
