"""The hugetlb controller (cgroup-v2.rst, "HugeTLB Interface Files"): memory in pages of larger sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cgroups.files import Directory
from cgroups.knobs import Bound, Knobs, written

_POOLS = Path("/sys/kernel/mm/hugepages")
_UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


@dataclass(frozen=True)
class Hugetlb(Knobs):
    """`max`: bytes, or "max", by the size of the pages in bytes.

    It bounds what may be reserved too: an mmap beyond it is refused, instead of a SIGBUS at the first use.
    """

    controller = "hugetlb"

    max: Mapping[int, Bound] = field(default_factory=dict)

    def values(self) -> dict[str, str]:
        sizes = [(size_name(size), bound) for size, bound in self.max.items()]
        return written({f"hugetlb.{name}.{kind}max": bound for name, bound in sizes for kind in ("rsvd.", "")})


@dataclass(frozen=True)
class HugetlbStat:
    """Of one size of pages: bytes in use, and how often `max` refused some."""

    current: int
    refused: int

    @classmethod
    def read(cls, directory: Directory) -> dict[int, HugetlbStat]:
        """By the size of the pages in bytes, for all that this kernel has."""
        return {
            size: cls(directory.number(f"hugetlb.{name}.current"), directory.keyed(f"hugetlb.{name}.events")["max"])
            for size, name in ((size, size_name(size)) for size in page_sizes())
        }


def size_name(size: int) -> str:
    """The size of a page as the controller's files have it: "2MB" for 2097152."""
    unit = next((unit for unit in reversed(_UNITS) if size >= _UNITS[unit]), "KB")
    return f"{size // _UNITS[unit]}{unit}"


def page_sizes() -> dict[int, int]:
    """The sizes of huge pages that this kernel has, in bytes, smallest first, each with how many are reserved for use.

    Source: Documentation/admin-guide/mm/hugetlbpage.rst.
    """
    pools = {int(path.name[len("hugepages-") : -len("kB")]) << 10: path for path in _POOLS.glob("hugepages-*kB")}
    return {size: int((pools[size] / "nr_hugepages").read_text()) for size in sorted(pools)}
