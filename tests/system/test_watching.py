"""Verbs that go on while pods change: `get -w`, `get endpoints -w`, `events -w` and `wait`, through the real engine."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.runner import TIMEOUT, Manifest, Seedpod
from tests.staying import detached, kill_engine

pytestmark = pytest.mark.root

# Ends with TERM and exit code 1, once a line has come through the pipe: until then it is on its way.
SLOW = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'read _ <&3; exit 1' TERM; while :; do sleep 0.1; done"
QUICK = "trap 'exit 1' TERM; while :; do sleep 0.1; done"


class Watcher:
    """A verb that does not end by itself, and what it prints, line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def hear(self) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], TIMEOUT)[0], "nothing more is printed"
        line = self.process.stdout.readline()
        assert line, "it has ended"
        return line.decode().rstrip("\n")

    def until(self, holds: Callable[[Any], bool]) -> list[Any]:
        """The objects up to the first that holds."""
        heard = []
        while not heard or not holds(heard[-1]):
            heard.append(json.loads(self.hear()))
        return heard

    def interrupt(self) -> int:
        """Ctrl-C: the exit code.  Nothing more was printed."""
        self.process.send_signal(signal.SIGINT)
        rest, said = self.process.communicate(timeout=TIMEOUT)
        assert (rest, said) == (b"", b"")
        return self.process.returncode

    def end(self) -> tuple[int, str, str]:
        out, said = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, out.decode(), said.decode()


@contextmanager
def watching(seedpod: Seedpod, *words: str) -> Iterator[Watcher]:
    command = [seedpod.program, "--root", seedpod.root, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        try:
            yield Watcher(process)
        finally:
            process.kill()


def pod(seedpod: Seedpod, script: str = QUICK, **spec: Any) -> Manifest:
    made = seedpod.pod(seedpod.shell("c", script), **spec)
    made["metadata"]["labels"] = {"app": "web"}
    return made


def release(seedpod: Seedpod) -> None:
    """Let go of a container that is on its way; that may end before the program that told it so."""
    assert seedpod.command("exec", "web", "--", "sh", "-c", "echo > /tmp/f").returncode in (0, 137)


def shown(event: dict[str, Any]) -> tuple[str, str, bool]:
    found = event["object"]
    return event["type"], found["status"]["phase"], "deletionTimestamp" in found["metadata"]


EVENTS = ("-o", "json", "--output-watch-events")


def is_deleted(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "DELETED")


def test_a_watch_has_a_pod_from_its_coming_to_its_going(seedpod: Seedpod) -> None:  # A38
    with watching(seedpod, "get", "-w", *EVENTS) as watch:
        detached(seedpod, pod(seedpod))
        assert seedpod.command("delete", "web").returncode == 0
        steps = [shown(each) for each in watch.until(is_deleted)]
        assert steps[0] == ("ADDED", "Pending", False)
        assert steps[-1] == ("DELETED", "Failed", True)
        changes = steps[1:-1]
        assert {kind for kind, _, _ in changes} == {"MODIFIED"}
        terminating, terminal = (
            changes.index(("MODIFIED", "Running", True)),
            changes.index(("MODIFIED", "Failed", True)),
        )
        assert changes.index(("MODIFIED", "Running", False)) < terminating < terminal
        assert all(phase == "Failed" for _, phase, _ in changes[terminal:])
        assert watch.interrupt() == 130


def test_the_table_of_a_watch_has_a_line_for_each_change(seedpod: Seedpod) -> None:  # A32, A38
    detached(seedpod, pod(seedpod))
    with watching(seedpod, "get", "web", "-w") as watch:
        assert watch.hear().split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert watch.hear().split()[:3] == ["web", "1/1", "Running"]
        assert seedpod.command("delete", "web").returncode == 0
        assert watch.hear().split()[:3] == ["web", "1/1", "Terminating"]
        assert watch.hear().split()[:3] == ["web", "0/1", "Error"]


def test_a_watch_goes_on_where_its_engine_is_killed_and_tells_nothing_twice(seedpod: Seedpod) -> None:  # A41
    detached(seedpod, pod(seedpod))
    with watching(seedpod, "get", "-w", *EVENTS) as watch:
        assert shown(json.loads(watch.hear()))[:2] == ("ADDED", "Running")
        kill_engine(seedpod)
        assert seedpod.command("delete", "web").returncode == 0
        kinds = [shown(each)[0] for each in watch.until(is_deleted)]
        assert kinds == ["MODIFIED"] * (len(kinds) - 1) + ["DELETED"]
        assert watch.interrupt() == 130


def test_only_the_pods_that_are_selected_are_watched(seedpod: Seedpod) -> None:
    other = seedpod.pod(seedpod.shell("c", QUICK), name="other")
    with watching(seedpod, "get", "-w", "-l", "app=web", *EVENTS) as watch:
        detached(seedpod, other)
        detached(seedpod, pod(seedpod))
        assert json.loads(watch.hear())["object"]["metadata"]["name"] == "web"


def test_a_watch_that_nobody_reads_ends(seedpod: Seedpod) -> None:
    detached(seedpod, pod(seedpod))
    source, sink = os.pipe()
    os.close(source)
    try:
        words = [seedpod.program, "--root", seedpod.root, "get", "-w"]
        result = subprocess.run(words, stdout=sink, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
    finally:
        os.close(sink)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


# ---- endpoints ----


def conditions(made: dict[str, Any]) -> list[tuple[str, bool, bool, bool]]:
    return [
        (each["targetRef"]["name"], *(each["conditions"][name] for name in ("ready", "serving", "terminating")))
        for each in made["object"]["endpoints"]
    ]


def test_a_pod_that_is_deleted_leaves_the_ready_ones_at_once_and_serves_on(seedpod: Seedpod) -> None:  # A36
    detached(seedpod, pod(seedpod, SLOW, terminationGracePeriodSeconds=TIMEOUT))
    with watching(seedpod, "get", "endpoints", "-l", "app=web", "-w", *EVENTS) as watch:
        first = json.loads(watch.hear())
        assert (first["type"], first["object"]["kind"]) == ("ADDED", "EndpointSlice")
        assert conditions(first) == [("web", True, True, False)]
        (address,) = first["object"]["endpoints"][0]["addresses"]
        assert address == seedpod.command("get", "web", "-o", "jsonpath={.status.podIP}").stdout
        assert seedpod.command("delete", "web", "--wait=false").returncode == 0
        assert conditions(json.loads(watch.hear())) == [("web", False, True, True)]
        assert seedpod.command("get", "web", "--no-headers").stdout.split()[:3] == ["web", "1/1", "Terminating"]
        release(seedpod)
        assert watch.until(lambda made: not conditions(made))[-1]["object"]["endpoints"] == []
        assert watch.interrupt() == 130


def test_serving_goes_on_to_follow_the_readiness_probe(seedpod: Seedpod) -> None:  # A36
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    made = seedpod.pod(
        seedpod.shell("c", f"touch /tmp/ready; {SLOW}", readinessProbe=probe), terminationGracePeriodSeconds=TIMEOUT
    )
    detached(seedpod, made)
    with watching(seedpod, "get", "endpoints", "-w", *EVENTS) as watch:
        assert conditions(json.loads(watch.hear())) == [("web", True, True, False)]
        assert seedpod.command("delete", "web", "--wait=false").returncode == 0
        assert conditions(json.loads(watch.hear())) == [("web", False, True, True)]
        assert seedpod.command("exec", "web", "--", "rm", "/tmp/ready").returncode == 0
        assert conditions(json.loads(watch.hear())) == [("web", False, False, True)]
        release(seedpod)


# ---- events ----


def test_events_are_told_as_they_happen(seedpod: Seedpod) -> None:
    with watching(seedpod, "events", "--for", "pod/web", "-w", "-o", "jsonpath={.reason}\n") as watch:
        detached(seedpod, pod(seedpod))
        heard = [watch.hear()]
        while heard[-1] != "Started":
            heard.append(watch.hear())
        assert seedpod.command("delete", "web").returncode == 0
        while heard[-1] != "Killing":
            heard.append(watch.hear())
        assert heard.count("Started") == 1
        assert watch.interrupt() == 130


def test_events_are_a_table_as_kubectls(seedpod: Seedpod) -> None:
    detached(seedpod, pod(seedpod, "exit 3", restartPolicy="Always"), wait=False)
    with watching(seedpod, "events", "--types=Warning", "-w", "--no-headers") as watch:
        assert watch.hear().split()[1:4] == ["Warning", "BackOff", "Pod/web"]
    result = seedpod.command("events", "--types=Warning")
    assert (result.returncode, result.stderr) == (0, "")
    heading, line = result.stdout.splitlines()
    assert heading.split("   ")[0] == "LAST SEEN"
    assert line.endswith(f"Back-off restarting failed container c in pod web_default({uid(seedpod)})")
    listed = json.loads(seedpod.command("events", "--for=pod/web", "-o", "json").stdout)
    assert {"Created", "Started", "BackOff"} <= {each["reason"] for each in listed["items"]}


def uid(seedpod: Seedpod) -> str:
    return seedpod.command("get", "web", "-o", "jsonpath={.metadata.uid}").stdout


# ---- wait ----


def test_a_pod_is_waited_for_from_its_coming_to_its_going(seedpod: Seedpod) -> None:  # A42
    met = "pod/web condition met\n"
    with (
        watching(seedpod, "wait", "pod/web", "--for=create", f"--timeout={TIMEOUT}s") as created,
        watching(seedpod, "get", "-w", "-o", "name") as watch,
    ):
        detached(seedpod, pod(seedpod, SLOW, terminationGracePeriodSeconds=TIMEOUT), wait=False)
        assert watch.hear() == "pod/web"
        assert created.end() == (0, met, "")
    ready = seedpod.command("wait", "web", "--for=condition=Ready", f"--timeout={TIMEOUT}s")
    assert (ready.returncode, ready.stdout, ready.stderr) == (0, met, "")
    running = seedpod.command("wait", "--all", "--for=jsonpath={.status.phase}=Running")
    assert (running.returncode, running.stdout) == (0, met)
    late = seedpod.command("wait", "pod", "web", "--for=delete", "--timeout=100ms")
    said = "error: timed out waiting for the condition on pods/web\n"
    assert (late.returncode, late.stdout, late.stderr) == (1, "", said)
    with watching(seedpod, "wait", "web", "--for=delete", f"--timeout={TIMEOUT}s") as gone:
        assert seedpod.command("delete", "web", "--wait=false").returncode == 0
        release(seedpod)
        assert gone.end() == (0, met, "")
    ghost = seedpod.command("wait", "web", "--for=condition=Ready")
    assert ghost.stderr == 'Error from server (NotFound): pods "web" not found\n'


# ---- init containers and sidecars ----


def with_init(seedpod: Seedpod, script: str, app: str, **spec: Any) -> Manifest:
    side = seedpod.shell("side", f"echo side up; {QUICK}", restartPolicy="Always")
    return seedpod.pod(seedpod.shell("app", app), initContainers=[side, seedpod.shell("setup", script)], **spec)


@pytest.mark.parametrize(("app", "code"), [("echo hello", 0), ("echo hello; exit 5", 5)])
def test_run_shows_what_init_containers_say_and_ends_as_the_containers_do(
    seedpod: Seedpod, app: str, code: int
) -> None:  # A23
    result = seedpod.run(with_init(seedpod, "echo ready to go", app))
    assert (result.returncode, result.stderr) == (code, "")
    assert sorted(result.stdout.splitlines()) == ["app | hello", "setup | ready to go", "side | side up"]


def test_an_init_container_that_fails_is_the_exit_code(seedpod: Seedpod) -> None:  # A22
    result = seedpod.run(with_init(seedpod, "echo no; exit 7", "echo never"))
    assert result.returncode == 7
    assert "setup | no" in result.stdout and "never" not in result.stdout


def test_run_d_does_not_wait_for_ever_for_an_init_container_that_fails(seedpod: Seedpod) -> None:
    detached(seedpod, with_init(seedpod, "exit 7", "echo never", restartPolicy="Always"), wait=False)
    with watching(seedpod, "get", "web", "-w", "--no-headers") as watch:
        while "Init:CrashLoopBackOff" not in (line := watch.hear()):
            pass
        assert line.split()[1] == "1/2"


def test_init_containers_are_seen_on_their_way(seedpod: Seedpod) -> None:  # A32
    hold = "mkfifo /tmp/f; read _ < /tmp/f"
    with watching(seedpod, "get", "-w", "--no-headers") as watch:
        manifest = json.dumps(with_init(seedpod, hold, QUICK))
        begins = subprocess.Popen(
            [seedpod.program, "--root", seedpod.root, "run", "-d", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert begins.stdin is not None
        begins.stdin.write(manifest.encode())
        begins.stdin.close()
        begins.stdin = None
        while (row := watch.hear().split())[2] != "Init:1/2" or row[1] != "1/2":
            pass
        made = json.loads(seedpod.command("get", "web", "-o", "json").stdout)["status"]
        assert [each["name"] for each in made["initContainerStatuses"]] == ["side", "setup"]
        (initialized,) = [each for each in made["conditions"] if each["type"] == "Initialized"]
        assert initialized["message"] == "containers with incomplete status: [setup]"
        assert "Init Containers:\n  side:\n" in seedpod.command("describe", "web").stdout
        assert seedpod.command("delete", "web", "--now").returncode == 0
        begins.communicate(timeout=TIMEOUT)
