"""Holding a container to the pace of whoever passes its log on."""

from __future__ import annotations

import asyncio
import select
import socket

import pytest

from sandbox.errors import KernelError, NotFound
from sandbox.pod import pacing
from sandbox.pod import sandbox as sandbox_module
from tests.sandbox.pod.test_attach import STDOUT, WAIT, attached, go
from tests.sandbox.pod.test_sandbox import Lab, bounded

pytestmark = pytest.mark.root

LINES = 300_000


def test_a_container_writes_no_further_than_who_holds_it_has_gone_and_is_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long: another client that takes nothing either is dropped meanwhile."""
    monkeypatch.setattr(sandbox_module, "STALL_TIMEOUT", 0.3)

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, WAIT + f"exec seq 1 {LINES}", size=1 << 30)
            log = lab.logs / "c.log"
            with pacing.held(lab.directory, container.number) as pace:
                async with attached(box._podmon, container, STDOUT) as (stalled,):
                    await go(box, container)
                    await asyncio.to_thread(until_closed, stalled)
                    held = log.stat().st_size
                    assert 0 < held < 8 << 20, "a socket's worth of output, with its times"
                    ended = asyncio.create_task(container.wait())
                    while not ended.done():
                        pace.go_on()
                        await asyncio.sleep(0)
                    assert ended.result().code == 0
            assert len(lab.log()) == LINES

    bounded(test)


def until_closed(sock: socket.socket) -> None:
    """Until podmon has dropped it: what was sent is left where it is."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    assert poll.poll(30_000)


def test_who_lets_go_of_a_container_lets_it_run(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, WAIT + f"exec seq 1 {LINES}", size=1 << 30)
            with pacing.held(lab.directory, container.number):
                await go(box, container)
            assert (await container.wait()).code == 0
            assert len(lab.log()) == LINES

    bounded(test)


def test_what_has_ended_cannot_be_held(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exit 0")
            await container.wait()
            with pytest.raises(KernelError), pacing.held(lab.directory, container.number):
                pytest.fail("it was held")
        with pytest.raises(NotFound), pacing.held(lab.directory, 1):
            pytest.fail("it was held")

    bounded(test)
