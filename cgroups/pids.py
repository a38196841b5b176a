"""The pids controller (cgroup-v2.rst, "PID Interface Files")."""

from __future__ import annotations

from dataclasses import dataclass

from cgroups.files import Directory
from cgroups.knobs import Bound, Knobs, written


@dataclass(frozen=True)
class Pids(Knobs):
    """`max`: how many processes and threads there may be, here and below, or "max"; a fork beyond it is EAGAIN."""

    controller = "pids"

    max: Bound | None = None

    def values(self) -> dict[str, str]:
        return written({"pids.max": self.max})


@dataclass(frozen=True)
class PidsStat:
    """How many there are, and at most were (`peak`, known since Linux 6.6); how many forks were refused."""

    current: int
    peak: int | None
    refused: int

    @classmethod
    def read(cls, directory: Directory) -> PidsStat:
        return cls(
            current=directory.number("pids.current"),
            peak=directory.number("pids.peak") if directory.has("pids.peak") else None,
            refused=directory.keyed("pids.events")["max"],
        )
