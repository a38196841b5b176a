"""Init containers in an engine: they are the pod's, by their names, as its other containers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import AlreadyExists, NotFound
from sandbox.pod.engine import Engine, Wanted
from sandbox.pod.state import PodState
from tests.sandbox.pod import scenes
from tests.sandbox.pod.scenes import removed, until
from tests.sandbox.pod.values import UID

pytestmark = pytest.mark.root


def a_container(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "localhost/busybox", "command": ["sh", "-c", script], **fields}


def a_manifest(**of_setup: Any) -> dict[str, Any]:
    spec = {
        "restartPolicy": "Never",
        "initContainers": [
            {**a_container("setup", "exit 0"), **of_setup},
            a_container("proxy", "exec sleep 1000", restartPolicy="Always", tty=True),
        ],
        "containers": [a_container("app", "exec sleep 1000")],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def all_run(state: PodState) -> bool:
    instances = [state.container(name).instance for name in ("proxy", "app")]
    return all(each and each.started_at and not each.ended for each in instances)


def test_the_next_engine_knows_them_and_what_joins_one_finds_it(root: Path, no_leaks: None) -> None:  # A23
    async def first(engine: Engine) -> None:
        engine.create([Wanted(UID, a_manifest())])
        worker = engine.worker(UID)
        assert worker is not None
        await until(worker, all_run)

    async def second(engine: Engine) -> None:
        worker = engine.worker(UID)
        assert worker is not None and all_run(worker.state)
        assert [each.name for each in worker.state.containers] == ["setup", "proxy", "app"]
        assert worker.state.sandboxes == 1
        targets = [engine.target("default", "web", name) for name in ("proxy", "app")]
        assert [each.tty for each in targets] == [True, False]
        await removed(engine, UID)

    scenes.play(root, first)
    scenes.play(root, second)


def test_an_image_that_is_not_there_is_refused_before_anything_is_made(root: Path, no_leaks: None) -> None:
    async def scene(engine: Engine) -> None:
        before = sorted(engine.store.root.rglob("*"))
        with pytest.raises(NotFound, match="localhost/nothing"):
            engine.create([Wanted(UID, a_manifest(image="localhost/nothing"))])
        assert sorted(engine.store.root.rglob("*")) == before

    scenes.play(root, scene)


def test_a_container_that_is_added_cannot_have_the_name_of_one(root: Path, no_leaks: None) -> None:  # A1
    async def scene(engine: Engine) -> None:
        engine.create([Wanted(UID, a_manifest(), open=True)])
        with pytest.raises(AlreadyExists, match='container "setup" already exists'):
            engine.add(UID, "wish", a_container("setup", "exit 0"))
        await removed(engine, UID)

    scenes.play(root, scene)
