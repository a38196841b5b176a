"""`apply` and `diff`: words and exit codes, with an engine that answers as the test says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import manifest
from sandbox.claim import PersistentVolumeClaim
from sandbox.errors import SandboxError
from sandbox.model import Pod
from sandbox.pod.requests import Applied, AppliedPod, Word
from sandbox.status import ClaimPhase, ClaimStatus, PodStatus
from tests.sandbox.front import pods
from tests.sandbox.front.engine import CommandLine, FakeClient
from tests.sandbox.front.pods import BORN, running

CREATED, CONFIGURED, UNCHANGED, REPLACED = Word
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def a_pod(name: str, image: str = "localhost/busybox", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": image}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "all.yaml"


def written(file: Path, *documents: dict[str, Any]) -> str:
    file.write_text("\n---\n".join(json.dumps(each) for each in documents))
    return str(file)


def answering(*answers: AppliedPod, claims: Iterable[str] = (), **more: Any) -> FakeClient:
    return FakeClient(applied=Applied(answers, tuple(claims)), **more)


# ---- apply ----


def test_each_object_is_told_of_in_kubectls_words(command: CommandLine, file: Path) -> None:
    path = written(file, a_pod("new"), a_pod("old"), CLAIM, a_pod("same"))
    answers = (AppliedPod("1", CREATED), AppliedPod("2", CONFIGURED), AppliedPod("3", UNCHANGED))
    fake = answering(*answers, claims=["created"])
    out = "persistentvolumeclaim/data created\npod/new created\npod/old configured\npod/same unchanged\n"
    assert command(fake, "apply", "-f", path) == (0, out, "")
    assert fake.calls == [("apply", 3, 1, False)]


def test_what_is_replaced_is_made_once_the_other_is_gone_and_told_with_its_uid(
    command: CommandLine, file: Path
) -> None:  # A14
    path = written(file, a_pod("web"), a_pod("late"))
    fake = answering(AppliedPod("new", REPLACED, before="old"), AppliedPod("9", CREATED, before="dying"))
    assert command(fake, "apply", "-f", path) == (0, "pod/web replaced (new UID new)\npod/late created\n", "")
    assert fake.calls[1:] == [
        ("wait", "old", None),
        ("create_pod", "new", "web"),
        ("wait", "dying", None),
        ("create_pod", "9", "late"),
    ]


@pytest.mark.parametrize(
    ("words", "mark"),
    [
        (("--dry-run",), "dry run"),
        (("--dry-run=client",), "dry run"),
        (("--dry-run=server",), "server dry run"),
    ],
)
def test_a_dry_run_says_what_would_be_done_and_waits_for_nothing(
    command: CommandLine, file: Path, words: tuple[str, ...], mark: str
) -> None:
    path = written(file, a_pod("web"), CLAIM)
    fake = answering(AppliedPod("new", REPLACED, before="old"), claims=["unchanged"])
    out = f"persistentvolumeclaim/data unchanged ({mark})\npod/web replaced ({mark})\n"
    assert command(fake, "apply", "-f", path, *words) == (0, out, "")
    assert fake.calls == [("apply", 1, 1, True)]


def test_one_that_does_not_go_in_time_or_whose_name_is_taken_is_an_error_and_the_others_are_made(
    command: CommandLine, file: Path
) -> None:
    path = written(file, a_pod("stuck"), a_pod("lost"), a_pod("web"))
    answers = [AppliedPod(name, REPLACED, before=f"old {name}") for name in ("stuck", "lost", "web")]
    fake = answering(*answers, lingering=frozenset(["old stuck"]), taken=frozenset(["lost"]))
    code, out, said = command(fake, "apply", "-f", path, "--timeout=5s")
    assert (code, out) == (1, "pod/web replaced (new UID web)\n")
    assert said == (
        "error: timed out waiting for the condition on pods/stuck\n"
        "hint: it is being deleted still: apply the file once more and it is made anew\n"
        'Error from server (AlreadyExists): pods "lost" already exists\n'
    )
    assert all(call[2] <= 5 for call in fake.calls if call[0] == "wait")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "must specify -f"),
        (("-f", "x", "--dry-run=yes"), 'invalid dry-run value (yes). Must be "none", "server", or "client"'),
        (("-f", "x", "--timeout=-1s"), "--timeout must not be negative"),
        (("-f", "x", "web"), "unrecognized arguments: web"),
    ],
)
def test_wrong_usage_reaches_no_engine(command: CommandLine, words: tuple[str, ...], message: str) -> None:
    fake = FakeClient()
    code, out, said = command(fake, "apply", *words)
    assert (code, out, said.splitlines()[0]) == (2, "", f"error: {message}")
    assert fake.calls == []


def test_several_files_are_one_wish_and_name_nothing_twice(command: CommandLine, file: Path, tmp_path: Path) -> None:
    one, two = written(file, a_pod("web")), written(tmp_path / "more.yaml", a_pod("db"), CLAIM)
    fake = answering(AppliedPod("1", CREATED), AppliedPod("2", CREATED), claims=["created"])
    assert command(fake, "apply", "-f", one, "-f", two)[:2] == (
        0, "persistentvolumeclaim/data created\npod/web created\npod/db created\n"
    )  # fmt: skip
    assert command(fake, "apply", "-f", two, "-f", two)[::2] == (
        1, 'error: PersistentVolumeClaim "default/data" is in two files\n'
    )  # fmt: skip
    assert len(fake.calls) == 1


# ---- diff ----


def status_of(document: dict[str, Any]) -> PodStatus:
    pod = manifest.from_dict(document)
    return replace(pods.status(running()), pod=pod, manifest=document)


def claim_of(document: dict[str, Any]) -> ClaimStatus:
    claim = manifest.object_from_dict(document, PersistentVolumeClaim)
    filled = replace(claim, storage_class_name="local", volume_name="pvc-1")
    return ClaimStatus(filled, "1", BORN, ClaimPhase.BOUND, Path("/data"))


def test_no_difference_is_silent(command: CommandLine, file: Path) -> None:
    web = a_pod("web")
    fake = answering(AppliedPod("1", UNCHANGED), claims=["unchanged"], statuses=[status_of(web)])
    spelled = a_pod("web", hostNetwork=False)
    assert command(fake, "diff", "-f", written(file, spelled, CLAIM)) == (0, "", "")
    assert fake.calls[0] == ("apply", 1, 1, True)


def test_a_difference_is_shown_as_kubectl_shows_it_and_is_exit_code_1(command: CommandLine, file: Path) -> None:
    larger = json.loads(json.dumps(CLAIM).replace("1Gi", "2Gi"))
    fake = answering(
        AppliedPod("1", CONFIGURED),
        claims=["configured"],
        statuses=[status_of(a_pod("web"))],
        known_claims=(claim_of(CLAIM),),
    )
    code, out, said = command(fake, "diff", "-f", written(file, a_pod("web", image="rootfs:/x"), larger))
    assert (code, said) == (1, "")
    lines = out.splitlines()
    assert [line for line in lines if line.startswith(("diff", "+", "-"))] == [
        "diff -u -N LIVE/v1.PersistentVolumeClaim.default.data MERGED/v1.PersistentVolumeClaim.default.data",
        "--- LIVE/v1.PersistentVolumeClaim.default.data",
        "+++ MERGED/v1.PersistentVolumeClaim.default.data",
        "-      storage: 1Gi",
        "+      storage: 2Gi",
        "diff -u -N LIVE/v1.Pod.default.web MERGED/v1.Pod.default.web",
        "--- LIVE/v1.Pod.default.web",
        "+++ MERGED/v1.Pod.default.web",
        "-  - image: localhost/busybox",
        "+  - image: rootfs:/x",
    ]


def test_what_is_not_there_yet_is_all_new(command: CommandLine, file: Path) -> None:
    """And so is a pod that is being deleted: another will be made."""
    fake = answering(
        AppliedPod("1", CREATED, before="2"), claims=["created"], statuses=[status_of(a_pod("web", hostname="x"))]
    )
    code, out, _ = command(fake, "diff", "-f", written(file, a_pod("web"), CLAIM))
    assert code == 1
    body = [line for line in out.splitlines() if not line.startswith(("diff", "---", "+++", "@@"))]
    assert body and all(line.startswith("+") for line in body)
    assert "+  name: web" in body and "+  name: data" in body
    assert not any("uid" in line or "creationTimestamp" in line for line in body)


@pytest.mark.parametrize("where", ["engine", "file"])
def test_an_error_is_exit_code_2_as_1_says_that_there_is_a_difference(
    command: CommandLine, file: Path, where: str
) -> None:
    fake = FakeClient(applied=SandboxError("image not found"))
    path = written(file, a_pod("web")) if where == "engine" else str(file)
    code, out, said = command(fake, "diff", "-f", path)
    assert (code, out) == (2, "")
    assert said.startswith("error: ")


def test_the_pods_that_are_compared_are_those_of_their_namespace(command: CommandLine, file: Path) -> None:
    document = {**a_pod("web"), "metadata": {"name": "web", "namespace": "prod"}}
    other: Pod = manifest.from_dict(a_pod("web", hostname="x"))
    statuses = [replace(status_of(a_pod("web")), pod=other), status_of({**document, "spec": a_pod("web")["spec"]})]
    fake = answering(AppliedPod("1", CONFIGURED), statuses=statuses)
    labelled = {**document, "metadata": {**document["metadata"], "labels": {"a": "b"}}}
    code, out, _ = command(fake, "diff", "-f", written(file, labelled))
    assert code == 1
    assert [line for line in out.splitlines() if line[:1] in "+-"][2:] == ["+  labels:", "+    a: b"]
