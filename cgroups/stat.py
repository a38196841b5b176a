"""What the controllers say of a cgroup, all in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cgroups.cpu import CpuStat
from cgroups.files import Directory
from cgroups.hugetlb import HugetlbStat
from cgroups.memory import MemoryStat
from cgroups.pids import PidsStat


@dataclass(frozen=True)
class Stat:
    """The statistics of a cgroup, read one after the other; None, and empty for hugetlb, where a controller is off."""

    cpu: CpuStat
    memory: MemoryStat | None
    pids: PidsStat | None
    hugetlb: Mapping[int, HugetlbStat]

    @classmethod
    def read(cls, directory: Directory) -> Stat:
        on = set(directory.read("cgroup.controllers").split())
        return cls(
            cpu=CpuStat.read(directory),
            memory=MemoryStat.read(directory) if "memory" in on else None,
            pids=PidsStat.read(directory) if "pids" in on else None,
            hugetlb=HugetlbStat.read(directory) if "hugetlb" in on else {},
        )
