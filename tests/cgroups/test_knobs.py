"""The knobs of the controllers: what is to be written where.  Pure, so without a kernel."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroups import Cpu, CpuStat, Hugetlb, Knobs, Memory, MemoryEvents, Pids
from cgroups.hugetlb import size_name
from cgroups.knobs import keyed

bounds = st.one_of(st.integers(0, 2**63), st.just("max"))


@pytest.mark.parametrize(
    ("knobs", "values"),
    [
        (Cpu(), {}),
        (Cpu(weight=100), {"cpu.weight": "100"}),
        (Cpu(quota=50_000), {"cpu.max": "50000"}),
        (Cpu(quota=50_000, period=200_000), {"cpu.max": "50000 200000"}),
        (Cpu(quota="max"), {"cpu.max": "max"}),
        (Cpu(weight=1, quota="max", period=1000), {"cpu.weight": "1", "cpu.max": "max 1000"}),
        (Memory(), {}),
        (Memory(max=1 << 26), {"memory.max": "67108864"}),
        (Memory(max=0), {"memory.max": "0"}),
        (Memory(max="max", swap_max=0), {"memory.max": "max", "memory.swap.max": "0"}),
        (Memory(oom_group=True), {"memory.oom.group": "1"}),
        (Memory(oom_group=False), {"memory.oom.group": "0"}),
        (Memory(min=1, low=2, high=3), {"memory.min": "1", "memory.low": "2", "memory.high": "3"}),
        (Pids(), {}),
        (Pids(max=100), {"pids.max": "100"}),
        (Pids(max="max"), {"pids.max": "max"}),
        (Hugetlb(), {}),
        (
            Hugetlb(max={2 << 20: 4 << 20, 1 << 30: 0}),
            {
                "hugetlb.2MB.rsvd.max": "4194304",
                "hugetlb.2MB.max": "4194304",
                "hugetlb.1GB.rsvd.max": "0",
                "hugetlb.1GB.max": "0",
            },
        ),
    ],
)
def test_what_is_set_is_written_and_nothing_else(knobs: Knobs, values: dict[str, str]) -> None:
    assert knobs.values() == values


def test_a_period_alone_has_nothing_to_be_written_with() -> None:
    with pytest.raises(ValueError, match="a period needs a quota"):
        Cpu(period=100_000)


@given(st.builds(Memory, *[st.one_of(st.none(), bounds)] * 5, st.one_of(st.none(), st.booleans())))
def test_each_knob_has_a_file_of_its_own(knobs: Memory) -> None:
    """No knob is lost, none takes another's place."""
    said = [value for value in dataclasses.astuple(knobs) if value is not None]
    assert list(knobs.values().values()) == [str(int(value) if isinstance(value, bool) else value) for value in said]
    assert all(file.startswith(f"{Memory.controller}.") for file in knobs.values())


@pytest.mark.parametrize(
    ("size", "name"),
    [(64 << 10, "64KB"), (2 << 20, "2MB"), (32 << 20, "32MB"), (1 << 30, "1GB"), (16 << 30, "16GB")],
)
def test_sizes_of_pages_are_named_as_the_kernel_names_them(size: int, name: str) -> None:
    assert size_name(size) == name


def test_statistics_take_the_keys_they_know_and_do_without_those_that_are_not_there() -> None:
    text = "usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 7\nof_a_later_kernel 9\n"
    assert keyed(CpuStat, text) == CpuStat(3, 2, 1, nr_periods=7, nr_throttled=None, throttled_usec=None)
    assert keyed(MemoryEvents, "low 0\nhigh 0\nmax 5\noom 1\noom_kill 2\n").oom_group_kill is None
