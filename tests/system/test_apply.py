"""`seedpod apply` for real: what is changed in place, what is replaced, and what is left as it is (SEMANTICS A26)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.pod.client import Client
from sandbox.status import ChangeType, PodStatus, Running, Terminated
from tests.runner import Manifest, Seedpod
from tests.staying import all_running, detached, kill_engine, pod_json, until

pytestmark = pytest.mark.root

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
SHARED = {"name": "shared", "emptyDir": {}}
MOUNT = {"name": "shared", "mountPath": "/shared"}
CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


@pytest.fixture
def new_image(copied_rootfs: Path) -> str:
    """An image that can be told by its file /new."""
    (copied_rootfs / "new").write_text("here\n")
    return f"rootfs:{copied_rootfs}"


def apply(seedpod: Seedpod, *documents: Manifest, words: tuple[str, ...] = ()) -> str:
    """`apply` of these, which must succeed: what it says."""
    text = "\n---\n".join(json.dumps(each) for each in documents)
    result = seedpod.command("apply", "-f", "-", *words, input=text)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


def changed(document: Manifest, change: Callable[[Any], object]) -> Manifest:
    other = copy.deepcopy(document)
    change(other)
    return other


def with_image(document: Manifest, name: str, image: str) -> Manifest:
    def change(other: Manifest) -> None:
        both = (*other["spec"].get("initContainers", ()), *other["spec"]["containers"])
        next(each for each in both if each["name"] == name)["image"] = image

    return changed(document, change)


def forever(seedpod: Seedpod, name: str, script: str = "", **fields: Any) -> Manifest:
    return seedpod.shell(name, f"{script}; {FOREVER}" if script else FOREVER, volumeMounts=[MOUNT], **fields)


def container(status: PodStatus, name: str) -> Any:
    return next(each for each in status.all_containers if each.name == name)


def runs_again(name: str, times: int = 1) -> Callable[[PodStatus], bool]:
    def holds(status: PodStatus) -> bool:
        each = container(status, name)
        return isinstance(each.state, Running) and each.restart_count == times

    return holds


def now(seedpod: Seedpod, name: str = "web") -> PodStatus:
    return until(seedpod, name, lambda _: True)


def said(status: PodStatus, reason: str) -> list[str]:
    return [event.message for event in status.events if event.reason == reason]


def inside(seedpod: Seedpod, name: str, *command: str, pod: str = "web") -> str:
    result = seedpod.command("exec", pod, "-c", name, "--", *command)
    assert result.returncode == 0, result
    return result.stdout


# ---- in place ----


def test_a_new_image_restarts_that_container_alone_whatever_the_policy(seedpod: Seedpod, new_image: str) -> None:  # A26
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hooked >> /shared/hook"]}}}
    policies = {"always": "Always", "failure": "OnFailure", "never": "Never"}
    pods = [
        seedpod.pod(
            forever(seedpod, "a", "echo begun >> /shared/a", lifecycle=hook),
            forever(seedpod, "b"),
            name=name,
            volumes=(SHARED,),
            restartPolicy=policy,
        )
        for name, policy in policies.items()
    ]
    assert apply(seedpod, *pods) == "".join(f"pod/{name} created\n" for name in policies)
    before = {name: until(seedpod, name, all_running) for name in policies}
    newer = [with_image(pod, "a", new_image) for pod in pods]
    assert apply(seedpod, *newer) == "".join(f"pod/{name} configured\n" for name in policies)
    for name in policies:
        after = until(seedpod, name, runs_again("a"))
        assert (after.uid, after.pod_ips) == (before[name].uid, before[name].pod_ips)
        assert container(after, "b") == container(before[name], "b"), "the other has the same start, and identity"
        assert container(after, "a").image == new_image
        assert said(after, "Killing") == ["Container a definition changed, will be restarted"]
        written = inside(seedpod, "b", "cat", "/shared/a", "/shared/hook", pod=name)
        assert written == "begun\nbegun\nhooked\n"
        assert inside(seedpod, "a", "cat", "/new", pod=name) == "here\n"
        assert pod_json(seedpod, name)["spec"]["containers"][0]["image"] == new_image
    assert apply(seedpod, *newer) == "".join(f"pod/{name} unchanged\n" for name in policies)


def test_of_init_containers_the_image_restarts_a_sidecar_alone(seedpod: Seedpod, new_image: str) -> None:  # A26
    pod = seedpod.pod(
        forever(seedpod, "a"),
        initContainers=[seedpod.shell("init", "true"), forever(seedpod, "side", restartPolicy="Always")],
        volumes=(SHARED,),
    )
    detached(seedpod, pod)
    before = now(seedpod)
    newer = with_image(pod, "init", new_image)
    assert apply(seedpod, newer) == "pod/web configured\n"
    assert apply(seedpod, with_image(newer, "side", new_image)) == "pod/web configured\n"
    after = until(seedpod, "web", runs_again("side"))
    for name in ("init", "a"):
        assert container(after, name) == container(before, name)
    assert said(after, "Killing") == ["Init container side definition changed"]
    assert inside(seedpod, "side", "cat", "/new") == "here\n"


def test_what_has_ended_for_good_stays_ended(seedpod: Seedpod, new_image: str) -> None:
    """As kubelet has it: the policy decides about what has ended, and nothing begins in a pod that has finished."""
    pod = seedpod.pod(seedpod.shell("a", "true"), forever(seedpod, "b"), volumes=(SHARED,))
    detached(seedpod, pod, wait=False)
    until(seedpod, "web", lambda status: isinstance(container(status, "a").state, Terminated))
    assert apply(seedpod, with_image(pod, "a", new_image)) == "pod/web configured\n"
    both = with_image(with_image(pod, "a", new_image), "b", new_image)
    assert apply(seedpod, both) == "pod/web configured\n"
    after = until(seedpod, "web", runs_again("b"))
    assert isinstance(container(after, "a").state, Terminated) and container(after, "a").restart_count == 0
    done = seedpod.pod(seedpod.shell("c", "true"), name="done")
    detached(seedpod, done, wait=False)
    finished = until(seedpod, "done", lambda status: status.over)
    assert (
        apply(seedpod, done, with_image(both, "a", "localhost/busybox")) == "pod/done unchanged\npod/web configured\n"
    )
    assert apply(seedpod, with_image(done, "c", new_image)) == "pod/done configured\n"
    assert now(seedpod, "done").containers == finished.containers
    again = changed(done, lambda pod: pod["spec"].update(hostname="again"))
    assert apply(seedpod, again).startswith("pod/done replaced (new UID ")
    assert until(seedpod, "done", lambda status: status.over).uid != finished.uid


def test_what_is_the_same_is_unchanged_and_labels_change_in_place(seedpod: Seedpod) -> None:
    limits = {"resources": {"requests": {"memory": "64Mi"}}}
    pod = seedpod.pod(forever(seedpod, "a", **limits), volumes=(SHARED,))
    other = seedpod.pod(forever(seedpod, "a"), name="db", volumes=(SHARED,))
    assert apply(seedpod, CLAIM, pod, other) == "persistentvolumeclaim/data created\npod/web created\npod/db created\n"
    before = until(seedpod, "web", all_running)
    spelled = changed(pod, lambda pod: pod["spec"].update(hostNetwork=False, dnsPolicy="ClusterFirst"))
    spelled["spec"]["containers"][0]["resources"] = {"requests": {"memory": "65536Ki"}}
    assert apply(seedpod, CLAIM, spelled) == "persistentvolumeclaim/data unchanged\npod/web unchanged\n"
    shown = seedpod.command("get", "web", "-o", "yaml").stdout
    assert seedpod.command("apply", "-f", "-", input=shown).stdout == "pod/web unchanged\n"
    labelled = changed(pod, lambda pod: pod["metadata"].update(labels={"app": "web"}))
    with Client(seedpod.root) as client, client.watch_pods("default", "web") as watch:
        news = watch.until()
        assert [each.type for each in next(news)] == [ChangeType.ADDED]
        assert apply(seedpod, labelled) == "pod/web configured\n"
        assert [(each.type, each.status.pod.labels) for each in next(news)] == [(ChangeType.MODIFIED, {"app": "web"})]
    endpoints = seedpod.command("get", "endpoints", "-l", "app=web", "--no-headers").stdout
    assert endpoints.split()[:2] == ["web", before.pod_ips[0]]
    assert now(seedpod).containers == before.containers
    larger = changed(CLAIM, lambda claim: claim["spec"]["resources"]["requests"].update(storage="2Gi"))
    assert apply(seedpod, larger) == "persistentvolumeclaim/data configured\n"
    refused = seedpod.command("apply", "-f", "-", input=json.dumps(CLAIM))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert 'The PersistentVolumeClaim "data" is invalid: spec.resources.requests.storage: Forbidden' in refused.stderr
    assert seedpod.command("volume", "rm", "data").returncode == 0


# ---- replaced ----


def test_what_cannot_change_in_place_is_replaced_by_a_pod_of_another_uid(seedpod: Seedpod) -> None:  # A14, A15
    """The claim's data survives, the emptyDir's does not; a hostPort goes from the one to the other."""
    claimed = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    mounts = [MOUNT, {"name": "data", "mountPath": "/data"}]
    ports = [{"containerPort": 80, "hostPort": 39871}]
    app = seedpod.shell("a", f"touch /shared/$HOSTNAME /data/$HOSTNAME; {FOREVER}", volumeMounts=mounts, ports=ports)
    pod = seedpod.pod(app, volumes=(SHARED, claimed))
    apply(seedpod, CLAIM, pod)
    before = until(seedpod, "web", all_running)
    renamed = changed(pod, lambda pod: pod["spec"].update(hostname="other"))
    dry = apply(seedpod, CLAIM, renamed, words=("--dry-run",))
    assert dry == "persistentvolumeclaim/data unchanged (dry run)\npod/web replaced (dry run)\n"
    assert now(seedpod) == before
    answer = apply(seedpod, renamed)
    after = until(seedpod, "web", all_running)
    assert answer == f"pod/web replaced (new UID {after.uid})\n"
    assert after.uid != before.uid
    assert inside(seedpod, "a", "ls", "/shared", "/data").split() == ["/data:", "other", "web", "/shared:", "other"]
    assert apply(seedpod, renamed) == "pod/web unchanged\n"
    seedpod.command("delete", "web")
    assert seedpod.command("volume", "rm", "data").returncode == 0


def test_a_pod_that_is_being_deleted_is_waited_for_and_made_anew(seedpod: Seedpod, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    shared = {"name": "shared", "hostPath": {"path": str(tmp_path / "shared")}}
    script = "trap 'until test -e /shared/go; do sleep 0.05; done; exit' TERM; while :; do sleep 0.05; done"
    app = seedpod.shell("a", script, volumeMounts=[MOUNT])
    pod = seedpod.pod(app, volumes=(shared,), terminationGracePeriodSeconds=60)
    detached(seedpod, pod)
    before = now(seedpod)
    seedpod.command("delete", "web", "--wait=false")
    late = seedpod.command("apply", "-f", "-", "--timeout=100ms", input=json.dumps(pod))
    assert (late.returncode, late.stdout) == (1, "")
    assert "timed out waiting for the condition on pods/web" in late.stderr
    (tmp_path / "shared" / "go").touch()
    assert apply(seedpod, pod) == "pod/web created\n"
    assert now(seedpod).uid != before.uid


# ---- refused, and killed ----


def test_a_refusal_leaves_all_as_it_was(seedpod: Seedpod, new_image: str) -> None:
    pod = seedpod.pod(forever(seedpod, "a"), volumes=(SHARED,))
    detached(seedpod, pod)
    before = now(seedpod)
    records = {path: path.read_text() for path in seedpod.root.glob("pods/*/pod.json")}
    other = seedpod.pod(seedpod.shell("c", "true"), name="db")
    newer, missing = with_image(pod, "a", new_image), with_image(other, "c", "localhost/nothing")
    for bad in ([CLAIM, newer, missing], [CLAIM, other, with_image(pod, "a", "localhost/nothing")]):
        refused = seedpod.command("apply", "-f", "-", input="\n---\n".join(json.dumps(each) for each in bad))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith('error: image "localhost/nothing" not found\n')
        assert now(seedpod) == before
        assert {path: path.read_text() for path in seedpod.root.glob("pods/*/pod.json")} == records
        assert seedpod.command("volume", "ls", "--no-headers").stdout == ""


def test_engines_that_are_killed_on_the_way_are_followed_by_one_that_goes_on(seedpod: Seedpod, new_image: str) -> None:
    """The first once the record was written, the second while the container ended.  One before them was of a seedpod
    that wrote down no images."""
    script = "echo hooked >> /shared/hook; until test -e /shared/go; do sleep 0.05; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", script]}}}
    a, b = forever(seedpod, "a", lifecycle=hook), forever(seedpod, "b")
    pod = seedpod.pod(a, b, volumes=(SHARED,), terminationGracePeriodSeconds=60)
    detached(seedpod, pod)
    before = now(seedpod)
    kill_engine(seedpod)
    (directory,) = seedpod.root.glob("pods/*")
    record, state = (json.loads((directory / f"{name}.json").read_text()) for name in ("pod", "state"))
    newer = with_image(pod, "a", new_image)
    (directory / "pod.json").write_text(json.dumps({**record, "manifest": newer, "applied": "a wish"}))
    assert state["containers"][1]["instance"].pop("image") == "localhost/busybox"
    (directory / "state.json").write_text(json.dumps(state))
    until(seedpod, "web", lambda status: bool(said(status, "Killing")))
    inside(seedpod, "b", "sh", "-c", "until test -e /shared/hook; do sleep 0.05; done")
    kill_engine(seedpod)
    inside(seedpod, "b", "touch", "/shared/go")
    after = until(seedpod, "web", runs_again("a"))
    assert container(after, "b") == container(before, "b") and after.uid == before.uid
    assert inside(seedpod, "a", "cat", "/new") == "here\n"
    assert apply(seedpod, with_image(newer, "b", new_image)) == "pod/web configured\n"
    assert container(until(seedpod, "web", runs_again("b")), "a").restart_count == 1


# ---- what would change ----


def test_diff_shows_what_would_change_and_exits_with_it(seedpod: Seedpod, new_image: str) -> None:
    pod = seedpod.pod(forever(seedpod, "a"), volumes=(SHARED,))

    def diff(*documents: Manifest) -> tuple[int, list[str]]:
        result = seedpod.command("diff", "-f", "-", input="\n---\n".join(json.dumps(each) for each in documents))
        assert result.returncode < 2 and result.stderr == "", result
        marked = [line for line in result.stdout.splitlines() if line.startswith(("+", "-"))]
        return result.returncode, marked

    code, lines = diff(pod)
    assert code == 1 and lines[:2] == ["--- LIVE/v1.Pod.default.web", "+++ MERGED/v1.Pod.default.web"]
    assert all(line.startswith("+") for line in lines[2:]) and "+  name: web" in lines
    detached(seedpod, pod)
    before = now(seedpod)
    assert diff(pod) == (0, [])
    assert diff(with_image(pod, "a", new_image)) == (
        1, [*lines[:2], "-    image: localhost/busybox", f"+    image: {new_image}"]
    )  # fmt: skip
    missing = with_image(pod, "a", "localhost/nothing")
    result = seedpod.command("diff", "-f", "-", input=json.dumps(missing))
    assert result.returncode == 2 and "localhost/nothing" in result.stderr
    assert now(seedpod) == before
