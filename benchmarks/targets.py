"""The ratios that are promised, and those that are of interest.  Data."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """`long` takes `at_most` or `at_least` that many times as long as `short`; each is a case.

    One without a limit promises nothing.
    """

    says: str
    long: str
    short: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, ratio: float) -> bool:
        return (self.at_most is None or ratio <= self.at_most) and (self.at_least is None or ratio >= self.at_least)

    @property
    def limit(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    def verdict(self, ratio: float) -> str:
        limit = self.at_most or self.at_least
        if limit is None:
            return ""
        return "met" if self.met(ratio) else f"missed by {abs(ratio / limit - 1):.0%}"


TARGETS = (
    Target("a pod, library : floor", "library pod create", "floor pod create", at_most=2.5),
    Target("a sandbox, library : floor", "library sandbox create", "floor sandbox create", at_most=2.5),
    Target("podman kube play : run -d, warm engine", "podman create", "cli create", at_least=4),
    Target("podman exec : seedpod exec", "podman exec", "cli exec", at_least=3),
    Target("podman kube down : seedpod delete", "podman delete", "cli delete"),
    Target("podman kube play : a pod, library", "podman create", "library pod create"),
    Target("podman exec : exec, library", "podman exec", "library pod exec"),
    Target("runc, two containers : a sandbox, library", "runc create", "library sandbox create"),
    Target("crun, two containers : a sandbox, library", "crun create", "library sandbox create"),
)


@dataclass(frozen=True)
class Module:
    """A further benchmark: `python -m benchmarks.NAME WORDS` prints JSON; where in it the ratio of each target is."""

    name: str
    targets: tuple[tuple[Target, tuple[str, ...]], ...]
    words: tuple[str, ...] = ()


def figure(result: dict[str, Any], path: Sequence[str]) -> float:
    """What a further benchmark has printed there.  Raises KeyError, TypeError where that is no number."""
    return float(functools.reduce(lambda inside, key: inside[key], path, result))  # type: ignore[arg-type]


_BUSY = "a launch in C, busy program : small"

MODULES = (
    Module(
        "busy_spawn",
        (
            (Target(f"{_BUSY} one", "", "", at_most=1.5), ("to_exec", "ratios", "busy_to_small", "median")),
            (Target(f"{_BUSY} one beside it", "", ""), ("to_exec", "ratios", "busy_to_beside", "median")),
        ),
        words=("--launches", "200"),
    ),
    Module(
        "probes",
        (
            (Target("50 pods with exec probes of 1 s, % of a CPU", "", "", at_most=5), ("seedpod", "percent")),
            (Target("podman healthcheck run : an exec probe, CPU", "", ""), ("podman_to_seedpod",)),
        ),
    ),
    Module(
        "manifest",
        (
            (Target("import of sandbox.model, ms", "", "", at_most=60), ("import_ms", "sandbox.model")),
            (Target("import of sandbox.manifest, ms", "", ""), ("import_ms", "sandbox.manifest")),
            (Target("check of a manifest of five containers, ms", "", "", at_most=5), ("check_ms",)),
        ),
    ),
)
