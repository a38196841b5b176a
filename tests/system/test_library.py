"""Pods of programs that are killed, that fork, that end: what becomes of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import FORK, SCRATCH, WAIT, gone, program
from tests.runner import TIMEOUT, Seedpod

pytestmark = pytest.mark.root


# ---- a pod belongs to the root, not to the program ----


def test_the_command_line_sees_what_a_program_runs(seedpod: Seedpod) -> None:
    with program(SCRATCH + WAIT, seedpod.root) as running:
        uid = running.hear()
        listed = seedpod.command("get", "scratch", "--no-headers").stdout.split()
        assert listed[:3] == ["scratch", "1/1", "Running"]
        document = json.loads(seedpod.command("get", "scratch", "-o", "json").stdout)
        assert document["metadata"]["uid"] == uid
        assert [each["name"] for each in document["spec"]["containers"]] == ["app"]
        assert "Container ID" in seedpod.command("describe", "scratch").stdout
        assert seedpod.command("logs", "scratch", "-c", "app").stdout == "up\n"
        assert seedpod.command("exec", "scratch", "-c", "app", "--", "hostname").stdout == "scratch\n"
        running.say()
        assert running.end() == 0


def test_an_empty_pod_is_listed_too(seedpod: Seedpod) -> None:
    script = "import sandbox\nwith sandbox.Pod('scratch') as pod:\n    print('up', flush=True)\n    input()\n"
    with program(script, seedpod.root) as running:
        assert running.hear() == "up"
        assert seedpod.command("get", "--no-headers").stdout.split()[:3] == ["scratch", "0/0", "Running"]
        assert seedpod.command("describe", "scratch").returncode == 0
        running.say()
        assert running.end() == 0
    assert "No resources found" in seedpod.command("get").stderr


def test_a_killed_program_leaves_its_pods_to_the_next_engine(seedpod: Seedpod) -> None:
    """They run on, are found, are added to as before, and are removed."""
    with program(SCRATCH + WAIT, seedpod.root) as running:
        uid = running.hear()
        running.kill()
    listed = seedpod.command("get", "scratch", "--no-headers").stdout.split()
    assert listed[:4] == ["scratch", "1/1", "Running", "0"]
    more = """
        import sandbox
        with sandbox.Pod.get("scratch") as pod:
            print(pod.uid, flush=True)
            print(pod["app"].exec(["hostname"]).stdout, end="", flush=True)
            print(pod.run("more", ["hostname"], image="localhost/busybox").wait(60).stdout, end="", flush=True)
        """
    with program(more, seedpod.root) as running:
        assert [running.hear() for _ in range(3)] == [uid, "scratch", "scratch"]
        assert running.end() == 0
    assert seedpod.command("delete", "scratch", "--now").returncode == 0


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_program_killed_while_it_adds_containers_loses_none_that_it_was_told_of(count: int, seedpod: Seedpod) -> None:
    """Wherever it was killed in adding the next: that one is there whole, or not at all."""
    script = """
        import sandbox
        pod = sandbox.Pod("scratch")
        pod.create()
        for number in range(1000):
            pod.run(f"c{number}", ["sh", "-c", f"exit {number}"], image="localhost/busybox")
            print(number, flush=True)
        """
    with program(script, seedpod.root) as running:
        for _ in range(count):
            running.hear()
        running.kill()
    after = """
        import sandbox
        with sandbox.Pod.get("scratch") as pod:
            names = [each.name for each in pod.status.containers]
            print(names == [f"c{number}" for number in range(len(names))], len(names), flush=True)
            print([pod[name].wait(60).exit_code for name in names] == list(range(len(names))), flush=True)
            pod.run("last", ["true"], image="localhost/busybox").wait(60)
            pod.delete(grace=0)
        """
    with program(after, seedpod.root) as running:
        whole, number = running.hear().split()
        assert whole == "True" and int(number) >= count
        assert running.hear() == "True"
        assert running.end() == 0


@pytest.mark.parametrize("end", ["", "    sys.exit(3)\n", "    raise KeyboardInterrupt\n"])
def test_a_program_that_ends_hands_the_pods_it_left_to_an_engine_in_the_background(seedpod: Seedpod, end: str) -> None:
    with program("    import sys\n" + SCRATCH + end, seedpod.root) as running:
        uid = running.hear()
        running.process.wait(TIMEOUT)
    pid = int((seedpod.root / "agent.pid").read_text())
    assert pid != running.process.pid and Path(f"/proc/{pid}").exists()
    assert json.loads(seedpod.command("get", "scratch", "-o", "json").stdout)["metadata"]["uid"] == uid


def test_an_interrupt_in_a_with_block_removes_the_pod(seedpod: Seedpod) -> None:
    script = """
        import sandbox
        with sandbox.Pod("scratch") as pod:
            app = pod.run("app", ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
                          image="localhost/busybox")
            print("up", flush=True)
            app.wait()
        """
    with program(script, seedpod.root) as running:
        assert running.hear() == "up"
        running.interrupt()
        assert running.process.wait(TIMEOUT) == -signal.SIGINT
    assert list((seedpod.root / "pods").iterdir()) == []
    assert not (seedpod.root / "seedpod.sock").exists()


def test_an_engine_that_is_up_already_is_used(seedpod: Seedpod) -> None:
    seedpod.command("run", "-d", "-", input=json.dumps(seedpod.pod(seedpod.shell("c", "sleep 1000"), name="other")))
    pid = (seedpod.root / "agent.pid").read_text()
    with program(SCRATCH + "    pod.delete(grace=0)\n", seedpod.root) as running:
        running.hear()
        assert running.end() == 0
    assert (seedpod.root / "agent.pid").read_text() == pid


def test_another_engine_takes_over_while_a_program_waits(seedpod: Seedpod) -> None:
    script = """
        import sandbox
        with sandbox.Pod("scratch") as pod:
            app = pod.run("app", ["sh", "-c", "mkfifo /f; echo up; read x < /f; exit 9"], image="localhost/busybox")
            print(next(app.logs(follow=True)), flush=True)
            print(app.wait(60).exit_code, flush=True)
        """
    with program(script, seedpod.root) as running:
        assert running.hear() == "up"
        assert seedpod.command("agent", "stop").returncode == 0
        seedpod.command("exec", "scratch", "--", "sh", "-c", "echo > /f")  # which may die with the container
        assert running.hear() == "9"
        assert running.end() == 0


# ---- forks ----


def test_a_forked_child_does_not_keep_the_root(seedpod: Seedpod) -> None:
    with program(SCRATCH + FORK + WAIT, seedpod.root) as running:
        running.hear()
        child = int(running.hear())
        try:
            running.kill()
            assert seedpod.command("get", "scratch", "--no-headers").stdout.split()[:3] == ["scratch", "1/1", "Running"]
        finally:
            os.kill(child, signal.SIGKILL)
        assert gone(child)


def test_a_forked_child_has_the_library_to_itself(root: Path, no_leaks: None, busybox: Path) -> None:
    """What its parent made it cannot touch, also not by leaving the block; its own it can."""
    script = """
        import os, sys
        import sandbox
        with sandbox.Pod("parents") as pod, sandbox.PodSandbox.create(name="parents") as box:
            child = os.fork()
            if child == 0:
                for use in (lambda: pod.status, lambda: box.stop()):
                    try:
                        use()
                        print("used what is the parent's", flush=True)
                    except sandbox.WrongState as error:
                        assert "was forked" in str(error)
                with sandbox.Pod("childs") as own:
                    print(own.run("c", ["hostname"], image="localhost/busybox").wait(60).stdout, end="", flush=True)
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            print(pod.run("c", ["hostname"], image="localhost/busybox").wait(60).stdout, end="", flush=True)
            c = box.create_container("c", sandbox.ContainerSpec(["hostname"], sys.argv[1]))
            c.start()
            c.wait(60)
        """
    with program(script, root, busybox) as running:
        assert [running.hear() for _ in range(3)] == ["childs", "parents", "parents"]
        assert running.end() == 0


def test_multiprocessing_and_subprocess_work_beside_it(root: Path, no_leaks: None) -> None:
    script = """
        import multiprocessing, subprocess
        import sandbox
        def work(name):
            with sandbox.Pod(name) as pod:
                return pod.run("c", ["hostname"], image="localhost/busybox").wait(60).stdout.strip()
        with sandbox.Pod("main") as pod:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(*pool.map(work, ["a", "b", "c"]), flush=True)
            print(subprocess.run(["echo", "fine"], capture_output=True, text=True).stdout, end="", flush=True)
            print(pod.run("c", ["hostname"], image="localhost/busybox").wait(60).stdout, end="", flush=True)
        """
    with program(script, root) as running:
        assert [running.hear() for _ in range(3)] == ["a b c", "fine", "main"]
        assert running.end() == 0


# ---- who may ----


def test_who_is_not_root_is_told_so() -> None:  # A44
    script = "import sandbox\n" + "".join(
        f"try:\n    {use}\nexcept sandbox.Unsupported as error:\n    print(error.hint)\n"
        for use in (
            "sandbox.Pod('x', root='/tmp/none').create()",
            "sandbox.PodSandbox.create(name='x', root='/tmp/none')",
        )
    )
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, user=65534, group=65534, extra_groups=[])
    assert done.stdout == "run it with sudo\n" * 2, done.stderr
