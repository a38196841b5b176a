"""The probes of one container that runs, asked again and again, and what they say told to who wants to know it.

When each is due and what its answers say is decided in sandbox.pod.probing; what is done to the container, in
sandbox.pod.handlers.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from typing import Protocol

from sandbox.errors import SandboxError, WrongState
from sandbox.model import Container, Probe
from sandbox.pod import probing
from sandbox.pod.handlers import Answer, Target, act
from sandbox.pod.probing import ProbeKind, Standing, Verdict

__all__ = ["Heard", "ProbeKind", "Probes"]

ATTEMPTS = 3  # at what could not be asked, before it counts as nothing
SLACK = 0.1  # seconds: those that are due in the same tenth are asked together, as to wake up costs more than to ask
MAX_MESSAGE = 1024  # characters of what is told of an answer


class Heard(Protocol):
    """Who hears of it.  None of these may wait for anything."""

    def startup(self, passed: bool) -> None:
        """Whether it has started; once, and not at all where that was known before."""

    def liveness_failed(self) -> None:
        """It is to be killed; once, and liveness is asked no more."""

    def readiness(self, ready: bool) -> None:
        """Whether it is ready, whenever that is another; at first it is not, unless it had started before."""

    def unhealthy(self, kind: ProbeKind, message: str, warning: bool) -> None:
        """The whole text of an event, "Liveness probe failed: …": of the reason ProbeWarning, which is a success, with
        `warning`, and else of Unhealthy."""


class Probes:
    """What asks them."""

    def __init__(self, container: Container, target: Target, heard: Heard, *, started: bool, age: float = 0.0) -> None:
        """`started`: its startup was seen by an engine before this one.  `age` is how long it has run by now."""
        self._container = container
        self._target = target
        self._heard = heard
        self._started = started
        self._age = age
        self._terminating = False
        self._standing: Standing | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Ask until cancelled."""
        now = asyncio.get_running_loop().time()
        self._take(probing.begun(self._container, now, age=self._age, started=self._started, part=random.random))
        if self._terminating:
            self.terminating()
        assert self._standing is not None
        async with asyncio.TaskGroup() as group:
            for kind in self._standing.courses:
                group.create_task(self._ask_again_and_again(kind))
            await asyncio.Event().wait()

    def terminating(self) -> None:
        """The pod is being deleted: from now on only readiness is asked (SEMANTICS A36)."""
        self._terminating = True
        if self._standing is not None:
            self._take(self._standing.terminated(asyncio.get_running_loop().time()))

    def _take(self, told: probing.Told) -> None:
        self._standing, verdicts = told
        if verdicts:  # what was held back may go on
            self._changed.set()
            self._changed = asyncio.Event()
        for each in verdicts:
            self._tell(each)

    def _tell(self, verdict: Verdict) -> None:
        match verdict:
            case Verdict.STARTED | Verdict.NOT_STARTED:
                self._heard.startup(verdict is Verdict.STARTED)
            case Verdict.NOT_ALIVE:
                self._heard.liveness_failed()
            case Verdict.READY | Verdict.NOT_READY:
                self._heard.readiness(verdict is Verdict.READY)

    async def _ask_again_and_again(self, kind: ProbeKind) -> None:
        loop = asyncio.get_running_loop()
        while True:
            assert self._standing is not None
            due = self._standing.due(kind)
            if due is None or due > loop.time():
                await self._until(due)
                continue
            self._standing = self._standing.asked(kind, loop.time())
            answer = await self._ask(kind, self._standing.courses[kind].probe)
            if answer is not None and self._standing.is_asked(kind):
                self._hear(kind, answer)
                self._take(self._standing.answered(kind, answer.success, loop.time()))

    async def _until(self, due: float | None) -> None:
        """Wait until then, or until things are others."""
        changed = self._changed
        at = None if due is None else math.ceil(due / SLACK) * SLACK
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(at):
                await changed.wait()

    async def _ask(self, kind: ProbeKind, probe: Probe) -> Answer | None:
        """None where it could not be asked."""
        for _ in range(ATTEMPTS):
            try:
                return await act(probe.action, self._target, probe.timeout_seconds)
            except WrongState:  # it has ended, which is heard of otherwise
                return None
            except (SandboxError, OSError) as error:
                why = error
        self._say(kind, f"errored and resulted in unknown state: {why}")
        return None

    def _hear(self, kind: ProbeKind, answer: Answer) -> None:
        if not answer.success:
            self._say(kind, f"failed: {answer.message}")
        elif answer.warning:
            self._say(kind, f"warning: {answer.message}", warning=True)

    def _say(self, kind: ProbeKind, what: str, *, warning: bool = False) -> None:
        self._heard.unhealthy(kind, f"{kind} probe {what[:MAX_MESSAGE]}", warning)
