"""A pod that waits for its claims, has them, and gives them back; with sandboxes that are only noted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sandbox.model import ClaimVolume, RestartPolicy, Volume
from sandbox.pod import worker as module
from sandbox.pod.state import Deletion, PodState, new_state
from sandbox.pod.worker import Worker
from sandbox.status import Phase
from tests.sandbox.pod.test_claims import asked
from tests.sandbox.pod.values import NOON, UID, a_pod, a_record
from tests.sandbox.pod.world import World, is_running, kill_at, living, play, until

NOT_FOUND = '0/1 nodes are available: persistentvolumeclaim "data" not found.'
OTHER = "2b7a2f34-9c1d-4e5f-8a6b-0123456789ab"


def worker_of(world: World, policy: RestartPolicy = RestartPolicy.NEVER, state: PodState | None = None) -> Worker:
    world.store.add(a_record(), state or new_state(("app",)))
    return next_worker(world, policy)


def next_worker(world: World, policy: RestartPolicy = RestartPolicy.NEVER) -> Worker:
    ((record, state),) = world.store.load()
    pod = a_pod(policy=policy, volumes=(Volume("v", ClaimVolume("data")),))
    return Worker(record, pod, state, world.around)


def users(world: World) -> list[tuple[str, ...]]:
    return [each.used_by for each in world.store.claims.statuses()]


def events(worker: Worker) -> list[tuple[str, str, bool]]:
    return [(each.reason, each.message, each.warning) for each in worker.state.events]


def test_a_pod_without_its_claim_is_pending_and_goes_on_when_it_comes(world: World) -> None:
    async def scene() -> None:
        worker = worker_of(world)
        async with living(worker):
            await until(worker, lambda state: state.events)
            status = worker.status()
            assert (status.phase, status.unschedulable, status.start_time) == (Phase.PENDING, NOT_FOUND, None)
            assert events(worker) == [("FailedScheduling", NOT_FOUND, True)]
            assert world.boxes == []
            world.store.claims.create(asked("other", uid=OTHER))  # which is not it
            await asyncio.sleep(0)
            world.store.claims.create(asked())
            await until(worker, is_running)
            assert worker.status().unschedulable == ""
            assert events(worker)[0] == ("FailedScheduling", NOT_FOUND, True)
            assert worker.state.events[0].count == 1
            assert users(world) == [("web",), ()]

    play(scene)


def test_a_pod_that_waits_for_a_claim_can_be_deleted(world: World) -> None:
    async def scene() -> None:
        worker = worker_of(world)
        async with living(worker) as life:
            await until(worker, lambda state: state.events)
            worker.delete(Deletion(NOON, 30))
            await life
        assert worker.removed
        assert world.warnings == []

    play(scene)


@pytest.mark.parametrize("finishes", [True, False])
def test_a_pod_gives_its_claim_back_when_it_has_finished_or_is_gone_and_no_sooner(world: World, finishes: bool) -> None:
    async def scene() -> None:
        world.store.claims.create(asked())
        worker = worker_of(world)
        async with living(worker) as life:
            await until(worker, is_running)
            assert users(world) == [("web",)]
            changed = world.store.claims.changed
            if finishes:
                world.boxes[0].containers["app"].end(0)
                await changed.wait()
                assert worker.status().phase is Phase.SUCCEEDED
            else:
                worker.delete(Deletion(NOON, 30))
                await until(worker, kill_at)
                assert users(world) == [("web",)], "it still runs"
                world.boxes[0].containers["app"].end(0)
                await life
            assert users(world) == [()]

    play(scene)


def test_a_pod_whose_podmon_died_keeps_its_claim(world: World) -> None:
    async def scene() -> None:
        world.store.claims.create(asked())
        worker = worker_of(world, RestartPolicy.ALWAYS)
        async with living(worker):
            await until(worker, is_running)
            world.boxes[0].die()
            await until(worker, lambda state: state.sandboxes == 2)
            assert users(world) == [("web",)]

    play(scene)


def test_the_next_engine_gives_a_pod_that_runs_its_claim_before_anybody_else(world: World) -> None:
    async def scene() -> None:
        world.store.claims.create(asked())
        worker = worker_of(world)
        async with living(worker):
            await until(worker, is_running)
        world.store.claims.release(UID)  # as forgotten with the engine
        after = next_worker(world)
        after.keep_claims()
        assert users(world) == [("web",)]

    play(scene)


def test_the_next_engine_gives_a_pod_that_never_ran_nothing(world: World) -> None:
    world.store.claims.create(asked())
    world.store.add(a_record(), new_state(("app",)))

    async def scene() -> None:
        next_worker(world).keep_claims()

    play(scene)
    assert users(world) == [()]


def test_a_sandbox_has_the_memory_that_the_one_before_had(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """# A15: what is handed on is told here; that there is something in it, in tests/system."""
    handed: list[Any] = []

    async def create(**options: Any) -> Any:
        handed.append(options["memory"])
        return await world.create()

    async def scene() -> None:
        monkeypatch.setattr(module.PodSandbox, "create", create)
        world.store.claims.create(asked())
        worker = worker_of(world, RestartPolicy.ALWAYS)
        async with living(worker):
            await until(worker, is_running)
            world.boxes[0].die()
            await until(worker, lambda state: state.sandboxes == 2)

    play(scene)
    assert len(handed) == 2
    assert handed[0] is handed[1]
