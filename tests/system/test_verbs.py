"""Every verb in odd circumstances: no pod, a wrong name, a dead engine, a stdout that nobody reads (CONTRACT)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.runner import TIMEOUT, Seedpod
from tests.staying import engine_pid

pytestmark = pytest.mark.root

STAYS = "echo up; mkfifo /tmp/f; exec 3<> /tmp/f; trap 'exit 0' TERM; read _ <&3"

# Verbs of a pod, without its name.
OF_A_POD = [
    ("get",),
    ("get", "-o", "json"),
    ("get", "-o", "yaml"),
    ("get", "-o", "wide"),
    ("get", "-o", "name"),
    ("get", "-o", "jsonpath={.metadata.uid}"),
    ("describe",),
    ("logs",),
    ("wait", "--for=condition=Ready"),
]
JOINING = [("exec",), ("attach",)]


def words(verb: tuple[str, ...], name: str) -> tuple[str, ...]:
    return (*verb, name, *(("--", "echo", "x") if verb == ("exec",) else ()))


@pytest.fixture
def web(seedpod: Seedpod) -> Seedpod:
    pod = seedpod.pod(seedpod.shell("c", STAYS))
    assert seedpod.command("run", "-d", "--wait", "-", input=json.dumps(pod)).returncode == 0
    return seedpod


def test_a_pod_that_is_not_there_is_not_found(seedpod: Seedpod) -> None:
    said = 'Error from server (NotFound): pods "ghost" not found\n'
    for verb in (*OF_A_POD, *JOINING, ("delete",)):
        result = seedpod.command(*words(verb, "ghost"))
        assert (result.returncode, result.stdout, result.stderr) == (1, "", said), verb


def test_no_pods_is_said_and_no_error(seedpod: Seedpod) -> None:
    for verb in (("get",), ("get", "-A"), ("get", "-o", "wide"), ("describe",)):
        result = seedpod.command(*verb)
        assert (result.returncode, result.stdout) == (0, ""), verb
        assert result.stderr.startswith("No resources found"), verb


def test_a_dead_engine_is_replaced_by_whichever_verb_comes_next(web: Seedpod) -> None:
    dead = set()
    for verb in (*OF_A_POD, ("exec",), ("delete", "--now")):
        dead.add(engine_pid(web))
        os.kill(engine_pid(web), signal.SIGKILL)
        result = web.command(*words(verb, "web"))
        assert (result.returncode, result.stderr) == (0, ""), verb
        assert result.stdout, verb
        assert engine_pid(web) not in dead, verb


def test_a_stdout_that_nobody_reads_is_no_traceback(web: Seedpod) -> None:
    source, sink = os.pipe()
    os.close(source)
    try:
        for verb in (*OF_A_POD, ("exec",)):
            result = subprocess.run(
                [web.program, "--root", web.root, *words(verb, "web")],
                stdout=sink,
                stderr=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            assert "Traceback" not in result.stderr, verb
            assert result.returncode in (0, 128 + signal.SIGPIPE), result
    finally:
        os.close(sink)


def test_a_followed_log_that_nobody_reads_any_more_ends(web: Seedpod) -> None:
    arguments = [web.program, "--root", web.root, "logs", "-f", "web"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as logs:
        assert logs.stdout is not None
        assert logs.stderr is not None
        assert logs.stdout.readline() == b"up\n"
        logs.send_signal(signal.SIGINT)
        assert logs.wait(TIMEOUT) == 130
        assert logs.stderr.read() == b""


def test_a_state_that_cannot_be_read_leaves_its_pod_alone_and_the_others_work(web: Seedpod) -> None:
    assert web.command("agent", "stop").returncode == 0
    (state,) = web.root.glob("pods/*/state.json")
    sound = state.read_text()
    state.write_text(sound[: len(sound) // 2])
    assert web.command("get").stderr == "No resources found in default namespace.\n"
    assert "is left alone: its state cannot be read" in (web.root / "agent.log").read_text()
    web.command("agent", "stop")
    state.write_text(sound.replace('"name":"c"', '"name":"d"'))
    assert web.command("get").stderr == "No resources found in default namespace.\n"
    assert "is left alone: its state is another pod's" in (web.root / "agent.log").read_text()
    web.command("agent", "stop")
    state.write_text(sound)
    record = state.with_name("pod.json")
    whole = record.read_text()
    record.write_text(whole.replace(state.parent.name, "../x"))
    assert web.command("get").stderr == "No resources found in default namespace.\n"
    web.command("agent", "stop")
    record.write_text(whole)
    assert web.command("get", "--no-headers").stdout.split()[:3] == ["web", "1/1", "Running"]


def test_a_root_with_an_odd_name_is_a_root(seedpod: Seedpod, tmp_path: Path) -> None:
    odd = Seedpod(tmp_path / "a b\n\u00e4'", seedpod.probe, seedpod.program)
    try:
        assert odd.run(odd.pod(odd.shell("c", "echo here"))).stdout == "here\n"
        assert odd.command("get").returncode == 0
    finally:
        odd.end_all()
