"""sandbox.aio: the same names as coroutines, and what cancellation leaves: nothing."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import sandbox
from sandbox import aio
from sandbox.pod.client import Client
from sandbox.pod.paths import socket_path
from sandbox.status import Phase

BUSYBOX = "localhost/busybox"
IDLE = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]

Scene = Callable[[Path], Awaitable[None]]


@pytest.fixture
def play(root: Path, no_leaks: None) -> Callable[[Scene], None]:
    """Plays a scene on a loop, in a root of its own."""

    def play(scene: Scene) -> None:
        asyncio.run(asyncio.wait_for(scene(root), 120))  # type: ignore[arg-type]

    return play


# ---- a pod ----


@pytest.mark.root
def test_a_pod_is_made_joined_read_and_removed(play: Callable[[Scene], None]) -> None:
    async def scene(root: Path) -> None:
        async with aio.Pod("scratch", root=root) as pod:
            app = await pod.run("app", ["sh", "-c", "echo one; echo two; sleep 60"], image=BUSYBOX)
            await pod.wait_ready(timeout=60)
            assert (await pod.status).phase is Phase.RUNNING and await pod.ips == (await pod.status).pod_ips
            assert (await app.exec(["hostname"])).stdout == "scratch\n"
            lines = app.logs(follow=True)
            assert [await anext(lines), await anext(lines)] == ["one", "two"]
            await lines.aclose()
            assert [line async for line in app.logs(tail=1)] == ["two"]
            assert "Started container app" in [event.message for event in await pod.events]
            found = await aio.Pod.get("scratch", root=root)
            assert found.uid == pod.uid
            await found.close()
        with pytest.raises(sandbox.NotFound):
            await pod.status

    play(scene)


@pytest.mark.root
def test_many_pods_at_once_share_one_engine(play: Callable[[Scene], None]) -> None:
    async def one(root: Path, name: str) -> str:
        async with aio.Pod(name, root=root) as pod:
            done = await (await pod.run("app", ["hostname"], image=BUSYBOX)).wait(timeout=60)
            return done.stdout

    async def scene(root: Path) -> None:
        names = [f"pod{number}" for number in range(6)]
        assert await asyncio.gather(*(one(root, name) for name in names)) == [f"{name}\n" for name in names]
        assert not socket_path(root).exists()

    play(scene)


@pytest.mark.root
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21])
def test_a_pod_whose_making_is_cancelled_leaves_nothing(turns: int, play: Callable[[Scene], None]) -> None:
    """However far it has come: after so many turns of the loop, and at the latest once it is there."""

    async def scene(root: Path) -> None:
        async with aio.Pod("other", root=root):
            making = asyncio.create_task(aio.Pod("scratch", root=root).create())
            for _ in range(turns):
                await asyncio.sleep(0)
            making.cancel()
            with pytest.raises(asyncio.CancelledError):
                await making
            with Client(root) as client:
                assert [status.pod.name for status in client.pods()] == ["other"]

    play(scene)


@pytest.mark.root
def test_a_program_whose_waiting_is_cancelled_is_killed(play: Callable[[Scene], None]) -> None:
    async def scene(root: Path) -> None:
        async with aio.Pod("scratch", root=root) as pod:
            app = await pod.run("app", IDLE, image=BUSYBOX)
            running = asyncio.create_task(app.exec(["sh", "-c", "mkfifo /tmp/f; echo > /tmp/f; sleep 60"]))
            await app.exec(["sh", "-c", "until [ -p /tmp/f ]; do sleep 0.05; done; cat /tmp/f"])
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            args = (await app.exec(["ps", "-o", "args"])).stdout
            assert "mkfifo" not in args

    play(scene)


@pytest.mark.root
def test_a_cancelled_reader_and_a_cancelled_wait_change_nothing(play: Callable[[Scene], None]) -> None:
    async def scene(root: Path) -> None:
        async with aio.Pod("scratch", root=root) as pod:
            app = await pod.run("app", ["sh", "-c", "echo up; sleep 60"], image=BUSYBOX)
            lines = app.logs(follow=True)
            assert await anext(lines) == "up"

            async def read() -> None:
                async for _ in lines:
                    pass

            for work in (app.wait(), pod.wait(), read()):
                task = asyncio.ensure_future(work)
                await asyncio.wait([task], timeout=0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert (await app.status).ready

    play(scene)


@pytest.mark.root
def test_a_large_input_and_output_go_through(play: Callable[[Scene], None]) -> None:
    async def scene(root: Path) -> None:
        data = bytes(range(256)) * 8192
        async with aio.Pod("scratch", root=root) as pod:
            app = await pod.run("app", IDLE, image=BUSYBOX)
            assert (await app.exec(["cat"], input=data)).output == data
            assert (await app.exec(["true"], input=data)).exit_code == 0  # it reads none of it
            left = await app.exec(["sh", "-c", "sleep 60 & echo gone"])  # which holds its pipes open
            assert (left.exit_code, left.stdout) == (0, "gone\n")

    play(scene)


# ---- a sandbox ----


@pytest.mark.root
def test_a_sandbox_and_its_streams(play: Callable[[Scene], None], busybox: Path) -> None:
    async def scene(root: Path) -> None:
        async with await aio.PodSandbox.create(name="box", root=root) as box:
            spec = aio.ContainerSpec(argv=["sh", "-c", "while read x; do echo got $x; done; exit 4"], rootfs=busybox)
            cat = await box.create_container("cat", spec, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            await cat.start()
            assert cat.stdin is not None and cat.stdout is not None and cat.stderr is None
            await cat.stdin.write(b"one\ntwo\n")
            assert await cat.stdout.readline() == b"got one\n"
            cat.stdin.close()
            assert [line async for line in cat.stdout] == [b"got two\n"]
            assert (await cat.wait(timeout=60)).code == 4
            assert cat.pid is None and cat.poll() == await cat.wait()

    play(scene)


@pytest.mark.root
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
def test_a_sandbox_whose_making_is_cancelled_leaves_nothing(turns: int, play: Callable[[Scene], None]) -> None:
    async def scene(root: Path) -> None:
        making = asyncio.create_task(aio.PodSandbox.create(name="box", root=root))
        for _ in range(turns):
            await asyncio.sleep(0)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert await aio.PodSandbox.list(root=root) == []

    play(scene)


@pytest.mark.root
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
def test_a_container_whose_making_is_cancelled_leaves_nothing(
    turns: int, play: Callable[[Scene], None], busybox: Path
) -> None:
    async def scene(root: Path) -> None:
        async with await aio.PodSandbox.create(name="box", root=root) as box:
            spec = aio.ContainerSpec(argv=["true"], rootfs=busybox)
            before = sorted(box.directory.rglob("[!.]*"))
            making = asyncio.create_task(box.create_container("app", spec, stdout=subprocess.PIPE))
            for _ in range(turns):
                await asyncio.sleep(0)
            making.cancel()
            with pytest.raises(asyncio.CancelledError):
                await making
            assert box.containers == {}
            again = await box.create_container("app", spec)  # its name is free
            await again.start()
            assert (await again.wait(timeout=60)).success
            await again.remove()
            left = {path.name for path in box.directory.rglob("[!.]*")} - {path.name for path in before}
            assert left <= {"containers"}

    play(scene)
