"""The ratios that are promised.  Data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """`long` takes `at_most` or `at_least` that many times as long as `short`; each is a case."""

    says: str
    long: str
    short: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, ratio: float) -> bool:
        return (self.at_most is None or ratio <= self.at_most) and (self.at_least is None or ratio >= self.at_least)

    @property
    def limit(self) -> str:
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"

    def missed_by(self, ratio: float) -> str:
        """In per cent of what is promised."""
        limit = self.at_most or self.at_least or 0.0
        return f"{abs(ratio / limit - 1):.0%}"


TARGETS = (
    Target("a pod, library : floor", "library pod create", "floor pod create", at_most=2.5),
    Target("a sandbox, library : floor", "library sandbox create", "floor sandbox create", at_most=2.5),
    Target("podman kube play : run -d, warm engine", "podman create", "cli create", at_least=4),
    Target("podman exec : seedpod exec", "podman exec", "cli exec", at_least=3),
)


@dataclass(frozen=True)
class Module:
    """A further benchmark: `python -m benchmarks.NAME` prints JSON with a `ratio`, which is to be `at_most` that."""

    name: str
    says: str
    at_most: float


MODULES = (Module("busy_spawn", "a spawn, busy program : small program", 1.5),)
