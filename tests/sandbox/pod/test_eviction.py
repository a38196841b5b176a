"""Evictions for what a pod has on disk (SEMANTICS A17): limits and words without one, what is counted on a real one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.model import Container, EmptyDir, HostPath, Medium, Pod, Resources, RestartPolicy, Volume
from sandbox.pod import eviction
from sandbox.pod.eviction import Monitor, Places, Usage, excess, sizes_of
from sandbox.quantity import parse
from tests.sandbox.pod.values import IDENTITY, UID, a_record, a_state, running, waiting
from tests.sandbox.pod.world import World, play

MI = 1 << 20


def container(name: str, limit: str | None = None, policy: RestartPolicy | None = None) -> Container:
    limits = {} if limit is None else {"ephemeral-storage": parse(limit)}
    return Container(name, "localhost/busybox", resources=Resources(limits), restart_policy=policy)


def volume(name: str, limit: str | None = None, medium: Medium = Medium.DISK) -> Volume:
    return Volume(name, EmptyDir(medium, None if limit is None else parse(limit)))


def a_pod(*containers: Container, volumes: Sequence[Volume] = (), init: Sequence[Container] = ()) -> Pod:
    return Pod("web", containers=containers or (container("app"),), volumes=tuple(volumes), init_containers=tuple(init))


# ---- limits ----


@pytest.mark.parametrize("used", [0, MI - 1, MI])
def test_a_volume_that_keeps_to_its_limit_stays(used: int) -> None:
    assert excess(a_pod(volumes=[volume("data", "1Mi")]), Usage({"data": used}, {})) is None


def test_a_volume_beyond_its_limit_ends_the_pod() -> None:  # A17
    pod = a_pod(volumes=[volume("other"), volume("data", "1024Ki")])
    found = excess(pod, Usage({"other": 9 * MI, "data": MI + 1}, {}))
    assert found == 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". '


@pytest.mark.parametrize("limit", [None, "0"])
def test_no_limit_and_a_limit_of_0_are_none(limit: str | None) -> None:
    pod = a_pod(container("app", limit), volumes=[volume("data", limit)])
    assert excess(pod, Usage({"data": 1 << 40}, {"app": 1 << 40})) is None
    assert not eviction.has_limits(pod)


def test_a_volume_in_memory_has_its_limit_from_the_kernel() -> None:
    host_path = Volume("host", HostPath("/tmp"))
    assert not eviction.has_limits(a_pod(volumes=[volume("data", "1Mi", Medium.MEMORY), host_path]))


def test_a_container_beyond_its_limit_ends_the_pod() -> None:  # A17
    pod = a_pod(container("web", "2Mi"), container("app", "1Mi"))
    assert excess(pod, Usage({}, {"web": 2 * MI, "app": MI})) is None
    found = excess(pod, Usage({}, {"web": 0, "app": MI + 1}))
    assert found == 'Container app exceeded its local ephemeral storage limit "1Mi". '


def test_all_of_a_pod_is_held_to_the_sum_of_its_limits() -> None:  # A17
    pod = a_pod(container("web", "500Ki"), container("app", "1Mi"), container("free"), volumes=[volume("data")])
    assert excess(pod, Usage({"data": MI}, {"web": 100, "app": 100, "free": 100})) is None
    found = excess(pod, Usage({"data": MI}, {"web": 100, "app": 100, "free": 600 << 10}))
    assert found == "Pod ephemeral local storage usage exceeds the total limit of containers 1524Ki. "


def test_what_is_found_first_is_the_volume_then_the_pod() -> None:
    pod = a_pod(container("app", "1Mi"), volumes=[volume("data", "1Mi")])
    assert "EmptyDir" in str(excess(pod, Usage({"data": 2 * MI}, {"app": 2 * MI})))
    assert str(excess(pod, Usage({"data": MI}, {"app": 2 * MI}))).startswith("Pod ephemeral")


@pytest.mark.parametrize(
    ("init", "apps", "total"),
    [
        (["5Mi", "3Mi"], ["1Mi"], "5Mi"),  # one after the other
        (["5Mi"], ["4Mi", "2Mi"], "6Mi"),
        (["+2Mi", "5Mi"], ["4Mi"], "7Mi"),  # an init container beside a sidecar
        (["5Mi", "+2Mi"], ["4Mi"], "6Mi"),
        ([], ["4Mi", None], "4Mi"),
        (["3Mi"], [None], "3Mi"),
    ],
)
def test_a_pods_limit_is_that_of_those_that_run_at_once(
    init: list[str], apps: list[str | None], total: str
) -> None:  # A23
    before = [
        container(f"init{number}", each.removeprefix("+"), RestartPolicy.ALWAYS if each.startswith("+") else None)
        for number, each in enumerate(init)
    ]
    pod = a_pod(*(container(f"app{number}", each) for number, each in enumerate(apps)), init=before)
    assert str(eviction.pod_limit(pod)) == total


# ---- the disk ----


def measured(*paths: Path) -> dict[Path, int]:
    return asyncio.run(sizes_of(paths))


def fill(path: Path, size: int = MI) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    os.sync()  # some filesystems give a file its blocks no sooner


def grown(directory: Path, before: int) -> float:
    return (measured(directory)[directory] - before) / MI


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "of a pod\nor\ttwo"
    directory.mkdir()
    return directory


@pytest.fixture
def empty(data: Path) -> int:
    return measured(data)[data]


def test_files_are_counted_however_deep(data: Path, empty: int) -> None:
    fill(data / "a" / "b" / "file")
    fill(data / ".hidden")
    assert 2 <= grown(data, empty) < 2.1


def test_a_file_of_many_names_is_counted_once(data: Path, empty: int) -> None:
    fill(data / "file")
    for number in range(5):
        (data / f"link{number}").hardlink_to(data / "file")
    assert 1 <= grown(data, empty) < 1.1


def test_no_link_is_followed(data: Path, tmp_path: Path, empty: int) -> None:
    fill(tmp_path / "elsewhere" / "file")
    (data / "directory").symlink_to(tmp_path / "elsewhere")
    (data / "file").symlink_to(tmp_path / "elsewhere" / "file")
    (data / "round").symlink_to(data)
    assert grown(data, empty) < 0.1


def test_holes_take_nothing(data: Path, empty: int) -> None:
    with (data / "file").open("wb") as file:
        file.truncate(10 << 30)
    assert grown(data, empty) < 0.1


def test_a_path_longer_than_the_kernel_takes_is_no_place_to_hide(data: Path, empty: int) -> None:
    here = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(file, os.urandom(MI))
    os.fsync(file)
    os.close(file)
    os.close(here)
    assert grown(data, empty) >= 1


def test_what_is_not_there_is_left_out(data: Path, tmp_path: Path) -> None:
    assert list(measured(tmp_path / "none", data)) == [data]
    assert measured(tmp_path / "none") == {}


def test_a_look_that_takes_too_long_is_ended(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo, begin = data / "fifo", eviction.subprocess.Popen
    os.mkfifo(fifo)
    started = []

    def stuck(_: object, **options: object) -> object:
        started.append(begin(["cat", fifo], **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(eviction.subprocess, "Popen", stuck)
    monkeypatch.setattr(eviction, "PATIENCE", 0.05)
    with pytest.raises(TimeoutError):
        measured(data)
    assert started[0].returncode == -9


# ---- looking again and again ----


class Watched:
    """Pods that are looked at, and which of them were to be evicted."""

    def __init__(self, *places: Places) -> None:
        self.places = list(places)
        self.evicted: dict[str, str] = {}
        self.warnings: list[str] = []
        self.looks = 0
        self.looked = asyncio.Condition()
        self.monitor = Monitor(self.look, self.evicted.__setitem__, self.warnings.append, period=0.01)

    def look(self) -> list[Places]:
        self.looks += 1
        self.news.set()
        return self.places

    async def until(self, holds: object) -> None:
        """Have the monitor run until it holds."""
        self.news = asyncio.Event()
        task = asyncio.create_task(self.monitor.run())
        while not holds(self):  # type: ignore[operator]
            self.news.clear()
            await self.news.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def places(pod: Pod, volumes: Mapping[str, Path], containers: Mapping[str, Sequence[Path]] | None = None) -> Places:
    return Places(UID, pod, volumes, containers or {})


def test_a_pod_is_evicted_once_it_has_grown(data: Path) -> None:  # A17
    async def scene() -> None:
        watched = Watched(places(a_pod(volumes=[volume("data", "1Mi")]), {"data": data}))
        await watched.until(lambda watched: watched.looks == 3)
        assert watched.evicted == {}
        fill(data / "file", 2 * MI)
        await watched.until(lambda watched: watched.evicted)
        assert watched.evicted == {UID: 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". '}

    play(scene)


def test_layer_and_logs_of_a_container_count_together(tmp_path: Path) -> None:  # A17
    layer, logs = tmp_path / "layer", tmp_path / "logs"
    fill(layer / "upper" / "file", MI)
    fill(logs / "0.log", MI)
    pod = a_pod(container("app", "1536Ki"), container("other", "8Mi"))

    async def scene() -> None:
        watched = Watched(places(pod, {}, {"app": (layer, logs), "other": (tmp_path / "none",)}))
        await watched.until(lambda watched: watched.evicted)
        assert watched.evicted == {UID: 'Container app exceeded its local ephemeral storage limit "1536Ki". '}

    play(scene)


def test_a_du_of_another_make_is_told_of(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = data / "tools"
    tools.mkdir()
    (tools / "nice").write_text("#!/bin/sh\nexit 1\n")
    (tools / "nice").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(SandboxError, match="du says nothing"):
        measured(data)


def test_the_places_of_a_pod_are_those_that_it_writes_to(world: World) -> None:
    """Its emptyDirs on disk; of each container the logs, and the layer of its newest instance."""
    pod = a_pod(volumes=[volume("data"), volume("fast", "1Mi", Medium.MEMORY), Volume("host", HostPath("/tmp"))])
    record, root = a_record(), world.root
    found = eviction.places(record, pod, a_state(running(), waiting("other")), world.store)
    logs = root / "logs" / f"default_web_{UID}"
    assert found == Places(
        UID,
        pod,
        {"data": root / "pods" / UID / "volumes" / "data"},
        {
            "app": (logs / "app", root / "pods" / UID / "sandbox" / "containers" / IDENTITY),
            "other": (logs / "other",),
        },
    )


def test_only_what_has_a_limit_is_looked_at(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    async def noted(paths: Sequence[Path]) -> dict[Path, int]:
        asked.extend(paths)
        return {}

    monkeypatch.setattr(eviction, "sizes_of", noted)
    pod = a_pod(volumes=[volume("data", "1Mi"), volume("free")])
    there = places(pod, {"data": data, "free": tmp_path}, {"app": (tmp_path / "layer",)})
    asyncio.run(eviction.usage(there))
    assert asked == [data]
    asked.clear()
    limited = replace(pod, containers=(container("app", "1Mi"),))
    asyncio.run(eviction.usage(replace(there, pod=limited)))
    assert asked == [data, tmp_path, tmp_path / "layer"]


def test_a_pod_that_cannot_be_looked_at_is_told_of_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        watched = Watched(places(a_pod(volumes=[volume("data", "1Mi")]), {"data": data}))
        monkeypatch.setenv("PATH", str(data))
        await watched.until(lambda watched: watched.looks == 3)
        assert watched.warnings == [
            "pod default/web: how much it has on disk cannot be seen: run du: No such file or directory (ENOENT)"
        ]

    play(scene)
