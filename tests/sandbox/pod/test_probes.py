"""Probes of a container, asked as time goes by: what is heard of them, and that nothing else is."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sandbox.errors import KernelError, WrongState
from sandbox.model import Container, ExecAction, Probe
from sandbox.pod import probes as module
from sandbox.pod.handlers import Answer, Ran, Target
from sandbox.pod.probes import ProbeKind, Probes

STARTUP, LIVENESS, READINESS = "startup", "liveness", "readiness"


class Scene:
    """A container whose probes answer as a test says; a clock that runs only as far as somebody waits for it."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.asked: list[tuple[str, float]] = []
        self.answers: dict[str, Callable[[], Ran]] = {}
        self.takes = 0.0
        self._changed = asyncio.Event()

    def _note(self, *what: Any) -> None:
        self.heard.append(what)
        self._changed.set()
        self._changed = asyncio.Event()

    def startup(self, passed: bool) -> None:
        self._note("startup", passed)

    def liveness_failed(self) -> None:
        self._note("liveness failed")

    def readiness(self, ready: bool) -> None:
        self._note("ready", ready)

    def unhealthy(self, kind: ProbeKind, message: str, warning: bool) -> None:
        self._note(message, warning)

    async def run(self, argv: Sequence[str], timeout: float) -> Ran:
        self.asked.append((argv[0], asyncio.get_running_loop().time()))
        self._note_asked()
        await asyncio.sleep(self.takes)
        return self.answers.get(argv[0], lambda: Ran(0, b""))()

    def _note_asked(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():
            await self._changed.wait()

    def count(self, name: str) -> int:
        return sum(each == name for each, _ in self.asked)

    @asynccontextmanager
    async def probed(self, *names: str, started: bool = False, **fields: Any) -> Any:
        fields = {"period_seconds": 1, "failure_threshold": 2, **fields}
        given = {f"{name}_probe": Probe(ExecAction((name,)), **fields) for name in names}
        target = Target(("127.0.0.1",), {}, self.run)
        probes = Probes(Container("c", "image", **given), target, self, started=started)
        task = asyncio.create_task(probes.run())
        try:
            yield probes
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()


class _Skipping(asyncio.SelectorEventLoop):
    """Time goes on at once to when somebody waits for it, where nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def skipping(timeout: float | None = None) -> Any:
            self._ahead += timeout or 0.0
            return select(0 if timeout is not None else None)

        self._selector.select = skipping  # type: ignore[attr-defined]

    def time(self) -> float:
        return super().time() + self._ahead


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3600):  # of the scene's own time
            await scene(Scene())

    with asyncio.Runner(loop_factory=_Skipping) as runner:
        runner.run(bounded())


def fails(output: bytes = b"no") -> Ran:
    return Ran(1, output)


def test_a_container_without_probes_has_started_and_is_ready() -> None:
    async def scene(at: Scene) -> None:
        async with at.probed():
            await at.until(lambda: len(at.heard) == 2)
            assert at.heard == [("startup", True), ("ready", True)]

    play(scene)


def test_a_failed_liveness_is_told_once_and_asked_no_more_while_readiness_goes_on() -> None:
    async def scene(at: Scene) -> None:
        at.answers[LIVENESS] = fails
        async with at.probed(LIVENESS, READINESS):
            await at.until(lambda: at.count(READINESS) > 10)
        failed = ("Liveness probe failed: no", False)
        assert [each for each in at.heard if each[0] not in ("startup", "ready")] == [
            failed,
            failed,
            ("liveness failed",),
        ]
        assert at.count(LIVENESS) == 2

    play(scene)


def test_startup_holds_the_others_back_and_readiness_follows_it_at_once() -> None:
    async def scene(at: Scene) -> None:
        at.answers[STARTUP] = lambda: fails() if at.count(STARTUP) < 4 else Ran(0, b"")
        async with at.probed(STARTUP, LIVENESS, READINESS, failure_threshold=9):
            await at.until(lambda: at.count(READINESS))
            assert at.count(STARTUP) == 4
            assert at.count(LIVENESS) == 0
            await at.until(lambda: at.count(LIVENESS) and at.count(READINESS) > 5)
        assert at.count(STARTUP) == 4, "startup is asked no more"
        passed = next(time for name, time in reversed(at.asked) if name == STARTUP)
        assert next(time for name, time in at.asked if name == READINESS) - passed < 0.5
        assert [each for each in at.heard if each[0] in ("startup", "ready")] == [("startup", True), ("ready", True)]

    play(scene)


def test_a_failed_startup_is_told_once_and_ends_the_asking() -> None:
    async def scene(at: Scene) -> None:
        at.answers[STARTUP] = fails
        async with at.probed(STARTUP, LIVENESS, READINESS):
            await at.until(lambda: ("startup", False) in at.heard)
            await asyncio.sleep(100)
        assert [name for name, _ in at.asked] == [STARTUP] * 2
        assert at.heard[-1] == ("startup", False)

    play(scene)


def test_a_period_is_kept_however_long_an_answer_takes() -> None:
    async def scene(at: Scene) -> None:
        at.takes = 0.7
        async with at.probed(READINESS, period_seconds=2, initial_delay_seconds=5):
            begun = asyncio.get_running_loop().time()
            await at.until(lambda: at.count(READINESS) == 4)
        times = [time - begun for _, time in at.asked]
        for time, due in zip(times, (5, 7, 9, 11), strict=True):
            assert due <= time + 0.01 < due + module.SLACK + 0.5, times

    play(scene)


def test_from_the_deletion_on_only_readiness_is_asked_and_an_answer_under_way_counts_no_more() -> None:  # A36
    async def scene(at: Scene) -> None:
        at.takes = 0.5
        at.answers[LIVENESS] = fails
        async with at.probed(LIVENESS, READINESS, failure_threshold=1) as probes:
            await at.until(lambda: at.count(LIVENESS))
            probes.terminating()
            await at.until(lambda: at.count(READINESS) > 5)
        assert at.count(LIVENESS) == 1
        assert at.heard == [("startup", True), ("ready", True)]

    play(scene)


def test_what_could_not_be_asked_is_tried_three_times_and_counts_as_nothing() -> None:
    async def scene(at: Scene) -> None:
        def raises() -> Ran:
            raise KernelError(errno.EMFILE, step="make a pipe")

        at.answers[LIVENESS] = raises
        async with at.probed(LIVENESS, failure_threshold=1):
            await at.until(lambda: at.count(LIVENESS) == 9)
        message = "Liveness probe errored and resulted in unknown state: make a pipe: "
        told = [each for each in at.heard if each[0] not in ("startup", "ready")]
        assert len(told) in (2, 3)
        assert all(each[0].startswith(message) and each[1] is False for each in told), told

    play(scene)


def test_of_a_container_that_has_ended_meanwhile_nothing_is_told() -> None:
    async def scene(at: Scene) -> None:
        def raises() -> Ran:
            raise WrongState("it does not run", current="ended", wanted="running")

        at.answers[LIVENESS] = raises
        async with at.probed(LIVENESS, failure_threshold=1):
            await at.until(lambda: at.count(LIVENESS) == 3)
        assert at.heard == [("startup", True), ("ready", True)]

    play(scene)


def test_a_success_with_a_warning_is_told_and_a_long_message_is_cut(monkeypatch: Any) -> None:
    async def warns(*_: Any) -> Answer:
        return Answer(True, "w" * 5000, warning=True)

    monkeypatch.setattr(module, "act", warns)

    async def scene(at: Scene) -> None:
        async with at.probed(READINESS):
            await at.until(lambda: ("ready", True) in at.heard)
        assert ("Readiness probe " + ("warning: " + "w" * 5000)[: module.MAX_MESSAGE], True) in at.heard

    play(scene)


def test_what_another_engine_has_left_is_asked_at_other_times_each() -> None:
    """Two hundred containers found at once: in no second of their period more than a part of them."""

    async def scene(at: Scene) -> None:
        running = [at.probed(READINESS, started=True, period_seconds=10) for _ in range(200)]
        for each in running:
            await each.__aenter__()
        begun = asyncio.get_running_loop().time()
        await at.until(lambda: len(at.asked) >= 200)
        for each in running:
            await each.__aexit__(None, None, None)
        seconds = [int(time - begun) for _, time in at.asked]
        assert max(seconds.count(second) for second in range(11)) < 60
        assert ("startup", True) not in at.heard

    play(scene)
