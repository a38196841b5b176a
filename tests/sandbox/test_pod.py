"""sandbox.Pod, as a program without asyncio uses it: this process hosts the engine, unless one is up."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox.pod.client import Client
from sandbox.pod.paths import PID_FILE, socket_path
from sandbox.status import Phase, Running, Terminated

pytestmark = pytest.mark.root

BUSYBOX = "localhost/busybox"


def a_manifest(*containers: dict[str, Any], name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": list(containers), **spec},
    }


def a_shell(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": BUSYBOX, "command": ["sh", "-c", script], **fields}


IDLE = "trap 'exit 0' TERM; while :; do sleep 0.05; done"  # ends at once when it is told to


@pytest.fixture
def scratch(home: Path) -> Iterator[sandbox.Pod]:
    """An ad-hoc pod."""
    with sandbox.Pod("scratch", root=home) as pod:
        yield pod


# ---- from a manifest ----


def test_a_pod_is_made_looked_at_joined_and_removed(home: Path) -> None:
    manifest = a_manifest(a_shell("app", f"echo hello; {IDLE}"))
    with sandbox.Pod.from_manifest(manifest, root=home) as pod:
        pod.wait_ready(timeout=60)
        assert (pod.name, pod.namespace, pod.root) == ("web", "default", home)
        assert pod.status.uid == pod.uid and pod.status.phase is Phase.RUNNING
        assert isinstance(pod["app"].status.state, Running)
        assert "Started container app" in [event.message for event in pod.events]
        result = pod["app"].exec(["sh", "-c", "cat; echo bad >&2; exit 3"], input="given")
        assert (result.exit_code, result.stdout, result.stderr, result.oom_killed) == (3, "given", "bad\n", False)
        assert next(pod["app"].logs(follow=True)) == "hello"
    with pytest.raises(sandbox.NotFound):
        pod.status  # noqa: B018


@pytest.mark.parametrize("form", ["path", "Path", "dict", "yaml", "json"])
def test_a_manifest_may_be_a_path_a_dict_or_text(form: str, tmp_path: Path, home: Path) -> None:
    document = a_manifest(a_shell("app", "true"), name=form.lower())
    file = tmp_path / "pod.yaml"
    file.write_text(json.dumps(document))
    yaml = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {form}}}\nspec: {json.dumps(document['spec'])}\n"
    source = {"path": str(file), "Path": file, "dict": document, "yaml": yaml, "json": json.dumps(document)}[form]
    assert sandbox.Pod.from_manifest(source, root=home).name == form.lower()  # type: ignore[arg-type]


def test_a_manifest_is_refused_whole_before_anything_is_made(home: Path) -> None:
    with pytest.raises(sandbox.ManifestError) as refused:
        sandbox.Pod.from_manifest(a_manifest({"name": "App", "imagee": "x"}), root=home)
    assert len(refused.value.findings) == 3
    with pytest.raises(sandbox.ManifestError, match="terminationGracePeriodSeconds"):
        sandbox.Pod("scratch", grace=-1, root=home)
    two = "\n---\n".join(json.dumps(a_manifest(a_shell("a", "true"), name=name)) for name in ("one", "two"))
    with pytest.raises(sandbox.SandboxError, match="one pod is wanted, and it has 2: one, two"):
        sandbox.Pod.from_manifest(two, root=home)
    with pytest.raises(sandbox.KernelError, match="nowhere"):
        sandbox.Pod.from_manifest("/nowhere/pod.yaml", root=home)
    assert list(home.glob("pods/*")) == []


def test_what_the_engine_refuses_leaves_nothing(home: Path) -> None:
    missing = a_manifest({"name": "a", "image": "localhost/nothing"})
    with pytest.raises(sandbox.NotFound, match="localhost/nothing"), sandbox.Pod.from_manifest(missing, root=home):
        pytest.fail("it was made")
    with sandbox.Pod("scratch", root=home), pytest.raises(sandbox.AlreadyExists):
        sandbox.Pod("scratch", root=home).create()
    assert not socket_path(home).exists()


def test_a_pod_that_will_never_be_ready_says_so_at_once(home: Path) -> None:
    app = {"name": "app", "image": BUSYBOX, "command": ["nonsense"]}
    with sandbox.Pod.from_manifest(a_manifest(app), root=home) as pod:
        with pytest.raises(sandbox.WrongState, match="will not be ready") as never:
            pod.wait_ready(timeout=60)
        assert never.value.hint and never.value.hint.startswith("app: StartError, exit code 128")
        assert pod.wait(timeout=60).phase is Phase.FAILED
        assert pod["app"].wait(timeout=60).exit_code == 128


def test_what_is_waited_for_in_vain_is_an_error_of_its_own(scratch: sandbox.Pod) -> None:
    idle = scratch.run("idle", ["sh", "-c", IDLE], image=BUSYBOX)
    with pytest.raises(sandbox.TimedOut, match=r"idle has not ended after 0\.01 s"):
        idle.wait(timeout=0.01)
    with pytest.raises(TimeoutError, match="scratch has not ended"):
        scratch.wait(timeout=0.01)
    with pytest.raises(sandbox.TimedOut, match=r"sleep 60: still running after 0\.2 s: killed"):
        idle.exec(["sleep", "60"], timeout=0.2)
    assert "sleep 60" not in idle.exec(["ps", "-o", "args"]).stdout


def test_a_container_that_is_not_there_is_not_found_when_it_is_asked(scratch: sandbox.Pod) -> None:
    for ask in (lambda c: c.status, lambda c: c.wait(), lambda c: next(c.logs()), lambda c: c.exec(["true"])):
        with pytest.raises(sandbox.SandboxError, match="nobody"):
            ask(scratch["nobody"])
    with pytest.raises(TypeError):
        list(scratch)  # type: ignore[call-overload]


# ---- ad hoc ----


def test_containers_come_and_go_and_the_sandbox_stays(scratch: sandbox.Pod) -> None:
    """No container runs between two of them, and the namespaces are the same."""
    seen = {
        scratch.run(name, ["readlink", "/proc/self/ns/net"], image=BUSYBOX).wait(60).stdout for name in ("one", "two")
    }
    assert len(seen) == 1 and seen.pop().startswith("net:")
    assert scratch.status.sandbox_ready and scratch.status.phase is Phase.RUNNING
    assert [each.name for each in scratch.status.containers] == ["one", "two"]


def test_what_runs_in_one_pod_finds_each_other_on_localhost(scratch: sandbox.Pod) -> None:  # A6
    scratch.run("app", ["httpd", "-f", "-p", "8080", "-h", "/etc"], image=BUSYBOX)
    fetch = ["sh", "-c", "until wget -qO- http://localhost:8080/nsswitch.conf; do sleep 0.05; done 2>/dev/null"]
    assert scratch.run("probe", fetch, image=BUSYBOX).wait(timeout=60).stdout == "hosts: files dns\n"


def test_its_result_is_what_the_program_wrote_to_the_byte(scratch: sandbox.Pod) -> None:
    script = "printf 'a\\377b\\n\\nno end'; printf 'err\\n' >&2; exit 5"
    done = scratch.run("one", ["sh", "-c", script], image=BUSYBOX).wait(timeout=60)
    assert (done.exit_code, done.output, done.errors) == (5, b"a\xffb\n\nno end", b"err\n")
    assert done.stdout == "a�b\n\nno end"


def test_environment_volumes_and_further_fields_are_the_manifests(home: Path) -> None:
    volumes = {"volumes": [{"name": "data"}]}
    with sandbox.Pod("scratch", spec=volumes, root=home) as pod:
        pod.run("a", ["sh", "-c", "pwd > /data/x; echo $WHO >> /data/x"], image=BUSYBOX, env={"WHO": "me"},
                volumes={"data": "/data"}, fields={"workingDir": "/tmp"}).wait(timeout=60)  # fmt: skip
        done = pod.run("b", ["cat", "/data/x"], image=BUSYBOX, volumes={"data": "/data"}).wait(timeout=60)
        assert done.stdout == "/tmp\nme\n"
        assert pod.status.pod.containers[0].working_dir == "/tmp"


def test_a_program_that_cannot_be_started_is_an_error_and_listed(scratch: sandbox.Pod) -> None:
    with pytest.raises(sandbox.SandboxError, match="nonsense") as failed:
        scratch.run("bad", ["nonsense"], image=BUSYBOX)
    assert failed.value.hint and "PATH" in failed.value.hint
    state = scratch["bad"].status.state
    assert isinstance(state, Terminated) and (state.reason, state.exit_code) == ("StartError", 128)


def test_what_is_refused_changes_nothing(scratch: sandbox.Pod) -> None:
    scratch.run("one", ["true"], image=BUSYBOX)
    before = scratch.status.manifest
    with pytest.raises(sandbox.AlreadyExists, match='container "one" already exists'):
        scratch.run("one", ["true"], image=BUSYBOX)
    with pytest.raises(sandbox.NotFound):
        scratch.run("two", ["true"], image="localhost/nothing")
    with pytest.raises(sandbox.ManifestError, match="volumeMounts"):
        scratch.run("two", ["true"], image=BUSYBOX, volumes={"nothing": "/data"})
    with pytest.raises(TypeError, match="list of strings"):
        scratch.run("two", "true", image=BUSYBOX)
    assert scratch.status.manifest == before


def test_a_pod_of_a_manifest_takes_no_more_containers(home: Path) -> None:
    with (
        sandbox.Pod.from_manifest(a_manifest(a_shell("app", IDLE)), root=home) as pod,
        pytest.raises(sandbox.WrongState, match="made from a manifest"),
    ):
        pod.run("more", ["true"], image=BUSYBOX)


# ---- logs ----


def test_lines_come_while_they_are_written_and_end_with_the_container(scratch: sandbox.Pod) -> None:
    app = scratch.run("app", ["sh", "-c", "mkfifo /tmp/f; echo one; read x < /tmp/f; echo $x"], image=BUSYBOX)
    lines = app.logs(follow=True)
    assert next(lines) == "one"
    app.exec(["sh", "-c", "echo two > /tmp/f"])
    assert list(lines) == ["two"]
    assert list(app.logs(tail=1)) == ["two"]
    with pytest.raises(sandbox.WrongState, match="previous terminated container"):
        list(app.logs(previous=True))


def test_a_hundred_thousand_lines_all_come(scratch: sandbox.Pod) -> None:
    done = scratch.run("many", ["seq", "100000"], image=BUSYBOX)
    assert list(done.logs(follow=True)) == [str(number) for number in range(1, 100001)]


def test_a_reader_that_stops_leaves_no_thread(scratch: sandbox.Pod) -> None:
    app = scratch.run("app", ["sh", "-c", "while :; do echo x; done"], image=BUSYBOX)
    before = {thread.name for thread in threading.enumerate()}
    assert "log" not in before
    assert list(itertools.islice(app.logs(follow=True), 5000)) == ["x"] * 5000
    for thread in threading.enumerate():
        if thread.name == "log":
            thread.join(60)
            assert not thread.is_alive()


# ---- whose engine ----


def test_this_process_hosts_one_for_all_its_pods_and_no_longer(home: Path) -> None:
    with sandbox.Pod("one", root=home):
        assert int((home / PID_FILE).read_text()) == os.getpid()
        with sandbox.Pod("two", root=home), Client(home, start=False) as client:
            assert [status.pod.name for status in client.pods()] == ["one", "two"]
        assert int((home / PID_FILE).read_text()) == os.getpid()
    assert not (home / PID_FILE).exists() and not socket_path(home).exists()


def test_a_pod_that_is_there_is_found_and_left(home: Path) -> None:
    with sandbox.Pod.from_manifest(a_manifest(a_shell("app", IDLE)), root=home) as made:
        made.wait_ready(timeout=60)
        with sandbox.Pod.get("web", root=home) as found:
            assert found.uid == made.uid
            assert found["app"].exec(["hostname"]).stdout == "web\n"
        assert made.status.phase is Phase.RUNNING
        with pytest.raises(sandbox.NotFound):
            sandbox.Pod.get("nobody", root=home)


def test_everything_may_be_done_twice(home: Path) -> None:
    pod = sandbox.Pod("scratch", root=home)
    pod.delete()
    for _ in range(2):
        pod.create()
    for _ in range(2):
        pod.delete(grace=0)
    for _ in range(2):
        pod.close()


# ---- threads and interrupts ----


def test_several_threads_share_a_pod(scratch: sandbox.Pod) -> None:
    app = scratch.run("app", ["sh", "-c", IDLE], image=BUSYBOX)
    results: dict[int, str] = {}

    def work(number: int) -> None:
        said = app.exec(["echo", str(number)]).stdout
        results[number] = said + scratch.run(f"c{number}", ["echo", str(number)], image=BUSYBOX).wait(60).stdout

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {number: f"{number}\n" * 2 for number in range(8)}


def interrupt_when_it_waits() -> None:
    """Ctrl-C, once the main thread waits for the library and sleeps: on its way to sleep it would not be woken."""
    seen = 0
    while seen < 3:  # it sleeps too while it waits for the interpreter's lock, but not for long
        time.sleep(0.001)
        seen = seen + 1 if sleeps_in_result(threading.main_thread()) else 0
    os.kill(os.getpid(), signal.SIGINT)


def sleeps_in_result(thread: threading.Thread) -> bool:
    assert thread.ident is not None
    if all(frame.f_code.co_name != "result" for frame, _ in traceback.walk_stack(sys._current_frames()[thread.ident])):
        return False
    return Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_an_interrupt_ends_the_waiting_and_what_was_waited_for_goes_on(scratch: sandbox.Pod) -> None:
    app = scratch.run("app", ["sh", "-c", IDLE], image=BUSYBOX)
    for wait in (app.wait, lambda: app.exec(["sleep", "60"]), lambda: list(app.logs(follow=True))):
        thread = threading.Thread(target=interrupt_when_it_waits)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            wait()  # type: ignore[operator]
        thread.join()
    assert isinstance(app.status.state, Running)
    assert "sleep 60" not in app.exec(["ps", "-o", "args"]).stdout  # it was killed with the waiting
