"""Pods that stay: seen, ended and found again, whether or not their engine lives (issue "Pods that stay")."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from sandbox.pod.client import Client
from sandbox.pod.slices import Slices
from sandbox.status import Terminated
from tests.runner import TIMEOUT, Seedpod
from tests.staying import (
    all_running,
    detached,
    engine_pid,
    kill_engine,
    pod_json,
    podmon_of,
    restarted,
    until,
    wait_and_close,
)

pytestmark = pytest.mark.root

FOREVER = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'exit 0' TERM; read _ <&3"


# ---- the engine ----


def test_the_first_verb_starts_an_engine_and_agent_stop_ends_it(seedpod: Seedpod) -> None:
    assert seedpod.command("get").stderr == "No resources found in default namespace.\n"
    pid = engine_pid(seedpod)
    assert (seedpod.root / "seedpod.sock").is_socket()
    assert seedpod.command("get").returncode == 0
    assert engine_pid(seedpod) == pid, "the same one answers again"
    assert seedpod.command("agent", "stop").stdout == "engine stopped\n"
    assert not (seedpod.root / "agent.pid").exists()
    assert not (seedpod.root / "seedpod.sock").exists()
    assert seedpod.command("agent", "stop").stdout == "no engine is running\n"


def test_verbs_that_race_start_one_engine(seedpod: Seedpod) -> None:
    words = [seedpod.program, "--root", seedpod.root, "get"]
    racers = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for racer in racers:
        _, stderr = racer.communicate(timeout=TIMEOUT)
        assert (racer.returncode, stderr) == (0, "No resources found in default namespace.\n")
    owners = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_agent(path, seedpod.root)]
    assert [int(path.parent.name) for path in owners] == [engine_pid(seedpod)]


def _is_agent(cmdline: Path, root: Path) -> bool:
    try:
        words = cmdline.read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"agent" in words and os.fsencode(root) in words


def test_an_engine_in_the_foreground_ends_by_term_and_its_pods_run_on(seedpod: Seedpod) -> None:
    words = [seedpod.program, "--root", seedpod.root, "agent"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == f"engine ready: {seedpod.root}\n"
        again = seedpod.command("agent")
        assert again.returncode == 1
        assert f"as process {agent.pid}" in again.stderr
        detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER)))
        before = pod_json(seedpod, "web")
        agent.terminate()
        assert agent.wait(TIMEOUT) == 0
    assert pod_json(seedpod, "web")["status"] == before["status"]


def test_a_root_whose_socket_has_too_long_a_path_is_refused(seedpod: Seedpod) -> None:
    long = seedpod.root / ("x" * 120)
    result = subprocess.run([seedpod.program, "--root", long, "get"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "longer than 107 bytes" in result.stderr
    assert not long.exists()


def test_a_stopped_engine_is_told_of_and_not_waited_for_without_end(
    seedpod: Seedpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sandbox.errors import SandboxError
    from sandbox.pod import connection

    seedpod.command("get")
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    os.kill(engine_pid(seedpod), signal.SIGSTOP)
    try:
        with pytest.raises(SandboxError, match="does not answer"):
            Client(seedpod.root)
    finally:
        os.kill(engine_pid(seedpod), signal.SIGCONT)


# ---- pods do not care ----


def test_pods_do_not_notice_that_their_engine_is_killed(seedpod: Seedpod) -> None:
    """Twenty pods that run, start, end and crash; the next verb adopts them, with what happened meanwhile."""
    seedpod.root.joinpath("go").mkdir()
    go = {"name": "go", "hostPath": {"path": str(seedpod.root / "go")}}
    mount = [{"name": "go", "mountPath": "/go"}]
    wait = "while [ ! -e /go/now ]; do read -t 0.1 _ <&3 || :; done"
    ends = f"mkfifo /tmp/f; exec 3<> /tmp/f; {wait}"
    pods = [
        seedpod.pod(seedpod.shell("c", f"{ends}; exit {n}", volumeMounts=mount), name=f"ends-{n}", volumes=(go,))
        for n in range(10)
    ]
    pods += [seedpod.pod(seedpod.shell("c", FOREVER), name=f"stays-{n}") for n in range(10)]
    detached(seedpod, *pods)
    before = {pod["metadata"]["name"]: pod for pod in json.loads(seedpod.command("get", "-o", "json").stdout)["items"]}
    kill_engine(seedpod)
    began = datetime.now().astimezone()
    slices = Slices(seedpod.root)
    pidfds = [
        os.pidfd_open(int(pid))
        for name, pod in before.items()
        if name.startswith("ends")
        for scope in slices.path(pod["metadata"]["uid"]).glob("[0-9a-f]*.scope")
        for pid in (scope / "cgroup.procs").read_text().split()[:1]
    ]
    (seedpod.root / "go" / "now").touch()
    for pidfd in pidfds:
        wait_and_close(pidfd)
    ended = datetime.now().astimezone()
    after = {pod["metadata"]["name"]: pod for pod in json.loads(seedpod.command("get", "-o", "json").stdout)["items"]}
    assert after.keys() == before.keys()
    for n in range(10):
        assert after[f"stays-{n}"]["status"] == before[f"stays-{n}"]["status"]
        (status,) = after[f"ends-{n}"]["status"]["containerStatuses"]
        end = status["state"]["terminated"]
        assert end["exitCode"] == n
        finished = datetime.fromisoformat(end["finishedAt"])
        assert began.replace(microsecond=0) <= finished <= ended
        assert after[f"ends-{n}"]["metadata"]["uid"] == before[f"ends-{n}"]["metadata"]["uid"]


def test_a_log_has_no_gap_where_the_engine_was_killed(seedpod: Seedpod) -> None:
    count = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done"
    detached(seedpod, seedpod.pod(seedpod.shell("c", count)), wait=False)
    for _ in range(3):
        kill_engine(seedpod)
        seedpod.command("get")
    until(seedpod, "web", lambda status: isinstance(status.containers[0].state, Terminated))
    assert seedpod.command("logs", "web").stdout.split() == [str(n) for n in range(20000)]


def test_logs_follow_across_the_engines_end(seedpod: Seedpod) -> None:
    go = seedpod.root / "go"
    go.mkdir()
    script = (
        "echo one; mkfifo /tmp/f; exec 3<> /tmp/f; while [ ! -e /go/now ]; do read -t 0.1 _ <&3 || :; done; echo two"
    )
    volume = {"name": "go", "hostPath": {"path": str(go)}}
    pod = seedpod.pod(seedpod.shell("c", script, volumeMounts=[{"name": "go", "mountPath": "/go"}]), volumes=(volume,))
    detached(seedpod, pod)
    words = [seedpod.program, "--root", seedpod.root, "logs", "-f", "web"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == "one\n"
        kill_engine(seedpod)
        (go / "now").touch()
        assert logs.stdout.read() == "two\n"
        assert logs.wait(TIMEOUT) == 0


def test_a_foreground_run_goes_on_with_the_next_engine(seedpod: Seedpod) -> None:
    seedpod.command("get")  # an engine in the background, which run then uses
    go = seedpod.root / "go"
    go.mkdir()
    script = "echo up; mkfifo /tmp/f; exec 3<> /tmp/f; while [ ! -e /go/now ]; do read -t 0.1 _ <&3 || :; done; exit 7"
    volume = {"name": "go", "hostPath": {"path": str(go)}}
    pod = seedpod.pod(seedpod.shell("c", script, volumeMounts=[{"name": "go", "mountPath": "/go"}]), volumes=(volume,))
    process = seedpod.start(pod)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    kill_engine(seedpod)
    (go / "now").touch()
    assert process.wait(TIMEOUT) == 7
    assert seedpod.command("get").stderr == "No resources found in default namespace.\n"


def test_a_run_that_hosted_the_engine_leaves_one_behind_for_the_others(seedpod: Seedpod) -> None:
    first = seedpod.start(seedpod.pod(seedpod.shell("c", f"echo up; {FOREVER}"), name="first"))
    assert first.stdout is not None
    assert first.stdout.readline() == "up\n"
    assert engine_pid(seedpod) == first.pid
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER), name="second"))
    first.terminate()
    assert first.wait(TIMEOUT) == 143
    assert engine_pid(seedpod) != first.pid
    assert [line.split()[0] for line in seedpod.command("get", "--no-headers").stdout.splitlines()] == ["second"]


def test_a_pod_that_was_kept_is_there_when_it_has_ended(seedpod: Seedpod) -> None:
    result = seedpod.command(
        "run", "--keep", "-", input=json.dumps(seedpod.pod(seedpod.shell("c", "echo out; exit 3")))
    )
    assert (result.returncode, result.stdout) == (3, "out\n")
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[:4] == ["web", "0/1", "Error", "0"]
    assert seedpod.command("logs", "web").stdout == "out\n"
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    assert not Slices(seedpod.root).path(uid).exists(), "of a pod that has ended only its files are left"


def test_killed_between_any_two_moments_of_a_pods_making_it_is_completed(seedpod: Seedpod) -> None:
    """The engine is killed while pods are being made; each comes to run, or never was."""
    for round_ in range(6):
        names = [f"p-{round_}-{n}" for n in range(4)]
        text = "\n---\n".join(json.dumps(seedpod.pod(seedpod.shell("c", FOREVER), name=name)) for name in names)
        seedpod.command("get")
        killer = threading.Timer(0.25 + 0.02 * round_, kill_engine, [seedpod])
        killer.start()
        result = seedpod.command("run", "-d", "-", input=text)
        killer.join()
        assert result.returncode == 0, result
        for name in names:
            until(seedpod, name, all_running)
    running = seedpod.command("get", "--no-headers").stdout.splitlines()
    assert len(running) == 24
    assert all(line.split()[1:4] == ["1/1", "Running", "0"] for line in running), running


# ---- podmon's end ----


def test_a_pod_whose_podmon_was_killed_gets_a_new_sandbox(seedpod: Seedpod) -> None:
    """# A22"""
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER), restartPolicy="Always"))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    os.kill(podmon_of(seedpod, uid), signal.SIGKILL)
    status = until(seedpod, "web", lambda status: restarted(1)(status) and all_running(status))
    assert status.uid == uid
    happened = [event.reason for event in status.events if event.reason.startswith("Sandbox")]
    assert happened == ["SandboxDied", "SandboxChanged"]
    last = status.containers[0].last_state
    assert last is not None
    assert last.exit_code == 137


def test_a_pod_that_never_restarts_ends_with_its_podmon(seedpod: Seedpod) -> None:
    """# A22"""
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER)))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    os.kill(podmon_of(seedpod, uid), signal.SIGKILL)
    until(seedpod, "web", lambda status: status.phase == "Failed" and not status.sandbox_ready)
    assert not Slices(seedpod.root).path(uid).exists()


def test_what_a_podmon_left_that_died_without_an_engine_is_removed_by_the_next(seedpod: Seedpod) -> None:
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER), seedpod.shell("d", "exit 4")), wait=False)
    until(seedpod, "web", lambda status: isinstance(status.containers[1].state, Terminated))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    kill_engine(seedpod)
    pidfd = os.pidfd_open(podmon_of(seedpod, uid))
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    wait_and_close(pidfd)
    first, second = pod_json(seedpod, "web")["status"]["containerStatuses"]
    assert first["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert first["state"]["terminated"]["exitCode"] == 137
    assert second["state"]["terminated"]["exitCode"] == 4
    assert not Slices(seedpod.root).path(uid).exists()
    assert not (seedpod.root / "pods" / uid / "sandbox").exists()


def test_a_pod_whose_podmon_is_stopped_can_be_deleted_by_the_next_engine_all_the_same(seedpod: Seedpod) -> None:
    """# A42"""
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER)))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    kill_engine(seedpod)
    os.kill(podmon_of(seedpod, uid), signal.SIGSTOP)
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[2] == "Running", "as it was last known"
    assert seedpod.command("delete", "web", "--now").stdout == 'pod "web" deleted\n'
    assert list((seedpod.root / "pods").iterdir()) == []


# ---- restarts ----


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [("Always", 0, True), ("Always", 3, True), ("OnFailure", 0, False), ("OnFailure", 3, True), ("Never", 3, False)],
)
def test_a_container_is_started_again_as_its_policy_says(
    seedpod: Seedpod, policy: str, code: int, restarts: bool
) -> None:
    """# A20, A21: the first time at once, and then after a back-off."""
    detached(seedpod, seedpod.pod(seedpod.shell("c", f"exit {code}"), restartPolicy=policy), wait=False)
    if not restarts:
        status = until(seedpod, "web", lambda status: status.phase in ("Succeeded", "Failed"))
        assert status.containers[0].restart_count == 0
        return
    until(seedpod, "web", restarted(1))
    word = "CrashLoopBackOff"
    status = until(seedpod, "web", lambda status: getattr(status.containers[0].state, "reason", "") == word)
    assert status.containers[0].restart_count == 1
    assert status.phase == "Running"
    assert status.containers[0].last_state is not None
    assert status.containers[0].last_state.exit_code == code
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[2] == word


def test_volumes_stay_and_the_containers_own_files_go_when_it_is_restarted(seedpod: Seedpod) -> None:
    """# A15, A16"""
    script = "ls /data /own 2>/dev/null; touch /data/kept /own; exit 1"
    volume = {"name": "data", "emptyDir": {}}
    container = seedpod.shell("c", script, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    detached(seedpod, seedpod.pod(container, volumes=(volume,), restartPolicy="OnFailure"), wait=False)
    until(seedpod, "web", lambda status: restarted(1)(status) and status.containers[0].last_state is not None)
    until(seedpod, "web", lambda status: getattr(status.containers[0].state, "reason", "") == "CrashLoopBackOff")
    assert seedpod.command("logs", "web").stdout == "/data:\nkept\n"
    assert seedpod.command("logs", "web", "--previous").stdout == "/data:\nkept\n", "in back-off, of the last instance"


def test_a_command_that_is_missing_is_a_start_error_that_is_tried_again(seedpod: Seedpod) -> None:
    """# A24: CONTRACT, after creation, as kubelet."""
    result = seedpod.command(
        "run", "-d", "-", input=json.dumps(seedpod.pod(seedpod.container("c", "/no-such"), restartPolicy="Always"))
    )
    assert result.returncode == 0
    assert result.stdout == "pod/web created\n"
    assert result.stderr.startswith('error: pod "web", container "c": run /no-such: execve')
    status = until(seedpod, "web", restarted(1))
    last = status.containers[0].last_state
    assert last is not None
    assert (last.exit_code, last.reason) == (128, "StartError")


# ---- deletion ----


def test_a_pod_of_the_same_name_is_another_with_a_new_uid_and_empty_volumes(seedpod: Seedpod) -> None:
    """# A12, A14, A15"""
    volume = {"name": "data", "emptyDir": {}}
    mounts = [{"name": "data", "mountPath": "/data"}]
    pod = seedpod.pod(seedpod.shell("c", f"ls /data; touch /data/x; {FOREVER}", volumeMounts=mounts), volumes=(volume,))
    detached(seedpod, pod)
    first = pod_json(seedpod, "web")["metadata"]["uid"]
    assert seedpod.command("delete", "web").stdout == 'pod "web" deleted\n'
    assert not (seedpod.root / "pods" / first).exists()
    assert list((seedpod.root / "logs").iterdir()) == []
    detached(seedpod, pod)
    assert pod_json(seedpod, "web")["metadata"]["uid"] != first
    assert seedpod.command("logs", "web").stdout == ""


STUBBORN = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'echo TERM' TERM; while :; do read _ <&3; done"


def test_a_pod_that_is_being_deleted_is_terminating_and_a_shorter_grace_ends_it_sooner(seedpod: Seedpod) -> None:
    """# A31, A32"""
    detached(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN), terminationGracePeriodSeconds=3600))
    begin = time.monotonic()
    assert seedpod.command("delete", "web", "--wait=false").stdout == 'pod "web" deleted\n'
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[:3] == ["web", "1/1", "Terminating"]
    metadata = pod_json(seedpod, "web")["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 3600
    timed_out = seedpod.command("delete", "web", "--timeout=1s")
    assert timed_out.returncode == 1
    assert timed_out.stderr == "error: timed out waiting for the condition on pods/web\n"
    assert seedpod.command("delete", "web", "--now").returncode == 0
    assert time.monotonic() - begin < 60
    assert seedpod.command("get", "web").returncode == 1


def test_a_termination_begins_anew_with_its_full_grace_where_the_engine_was_killed(seedpod: Seedpod) -> None:
    """# A41"""
    detached(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN), terminationGracePeriodSeconds=4))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    seedpod.command("delete", "web", "--wait=false")
    with subprocess.Popen(
        [seedpod.program, "--root", seedpod.root, "logs", "-f", "web"], stdout=subprocess.PIPE, text=True
    ) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == "TERM\n"
        logs.terminate()
    kill_engine(seedpod)
    begin = time.monotonic()
    with Client(seedpod.root) as client:
        assert client.wait_removed(uid, TIMEOUT)
    assert time.monotonic() - begin >= 4.0


def test_a_forced_deletion_frees_the_name_while_the_old_pod_still_ends(seedpod: Seedpod) -> None:
    """# A40"""
    detached(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN)))
    first = pod_json(seedpod, "web")["metadata"]["uid"]
    forced = seedpod.command("delete", "web", "--force", "--grace-period=0")
    assert forced.stdout == 'pod "web" force deleted\n'
    assert forced.stderr.startswith("Warning: Immediate deletion does not wait for confirmation")
    detached(seedpod, seedpod.pod(seedpod.shell("c", FOREVER)))
    second = pod_json(seedpod, "web")["metadata"]["uid"]
    assert first != second
    with Client(seedpod.root) as client:
        assert client.wait_removed(first, TIMEOUT)
    assert pod_json(seedpod, "web")["metadata"]["uid"] == second


def test_agent_stop_finishes_deletions_and_now_leaves_them_to_the_next(seedpod: Seedpod) -> None:
    detached(seedpod, seedpod.pod(seedpod.shell("c", STUBBORN), terminationGracePeriodSeconds=3))
    seedpod.command("delete", "web", "--wait=false")
    begin = time.monotonic()
    assert seedpod.command("agent", "stop", "--now").returncode == 0
    assert time.monotonic() - begin < 3
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[2] == "Terminating"
    assert seedpod.command("agent", "stop").returncode == 0
    assert list((seedpod.root / "pods").iterdir()) == []


# ---- what the verbs say ----


def test_what_get_prints_as_json_is_read_by_the_official_client(seedpod: Seedpod) -> None:
    from kubernetes.client import ApiClient, V1Pod

    detached(seedpod, seedpod.pod(seedpod.shell("a", FOREVER), seedpod.shell("b", "exit 3")), wait=False)
    until(seedpod, "web", lambda status: isinstance(status.containers[1].state, Terminated))

    class Response:
        data = seedpod.command("get", "web", "-o", "json").stdout

    pod = ApiClient()._ApiClient__deserialize(json.loads(Response.data), V1Pod)  # type: ignore[attr-defined]
    assert pod.metadata.name == "web"
    assert pod.status.phase == "Running"
    a, b = pod.status.container_statuses
    assert a.state.running.started_at.tzinfo is not None
    assert a.ready
    assert b.state.terminated.exit_code == 3
    assert pod.status.start_time >= pod.metadata.creation_timestamp


def test_a_hundred_pods(seedpod: Seedpod) -> None:
    pods = [seedpod.pod(seedpod.shell("c", FOREVER), name=f"p{n:02}") for n in range(100)]
    detached(seedpod, *pods)
    lines = seedpod.command("get", "--no-headers").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [[f"p{n:02}", "1/1", "Running"] for n in range(100)]
    kill_engine(seedpod)
    assert seedpod.command("get", "--no-headers").stdout.count("Running") == 100
    gone = seedpod.command("delete", "--all")
    assert gone.returncode == 0
    assert len(gone.stdout.splitlines()) == 100
    assert list((seedpod.root / "pods").iterdir()) == []


def test_two_roots_stand_side_by_side_and_never_meet(seedpod: Seedpod, tmp_path: Path) -> None:
    other = Seedpod(tmp_path / "other", seedpod.probe, seedpod.program)
    other.root.mkdir()
    try:
        for each in (seedpod, other):
            detached(each, each.pod(each.shell("c", f"echo {each.root.name}; {FOREVER}")))
        assert engine_pid(seedpod) != engine_pid(other)
        uids = {pod_json(each, "web")["metadata"]["uid"] for each in (seedpod, other)}
        assert len(uids) == 2
        assert seedpod.command("logs", "web").stdout == "root\n"
        assert seedpod.command("delete", "--all").returncode == 0
        assert other.command("get", "web", "--no-headers").stdout.split()[2] == "Running"
    finally:
        other.end_all()
