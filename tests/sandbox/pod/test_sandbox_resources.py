"""Sandboxes without an engine: a container's limits are set before it is born, and its end says whether it had too
little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cgroups import CgroupError, Cpu, Memory, Pids
from sandbox.errors import WrongState
from sandbox.linux import host
from sandbox.pod.container import ContainerSpec
from sandbox.pod.sandbox import PodSandbox
from tests.sandbox.pod.test_sandbox import ENV, Lab, bounded, output_of

pytestmark = pytest.mark.root

ASK = "cat /proc/self/oom_score_adj"


async def said(lab: Lab, box: PodSandbox, **options: Any) -> list[str]:
    """The container's own place in the queue, as it tells it."""
    await (await lab.run(box, ASK, **options)).wait()
    return [line for _, _, line in lab.log()]


def test_a_containers_place_in_the_queue_of_the_oom_killer_is_its_own(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            assert await said(lab, box, oom_score_adj=500) == ["500"]

    bounded(test)


def test_where_none_is_asked_for_it_is_the_callers_not_podmons(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            own = str(host.own_oom_score_adj())
            assert await said(lab, box) == [own]
            sleeper = await lab.run(box, "exec sleep 600", "sleeper")
            assert await output_of(box, sleeper, *ASK.split()) == (0, f"{own}\n")

    bounded(test)


@pytest.mark.controllers("cpu", "memory")
def test_limits_are_there_when_the_program_begins(lab: Lab) -> None:
    async def test() -> None:
        limits = (Memory(max=64 << 20, oom_group=True), Cpu(quota=50_000, period=100_000))
        async with lab.box() as box:
            container = await lab.run(box, "exec sleep 600", limits=limits)
            scope = container.scope.path
            files = ("memory.max", "memory.oom.group", "cpu.max")
            assert [(scope / file).read_text().strip() for file in files] == ["67108864", "1", "50000 100000"]

    bounded(test)


@pytest.mark.controllers("memory")
def test_an_end_for_want_of_memory_says_so(lab: Lab) -> None:  # A24
    async def test() -> None:
        async with lab.box() as box:
            limits = (Memory(max=16 << 20, swap_max=0),)
            eater = await lab.run(box, "x=x; while :; do x=$x$x; done", limits=limits)
            status = await eater.wait()
            assert (status.code, status.signal, status.oom_killed) == (137, 9, True)
            fine = await lab.run(box, "exit 3", "fine", limits=limits)
            assert (await fine.wait()).oom_killed is False

    bounded(test)


@pytest.mark.controllers("memory")
def test_what_is_killed_before_its_program_runs_is_told_as_that(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            with pytest.raises(WrongState, match="it was out of memory") as caught:
                await lab.run(box, "echo never", limits=(Memory(max=4096),))
            assert caught.value.hint == "give it a higher limit of memory"
            assert [path.name for path in lab.slice.path.glob("*.scope")] == ["podmon.scope"]

    bounded(test)


@pytest.mark.controllers("pids")
def test_a_limit_that_the_kernel_refuses_leaves_nothing(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            with pytest.raises(CgroupError, match="at most 4194304"):
                await lab.run(box, "echo never", limits=(Pids(5_000_000),))
            assert [path.name for path in lab.slice.path.glob("*.scope")] == ["podmon.scope"]
            await box.create_container("c", ContainerSpec(("true",), lab.busybox, ENV))

    bounded(test)


def test_podmon_is_as_far_back_in_the_queue_as_it_can_be(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            expected = max(-998, host.lowest_oom_score_adj())
            assert int(Path(f"/proc/{box.pid}/oom_score_adj").read_text()) == expected

    bounded(test)
