"""Results, as JSON has them, in Markdown and in plain text.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.measure import Ratio, Sample, Spread
from benchmarks.targets import MODULES, TARGETS, Target, figure

Result = dict[str, Any]
Row = Sequence[str]

_CASES = ("", "wall ms: min", "median", "p90", "max", "CPU ms: median")
_BUSY = ": BUSY WITH SOMETHING ELSE, which moves times and their ratios; compare CPU"
_NOT_ASKED = "not asked for"
_RATIOS = ("", "promised", "pair by pair", "of medians", "CPU", "")

_INTRO = """\
# Benchmarks

Written by `make bench`: do not edit.  A pod of two containers (a shell that waits for a `sleep`, from the same busybox
rootfs), from asking for it until both run (`create`); `true` in a container that runs (`exec`); the pod's end, until
nothing of it is left (`delete`).  All take turns in every round, so that what disturbs the machine disturbs all; a
ratio pair by pair is the median of the rounds' own ratios.  CPU is the processor time of everything in a contender's
cgroup, containers included.  That a pod's two containers run, and are gone afterwards, is checked in each round.
"""

_NOTES = """\
What is not alike:

- podman, runc and crun run in a user namespace of their own, where they leave out the eBPF program that guards devices:
  that favours them.  seedpod's pods have a default seccomp filter, as podman's have; runc's and crun's have none, and
  no network.
- bubblewrap makes a sandbox for its one process; the others join one that runs.
- `floor` writes none of seedpod's notes on disk and talks to its monitor once a container; neither `library sandbox`
  nor its floor has a network or a filter.
- seedpod and podman ask the containers of a pod to end; the floor, sandboxes, runc and crun kill theirs.
- crun returns a moment before its container's program runs.
"""


def samples(result: Result, case: str) -> list[Sample]:
    return [Sample(**each) for each in result["cases"].get(case, ())]


def ratio(result: Result, long: str, short: str) -> Ratio | None:
    """None where one of them was not measured."""
    return Ratio.between(samples(result, long), samples(result, short))


def _ms(value: float) -> str:
    return f"{value:.1f}"


def _cases(result: Result) -> Iterator[Row]:
    for case in result["cases"]:
        found = samples(result, case)
        wall = Spread.of([each.wall_ms for each in found])
        cpu = Spread.of([each.cpu_ms for each in found])
        yield (case, *map(_ms, (wall.minimum, wall.median, wall.p90, wall.maximum, cpu.median)))
    for name, why in result["missing"].items():
        yield (name, why, "", "", "", "")


def _ratios(result: Result) -> Iterator[tuple[Row, bool]]:
    """Each promise with what came of it, and whether it was kept."""
    for target in TARGETS:
        found = ratio(result, target.long, target.short)
        if found is None:
            yield _unknown(target, _why(result, target.long, target.short))
            continue
        numbers = [f"{each:.2f}" for each in (found.paired, found.of_medians, found.cpu)]
        yield (target.says, target.limit, *numbers, target.verdict(found.paired)), target.met(found.paired)
    for each in MODULES:
        about = result["modules"].get(each.name, {"missing": _NOT_ASKED})
        for target, path in each.targets:
            if "missing" in about:
                yield _unknown(target, about["missing"])
                continue
            value = figure(about, path)
            yield (target.says, target.limit, f"{value:.2f}", "", "", target.verdict(value)), target.met(value)


def _unknown(target: Target, why: str) -> tuple[Row, bool]:
    return (target.says, target.limit, "", "", "", f"not measured: {why}"), not target.limit


def _why(result: Result, *cases: str) -> str:
    names = [name for name in result["missing"] if any(case.startswith(f"{name} ") for case in cases)]
    return "; ".join(result["missing"][name] for name in names) or _NOT_ASKED


def missed(result: Result) -> bool:
    """Whether a promised ratio was missed, or is not known."""
    return not all(met for _, met in _ratios(result))


def _about(result: Result) -> list[str]:
    machine, (before, after) = result["machine"], result["load"]
    count = max((len(each) for each in result["cases"].values()), default=0)
    return [
        f"{result['at']}, {count} rounds",
        f"Linux {machine['kernel']}, {machine['cpus']} CPUs, cgroups {machine['cgroup']}, Python {machine['python']}",
        f"load average before {', '.join(map(str, before))}; after {', '.join(map(str, after))}"
        + _BUSY * (before[0] > 1),
        f"beside: {'; '.join(machine['versions']) or 'nothing'}",
    ]


def markdown(result: Result) -> str:
    parts = [
        _INTRO,
        "\n".join(f"- {line}" for line in _about(result)) + "\n",
        "## Ratios\n\n" + _markdown(_RATIOS, [row for row, _ in _ratios(result)]),
        "## Cases\n\n" + _markdown(_CASES, list(_cases(result))),
        _markdown(("", "is"), list(result["contenders"].items())),
        _NOTES,
    ]
    return "\n".join(parts)


def text(result: Result) -> str:
    parts = [
        "\n".join(_about(result)),
        _plain(_RATIOS, [row for row, _ in _ratios(result)]),
        _plain(_CASES, list(_cases(result))),
    ]
    return "\n\n".join(parts)


def _markdown(head: Row, rows: Sequence[Row]) -> str:
    ruler = ["---"] + ["---:"] * (len(head) - 1) if len(head) > 2 else ["---"] * len(head)
    lines = [head, ruler, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _plain(head: Row, rows: Sequence[Row]) -> str:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in (head, *rows)
    )
