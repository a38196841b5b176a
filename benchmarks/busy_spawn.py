"""How long a launch takes from a busy Python process, and from a small one: `python -m benchmarks.busy_spawn`, as root.

A launch is the one clone that a Python process makes for a pod: of its podmon, into new namespaces and a cgroup.  Its
time is taken in C, from the entry of the call to the child's execve, and to the return: no wait for the interpreter's
lock is in it.  Waits for a processor are, where those are fewer than the threads that want one: the tenth percentile
and the caller's processor time have few or none.  Three kinds take turns, a few launches each:

- small: a process with nothing but the library; the busy one is stopped meanwhile.
- beside: the same process, while the busy one computes on: what the processors' being in use costs.
- busy: a process with eight threads that compute and 300 MiB of small objects.

It prints JSON: microseconds, and the ratios of busy to the other two.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sandbox
from sandbox.linux import native
from tests.busy import Busy

LAUNCHES = 2000
TURN = 10  # launches of one kind before the next kind's turn
PAUSE = 0.0005  # between launches the interpreter's lock changes hands faster than it does by default: see `launches`

WHAT = ("to_exec", "to_return", "processor_time")  # of one launch, in nanoseconds
Times = tuple[int, int, int]


# ---- the processes that are measured ----


@contextmanager
def recorded(times: list[Times]) -> Iterator[None]:
    """Every launch of the library's in the block; while the call lasts, with the interpreter's own switch interval."""
    launch, default = native.launch, 0.005

    def recording(**options: Any) -> native.Launched:
        sys.setswitchinterval(default)
        made = launch(**options)
        sys.setswitchinterval(PAUSE)
        times.append((made.exec_ns, made.elapsed_ns, made.cpu_ns))
        return made

    native.launch = recording
    sys.setswitchinterval(PAUSE)
    try:
        yield
    finally:
        native.launch = launch
        sys.setswitchinterval(default)


def launches(count: int) -> list[Times]:
    """So many sandboxes, made and removed through the library."""
    times: list[Times] = []
    with recorded(times):
        for _ in range(count):
            sandbox.PodSandbox.create(name="bench").remove()
    return times


def serve(kind: str) -> None:
    """Launch as often as a line of stdin says, until its end; the times are a line of stdout."""
    with Busy() if kind == "busy" else Busy(threads=0, heap=0):
        launches(TURN)
        print("[]", flush=True)
        for line in sys.stdin:
            print(json.dumps(launches(int(line))), flush=True)


class Measured:
    """One of them, as a process."""

    def __init__(self, kind: str, root: Path) -> None:
        words = [sys.executable, "-m", "benchmarks.busy_spawn", "--serve", kind]
        environment = {**os.environ, "SEEDPOD_ROOT": str(root)}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.hear()

    def hear(self) -> list[Times]:
        assert self._process.stdout is not None
        times: list[Times] = json.loads(self._process.stdout.readline())
        return times

    def launches(self, count: int) -> list[Times]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return self.hear()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self._process.communicate()


# ---- the figures ----


def figures(times: list[int]) -> dict[str, float]:
    deciles = statistics.quantiles(times, n=10)
    micros = {"p10": deciles[0], "median": statistics.median(times), "p90": deciles[8]}
    return {name: round(nanoseconds / 1000, 1) for name, nanoseconds in micros.items()}


def measure(count: int, root: Path) -> dict[str, list[Times]]:
    times: dict[str, list[Times]] = {"small": [], "beside": [], "busy": []}
    small, busy = Measured("small", root / "small"), Measured("busy", root / "busy")
    try:
        for _ in range(0, count, TURN):
            with busy.stopped():
                times["small"] += small.launches(TURN)
            times["beside"] += small.launches(TURN)
            times["busy"] += busy.launches(TURN)
    finally:
        for process in (small, busy):
            process.end()
    return times


def report(times: dict[str, list[Times]]) -> dict[str, Any]:
    found: dict[str, Any] = {"launches": len(times["small"]), "unit": "us"}
    for at, name in enumerate(WHAT):
        kinds = {kind: figures([each[at] for each in of_kind]) for kind, of_kind in times.items()}
        ratios = {
            f"busy_to_{kind}": {key: round(kinds["busy"][key] / kinds[kind][key], 2) for key in kinds[kind]}
            for kind in ("small", "beside")
        }
        found[name] = {**kinds, "ratios": ratios}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--launches", type=int, default=LAUNCHES, help="of each kind (default: %(default)s)")
    parser.add_argument("--serve", choices=("small", "busy"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory(prefix="seedpod-bench.") as root:
        print(json.dumps(report(measure(options.launches, Path(root))), indent=2))


if __name__ == "__main__":
    main()
