"""One pod on its way through life: carries out what sandbox.pod.lifecycle decides, and notes each step on disk.

A step that cannot be taken back is written down before it is taken, and what came of it after: the engine may be
killed between any two lines, and `adopt` is how the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cgroups import CgroupError
from sandbox.errors import NotFound, SandboxError, Unsupported, WrongState
from sandbox.model import Pod
from sandbox.pod import ends, etc, hostports, lifecycle, planning, report, resources, termination, update, volumes
from sandbox.pod.files import make_directory
from sandbox.pod.instances import Instances, Known, Surroundings
from sandbox.pod.memory import Held
from sandbox.pod.notebook import Notebook, now
from sandbox.pod.root_network import Attached
from sandbox.pod.sandbox import PodSandbox
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.state import Deletion, Failure, PodRecord, PodState
from sandbox.pod.tasks import Interrupted, Tasks, in_thread, unless
from sandbox.status import Phase, PodStatus

PATIENCE = 5.0  # seconds in which the podmon of a pod that is to end has to answer
RETRY_FIRST, RETRY_LAST = 0.5, 10.0  # seconds between two tries of something that failed

# What is told where a step failed; kubelet's words where it has one.
_FAILED: dict[type, str] = {
    lifecycle.MakeSandbox: "FailedCreatePodSandBox",
    termination.TearDown: "FailedKillPod",
    termination.Remove: "FailedKillPod",
}


class Worker:
    """Carries one pod through its life.  `state` is what stands on disk; `removed` is set when nothing does."""

    def __init__(self, record: PodRecord, pod: Pod, state: PodState, around: Surroundings) -> None:
        self.record = record
        self.pod = pod
        self.removed = False
        self._around = around
        self._store = around.store
        self._book = Notebook(record, state.forgotten(), around.store, around.warn)
        self._box: PodSandbox | None = None
        self._memory = Held(volumes.in_memory(pod))
        self.unspoken: Unsupported | None = None  # why it can only be ended: its podmon is another seedpod's
        self._ending = asyncio.Event()  # the pod is to end: a start under way is given up
        self._tasks = Tasks()
        self._instances = Instances(pod, self._book, around, self._tasks, self._ending)
        self._retry = RETRY_FIRST

    # ---- what others see and ask ----

    @property
    def state(self) -> PodState:
        return self._book.state

    def status(self) -> PodStatus:
        status = report.status(self.pod, self.record, self.state, now(), self._limit)
        return replace(status, host_ip=self._around.networks.host_ip())

    @property
    def _limit(self) -> float:
        return self._around.config.max_container_restart_period

    @property
    def changed(self) -> asyncio.Event:
        """Set with the next change of the state, and then replaced: take it before you look."""
        return self._book.changed

    def instance(self, container: str) -> SandboxContainer | None:
        """The container's newest instance, where there is a sandbox that has it."""
        return self._box.containers.get(container) if self._box else None

    def host_ports(self) -> hostports.Held:
        """The host's ports that the pod has, until its sandbox is gone for good."""
        finished = not self.state.sandbox and self.status().phase in (Phase.SUCCEEDED, Phase.FAILED)
        return self._book.called, () if finished else hostports.asked(self.pod)

    def delete(self, deletion: Deletion) -> None:
        """End the pod.  A later call may only shorten the grace, or lift `hold` (SEMANTICS A31)."""
        self._book.note(termination.deleted(self.state, deletion, now()))
        self._ending.set()

    def fail(self, reason: str, message: str, grace: int) -> None:
        """End the pod as failed (SEMANTICS A17, A22); one that is to end already goes on with that."""
        if not termination.is_ending(self.state) and not lifecycle.is_over(self.pod, self.state):
            self._fail(Failure(reason, message, grace))

    def _fail(self, failure: Failure) -> None:
        state = self.state.with_event(now(), failure.reason, failure.message, warning=True)
        self._book.note(replace(state, failure=failure))
        self._tasks.start(self._book.keep())
        self._ending.set()

    async def keep(self) -> None:
        """Have the pod outlive a power cut, as it is by now."""
        await self._book.keep()

    def change(self, record: PodRecord, pod: Pod) -> None:
        """Go on as `record`, which stands on disk by now, and `pod` have it."""
        before, self.pod = self.pod, pod
        self.record = self._book.record = record
        self._instances.change(pod)
        self._book.note(update.changed(self.state, before, pod))

    # ---- the loop ----

    async def live(self) -> None:
        """Carry the pod through its life, to its removal or until cancelled."""
        if termination.is_ending(self.state):
            self._ending.set()
        try:
            while not self.removed:
                self._book.noted.clear()
                if self.unspoken and not self._ending.is_set():
                    await self._wait(None)
                    continue
                decision = lifecycle.decide(self.pod, self.state, now(), self._limit)
                if decision == termination.Decision() and not self.state.sandbox:  # nothing of it runs, or will
                    self._release_volumes()
                if decision.action is None:
                    await self._wait(decision.wake)
                else:
                    await self._carry_out(decision.action)
        finally:
            await self._tasks.end()
            self._memory.let_go()
            if self._box is not None:
                self._box.detach()

    async def _wait(self, until: datetime | None) -> None:
        seconds = None if until is None else max((until - now()).total_seconds(), 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._book.noted.wait()

    async def _carry_out(self, action: object) -> None:
        """Do it; what fails for reasons of the machine is told, and tried again."""
        was_ending = self._ending.is_set()
        try:
            with contextlib.suppress(Interrupted):  # the next decision knows
                await self._do(action)
        except (SandboxError, CgroupError, OSError) as error:
            hint = getattr(error, "hint", None)
            self._book.tell(
                _FAILED.get(type(action), "Failed"), f"{error}: {hint}" if hint else str(error), warning=True
            )
            self._around.warn(f"{self._book.called}: {error}")
            if self._ending.is_set() and not was_ending:
                return  # that is news, and not what was noted just now
            self._book.noted.clear()
            self._retry, delay = min(2 * self._retry, RETRY_LAST), self._retry
            await self._wait(now() + timedelta(seconds=delay))
        else:
            self._retry = RETRY_FIRST

    async def _do(self, action: object) -> None:
        match action:
            case lifecycle.MakeSandbox():
                await self._make_sandbox()
            case lifecycle.Start():
                await self._start(action)
            case lifecycle.Fail(failure):
                self._fail(failure)
            case lifecycle.Condemn(asked):
                self._instances.health.condemn_outdated(asked)
            case lifecycle.RestartAll():
                self._restart_all(action)
            case lifecycle.Renew():
                self._book.note(self.state.renewed())
            case _:
                await self._end(action)

    async def _end(self, action: object) -> None:
        """A step of sandbox.pod.termination."""
        match action:
            case termination.Stop(names, deadline, hooks):
                self._instances.stop(self._running(names), deadline, hooks=hooks)
            case termination.Signal(name, kill_at):
                self._instances.signal(self._running([name]), kill_at)
            case termination.Kill() if self._box is None:  # nobody would tell of what came of it
                await self._tear_down()
            case termination.Kill(names):
                self._instances.kill(self._running(names))
            case termination.TearDown():
                await self._tear_down()
            case termination.Remove():
                await self._remove()

    def _running(self, names: Sequence[str]) -> list[Known]:
        """Those of these containers that run, and what podmon knows of each."""
        known = self._box.containers if self._box else {}
        running = [each for each in map(self.state.container, names) if each.runs]
        return [(each, known.get(each.name)) for each in running]

    # ---- the sandbox ----

    async def _make_sandbox(self) -> None:
        uid = self.record.uid
        await self._take_claims()
        await unless(self._ending, volumes.give_claims_to_group(self.pod, self._store.claims))
        directory = self._store.sandbox_directory(uid)
        if directory.exists() or self._store.slices.path(uid).exists():  # left by a former one, or a killed engine
            await in_thread(self._store.remove_sandbox, uid)
        make_directory(directory)
        box = await unless(
            self._ending,
            PodSandbox.create(
                name=self.pod.name,
                hostname=planning.hostname(self.pod),
                directory=directory,
                pod_slice=self._store.slices.create(uid, self._placement()),
                bound=False,
                sharing=planning.sharing(self.pod),
                memory=self._memory,
            ),
        )
        try:
            attached = await unless(self._ending, self._around.networks.attach(uid, self.pod, box))
            # As it is by now: what was noted while that took its time, a deletion even, must not be lost.
            lacks = planning.resource_warnings(self.pod, self._store.slices.why_not)
            self._book.write(self._with_network(report.with_sandbox(self.state, lacks, now()), attached))
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            await box.remove()
            raise
        self._have(box)

    def _have(self, box: PodSandbox) -> None:
        self._box = box
        self._memory.hold(box.pidfd)
        self._tasks.start(self._watch_sandbox(box))

    def _placement(self) -> resources.Placement:
        return resources.placement(self.pod, self._store.slices.means, self._around.config.pod_pids_limit)

    async def _take_claims(self) -> None:
        """Wait until the pod can have what its volumes claim; until then Kubernetes would not schedule it."""
        claims, told = self._store.claims, None
        while True:
            changed = claims.changed
            reason = claims.take(self.record.uid, self.pod)
            if reason is None:
                return
            if reason != told:
                self._book.tell(report.NOT_SCHEDULED, f"0/1 nodes are available: {reason}.", warning=True)
            told = reason
            await unless(self._ending, changed.wait())

    def keep_claims(self) -> None:
        """Go on with those that an engine before this one gave it."""
        if self.state.sandbox:
            self._store.claims.keep(self.record.uid, self.pod)

    def _release_volumes(self) -> None:
        self._store.claims.release(self.record.uid)
        self._memory.let_go()

    def _with_network(self, state: PodState, attached: Attached) -> PodState:
        """The state with the pod's addresses, and with what was changed on the host for them."""
        if attached.ips != state.pod_ips:
            etc.forget(self._store.directory(self.record.uid))
        for note in attached.notes:
            state = state.with_event(now(), note.reason, note.text, warning=note.warning)
        return replace(state, pod_ips=attached.ips)

    async def _watch_sandbox(self, box: PodSandbox) -> None:
        """Its podmon has died, and with it all that ran (SEMANTICS A22): what is left of it goes at once."""
        await box.gone()
        if self._box is not box:
            return
        self._book.tell("SandboxDied", "its podmon was killed, and with it all that ran", warning=True)
        try:
            await box.remove()
        except (SandboxError, CgroupError, OSError) as error:  # the next sandbox, or the pod's end, comes to it again
            self._around.warn(f"{self._book.called}: what is left of its sandbox cannot be removed: {error}")
        self._lose_sandbox(box)

    def _lose_sandbox(self, box: PodSandbox | None) -> None:
        """Note that it is gone, and how its containers ended: as podmon last said, or with podmon."""
        self._box = None
        state = replace(self.state, sandbox=False)
        for each in state.containers:
            if each.runs and each.instance:
                made = box.containers.get(each.name) if box else None
                seen = made.exit if made and made.id == each.instance.id else None
                end = ends.by_exit(each.instance, seen) if seen else ends.with_podmon(each.instance, now())
                state = state.with_container(each.with_end(self._instances.heard(each.name, each.instance, end)))
        self._book.note(state)

    async def _tear_down(self) -> None:
        box, self._box = self._box, None
        await self._instances.leavings.all_removed()
        if box is not None:
            await box.remove()
        await in_thread(self._store.remove_sandbox, self.record.uid)
        await self._around.networks.detach(self.record.uid)
        self._lose_sandbox(box)

    async def _remove(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            await box.remove()
        await self._tasks.end()
        await self._book.close()
        await in_thread(self._store.remove, self.record)
        self._release_volumes()
        await self._around.networks.detach(self.record.uid)
        self.removed = True
        self._book.become(replace(self.state, sandbox=False))

    async def _start(self, start: lifecycle.Start) -> None:
        await self._instances.leavings.removed(start.container)
        if self._box is not None:  # or it died meanwhile: the next decision knows
            await self._instances.start(self._box, start)

    def _restart_all(self, action: lifecycle.RestartAll) -> None:
        """As a rule has it (SEMANTICS A20): what runs ends without grace, and the sandbox stays."""
        message = f"Container {action.container} exited: all containers of the pod are restarted"
        state = self.state.with_event(now(), "RestartAllContainers", message, container=action.container)
        known = replace(state.container(action.container), back_off=action.back_off)
        self._book.note(replace(state.with_container(known), restarting=True))

    # ---- adoption ----

    async def adopt(self, *, rebooted: bool = False) -> None:
        """Go on where another engine was ended: with what its podmon says, or with what that left written down.

        Of a machine that was `rebooted` since no podmon is asked: whoever has its socket's name by now is another.
        """
        if not self.state.sandbox:
            return
        if rebooted:
            etc.forget(self._store.directory(self.record.uid))  # the power may have gone while they were written
            await self._bury()
            return
        uid = self.record.uid
        self._store.slices.keep(uid, self._placement())
        # Those that run come last: the number of one that ended may be theirs by now.
        begun = sorted((each for each in self.state.containers if each.instance), key=lambda each: each.runs)
        known = {each.instance.number: (each.name, each.instance.id) for each in begun if each.instance}
        connecting = PodSandbox.connect(
            name=self.pod.name,
            directory=self._store.sandbox_directory(uid),
            pod_slice=self._store.slices.handle(uid),
            containers=known,
            sharing=planning.sharing(self.pod),
        )
        try:
            async with asyncio.timeout(PATIENCE if self.state.deletion else None):
                box = await unless(self._ending, connecting)
        except (NotFound, WrongState):  # it has ended, perhaps just now
            await self._bury()
            return
        except Unsupported as error:
            self.unspoken = error
            self._book.tell("PodmonUnsupported", f"{error}: {error.hint}", warning=True)
            self._around.warn(f"{self._book.called}: {error}: {error.hint}")
            return
        except (Interrupted, TimeoutError):  # it is stopped, and the pod is to end: that needs no word of it
            return
        self._have(box)
        await self._repair_network(box)
        for each in begun:
            self._instances.adopt(box, each)

    async def _repair_network(self, box: PodSandbox) -> None:
        """What is broken of it is made whole, or told: the pod goes on as it is."""
        try:
            repaired = await unless(self._ending, self._around.networks.repair(self.record.uid, self.pod, box))
        except Interrupted:
            return
        except (SandboxError, OSError) as error:
            self._book.tell("NetworkNotReady", str(error), warning=True)
            self._around.warn(f"{self._book.called}: its network cannot be repaired: {error}")
        else:
            self._book.note(self._with_network(self.state, repaired))

    async def _bury(self) -> None:
        """podmon died while no engine was there: what it wrote down of its children is all that is known of them."""
        state, directory = self.state, self._store.sandbox_directory(self.record.uid)
        for each in state.containers:
            if each.runs:
                state = state.with_container(self._instances.buried(each, directory))
        self._book.note(replace(state, sandbox=False))
        try:
            await in_thread(self._store.remove_sandbox, self.record.uid)
        except (SandboxError, CgroupError, OSError) as error:  # the next sandbox, or the pod's end, comes to it again
            self._around.warn(f"{self._book.called}: what is left of its sandbox cannot be removed: {error}")
