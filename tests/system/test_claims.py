"""PersistentVolumeClaims: data that outlives pods, engines and runs, and who may have it when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox.pod.client import Client
from sandbox.pod.paths import WARM_SOCKET
from tests.runner import TIMEOUT, Manifest, Seedpod, lines_of
from tests.system.test_staying_pods import FOREVER, all_running, detached, engine_pid, kill_engine, until

pytestmark = pytest.mark.root

MOUNT = {"name": "data", "mountPath": "/data"}
NOT_FOUND = 'Error from server (NotFound): persistentvolumeclaims "data" not found\n'


def claim(name: str = "data", mode: str = "ReadWriteOnce", **metadata: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, **metadata},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
    }


def user(
    seedpod: Seedpod, script: str = FOREVER, name: str = "web", claim_name: str = "data", **source: Any
) -> Manifest:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim_name, **source}}
    return seedpod.pod(seedpod.shell("c", script, volumeMounts=[{**MOUNT}]), name=name, volumes=(volume,))


def volume(seedpod: Seedpod, *words: str) -> str:
    result = seedpod.command("volume", *words)
    assert result.returncode == 0, result
    return result.stdout


def data_of(seedpod: Seedpod, name: str = "data") -> Path:
    return Path(json.loads(volume(seedpod, "inspect", name))["status"]["path"])


def create(seedpod: Seedpod, *manifests: Manifest) -> subprocess.CompletedProcess[str]:
    return seedpod.command("run", "-d", "-", input="\n---\n".join(map(json.dumps, manifests)))


# ---- data ----


def test_data_outlives_its_pods_and_a_run_that_made_the_claim(seedpod: Seedpod) -> None:
    """# A11, A15: CONTRACT, everything it created but claims is removed at the end."""
    assert seedpod.run(claim(), user(seedpod, "echo one > /data/file")).returncode == 0
    assert seedpod.command("get").stdout == ""
    assert seedpod.run(user(seedpod, "cat /data/file; echo two > /data/file", "other")).stdout == "one\n"
    assert (data_of(seedpod) / "file").read_text() == "two\n"
    assert volume(seedpod, "rm", "data") == 'persistentvolumeclaim "data" deleted\n'
    assert list((seedpod.root / "claims").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_data_outlives_a_run_that_is_interrupted(seedpod: Seedpod, number: signal.Signals) -> None:
    process = seedpod.start(claim(), user(seedpod, f"echo one > /data/file; echo up; {FOREVER}"))
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT)
    assert (data_of(seedpod) / "file").read_text() == "one\n"
    if number == signal.SIGKILL:  # its pods are for the next engine
        assert json.loads(volume(seedpod, "inspect", "data"))["status"]["usedBy"] == ["web"]
        seedpod.command("delete", "web", "--now")
    volume(seedpod, "rm", "data")


def test_delete_by_file_never_deletes_a_claim(seedpod: Seedpod, tmp_path: Path) -> None:
    file = tmp_path / "all.json"
    file.write_text("\n---\n".join(map(json.dumps, (claim(), user(seedpod)))))
    created = seedpod.command("run", "-d", str(file))
    assert created.stdout == "persistentvolumeclaim/data created\npod/web created\n"
    assert seedpod.command("delete", "--now", "-f", str(file)).stdout == 'pod "web" deleted\n'
    assert volume(seedpod, "ls", "-o", "name") == "persistentvolumeclaim/data\n"
    again = seedpod.command("run", "-d", str(file))
    assert again.stdout == "persistentvolumeclaim/data unchanged\npod/web created\n"


def test_a_volume_is_for_any_user_and_may_be_read_only_by_the_mount_or_by_the_claim(seedpod: Seedpod) -> None:
    """# A11"""
    create(seedpod, claim())
    assert data_of(seedpod).stat().st_mode & 0o7777 == 0o777
    refused = seedpod.run(user(seedpod, "touch /data/x", readOnly=True))
    assert "Read-only file system" in refused.stderr
    pod = user(seedpod, "touch /data/x")
    pod["spec"]["containers"][0]["volumeMounts"][1]["readOnly"] = True
    assert "Read-only file system" in seedpod.run(pod).stderr
    assert list(data_of(seedpod).iterdir()) == []


def test_twenty_pods_share_a_claim(seedpod: Seedpod) -> None:
    names = [f"p{number}" for number in range(20)]
    script = (
        "echo $HOSTNAME >> /data/file; while [ $(wc -l < /data/file) -lt 20 ]; do sleep 0.1; done; wc -l < /data/file"
    )
    result = seedpod.run(claim(mode="ReadWriteMany"), *(user(seedpod, script, name) for name in names))
    assert result.returncode == 0, result.stderr
    assert [lines_of(result.stdout, f"{name}/c") for name in names] == [["20"]] * 20
    assert sorted((data_of(seedpod) / "file").read_text().split()) == sorted(names)


# ---- waiting ----


def test_a_pod_without_its_claim_is_pending_says_so_and_goes_on_when_it_comes(seedpod: Seedpod) -> None:
    created = create(seedpod, user(seedpod))
    message = '0/1 nodes are available: persistentvolumeclaim "data" not found.'
    assert (created.returncode, created.stdout) == (0, "pod/web created\n")
    assert created.stderr == f'error: pod "web": {message}\n'
    assert seedpod.command("get", "--no-headers").stdout.split()[:3] == ["web", "0/1", "Pending"]
    status = json.loads(seedpod.command("get", "web", "-o", "json").stdout)["status"]
    assert [(each["type"], each["status"], each["reason"]) for each in status["conditions"]] == [
        ("PodScheduled", "False", "Unschedulable")
    ]
    described = seedpod.command("describe", "web").stdout
    assert "FailedScheduling" in described and message in described
    kill_engine(seedpod)
    assert volume(seedpod, "create", "other") == "persistentvolumeclaim/other created\n"
    assert volume(seedpod, "create", "data") == "persistentvolumeclaim/data created\n"
    until(seedpod, "web", all_running)


def test_a_run_waits_for_a_claim_and_can_be_interrupted_meanwhile(seedpod: Seedpod) -> None:
    waits = seedpod.start(user(seedpod, "echo hello"))
    assert waits.stderr is not None
    assert 'persistentvolumeclaim "data" not found' in waits.stderr.readline()
    volume(seedpod, "create", "data")
    assert waits.communicate(timeout=TIMEOUT)[0] == "hello\n"
    volume(seedpod, "rm", "data")
    waits = seedpod.start(user(seedpod, "echo hello"))
    assert waits.stderr is not None
    waits.stderr.readline()
    waits.terminate()
    assert waits.communicate(timeout=TIMEOUT)[0] == ""
    assert waits.returncode == 143
    assert seedpod.command("get").stdout == ""


def test_a_claim_of_another_namespace_is_not_the_pods(seedpod: Seedpod) -> None:
    create(seedpod, claim(namespace="prod"))
    assert 'persistentvolumeclaim "data" not found' in create(seedpod, user(seedpod)).stderr


def test_of_a_claim_for_one_pod_the_second_waits_for_the_first(seedpod: Seedpod) -> None:
    detached(seedpod, claim(mode="ReadWriteOncePod"), user(seedpod))
    reason = "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    assert reason in create(seedpod, user(seedpod, name="second")).stderr
    kill_engine(seedpod)
    assert seedpod.command("get", "second", "--no-headers").stdout.split()[2] == "Pending"
    assert seedpod.command("delete", "web", "--now").returncode == 0
    until(seedpod, "second", all_running)


# ---- removing ----


def test_a_claim_in_use_is_not_removed_and_says_by_whom(seedpod: Seedpod) -> None:
    detached(seedpod, claim(), user(seedpod), user(seedpod, name="app"))
    kill_engine(seedpod)
    refused = seedpod.command("volume", "rm", "data", "nope")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        'error: persistentvolumeclaim "data" is in use by pods "app", "web"\n'
        "hint: seedpod delete -n default app web\n"
        'Error from server (NotFound): persistentvolumeclaims "nope" not found\n'
    )
    seedpod.command("delete", "--all", "--now")
    assert volume(seedpod, "rm", "data") == 'persistentvolumeclaim "data" deleted\n'
    assert seedpod.command("volume", "inspect", "data").stderr == NOT_FOUND


def test_a_pod_that_has_finished_does_not_use_its_claim(seedpod: Seedpod) -> None:
    create(seedpod, claim(), user(seedpod, "true"))
    until(seedpod, "web", lambda status: status.phase == "Succeeded" and not status.sandbox_ready)
    volume(seedpod, "rm", "data")


def test_a_volume_that_was_removed_by_hand_is_lost_and_never_silently_empty(seedpod: Seedpod) -> None:
    create(seedpod, claim())
    data_of(seedpod).rmdir()
    assert volume(seedpod, "ls", "--no-headers").split()[:2] == ["data", "Lost"]
    created = create(seedpod, user(seedpod))
    assert 'persistentvolumeclaim "data" bound to non-existent persistentvolume "pvc-' in created.stderr
    volume(seedpod, "rm", "data")
    volume(seedpod, "create", "data")
    until(seedpod, "web", all_running)


def test_a_volume_that_was_removed_by_hand_under_a_pod_is_an_error_of_its_next_container(seedpod: Seedpod) -> None:
    pod = user(seedpod, "exec 3< /data; [ -e /data/once ] && exit 1; rmdir /data/../data 2>/dev/null; exit 1")
    pod["spec"]["restartPolicy"] = "OnFailure"
    (seedpod.root / "config.toml").write_text('maxContainerRestartPeriod = "1s"\n')
    create(seedpod, claim(), pod)
    path = data_of(seedpod)
    path.rename(path.with_name("moved"))
    status = until(
        seedpod, "web", lambda status: getattr(status.containers[0].last_state, "reason", "") == "StartError"
    )
    end = status.containers[0].last_state
    assert end is not None and "bound to non-existent persistentvolume" in end.message  # type: ignore[union-attr]


# ---- what may go wrong while claims are made ----


def test_claims_and_pods_are_made_all_or_none(seedpod: Seedpod) -> None:
    bad = seedpod.pod({"name": "c", "image": "localhost/nope"}, name="bad")
    refused = create(seedpod, claim("a"), claim("b"), user(seedpod, claim_name="a"), bad)
    assert refused.returncode == 1
    assert volume(seedpod, "ls", "-o", "name") == ""
    create(seedpod, claim("b"))
    changed = claim("b", mode="ReadWriteMany")
    refused = create(seedpod, claim("a"), user(seedpod, claim_name="a"), changed)
    assert refused.returncode == 1
    assert 'error: The PersistentVolumeClaim "b" is invalid: spec: Forbidden: spec is immutable' in refused.stderr
    assert volume(seedpod, "ls", "-o", "name") == "persistentvolumeclaim/b\n"
    assert seedpod.command("get").stdout == ""


def test_a_manifest_of_claims_alone_is_fine(seedpod: Seedpod) -> None:
    assert seedpod.run(claim()).returncode == 0
    larger = claim(labels={"a": "b"})
    larger["spec"]["resources"]["requests"]["storage"] = "2Gi"
    assert create(seedpod, larger, claim("b")).stdout == (
        "persistentvolumeclaim/data configured\npersistentvolumeclaim/b created\n"
    )
    known = json.loads(volume(seedpod, "inspect", "data"))
    assert (known["metadata"]["labels"], known["status"]["capacity"]) == ({"a": "b"}, {"storage": "2Gi"})


def test_an_engine_that_is_killed_while_it_makes_claims_leaves_each_whole_or_not_at_all(seedpod: Seedpod) -> None:
    """Whoever asked for them asks the next engine, and has them all in the end."""
    names = [f"c{number}" for number in range(40)]
    asks = subprocess.Popen(
        [seedpod.program, "--root", seedpod.root, "run", "-d", "-"], stdin=subprocess.PIPE, text=True
    )
    assert asks.stdin is not None
    seedpod.command("get")
    asks.stdin.write("\n---\n".join(json.dumps(claim(name)) for name in names))
    asks.stdin.close()
    for wanted in (1, 5, 20):
        while len(list(seedpod.root.glob("claims/default/*"))) < wanted and asks.poll() is None:
            pass
        if asks.poll() is None:
            os.kill(engine_pid(seedpod), signal.SIGKILL)
    assert asks.wait(TIMEOUT) == 0
    assert sorted(volume(seedpod, "ls", "-o", "name").split()) == [
        f"persistentvolumeclaim/{name}" for name in sorted(names)
    ]
    assert all(each.phase == "Bound" for each in Client(seedpod.root).claims())
    assert [path.name for path in (seedpod.root / "claims").iterdir()] == ["default"]


def test_a_full_disk_makes_no_half_claims(seedpod: Seedpod, tmp_path: Path) -> None:
    """The claims are on a small tmpfs, in a mount namespace of the test's own, and of the engine."""
    (seedpod.root / "claims").mkdir()
    file = tmp_path / "all.json"
    made = (claim("a"), claim("b"), claim("c"), user(seedpod, "true", claim_name="a"))
    file.write_text("\n---\n".join(map(json.dumps, made)))
    script = """
        mount -t tmpfs -o size=64k tmpfs "$1/claims" && head -c 60K /dev/zero > "$1/claims/filler"
        "$2" --root "$1" run -d "$3"; echo $?; "$2" --root "$1" volume ls; "$2" --root "$1" get; ls -A "$1/claims"
        rm "$1/claims/filler"; "$2" --root "$1" run -d "$3"; "$2" --root "$1" delete web --now
        "$2" --root "$1" agent stop
    """
    words = ["unshare", "-m", "sh", "-c", script, "sh", seedpod.root, seedpod.program, file]
    result = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    first, *others = result.stderr.splitlines()
    assert "No space left on device" in first
    assert others == ["No resources found in default namespace."] * 2
    words = [f"persistentvolumeclaim/{name} created" for name in "abc"]
    assert result.stdout.splitlines() == [
        "1",
        "filler",
        *words,
        "pod/web created",
        'pod "web" deleted',
        "engine stopped",
    ]


def test_a_link_named_like_a_claim_is_refused_and_nothing_is_done_behind_it(seedpod: Seedpod, tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir()
    seedpod.command("get")
    (seedpod.root / "claims" / "default").mkdir()
    (seedpod.root / "claims" / "default" / "data").symlink_to(tmp_path / "trap")
    refused = seedpod.command("volume", "create", "data")
    assert refused.returncode == 1
    assert "is in the way of persistentvolumeclaim" in refused.stderr
    assert list((tmp_path / "trap").iterdir()) == []
    assert seedpod.command("volume", "rm", "data").stderr == NOT_FOUND


@pytest.mark.parametrize("name", ["..", "../../etc", "A", "a/b", "x" * 254])
def test_a_hostile_name_makes_nothing(seedpod: Seedpod, name: str) -> None:
    seedpod.command("get")
    before = files_of(seedpod)
    for refused in (
        create(seedpod, claim(name)),
        create(seedpod, user(seedpod, claim_name=name)),
        seedpod.command("volume", "create", name),
        seedpod.command("volume", "rm", name),
        seedpod.command("volume", "inspect", name),
    ):
        assert refused.returncode in (1, 2), refused
    assert files_of(seedpod) == before


def files_of(seedpod: Seedpod) -> list[Path]:
    """All there is below the root but for the warm process's socket, which may come at any moment."""
    return sorted(path for path in seedpod.root.rglob("*") if WARM_SOCKET not in path.name)


def test_the_longest_names_are_possible(seedpod: Seedpod) -> None:
    name, namespace = ".".join(["x" * 63] * 3 + ["x" * 61]), "n" * 63
    assert seedpod.command("volume", "create", name, "-n", namespace).returncode == 0
    assert seedpod.command("volume", "rm", name, "-n", namespace).returncode == 0
