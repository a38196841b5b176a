"""cgroup v2 from Python, for any program: it knows nothing of pods and imports nothing but the standard library.

    mount.py    where cgroup2 is mounted, what it offers
    cgroup.py   one cgroup: make, fill, limit, watch, freeze, kill, remove
    events.py   what cgroup.events says
    cpu.py memory.py pids.py hugetlb.py     a controller each: its knobs and its statistics
    knobs.py    what those have in common        stat.py   all statistics in one
    enabling.py controllers on along a path
    files.py    the one opener of cgroup files
    errors.py   the errors

A controller is one more file: a frozen dataclass of its knobs with a pure `values()`, and its statistics, typed.

    web = Cgroup.create("/sys/fs/cgroup/web")
    web.apply(Memory(max=64 << 20, oom_group=True), Cpu(quota=50_000, period=100_000))
    web.stat().memory.working_set
"""

from cgroups.cgroup import Cgroup
from cgroups.cpu import Cpu, CpuStat
from cgroups.errors import CgroupError, NoSuchCgroup, Unsupported
from cgroups.events import Events
from cgroups.hugetlb import Hugetlb, HugetlbStat, page_sizes
from cgroups.knobs import Bound, Knobs
from cgroups.memory import Memory, MemoryEvents, MemoryStat
from cgroups.mount import Layout, LayoutName, detect
from cgroups.pids import Pids, PidsStat
from cgroups.stat import Stat

__all__ = [
    "Bound",
    "Cgroup",
    "CgroupError",
    "Cpu",
    "CpuStat",
    "Events",
    "Hugetlb",
    "HugetlbStat",
    "Knobs",
    "Layout",
    "LayoutName",
    "Memory",
    "MemoryEvents",
    "MemoryStat",
    "NoSuchCgroup",
    "Pids",
    "PidsStat",
    "Stat",
    "Unsupported",
    "detect",
    "page_sizes",
]
