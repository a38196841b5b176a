"""The hooks and probes of a pod's containers: when each runs, and what its outcome means for the state.

How an action is done is sandbox.pod.handlers' business, how often and what counts sandbox.pod.probes'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.errors import SandboxError
from sandbox.model import Container, HookAction, Pod, RestartPolicy
from sandbox.pod import handlers, planning
from sandbox.pod.handlers import Answer
from sandbox.pod.notebook import Notebook, now
from sandbox.pod.probes import ProbeKind, Probes
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.state import Condemned, ContainerState, Instance
from sandbox.pod.targets import target_of
from sandbox.pod.tasks import Tasks

UNBOUNDED = 10.0 * 365 * 86400  # seconds: kubelet gives a postStart hook no time-out


@dataclass
class Health:
    """Of one pod; `pod` is replaced where that changes."""

    pod: Pod
    book: Notebook
    tasks: Tasks
    warn: Callable[[str], None]
    _probing: dict[str, tuple[Probes, asyncio.Task[None]]] = field(default_factory=dict)  # by container

    # ---- hooks ----

    async def done(self, action: HookAction, asked: Container, made: SandboxContainer, timeout: float) -> bool:
        """Whether a hook was a success; its container's end ends it.  Why it was none is told to `warn` alone, as
        kubelet's event leaves it out: it may hold what is nobody's business."""
        act = asyncio.ensure_future(handlers.act(action, self._target(asked, made), timeout, hook=True))
        end = asyncio.ensure_future(made.ended())
        try:
            await asyncio.wait((act, end), return_when=asyncio.FIRST_COMPLETED)
            if not act.done():
                return False
            answer = act.result()
        except (SandboxError, OSError, TimeoutError) as error:
            answer = Answer(success=False, message=str(error))
        finally:
            for each in (act, end):
                each.cancel()
            await asyncio.gather(act, end, return_exceptions=True)
        if not answer.success:
            self.warn(f"{self.book.called}: a hook of container {asked.name} failed: {answer.message}")
        return answer.success

    def _target(self, asked: Container, made: SandboxContainer) -> handlers.Target:
        ips = ("127.0.0.1",) if self.pod.host_network else self.book.state.pod_ips
        return target_of(made, asked, ips, oom_score_adj=planning.oom_score_adj(self.pod, asked))

    def condemn(self, known: ContainerState, what: str, grace: int | None = None, *, again: bool) -> None:
        """Note that the container's instance is to end; a grace of None is the pod's."""
        message = f"Container {known.name} {what}" + (", will be restarted" if again else "")
        seconds = self.pod.termination_grace_period_seconds if grace is None else grace
        self.book.note(self.book.state.with_container(known.changed(condemned=Condemned(message, seconds, again))))

    def condemn_outdated(self, asked: Container) -> None:
        """Note that its instance, which has another image than it has now, is to end, and the next one to begin,
        whatever the restart policy says (SEMANTICS A26)."""
        known = self.book.state.container(asked.name)
        if asked not in self.pod.sidecars:
            self.condemn(known, "definition changed", again=True)
            return
        message = f"Init container {asked.name} definition changed"  # kubelet's words for a sidecar
        condemned = Condemned(message, self.pod.termination_grace_period_seconds, again=True)
        self.book.note(self.book.state.with_container(known.changed(condemned=condemned)))

    # ---- probes ----

    def watch(self, asked: Container, made: SandboxContainer) -> None:
        """Begin to probe an instance whose postStart hook is done."""
        if not (asked.startup_probe or asked.liveness_probe or asked.readiness_probe):
            return
        self.forget(asked.name)
        known = self.book.state.container(asked.name).instance
        assert known is not None
        heard = _Heard(self, asked, made.id)
        probes = Probes(asked, self._target(asked, made), heard, started=known.started, age=_age(known))
        self._probing[asked.name] = probes, self.tasks.start(probes.run())

    def terminating(self, name: str) -> None:
        """Only its readiness is asked for still (SEMANTICS A36)."""
        if name in self._probing:
            self._probing[name][0].terminating()

    def forget(self, name: str) -> None:
        """Nothing more is asked of the container."""
        known = self._probing.pop(name, None)
        if known is not None:
            known[1].cancel()


def _age(instance: Instance) -> float:
    """Seconds that it has run."""
    return max((now() - instance.started_at).total_seconds(), 0.0) if instance.started_at else 0.0


@dataclass(frozen=True)
class _Heard:
    """Takes down what the probes of one instance say."""

    health: Health
    asked: Container
    identity: str

    def startup(self, passed: bool) -> None:
        if passed:
            self._note(started=True, ready=self.asked.readiness_probe is None)
        else:
            self._condemn(ProbeKind.STARTUP)

    def liveness_failed(self) -> None:
        self._condemn(ProbeKind.LIVENESS)

    def readiness(self, ready: bool) -> None:
        self._note(ready=ready)

    def unhealthy(self, kind: ProbeKind, message: str, warning: bool) -> None:
        if self._known() is not None:
            reason, state = "ProbeWarning" if warning else "Unhealthy", self.health.book.state
            self.health.book.note(state.with_event(now(), reason, message, container=self.asked.name, warning=True))

    def _condemn(self, kind: ProbeKind) -> None:
        probe = self.asked.startup_probe if kind is ProbeKind.STARTUP else self.asked.liveness_probe
        known = self._known()
        if known is not None and probe is not None:
            what = f"failed {kind.lower()} probe"
            again = self.health.pod.restart_policy is not RestartPolicy.NEVER
            self.health.condemn(known, what, probe.termination_grace_period_seconds, again=again)

    def _note(self, **fields: Any) -> None:
        known = self._known()
        if known is not None and known.changed(**fields) != known:
            self.health.book.note(self.health.book.state.with_container(known.changed(**fields)))

    def _known(self) -> ContainerState | None:
        """Its container, as long as this instance of it runs."""
        known = self.health.book.state.container(self.asked.name)
        return known if known.runs and known.instance and known.instance.id == self.identity else None
