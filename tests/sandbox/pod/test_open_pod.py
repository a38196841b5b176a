"""An open pod: one that takes containers while it lives, and whose sandbox stays between them."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import manifest
from sandbox.errors import AlreadyExists, ManifestError, NotFound, WrongState
from sandbox.model import RestartPolicy
from sandbox.pod import store as store_module
from sandbox.pod.engine import Engine, Wanted, with_container
from sandbox.pod.lifecycle import MakeSandbox, Start, decide
from sandbox.pod.report import phase
from sandbox.pod.state import Deletion, PodState, new_state
from sandbox.pod.termination import Decision, Remove, Stop, TearDown
from sandbox.pod.worker import Worker
from sandbox.status import Phase
from tests.sandbox.pod.values import NOON, UID, a_pod, a_state, after, ended, running, waiting

EMPTY = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "scratch"},
    "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": []},
}


def a_container(name: str, *command: str) -> dict[str, Any]:
    return {"name": name, "image": "localhost/busybox", "command": list(command or ("true",))}


# ---- decisions ----


def test_its_sandbox_is_made_before_there_is_any_container() -> None:
    empty = replace(a_pod(policy=RestartPolicy.NEVER), containers=())
    assert decide(empty, new_state((), open=True), NOON) == Decision(MakeSandbox())


def test_its_sandbox_stays_between_containers() -> None:
    state = a_state(ended("a"), ended("b", 1), open=True)
    assert decide(a_pod("a", "b", policy=RestartPolicy.NEVER), state, NOON) == Decision()
    pod = a_pod(policy=RestartPolicy.NEVER)
    assert decide(pod, a_state(open=True).with_new(()), NOON).action == Start("app")


def test_what_was_added_is_started_after_what_was_there_before() -> None:
    pod = a_pod("a", "b", policy=RestartPolicy.NEVER)
    assert decide(pod, a_state(running("a"), open=True).with_new(["b"]), NOON) == Decision(Start("b"))


def test_one_whose_podmon_died_gets_a_new_sandbox_though_nothing_is_to_be_started() -> None:  # A22
    state = a_state(ended("a", 137), open=True, sandbox=False)
    assert decide(a_pod("a", policy=RestartPolicy.NEVER), state, NOON) == Decision(MakeSandbox())


def test_it_ends_as_any_other_pod() -> None:
    pod, deletion = a_pod("a", policy=RestartPolicy.NEVER), Deletion(NOON, 5)
    assert decide(pod, a_state(running("a"), open=True, deletion=deletion), NOON) == Decision(Stop(("a",), after(5)))
    assert decide(pod, a_state(ended("a"), open=True, deletion=deletion), NOON) == Decision(Remove())
    held = Deletion(NOON, 5, hold=True)
    assert decide(pod, a_state(ended("a"), open=True, deletion=held), NOON) == Decision(TearDown())


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (new_state((), open=True), Phase.PENDING),
        (a_state(open=True, started_at=NOON), Phase.RUNNING),
        (a_state(ended(code=1), open=True, started_at=NOON), Phase.RUNNING),
        (a_state(ended(code=1), open=True, started_at=NOON, deletion=Deletion(NOON, 0)), Phase.FAILED),
        (a_state(ended(), open=True, started_at=NOON, deletion=Deletion(NOON, 0)), Phase.SUCCEEDED),
    ],
)
def test_it_runs_until_it_is_deleted(state: PodState, expected: Phase) -> None:  # A12
    assert phase(a_pod(policy=RestartPolicy.NEVER), state) is expected


# ---- its manifest ----


@pytest.mark.parametrize("containers", [{}, {"containers": []}, {"containers": None}])
def test_it_alone_may_be_without_containers(containers: dict[str, Any]) -> None:
    document = {**EMPTY, "spec": {"restartPolicy": "Never", **containers}}
    assert manifest.from_dict(document, open=True).containers == ()
    with pytest.raises(ManifestError, match=r"spec\.containers: Required value"):
        manifest.from_dict(document)


def test_everything_else_is_as_strict() -> None:
    document = with_container({**EMPTY, "spec": {"volumes": [{}]}}, {"name": "A", "imagee": "x"})
    with pytest.raises(ManifestError) as refused:
        manifest.from_dict(document, open=True)
    fields = {finding.field for finding in refused.value.findings}
    assert {"spec.volumes[0].name", "spec.containers[0].name", "spec.containers[0].image"} < fields


# ---- in an engine ----

Scene = Callable[[Engine], Awaitable[None]]


@pytest.fixture
def play(root: Path, no_leaks: None) -> Callable[[Scene], None]:
    """Plays a scene with an engine, the next one adopting what the one before left."""

    def play(scene: Scene) -> None:
        async def stage() -> None:
            warnings: list[str] = []
            engine = Engine(root, warnings.append)
            await engine.start()
            try:
                await scene(engine)
            finally:
                await engine.close()
            assert warnings == []

        asyncio.run(asyncio.wait_for(stage(), 60))

    return play


async def until(worker: Worker, holds: Callable[[PodState], Any]) -> None:
    while not holds(worker.state):
        await worker.changed.wait()


def all_ended(state: PodState) -> bool:
    return all(each.ended for each in state.containers)


async def opened(engine: Engine) -> Worker:
    engine.create([Wanted(UID, EMPTY, open=True)])
    worker = engine.worker(UID)
    assert worker is not None
    await until(worker, lambda state: state.sandbox)
    return worker


async def removed(engine: Engine) -> None:
    engine.delete(UID, grace=0, at_once=True)
    while engine.count:
        await engine.fewer.wait()


@pytest.mark.root
def test_containers_are_added_one_after_the_other_in_one_sandbox(play: Callable[[Scene], None]) -> None:
    async def scene(engine: Engine) -> None:
        worker = await opened(engine)
        for name, code in (("a", 0), ("b", 3)):
            engine.add(UID, name, a_container(name, "sh", "-c", f"exit {code}"))
            await until(worker, all_ended)
        assert [each.ended.exit_code for each in worker.state.containers if each.ended] == [0, 3]
        assert worker.state.sandboxes == 1 and worker.state.sandbox
        await removed(engine)

    play(scene)


@pytest.mark.root
def test_to_ask_twice_adds_one_and_a_name_is_taken_once(play: Callable[[Scene], None]) -> None:
    async def scene(engine: Engine) -> None:
        worker = await opened(engine)
        for _ in range(2):
            engine.add(UID, "wish", a_container("a"))
        with pytest.raises(AlreadyExists, match='container "a" already exists'):
            engine.add(UID, "another wish", a_container("a"))
        assert [each.name for each in worker.pod.containers] == ["a"]
        await removed(engine)

    play(scene)


@pytest.mark.root
def test_what_is_refused_or_cannot_be_written_leaves_the_pod_as_it_was(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(engine: Engine) -> None:
        worker = await opened(engine)
        before = worker.record, worker.state, sorted(engine.store.root.rglob("*"))
        with pytest.raises(ManifestError, match=r"spec\.containers\[0\]\.name"):
            engine.add(UID, "1", a_container("Not A Name"))
        with pytest.raises(NotFound, match="localhost/nothing"):
            engine.add(UID, "2", {**a_container("a"), "image": "localhost/nothing"})

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(store_module, "write_file", full)
            with pytest.raises(OSError, match="No space"):
                engine.add(UID, "3", a_container("a"))
        assert (worker.record, worker.state, sorted(engine.store.root.rglob("*"))) == before
        await removed(engine)

    play(scene)


@pytest.mark.root
def test_only_an_open_pod_that_is_not_to_end_takes_more(play: Callable[[Scene], None]) -> None:
    async def scene(engine: Engine) -> None:
        with pytest.raises(NotFound):
            engine.add(UID, "1", a_container("a"))
        engine.create([Wanted(UID, with_container(EMPTY, a_container("a")))])
        with pytest.raises(WrongState, match="made from a manifest: it takes no more containers"):
            engine.add(UID, "1", a_container("b"))
        await removed(engine)
        await opened(engine)
        engine.delete(UID, grace=None)
        with pytest.raises(WrongState, match="being deleted"):
            engine.add(UID, "1", a_container("a"))
        await removed(engine)

    play(scene)


@pytest.mark.root
def test_the_next_engine_goes_on_with_it(play: Callable[[Scene], None], root: Path) -> None:
    """Also where the one before was killed when the container stood in the one file and not yet in the other."""

    async def first(engine: Engine) -> None:
        worker = await opened(engine)
        engine.add(UID, "1", a_container("a"))
        await until(worker, all_ended)

    async def second(engine: Engine) -> None:
        worker = engine.worker(UID)
        assert worker is not None and worker.state.open
        await until(worker, lambda state: len(state.containers) == 2 and all_ended(state))
        assert worker.state.sandboxes == 1
        engine.add(UID, "2", a_container("b"))  # asked once more, as its client heard no answer
        engine.add(UID, "3", a_container("c"))
        await until(worker, all_ended)
        await removed(engine)

    play(first)
    file = root / "pods" / UID / "pod.json"
    record = json.loads(file.read_text())
    record["manifest"] = with_container(record["manifest"], a_container("b"))
    file.write_text(json.dumps({**record, "additions": ["1", "2"]}))
    play(second)


def test_waiting_containers_are_new() -> None:
    assert new_state((), open=True).with_new(["a"]).containers == (waiting("a"),)
