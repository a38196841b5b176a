"""Programs run in a real container again and again, as probes are; the container has no shell."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.errors import SpawnError, WrongState
from sandbox.model import Container, ContainerPort, ExecAction
from sandbox.pod.container import ContainerSpec
from sandbox.pod.handlers import MAX_OUTPUT, Answer, Ran, Target, act
from sandbox.pod.privileges import Privileges
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.targets import target_of
from tests.sandbox.pod.test_sandbox import ENV, Lab, bounded

pytestmark = pytest.mark.root

SPEC = Container("c", "image", ports=(ContainerPort(8080, name="web"), ContainerPort(9090)))
LONG = 20.0  # seconds: for what is not to run into its end


@pytest.fixture
def lab(labs: Callable[[], Lab]) -> Lab:
    return labs()


@asynccontextmanager
async def running(lab: Lab) -> AsyncIterator[tuple[SandboxContainer, Target]]:
    async with lab.box() as box:
        container = await lab.start(box, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done")
        yield container, target_of(container, SPEC, ("10.0.0.9",), oom_score_adj=321)


def test_a_target_has_the_addresses_and_the_named_ports(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (_, target):
            assert (target.ips, target.ports) == (("10.0.0.9",), {"web": 8080})

    bounded(scene)


def test_exit_codes_and_both_streams_come_back_again_and_again_and_no_fd_stays(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (_, target):
            script = "echo out; echo err >&2; cat; exit $1"
            for code in (0, 3, 0):
                ran = await target.run(("sh", "-c", script, "sh", str(code)), LONG)
                assert (ran.exit_code, ran.output) == (code, b"out\nerr\n"), "its stdin is at its end"
            fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            for _ in range(20):
                assert (await target.run(("sh", "-c", script, "sh", "3"), LONG)).exit_code == 3
            assert len(os.listdir("/proc/self/fd")) == fds  # noqa: PTH208
            assert (await target.run(("sh", "-c", "kill -9 $$"), LONG)).exit_code == 137

    bounded(scene)


def test_an_image_needs_no_shell(lab: Lab, probe: Path, tmp_path: Path) -> None:
    """One with nothing in it but a program of its own."""
    rootfs = tmp_path / "bare"
    rootfs.mkdir()
    shutil.copy(probe / "probe", rootfs / "app")

    async def scene() -> None:
        async with lab.box() as box:
            spec = ContainerSpec(("/app", "tcp-bind", "8080", "hold"), rootfs, {"WHO": "me"})
            container = await box.create_container("c", spec)
            await container.start()
            target = target_of(container, SPEC, ("127.0.0.1",))
            good = await act(ExecAction(("/app", "tcp-connect", "8080")), target, LONG)
            bad = await act(ExecAction(("/app", "tcp-connect", "8081")), target, LONG)
            assert (good, bad) == (Answer(True, "ok\n"), Answer(False, "ECONNREFUSED\n"))

    bounded(scene)


def test_it_is_what_the_container_is(lab: Lab) -> None:
    """Its environment, its working directory, its user, its cgroup, and its place in the OOM killer's queue."""

    async def scene() -> None:
        async with lab.box() as box:
            privileges = Privileges(uid=1000, gid=1000, bounding=0, permitted=0)
            container = await lab.run(box, "exec sleep 1000", cwd="/tmp", privileges=privileges)
            target = target_of(container, SPEC, ("127.0.0.1",), oom_score_adj=321)
            script = "id -u; pwd; echo $PATH; cat /proc/self/oom_score_adj; tail -n 1 /proc/self/cgroup"
            ran = await target.run(("sh", "-c", script), LONG)
            assert ran.output.decode().splitlines()[:4] == ["1000", "/tmp", ENV["PATH"], "321"], ran
            assert ran.output.endswith(b"::/\n"), "its cgroup is the root of the container's cgroup namespace"

    bounded(scene)


def test_what_is_written_is_kept_up_to_10_kib_and_holds_nobody_up(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (_, target):
            ran = await target.run(("sh", "-c", "head -c 1000000 /dev/zero; exit 7"), LONG)
            assert (ran.exit_code, ran.output) == (7, b"\0" * MAX_OUTPUT)

    bounded(scene)


@pytest.mark.parametrize("script", ["sleep 1000", "yes", "trap '' TERM INT; while :; do :; done"])
def test_one_that_takes_longer_is_killed(lab: Lab, script: str) -> None:
    async def scene() -> None:
        async with running(lab) as (container, target):
            answer = await act(
                ExecAction(("sh", "-c", f"exec {script}" if " " not in script[6:] else script)), target, 0.5
            )
            assert not answer.success
            assert answer.message.endswith(" timed out after 500ms")
            assert (await target.run(("true",), LONG)).exit_code == 0, "the next waits for the end of the one before"
            names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in container.scope.procs()]
            assert sorted(names) == ["sh", "sleep"], "what is left is the container's own"

    bounded(scene)


def test_a_cancelled_one_is_killed_too(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (_, target):
            task = asyncio.ensure_future(target.run(("sh", "-c", "echo $$ > /pid; exec sleep 1000"), LONG))
            while (await target.run(("test", "-s", "/pid"), LONG)).exit_code:
                pass
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            while not (await target.run(("sh", "-c", "kill -0 $(cat /pid)"), LONG)).exit_code:
                pass

    bounded(scene)


def test_a_process_that_it_leaves_behind_is_not_waited_for(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (_, target):
            ran = await target.run(("sh", "-c", "(sleep 1000 & ) ; echo done"), LONG)
            assert (ran.exit_code, ran.output) == (0, b"done\n")

    bounded(scene)


def test_in_a_frozen_container_it_is_given_up_in_time(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (container, target):
            container.scope.freeze()
            try:
                answer = await act(ExecAction(("true",)), target, 0.3)
            finally:
                container.scope.thaw()
            assert answer == Answer(False, 'command timed out: "true" timed out after 300ms')
            assert (await target.run(("true",), LONG)).exit_code == 0

    bounded(scene)


def test_beside_one_that_cannot_die_no_further_one_is_started(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a disk holds: here nobody kills it."""

    async def scene() -> None:
        async with running(lab) as (container, target):
            kill, stuck = container.podmon.kill, []
            monkeypatch.setattr(container.podmon, "kill", stuck.append)
            for argv in (("sleep", "1000"), ("touch", "/tried")):
                with pytest.raises(TimeoutError):
                    await target.run(argv, 0.5)
            monkeypatch.undo()
            kill(*stuck)
            assert (await target.run(("test", "-e", "/tried"), LONG)).exit_code == 1

    bounded(scene)


def test_a_program_that_is_not_there_says_nothing_of_the_container(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (_, target):
            with pytest.raises(SpawnError, match=r"^run\b.*nosuch"):
                await act(ExecAction(("nosuch",)), target, LONG)

    bounded(scene)


def test_in_a_container_that_has_ended_nothing_runs_and_its_fds_are_gone(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (container, target):
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            assert (await target.run(("true",), LONG)).exit_code == 0
            container.kill()
            await container.ended()
            assert len(os.listdir("/proc/self/fd")) == before - 1, "its pidfd, too"  # noqa: PTH208
            with pytest.raises(WrongState):
                await target.run(("true",), LONG)

    bounded(scene)


def test_an_older_podmon_tells_of_every_step_and_is_understood(lab: Lab) -> None:
    async def scene() -> None:
        async with running(lab) as (container, target):
            command = ("sh", "-c", "echo said; exit 4")
            quiet = await target.run(command, LONG)
            container.podmon.protocol = 6  # whose requests have no `quiet`
            assert await target.run(command, LONG) == quiet == Ran(4, b"said\n")

    bounded(scene)
