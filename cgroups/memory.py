"""The memory controller (cgroup-v2.rst, "Memory Interface Files")."""

from __future__ import annotations

from dataclasses import dataclass

from cgroups.files import Directory
from cgroups.knobs import Bound, Knobs, keyed, written


@dataclass(frozen=True)
class Memory(Knobs):
    """Bytes, which the kernel rounds down to whole pages, or "max".

    `max`: beyond it the OOM killer comes.  `high`: beyond it processes are slowed down and their memory reclaimed.
    `low` and `min` are protected from reclaim, the former as long as there is any other.  `swap_max`: of swap.
    `oom_group`: the OOM killer kills all of the cgroup or nothing of it.
    """

    controller = "memory"

    min: Bound | None = None
    low: Bound | None = None
    high: Bound | None = None
    max: Bound | None = None
    swap_max: Bound | None = None
    oom_group: bool | None = None

    def values(self) -> dict[str, str]:
        return written(
            {
                "memory.min": self.min,
                "memory.low": self.low,
                "memory.high": self.high,
                "memory.max": self.max,
                "memory.swap.max": self.swap_max,
                "memory.oom.group": self.oom_group,
            }
        )


@dataclass(frozen=True)
class MemoryEvents:
    """How often, here and below: reclaimed below `low`; throttled beyond `high`; about to pass `max`; allocations that
    then failed (`oom`); processes that the OOM killer ended, whichever cgroup or machine was out of memory
    (`oom_kill`); and whole groups of them (`oom_group_kill`, since Linux 5.17)."""

    low: int
    high: int
    max: int
    oom: int
    oom_kill: int
    oom_group_kill: int | None = None


@dataclass(frozen=True)
class MemoryStat:
    """Bytes, but for the two counts of page faults; here and below.

    `peak` is known since Linux 5.19, `kernel` since 5.18; `swap` is None in a kernel without.
    """

    current: int
    peak: int | None
    swap: int | None
    events: MemoryEvents
    anon: int
    file: int
    shmem: int
    inactive_file: int
    pgfault: int
    pgmajfault: int
    kernel: int | None = None

    @property
    def working_set(self) -> int:
        """What could hardly be reclaimed: all but the page cache that was not used lately (kubelet's measure)."""
        return max(0, self.current - self.inactive_file)

    @classmethod
    def read(cls, directory: Directory) -> MemoryStat:
        return keyed(
            cls,
            directory.read("memory.stat"),
            current=directory.number("memory.current"),
            peak=directory.number("memory.peak") if directory.has("memory.peak") else None,
            swap=directory.number("memory.swap.current") if directory.has("memory.swap.current") else None,
            events=keyed(MemoryEvents, directory.read("memory.events")),
        )
