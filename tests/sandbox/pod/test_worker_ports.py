"""When a worker has the ports of its pod lead nowhere any more (SEMANTICS A36)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandbox.model import ContainerPort
from sandbox.pod.podmon import Stage
from sandbox.pod.state import Deletion, Failure, new_state
from sandbox.pod.worker import Worker
from tests.sandbox.pod.values import IDENTITY, NOON, UID, a_record, a_state, running
from tests.sandbox.pod.world import FakeBox, FakeContainer, World, is_running, kill_at, living, play, until

ENDS: dict[str, Callable[[Worker], None]] = {
    "deleted": lambda worker: worker.delete(Deletion(NOON, 30)),
    "evicted": lambda worker: worker.fail("Evicted", "it is too large", 1),
}


def with_port(worker: Worker) -> Worker:
    (app,) = worker.pod.containers
    worker.pod = replace(worker.pod, containers=(replace(app, ports=(ContainerPort(80, 8080),)),))
    return worker


@pytest.mark.parametrize("how", ENDS)
def test_they_are_closed_when_the_end_begins_and_not_before(world: World, how: str) -> None:
    async def scene() -> None:
        worker = with_port(world.worker(new_state(("app",))))
        async with living(worker):
            await until(worker, is_running)
            assert world.networks.closed == []
            ENDS[how](worker)
            await until(worker, kill_at)
            assert (world.networks.closed, world.networks.detached) == ([UID], [])

    play(scene)


@pytest.mark.parametrize("why", [{"deletion": Deletion(NOON, 30)}, {"failure": Failure("Evicted", "", 1)}])
def test_the_next_engine_closes_them_again(world: World, why: dict[str, Any]) -> None:
    async def scene() -> None:
        world.store.add(a_record(), a_state(running(), **why))
        world.left = box = FakeBox()
        box.containers["app"] = FakeContainer("app", IDENTITY, 1, Stage.RUNNING)
        worker = with_port(world.next_worker())
        await worker.adopt()
        async with living(worker):
            await until(worker, kill_at)
            assert world.networks.closed == [UID]

    play(scene)


def test_a_pod_without_ports_has_none_to_close(world: World) -> None:
    async def scene() -> None:
        worker = world.worker(new_state(("app",)))
        async with living(worker):
            await until(worker, is_running)
            worker.delete(Deletion(NOON, 30))
            await until(worker, kill_at)
            assert world.networks.closed == []

    play(scene)
