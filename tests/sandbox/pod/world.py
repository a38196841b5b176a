"""A root whose sandboxes are only noted, and ends when a test says so: what a worker is tried in without a kernel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.errors import NotFound, SandboxError, WrongState
from sandbox.model import Pod, RestartPolicy
from sandbox.pod import worker as module
from sandbox.pod.child import LogState
from sandbox.pod.config import Config
from sandbox.pod.instances import Surroundings
from sandbox.pod.passage import Note
from sandbox.pod.paths import make_root
from sandbox.pod.podmon import Stage
from sandbox.pod.resources import Means, Placement
from sandbox.pod.root_network import Attached
from sandbox.pod.state import ContainerState, PodState
from sandbox.pod.store import Store
from sandbox.pod.worker import Worker
from sandbox.status import ExitStatus
from tests.sandbox.pod.values import NOON, a_pod, a_record


class FakeContainer:
    """A container that ends when the test says so."""

    def __init__(self, name: str, identity: str, number: int, stage: Stage = Stage.CREATED) -> None:
        self.name, self.id, self.number, self.stage = name, identity, number, stage
        self.exit: ExitStatus | None = None
        self.failure: SandboxError | None = None
        self.started = NOON
        self.signals: list[int] = []
        self.forgotten = False
        self._logged: list[LogState] = []
        self._heard = asyncio.Event()
        self._end = asyncio.Event()

    def end(self, code: int = 0, signal: int | None = None) -> None:
        if self.stage is not Stage.ENDED:
            self.exit = ExitStatus(code, signal, False, NOON, module.now())
            self.stage = Stage.ENDED
            self._end.set()
            self._heard.set()

    async def ended(self) -> None:
        if self.stage is not Stage.ENDED:
            await self._end.wait()

    async def log_states(self) -> AsyncIterator[LogState]:
        while True:
            while self._logged:
                yield self._logged.pop(0)
            if self.stage is Stage.ENDED:
                return
            self._heard.clear()
            await self._heard.wait()

    def tell_log(self, state: LogState) -> None:
        self._logged.append(state)
        self._heard.set()

    async def start(self) -> None:
        self.stage = Stage.RUNNING

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def thaw(self) -> bool:
        return False

    def kill(self) -> None:
        self.end(137, 9)

    async def forget(self) -> None:
        self.forgotten = True


class FakeBox:
    """A sandbox: `gate` holds up what is made in it."""

    def __init__(self) -> None:
        self.containers: dict[str, FakeContainer] = {}
        self.alive = True
        self.pidfd = -1
        self.removed = self.detached = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.undone: list[str] = []
        self.next_number = 1
        self._gone = asyncio.Event()

    async def create_container(self, name: str, spec: object, *, identity: str, log: object) -> FakeContainer:
        self.asked.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.undone.append(identity)
            raise
        if not self.alive:
            raise WrongState("the pod's podmon has ended", current="gone", wanted="running")
        self.containers[name] = FakeContainer(name, identity, self.next_number)
        self.next_number += 1
        return self.containers[name]

    def die(self) -> None:
        self.alive = False
        for each in self.containers.values():
            each.end(137, 9)
        self._gone.set()

    async def gone(self) -> None:
        await self._gone.wait()

    async def remove(self) -> None:
        self.die()
        self.removed = True

    def detach(self) -> None:
        self.detached = True


class FakeScope:
    def __init__(self, removed: list[str], name: str) -> None:
        self._removed, self._name = removed, name

    def child(self, name: str) -> FakeScope:
        return FakeScope(self._removed, name)

    def remove_tree(self) -> None:
        self._removed.append(self._name)


class FakeSlices:
    means = Means()

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.known: dict[str, Placement] = {}

    def why_not(self, controller: str) -> str:
        return f"controller {controller} is not there"

    def path(self, uid: str) -> Path:
        return Path("/nowhere") / uid

    def create(self, uid: str, placement: Placement) -> FakeScope:
        self.keep(uid, placement)
        return self.handle(uid)

    def keep(self, uid: str, placement: Placement) -> None:
        self.known[uid] = placement

    def handle(self, uid: str) -> FakeScope:
        return FakeScope(self.removed, uid)

    def uids(self) -> set[str]:
        return set()

    def remove(self, uid: str) -> None:
        self.removed.append(uid)


class FakeNetworks:
    """Gives out addresses in order; `failures` are raised first, `meanwhile` is what happens until it is done."""

    def __init__(self) -> None:
        self.attached: list[str] = []
        self.detached: list[str] = []
        self.closed: list[str] = []  # pods whose ports were
        self.failures: list[SandboxError] = []
        self.answer = Attached(("10.0.0.2", "fd00::2"), (Note("changed"),))
        self.meanwhile: Callable[[], object] = lambda: None

    async def attach(self, uid: str, pod: Pod, box: object) -> Attached:
        self.meanwhile()
        for _ in range(10):  # long enough for whoever heard of it to do what follows
            await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.attached.append(uid)
        return self.answer

    repair = attach

    async def close_ports(self, uid: str, when: asyncio.Event) -> None:
        await when.wait()
        self.closed.append(uid)

    async def detach(self, uid: str) -> None:
        self.detached.append(uid)

    def host_ip(self) -> str:
        return "192.0.2.9"


@dataclass
class World:
    """A root, and the sandboxes that are made in it."""

    root: Path
    slices: FakeSlices = field(default_factory=FakeSlices)
    networks: FakeNetworks = field(default_factory=FakeNetworks)
    boxes: list[FakeBox] = field(default_factory=list)
    left: FakeBox | Exception = field(default_factory=lambda: NotFound("podmon", "x"))  # by the engine before
    warnings: list[str] = field(default_factory=list)
    shut: bool = False  # new sandboxes make no container yet

    def __post_init__(self) -> None:
        make_root(self.root)
        self.store = Store(self.root, self.slices, self.warnings.append)  # type: ignore[arg-type]

    def worker(self, state: PodState, policy: RestartPolicy = RestartPolicy.ALWAYS) -> Worker:
        self.store.add(a_record(), state)
        return self.next_worker(policy)

    def next_worker(self, policy: RestartPolicy = RestartPolicy.ALWAYS) -> Worker:
        """As the next engine has it."""
        state = self.on_disk()
        pod = a_pod(*(each.name for each in state.containers), policy=policy)
        return Worker(a_record(), pod, state, self.around)

    @property
    def around(self) -> Surroundings:
        networks: Any = self.networks
        return Surroundings(self.store, Config("here"), networks, self.warnings.append)

    def on_disk(self) -> PodState:
        ((_, state),) = self.store.load()
        return state

    async def create(self, **_: Any) -> FakeBox:
        self.boxes.append(FakeBox())
        if self.shut:
            self.boxes[-1].gate.clear()
        return self.boxes[-1]

    async def connect(self, *, containers: Any, **_: Any) -> FakeBox:
        if isinstance(self.left, Exception):
            raise self.left
        self.connected = containers
        return self.left


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scene()

    asyncio.run(bounded())


async def until(worker: Worker, holds: Callable[[PodState], object]) -> None:
    while True:
        changed = worker.changed
        if holds(worker.state):
            return
        await changed.wait()


@contextlib.asynccontextmanager
async def living(worker: Worker) -> Any:
    life = asyncio.create_task(worker.live())
    try:
        yield life
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        assert life.cancelled() or life.exception() is None


def app(state: PodState) -> ContainerState:
    return state.containers[0]


def kill_at(state: PodState) -> datetime | None:
    """When KILL comes to the first container, once that has its signal."""
    return app(state).stopping.kill_at if app(state).stopping else None  # type: ignore[union-attr]


def is_running(state: PodState) -> bool:
    return all(each.instance and each.instance.started_at and not each.ended for each in state.containers)
