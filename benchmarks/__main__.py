"""The rounds: every contender in turn, again and again, so that what disturbs the machine disturbs all alike.

python -m benchmarks [--rounds N] [--warm-up N] [--only NAME,…] [--json FILE] [--report FILE] [--check]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import cgroups
from benchmarks import peers, report
from benchmarks.contender import CONTAINERS, Contender, Failed, Missing, Place
from benchmarks.floor import FloorPod, FloorSandbox
from benchmarks.measure import Sample
from benchmarks.peers import Bubblewrap, Crun, Podman, Runc
from benchmarks.seedpod import IMAGE, Cli, CliCold, LibraryOnly, LibraryPod, LibrarySandbox
from benchmarks.targets import MODULES, Module, figure
from sandbox.pod import images

CONTENDERS: tuple[type[Contender], ...] = (
    FloorSandbox,
    LibrarySandbox,
    FloorPod,
    LibraryPod,
    LibraryOnly,
    Cli,
    CliCold,
    Podman,
    Runc,
    Crun,
    Bubblewrap,
)


@contextmanager
def place() -> Iterator[Place]:
    """Somewhere to make things, which is gone with all that was made when the block ends."""
    mount_point = cgroups.detect().mount_point
    if mount_point is None:
        raise SystemExit("benchmarks: cgroup2 is not mounted")
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="seedpod-bench."))
        stack.callback(shutil.rmtree, directory)
        cgroup = cgroups.Cgroup.create(mount_point / directory.name)
        stack.callback(cgroup.remove_tree)
        yield Place(directory, cgroup, images.find(IMAGE, directory / "images").rootfs)


def machine() -> dict[str, Any]:
    return {
        "kernel": f"{platform.release()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "cgroup": str(cgroups.detect().name),
        "versions": [
            peers.version(name, "--version") for name in ("podman", "runc", "crun", "bwrap") if shutil.which(name)
        ],
    }


def load() -> list[float]:
    return [round(each, 2) for each in os.getloadavg()]


def measured(contender: Contender, operation: str) -> Sample:
    """One operation, and that it did what it should."""
    before = contender.cpu_ms()
    wall = contender.do(operation)
    sample = Sample(wall, contender.cpu_ms() - before)
    contender.check(0 if operation == "delete" or "create" not in contender.operations else len(CONTAINERS))
    return sample


def rounds(contenders: Sequence[Contender], warm_up: int, count: int) -> dict[str, list[Sample]]:
    cases = [f"{each.name} {operation}" for each in contenders for operation in each.operations]
    found: dict[str, list[Sample]] = {case: [] for case in cases}
    for number in range(-warm_up, count):
        print(f"round {number + 1} of {count}" if number >= 0 else "warming up", file=sys.stderr)
        for contender in contenders:
            for operation in contender.operations:
                sample = measured(contender, operation)
                if number >= 0:
                    found[f"{contender.name} {operation}"].append(sample)
            contender.between()
    return found


def module(about: Module) -> dict[str, Any]:
    """What a further benchmark has found."""
    name = f"benchmarks.{about.name}"
    if importlib.util.find_spec(name) is None:
        return {"missing": f"benchmarks/{about.name}.py is not here"}
    print(f"{name} {' '.join(about.words)}", file=sys.stderr)
    process = subprocess.Popen([sys.executable, "-m", name, *about.words], stdout=subprocess.PIPE, text=True)
    try:
        printed, _ = process.communicate()
    except BaseException:  # interrupted: it is to remove what it made
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if process.returncode:
        return {"missing": f"it failed with exit code {process.returncode}"}
    result: dict[str, Any] = json.loads(printed)
    for _, path in about.targets:
        try:
            figure(result, path)
        except (KeyError, TypeError):
            return {"missing": f"{name} tells no {'.'.join(path)}"}
    return result


def run(names: Sequence[str], warm_up: int, count: int) -> dict[str, Any]:
    missing: dict[str, str] = {}
    result: dict[str, Any] = {"at": f"{datetime.now(UTC):%F %R} UTC", "machine": machine(), "load": [load()]}
    with place() as where, ExitStack() as stack:
        ready = []
        for kind in CONTENDERS:
            if kind.name not in names:
                continue
            contender = kind(where)
            with ExitStack() as own:
                try:
                    contender.open(own)
                except (Missing, Failed) as why:
                    missing[kind.name] = " ".join(str(why).replace("|", "/").split())  # a cell of a table
                    continue
                stack.push(own.pop_all())
            ready.append(contender)
        samples = rounds(ready, warm_up, count)
    result["load"].append(load())
    result["cases"] = {case: [vars(each) for each in of] for case, of in samples.items()}
    result["contenders"] = {kind.name: kind.says for kind in CONTENDERS if kind.name in names}
    result["missing"] = missing
    result["modules"] = {each.name: module(each) for each in MODULES if each.name in names}
    return result


def _ended(number: int, frame: object) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # what was made is being removed
    raise KeyboardInterrupt


def main() -> int:
    names = [*(each.name for each in CONTENDERS), *(each.name for each in MODULES)]
    parser = argparse.ArgumentParser(prog="benchmarks", description="How long a pod takes, beside others.")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="rounds that count [15]")
    parser.add_argument("--warm-up", type=int, default=2, metavar="N", help="rounds before those [2]")
    parser.add_argument("--only", default=",".join(names), metavar="NAME,…", help=f"of {', '.join(names)} [all]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples, too")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as Markdown, too")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="source", help="samples of an earlier run: do not measure"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 where a promised ratio is missed, or not known"
    )
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if options.rounds < 1:
        parser.error("at least one round")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _ended)
    try:
        result = (
            json.loads(options.source.read_text()) if options.source else run(chosen, options.warm_up, options.rounds)
        )
    except Failed as failure:
        print(f"benchmarks: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.report:
        options.report.write_text(report.markdown(result))
    print(report.text(result))
    return 1 if options.check and report.missed(result) else 0


if __name__ == "__main__":
    raise SystemExit(main())
