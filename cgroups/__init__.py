"""cgroup v2 from Python, for any program: it knows nothing of pods and imports nothing but the standard library.

    mount.py    where cgroup2 is mounted, what it offers
    cgroup.py   one cgroup: make, fill, freeze, kill, remove
    events.py   what cgroup.events says
    files.py    the one opener of cgroup files
    errors.py   the errors

A controller is one more file: a frozen dataclass of its knobs with a pure `values()`, and its statistics, typed.
"""

from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError, NoSuchCgroup, Unsupported
from cgroups.events import Events
from cgroups.mount import Layout, LayoutName, detect

__all__ = ["Cgroup", "CgroupError", "Events", "Layout", "LayoutName", "NoSuchCgroup", "Unsupported", "detect"]
