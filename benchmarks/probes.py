"""What probes cost: `python -m benchmarks.probes`, as root.

So many pods, each with a liveness probe that runs `true` in its container every second.  Counted is the processor time
of the engine and of all podmons, and beside it that of all that is seedpod's, the programs that are run included.  The
same probe as podman has it is a healthcheck; its timers are systemd's, each of which calls `podman healthcheck run`: so
that is what is counted, once after the other, in its cgroup.

It prints JSON: percent of one processor, milliseconds a probe, and how many of them podman's takes.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.__main__ import place
from benchmarks.contender import Failed, Missing, Place, usage_ms
from benchmarks.peers import Podman
from benchmarks.seedpod import Cli, manifest

PODS = 50
SECONDS = 20.0
CHECKS = 10
COMMAND = ["/bin/true"]


class Probed(Cli):
    """Pods that are probed by an engine of their own."""

    name = "probed"
    beside = ()
    pods = PODS

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        for number in range(self.pods):
            self._seedpod("run", "-d", self._written(f"p{number}"))

    def manifest(self, name: str) -> dict[str, Any]:
        pod = manifest(name)
        pod["spec"]["containers"] = [
            {**pod["spec"]["containers"][0], "livenessProbe": {"exec": {"command": COMMAND}, "periodSeconds": 1}}
        ]
        return pod

    def parts_ms(self) -> tuple[float, float]:
        """Processor time of the engine, whose clients have ended, and of all podmons."""
        podmons = [each for each in self.cgroup.walk() if each.path.name == "podmon.scope"]
        if len(podmons) != self.pods:
            raise Failed(f"{len(podmons)} pods run, not {self.pods}")
        return usage_ms(self.programs), sum(map(usage_ms, podmons))


class Checked(Podman):
    """One container with a healthcheck."""

    name = "checked"

    def start(self, stack: ExitStack) -> None:
        super().start(stack)
        self._podman(
            *("run", "-d", "--name", "checked", "--health-cmd", " ".join(COMMAND), "--health-interval", "disable"),
            *(self._IMAGE, "sleep", "1000000"),
        )

    def check_health(self) -> None:
        self._podman("healthcheck", "run", "checked")


def probed(where: Place, pods: int, seconds: float) -> dict[str, float]:
    """While the pods are probed and nothing else happens."""
    with ExitStack() as stack:
        contender = Probed(where)
        contender.pods = pods
        contender.open(stack)
        time.sleep(3)  # what begins with a pod is over
        before, all_before, begun = contender.parts_ms(), contender.cpu_ms(), time.monotonic()
        time.sleep(seconds)
        after, all_after, took = contender.parts_ms(), contender.cpu_ms(), time.monotonic() - begun
    probes = pods * took
    engine, podmons = (now - then for now, then in zip(after, before, strict=True))
    return {
        "percent": round((engine + podmons) / took / 10, 2),
        "engine_ms": round(engine / probes, 3),
        "podmon_ms": round(podmons / probes, 3),
        "with_programs_ms": round((all_after - all_before) / probes, 3),
    }


def checked(where: Place, checks: int) -> dict[str, float]:
    """Of podman's healthchecks, one after the other."""
    with ExitStack() as stack:
        contender = Checked(where)
        contender.open(stack)
        contender.check_health()
        before = contender.cpu_ms()
        for _ in range(checks):
            contender.check_health()
        return {"with_programs_ms": round((contender.cpu_ms() - before) / checks, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pods", type=int, default=PODS, help="with a probe each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of probing (default: %(default)s)")
    options = parser.parse_args()
    with place() as where:
        found: dict[str, Any] = {"pods": options.pods, "seconds": options.seconds}
        found["seedpod"] = probed(where, options.pods, options.seconds)
        try:
            found["podman"] = checked(where, CHECKS)
            found["podman_to_seedpod"] = round(
                found["podman"]["with_programs_ms"] / found["seedpod"]["with_programs_ms"], 1
            )
        except (Missing, Failed) as why:
            found["podman"] = {"missing": str(why)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
