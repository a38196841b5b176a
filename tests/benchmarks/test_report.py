"""What is made of measurements: spreads, ratios, promises, and the report of all that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.measure import Ratio, Sample, Spread
from benchmarks.targets import MODULES, TARGETS, Module, Target
from tests.runner import TIMEOUT

ROOT = Path(__file__).parent.parent.parent


def wall(*milliseconds: float) -> list[Sample]:
    return [Sample(each, each / 2) for each in milliseconds]


def printed(module: Module, times: float = 1.0) -> dict[str, Any]:
    """By a further benchmark whose ratios are so many times their limits."""
    whole: dict[str, Any] = {}
    for target, path in module.targets:
        inside = whole
        for key in path[:-1]:
            inside = inside.setdefault(key, {})
        inside[path[-1]] = times * (target.at_most or 1.0)
    return whole


def result(**missing: str) -> dict[str, Any]:
    """Three rounds in which every promise is just kept, but for what is missing."""
    cases: dict[str, list[dict[str, float]]] = {}
    for target in TARGETS:
        times = target.at_most or target.at_least or 7.0
        for case, long in ((target.short, 1.0), (target.long, times)):
            cases.setdefault(case, [vars(each) for each in wall(10 * long, 20 * long, 40 * long)])
    return {
        "at": "2020-02-02 02:02 UTC",
        "machine": {"kernel": "6.1", "cpus": 2, "python": "3.11", "cgroup": "pure v2", "versions": ["podman 4"]},
        "load": [[0.1, 0.2, 0.3], [1.1, 1.2, 1.3]],
        "cases": {case: of for case, of in cases.items() if case.split()[0] not in missing},
        "contenders": {"podman": "`podman kube play`"},
        "missing": missing,
        "modules": {each.name: printed(each) for each in MODULES},
    }


def row(text: str, begin: str) -> str:
    """The one line that begins so."""
    (found,) = [line for line in text.splitlines() if line.startswith(begin)]
    return found


# ---- numbers ----


def test_a_spread_is_of_real_values_but_for_the_median_of_an_even_number() -> None:
    assert Spread.of([float(each) for each in range(20, 0, -1)]) == Spread(1, 10.5, 18, 20)
    assert Spread.of([7]) == Spread(7, 7, 7, 7)


def test_a_ratio_pair_by_pair_is_not_moved_by_what_disturbs_a_whole_round() -> None:
    found = Ratio.between(wall(20, 40, 2000), wall(10, 20, 1000))
    assert found == Ratio(paired=2, of_medians=2, cpu=2)
    uneven = Ratio.between(wall(10, 100, 30), wall(10, 10, 30))
    assert uneven == Ratio(paired=1, of_medians=3, cpu=1)


def test_of_what_was_not_measured_there_is_no_ratio() -> None:
    assert Ratio.between([], wall(1)) is None
    assert Ratio.between(wall(1), []) is None


@pytest.mark.parametrize(
    ("target", "kept", "missed", "by"),
    [
        (Target("x", "a", "b", at_most=2.5), 2.5, 3.0, "20%"),
        (Target("x", "a", "b", at_least=4), 4.0, 1.0, "75%"),
    ],
    ids=["at-most", "at-least"],
)
def test_a_promise_is_kept_up_to_its_limit(target: Target, kept: float, missed: float, by: str) -> None:
    assert target.met(kept) and not target.met(missed)
    assert (target.verdict(kept), target.verdict(missed)) == ("met", f"missed by {by}")


# ---- the report ----


def test_both_forms_have_every_case_with_its_spread() -> None:
    text, markdown = report.text(result()), report.markdown(result())
    for case in result()["cases"]:
        numbers = row(text, f"{case}  ").removeprefix(case).split()
        assert row(markdown, f"| {case} |") == f"| {' | '.join([case, *numbers])} |"
    assert row(markdown, "| podman exec |") == "| podman exec | 30.0 | 60.0 | 120.0 | 120.0 | 30.0 |"
    assert "load average before 0.1, 0.2, 0.3; after 1.1, 1.2, 1.3" in markdown
    assert "2020-02-02 02:02 UTC, 3 rounds" in text


def test_a_promise_that_is_kept_is_told_with_its_numbers() -> None:
    kept = result()
    kept["cases"]["cli exec"][1] = {"wall_ms": 60.0, "cpu_ms": 10.0}  # as long as podman's of that round
    for sample in kept["cases"]["cli exec"]:
        sample["cpu_ms"] *= 2
    assert not report.missed(kept)
    numbers = "| at least 3 | 3.00 | 1.50 | 1.50 | met |"
    assert row(report.markdown(kept), "| podman exec : seedpod exec |").endswith(numbers)


def test_a_promise_that_is_missed_is_told_with_by_how_much() -> None:
    slow = result()
    for sample in slow["cases"]["cli exec"]:
        sample["wall_ms"] *= 2
    assert report.missed(slow)
    assert row(report.text(slow), "podman exec : seedpod exec").endswith("missed by 50%")


def test_what_is_not_installed_is_told_and_keeps_no_promise() -> None:
    without = result(podman="podman not installed")
    assert report.missed(without)
    assert "| podman | podman not installed |  |  |  |  |" in report.markdown(without).splitlines()
    assert row(report.text(without), "podman exec : seedpod exec").endswith("not measured: podman not installed")


def test_a_further_benchmark_has_its_promises_among_the_others() -> None:
    for each in MODULES:
        slow, failed = result(), result()
        slow["modules"][each.name] = printed(each, times=2)
        failed["modules"][each.name] = {"missing": "it failed with exit code 3"}
        assert report.missed(slow) and report.missed(failed)
        for target, _ in each.targets:
            assert row(report.text(slow), f"{target.says}  ").endswith("missed by 100%" if target.limit else "2.00")
            assert row(report.text(failed), f"{target.says}  ").endswith("it failed with exit code 3")


def test_a_machine_that_was_busy_is_no_secret() -> None:
    busy = result()
    busy["load"][0][0] = 1.1
    assert "BUSY WITH SOMETHING ELSE" not in report.markdown(result())
    assert "BUSY WITH SOMETHING ELSE" in report.markdown(busy)


@pytest.mark.parametrize(("times", "code"), [(1, 0), (2, 1)], ids=["kept", "missed"])
def test_check_is_an_exit_code(times: float, code: int, tmp_path: Path) -> None:
    samples = result()
    for sample in samples["cases"]["library pod create"]:
        sample["wall_ms"] *= times
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    words = ["--from", tmp_path / "samples.json", "--report", tmp_path / "report.md", "--check"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert (tmp_path / "report.md").read_text() == report.markdown(samples)
    assert done.stdout == report.text(samples) + "\n"
