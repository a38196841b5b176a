"""A pod carried through its life in a sandbox that is only noted: what stands on disk at every turn, and who is killed.

The same with real ones is in tests/system.
"""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from typing import Any

import pytest

from sandbox.errors import NotFound, SandboxError, WrongState
from sandbox.model import Resources, RestartPolicy
from sandbox.pod import worker as module
from sandbox.pod.child import LogState
from sandbox.pod.podmon import Stage
from sandbox.pod.resources import Placement
from sandbox.pod.state import ContainerState, Deletion, PodState, new_state
from sandbox.quantity import parse
from tests.sandbox.pod.values import IDENTITY, NOON, UID, a_record, a_state, ended, making, running, stopping
from tests.sandbox.pod.world import FakeBox, FakeContainer, World, app, is_running, kill_at, living, play, until

# ---- a life ----


def test_a_pod_runs_and_is_removed_without_a_trace(world: World) -> None:
    async def scene() -> None:
        worker = world.worker(new_state(("a", "b")))
        life = asyncio.create_task(worker.live())
        await until(worker, is_running)
        assert world.on_disk() == worker.state
        worker.delete(Deletion(NOON, 30))
        (box,) = world.boxes
        await until(worker, kill_at)
        assert [each.signals for each in box.containers.values()] == [[15], [15]]  # A35
        for each in box.containers.values():
            each.end(143, 15)
        await life
        assert worker.removed and box.removed
        assert list(world.store.load()) == []
        assert world.warnings == []

    play(scene)


def test_the_start_of_a_container_goes_to_disk_with_the_next_one_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write in the place of a file has the disk's own pace."""
    written: list[list[tuple[bool, bool]]] = []
    save = world.store.save

    def noted(uid: str, state: PodState) -> None:
        save(uid, state)
        written.append([(each.runs, bool(each.instance and each.instance.started_at)) for each in state.containers])

    async def scene() -> None:
        worker = world.worker(new_state(("a", "b")))
        monkeypatch.setattr(world.store, "save", noted)
        async with living(worker):
            await until(worker, is_running)
            none, begun, runs = (False, False), (True, False), (True, True)
            assert written == [[none, none], [begun, none], [runs, begun], [runs, runs]]

    play(scene)


def test_what_cannot_be_held_is_told_once_and_the_pod_runs(world: World) -> None:
    async def scene() -> None:
        worker = world.worker(new_state(("app",)))
        asked = Resources(requests={"cpu": parse("500m")})
        worker.pod = replace(worker.pod, containers=(replace(worker.pod.containers[0], resources=asked),))
        async with living(worker):
            await until(worker, is_running)
            world.boxes[0].die()
            await until(worker, lambda state: state.sandboxes == 2 and is_running(state))
            said = [event for event in worker.state.events if event.reason == "RequestsNotEnforced"]
            assert [(event.message, event.warning, event.count) for event in said] == [
                ("Requests of cpu have no effect here: controller cpu is not there", True, 1)
            ]
            assert world.slices.known[UID].cpu == 500

    play(scene)


def test_the_next_engine_knows_what_the_pods_request_that_it_adopts(world: World) -> None:
    async def scene() -> None:
        world.store.add(a_record(), a_state())
        worker = world.next_worker()
        await worker.adopt()
        assert world.slices.known == {UID: Placement()}

    play(scene)


def test_an_instance_stands_on_disk_before_it_is_made(world: World) -> None:
    async def scene() -> None:
        world.shut = True
        worker = world.worker(new_state(("app",)))
        async with living(worker):
            await until(worker, lambda state: state.sandbox)
            await world.boxes[0].asked.wait()
            assert app(world.on_disk()).runs
            assert world.boxes[0].containers == {}

    play(scene)


def test_what_becomes_of_a_log_is_an_event_and_what_is_lost_is_told_once_with_the_latest_count(world: World) -> None:
    def told(state: PodState) -> list[tuple[str, int, str]]:
        return [(event.reason, event.count, event.message) for event in state.events if event.reason.startswith("Log")]

    failed = "The log of container app cannot be written: No space left on device"
    lost = "Output of container app could not be logged: {} of this instance are lost so far"

    async def scene() -> None:
        worker = world.worker(new_state(("app",)), RestartPolicy.NEVER)
        async with living(worker):
            await until(worker, is_running)
            container = world.boxes[0].containers["app"]
            container.tell_log(LogState(errno.ENOSPC, 1, 10))
            await until(worker, lambda state: len(told(state)) == 2)
            assert told(worker.state) == [("LogFailed", 1, failed), ("LogLost", 1, lost.format("1 lines (10 bytes)"))]
            container.tell_log(LogState(0, 7, 99))
            container.tell_log(LogState(errno.ENOSPC, 8, 100))
            container.end()
            await until(worker, lambda state: app(state).ended)
            assert told(world.on_disk()) == [
                ("LogFailed", 2, failed),
                ("LogLost", 1, lost.format("8 lines (100 bytes)")),
            ]

    play(scene)


def test_an_engine_that_ends_while_it_makes_a_container_leaves_no_failure(world: World) -> None:
    """What it had begun is undone: for the next engine it was never begun."""

    async def scene() -> None:
        world.shut = True
        worker = world.worker(new_state(("app",)))
        async with living(worker):
            await until(worker, lambda state: state.sandbox)
            await world.boxes[0].asked.wait()
        assert len(world.boxes[0].undone) == 1
        assert app(world.on_disk()) == ContainerState("app")
        assert world.boxes[0].detached and not world.boxes[0].removed

    play(scene)


def test_a_delete_gives_up_a_container_that_is_being_made(world: World) -> None:
    async def scene() -> None:
        world.shut = True
        worker = world.worker(new_state(("app",)))
        async with living(worker) as life:
            await until(worker, lambda state: state.sandbox)
            await world.boxes[0].asked.wait()
            worker.delete(Deletion(NOON, 30))
            await life
        assert len(world.boxes[0].undone) == 1
        assert worker.removed

    play(scene)


def test_a_sandbox_that_cannot_be_noted_is_removed_before_another_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(module, "RETRY_FIRST", 0.01)
        worker = world.worker(new_state(("app",)))
        save, full = world.store.save, [True]

        def sometimes(uid: str, state: PodState) -> None:
            if state.sandbox and full:
                full.clear()
                raise OSError(errno.ENOSPC, "No space left on device")
            save(uid, state)

        monkeypatch.setattr(world.store, "save", sometimes)
        async with living(worker):
            await until(worker, is_running)
        first, second = world.boxes
        assert first.removed and not second.removed
        assert app(world.on_disk()).restarts == 0

    play(scene)


def test_a_pod_without_a_network_is_made_again_until_it_has_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:  # A2
    async def scene() -> None:
        monkeypatch.setattr(module, "RETRY_FIRST", 0.01)
        world.networks.failures.append(SandboxError("no address is left"))
        worker = world.worker(new_state(("app",)))
        async with living(worker):
            await until(worker, is_running)
        first, second = world.boxes
        assert first.removed and not second.removed
        state = world.on_disk()
        assert [each.reason for each in state.events][:2] == ["FailedCreatePodSandBox", "NetworkSetup"]
        assert state.events[0].message == "no address is left"
        assert state.pod_ips == ("10.0.0.2", "fd00::2")  # A9: the first is the primary family's
        assert (worker.status().pod_ips, worker.status().host_ip) == (state.pod_ips, "192.0.2.9")

    play(scene)


def test_a_sandbox_that_is_adopted_has_its_network_repaired(world: World) -> None:
    async def scene() -> None:
        worker = world.worker(replace(a_state(running("app")), sandbox=True, pod_ips=("10.0.0.1",)))
        world.left = FakeBox()
        world.left.containers["app"] = FakeContainer("app", IDENTITY, 1, Stage.RUNNING)
        etc = world.store.directory(UID) / "etc"
        etc.mkdir()
        (etc / "hosts").write_text("of the address before")
        await worker.adopt()
        assert world.networks.attached == [UID]
        assert world.on_disk().pod_ips == ("10.0.0.2", "fd00::2")
        assert not (etc / "hosts").exists(), "it is written anew, with the new address"
        await worker._tasks.end()

    play(scene)


def test_a_delete_that_comes_when_the_network_is_just_made_is_not_forgotten(world: World) -> None:
    """However far that is by then: the pod is removed all the same."""
    for turns in range(12):

        async def scene(turns: int = turns) -> None:
            worker = world.worker(new_state(("app",)))

            async def delete() -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                worker.delete(Deletion(NOON, 0, at_once=True))

            world.networks.meanwhile = lambda: deletions.append(asyncio.create_task(delete()))
            deletions: list[asyncio.Task[None]] = []
            await worker.live()
            assert worker.removed
            await asyncio.gather(*deletions)

        play(scene)


def test_a_network_that_cannot_be_repaired_is_told_and_the_pod_goes_on(world: World) -> None:
    async def scene() -> None:
        worker = world.worker(replace(a_state(running("app")), sandbox=True, pod_ips=("10.0.0.1",)))
        world.left = FakeBox()
        world.left.containers["app"] = FakeContainer("app", IDENTITY, 1, Stage.RUNNING)
        world.networks.failures.append(SandboxError("nft: no"))
        await worker.adopt()
        assert worker.state.events[-1].reason == "NetworkNotReady"
        assert worker.state.pod_ips == ("10.0.0.1",)
        assert worker.instance("app") is not None
        await worker._tasks.end()

    play(scene)


def test_a_sandbox_that_dies_while_a_restart_waits_for_the_instance_before_is_replaced(world: World) -> None:  # A22
    async def scene() -> None:
        worker = world.worker(new_state(("app",)))
        async with living(worker) as life:
            await until(worker, is_running)
            (box,) = world.boxes
            let_go = asyncio.Event()

            async def slowly() -> None:
                await let_go.wait()

            box.containers["app"].forget = slowly  # type: ignore[method-assign]
            box.containers["app"].end(1)
            await until(worker, lambda state: app(state).ended)
            for _ in range(50):  # the restart, which is immediate, comes to wait for what is left
                await asyncio.sleep(0)
            box.die()
            await until(worker, lambda state: not state.sandbox)
            let_go.set()
            await until(worker, lambda state: is_running(state) and state.sandboxes == 2)
            assert not life.done()

    play(scene)


def test_what_ran_in_a_sandbox_that_died_was_killed_and_runs_in_another(world: World) -> None:  # A22
    async def scene() -> None:
        worker = world.worker(new_state(("app",)))
        async with living(worker):
            await until(worker, is_running)
            world.boxes[0].die()
            await until(worker, lambda state: is_running(state) and state.sandboxes == 2)
        end = app(worker.state).last
        assert end is not None and end.exit_code == 137
        assert "SandboxChanged" in [event.reason for event in worker.state.events]

    play(scene)


def test_a_delete_while_a_pod_is_being_removed_is_nothing_to_warn_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        worker = world.worker(a_state(ended(), sandbox=False, deletion=Deletion(NOON, 5)))
        loop, remove = asyncio.get_running_loop(), world.store.remove

        def meanwhile(record: Any) -> None:
            remove(record)
            asyncio.run_coroutine_threadsafe(again(), loop).result(10)

        async def again() -> None:
            worker.delete(Deletion(NOON, 0, at_once=True))

        monkeypatch.setattr(world.store, "remove", meanwhile)
        await worker.live()
        assert worker.removed
        assert world.warnings == []

    play(scene)


# ---- adoption ----


def test_what_runs_runs_on_under_the_next_engine(world: World) -> None:
    async def scene() -> None:
        world.left = box = FakeBox()
        box.containers["app"] = FakeContainer("app", IDENTITY, 1, Stage.RUNNING)
        worker = world.worker(a_state(running()))
        await worker.adopt()
        assert world.connected == {1: ("app", IDENTITY)}
        async with living(worker):
            box.containers["app"].end(3)
            await until(worker, lambda state: app(state).attempts == 2)
        assert app(worker.state).last is not None

    play(scene)


def test_what_podmon_was_never_asked_for_is_no_attempt(world: World) -> None:
    async def scene() -> None:
        world.left = box = FakeBox()
        worker = world.worker(a_state(making()))
        await worker.adopt()
        assert app(worker.state) == ContainerState("app")
        async with living(worker):
            await until(worker, is_running)
        assert app(worker.state).restarts == 0
        assert world.slices.removed == [f"{IDENTITY}.scope"]
        assert len(box.containers) == 1

    play(scene)


def test_an_end_that_came_while_no_engine_was_there_is_noted(world: World) -> None:
    async def scene() -> None:
        world.left = box = FakeBox()
        box.containers["app"] = FakeContainer("app", IDENTITY, 1, Stage.RUNNING)
        box.containers["app"].end(3)
        worker = world.worker(a_state(running()), RestartPolicy.NEVER)
        await worker.adopt()
        end = app(world.on_disk()).ended
        assert end is not None and end.exit_code == 3
        async with living(worker):
            await until(worker, lambda state: not state.sandbox)
        assert box.removed

    play(scene)


def test_what_a_killed_engine_had_noted_as_ended_is_tidied_up_by_the_next(world: World) -> None:
    async def scene() -> None:
        world.left = box = FakeBox()
        box.containers["a"] = made = FakeContainer("a", IDENTITY, 1, Stage.RUNNING)
        made.end(0)
        box.containers["b"] = FakeContainer("b", "b" * 64, 2, Stage.RUNNING)
        b = ContainerState("b").begun("b" * 64, 2, None).started(NOON)
        worker = world.worker(a_state(ended("a"), b), RestartPolicy.NEVER)
        layer = world.store.sandbox_directory(UID) / "containers" / IDENTITY / "upper"
        layer.mkdir(parents=True)
        await worker.adopt()
        await worker._instances.leavings.all_removed()
        assert made.forgotten and not layer.exists()
        assert world.slices.removed == [f"{IDENTITY}.scope"]
        await worker._tasks.end()

    play(scene)


def test_a_number_that_was_given_anew_is_that_of_the_one_that_runs(world: World) -> None:
    async def scene() -> None:
        world.left = FakeBox()
        b = ContainerState("b").begun("b" * 64, 1, None).started(NOON)
        worker = world.worker(a_state(b, ended("a")), RestartPolicy.NEVER)
        await worker.adopt()
        assert world.connected == {1: ("b", "b" * 64)}
        await worker._tasks.end()

    play(scene)


@pytest.mark.parametrize("why", [NotFound("podmon", "x"), WrongState("it ended", current="gone", wanted="running")])
def test_a_sandbox_that_is_gone_or_just_goes_is_buried_and_made_anew(world: World, why: Exception) -> None:  # A13, A22
    async def scene() -> None:
        world.left = why
        worker = world.worker(a_state(running()))
        await worker.adopt()
        end = app(world.on_disk()).ended
        assert end is not None and end.reason == "ContainerStatusUnknown"
        async with living(worker):
            await until(worker, lambda state: is_running(state) and state.sandboxes == 2)
        assert app(worker.state).restarts == 1

    play(scene)


def test_a_podmon_that_does_not_answer_does_not_hold_up_the_end_of_its_pod(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """# A42: it is stopped, say; the deletion was asked for before the engine was killed."""

    async def silent(**_: Any) -> FakeBox:
        await asyncio.Event().wait()
        raise AssertionError

    async def scene() -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.01)
        monkeypatch.setattr(module.PodSandbox, "connect", silent)
        state = replace(a_state(running()), deletion=Deletion(module.now(), 30))
        await world.worker(state).adopt()

    play(scene)


def test_an_instance_that_was_never_begun_is_not_buried_as_one_that_ended(world: World) -> None:
    """The engine was killed between noting it and making it, and then its podmon."""

    async def scene() -> None:
        world.left = NotFound("podmon", "x")
        known = ContainerState("app").begun(IDENTITY, 1, None)
        worker = world.worker(a_state(known), RestartPolicy.NEVER)
        await worker.adopt()
        assert app(world.on_disk()).instance is None
        async with living(worker):
            await until(worker, is_running)
        assert app(worker.state).restarts == 0

    play(scene)


def test_a_grave_that_cannot_be_dug_is_a_warning_and_the_pod_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        worker = world.worker(a_state(running()))
        remove = world.store.remove_sandbox

        def busy(uid: str) -> None:
            monkeypatch.setattr(world.store, "remove_sandbox", remove)
            raise SandboxError("rm: Device or resource busy")

        monkeypatch.setattr(world.store, "remove_sandbox", busy)
        await worker.adopt()
        assert len(world.warnings) == 1 and "busy" in world.warnings[0]
        async with living(worker):
            await until(worker, is_running)

    play(scene)


def test_a_termination_begins_anew_with_its_full_grace(world: World) -> None:  # A41
    async def scene() -> None:
        world.left = box = FakeBox()
        box.containers["app"] = FakeContainer("app", IDENTITY, 1, Stage.RUNNING)
        told = stopping(deadline=NOON, kill_at=NOON, killed_at=NOON)
        worker = world.worker(a_state(told, deletion=Deletion(NOON, 30)))
        await worker.adopt()
        before = module.now()
        async with living(worker):
            await until(worker, kill_at)
            moment = kill_at(worker.state)
            assert moment is not None
            assert (moment - before).total_seconds() >= 30
            assert box.containers["app"].signals == [15]

    play(scene)
