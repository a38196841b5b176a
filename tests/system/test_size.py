"""How large our processes are, and that they stay so.  Sizes of a process are exact, unlike times."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.pod.slices import Slices
from tests.program import program
from tests.runner import Manifest, Seedpod
from tests.sandbox.pod.test_podmon import comes_to_rest
from tests.staying import detached, engine_pid, pod_json, wait_and_close

pytestmark = pytest.mark.root

LONG = "SEEDPOD_LONG" in os.environ
MIB = 10240 if LONG else 256  # of output, logged
CHUNK = 32  # MiB in a round
ROUNDS = MIB // CHUNK
LINE = "0123456789" * 9
EXECS = 20000 if LONG else 200

# KiB.  A deeper call may touch a page of a stack for the first time; CPython takes memory from the kernel a MiB at a
# time, and an engine has come to its size after some ten thousand requests, 3 MiB above that after the first few.
PODMON_GROWTH = 12
ENGINE_GROWTH = 4096

# Programs in the container `app`: a command per line of stdin, so many times.
JOINS = """
    import sandbox, sys
    app = sandbox.Pod.get("web")["app"]
    for line in sys.stdin:
        count, *command = line.split()
        for _ in range(int(count)):
            assert app.exec(command).exit_code == 0
        print("done", flush=True)
"""


@dataclass(frozen=True)
class Size:
    """Of a process: memory in KiB, and how many fds it has."""

    resident: int
    private: int
    fds: int


def size_of(pid: int) -> Size:
    """Once it has dealt with those that hung up: their connections are fds of it until then."""
    assert comes_to_rest(pid)
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}
    fds = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Size(found["Rss"], found["Private_Clean"] + found["Private_Dirty"], fds)


def pod(seedpod: Seedpod, name: str, **spec: object) -> Manifest:
    """Two containers that have written something, and would be what is measured if they were ours."""
    script = "seq 1 20000; seq 1 20000 >&2; printf unfinished; exec sleep 100000"
    containers = [seedpod.shell(each, script) for each in ("app", "side")]
    return seedpod.pod(*containers, name=name, **spec)


def ours(seedpod: Seedpod, name: str) -> list[int]:
    """The processes of a pod that are not its containers': podmon, and a reaper where there is one."""
    uid = pod_json(seedpod, name)["metadata"]["uid"]
    procs = (Slices(seedpod.root).path(uid) / "podmon.scope" / "cgroup.procs").read_text()
    return [int(pid) for pid in procs.split()]


def python_processes(seedpod: Seedpod) -> list[int]:
    """Those whose command line has the root in it, or that are in a cgroup of its pods."""
    found = []
    prefix = Slices(seedpod.root).name.removesuffix(".slice")
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            concerned = str(seedpod.root) in (directory / "cmdline").read_text()
            concerned = concerned or f"/{prefix}" in (directory / "cgroup").read_text()
            program = (directory / "exe").readlink().name
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it ended meanwhile, or nobody may look
            continue
        if concerned and program.startswith("python"):
            found.append(int(directory.name))
    return found


def test_a_pod_of_two_containers_costs_little_memory_and_no_python(seedpod: Seedpod) -> None:
    names = [f"pod{number}" for number in range(5)]
    detached(seedpod, *(pod(seedpod, name, shareProcessNamespace=name == "pod4") for name in names))
    processes = {name: ours(seedpod, name) for name in names}
    assert [len(processes[name]) for name in names] == [1, 1, 1, 1, 2]
    for name in names:
        sizes = [size_of(pid) for pid in processes[name]]
        print(name, sizes)
        assert all(size.resident <= 1024 for size in sizes), (name, sizes)
        assert sum(size.private for size in sizes) <= 300, (name, sizes)
    python = python_processes(seedpod)
    names = sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in python)
    assert names in (["seedpod:engine"], ["seedpod:engine", "seedpod:warm"]), "one of each for all pods"
    pidfds = [os.pidfd_open(pid) for pid in python]
    assert seedpod.command("agent", "stop").returncode == 0
    for pidfd in pidfds:
        wait_and_close(pidfd)
    assert python_processes(seedpod) == []
    assert seedpod.command("get", "--no-headers").stdout.count("2/2") == 5, "they did not need it"


def test_podmon_and_the_engine_stay_as_large_as_they_are(seedpod: Seedpod) -> None:
    """Whatever is logged, and however often containers are joined; SEEDPOD_LONG=1 has 10 GiB and 20,000."""
    detached(seedpod, pod(seedpod, "web"))
    (podmon,) = ours(seedpod, "web")
    engine = engine_pid(seedpod)
    with program(JOINS, seedpod.root) as running:

        def work(rounds: int) -> None:
            """The output of what is executed there goes to the container's own stdout, and so to its log."""
            for number in range(rounds):
                running.say(f"{-(-EXECS // ROUNDS)} true")
                assert running.hear() == "done"
                flood = f"[ -e /flood ] || yes {LINE} | head -c {CHUNK << 20} > /flood; cat /flood > /proc/1/fd/1"
                done = seedpod.command("exec", "web", "-c", "app", "--", "sh", "-c", flood)
                assert (done.returncode, done.stderr) == (0, "")
                if not number % 32:
                    print(number, size_of(podmon), size_of(engine))

        work(1)  # a rotation included: code that runs for the first time is memory too
        before = size_of(podmon), size_of(engine)
        work(ROUNDS)
        after = size_of(podmon), size_of(engine)
        assert running.end() == 0
    print(*before, *after)
    for old, new, growth in zip(before, after, (PODMON_GROWTH, ENGINE_GROWTH), strict=True):
        assert new.fds == old.fds
        assert new.private <= old.private + growth, (old, new)
