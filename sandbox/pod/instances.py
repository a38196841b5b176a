"""The instances of a pod's containers: each is made, started and seen to its end, and each step is noted on disk.

An instance is written down before podmon is asked for it, and its end before podmon forgets it.  When to begin one is
not decided here, see sandbox.pod.lifecycle.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cgroups import CgroupError
from sandbox.errors import Hindered, SandboxError
from sandbox.linux import privileges
from sandbox.linux.ops import Seccomp
from sandbox.model import Container, HookAction, Pod, SeccompType
from sandbox.pod import confinement, ends, lifecycle, messages, planning, report, termination
from sandbox.pod.child import LogState
from sandbox.pod.config import Config
from sandbox.pod.confinement import Policy
from sandbox.pod.health import UNBOUNDED, Health
from sandbox.pod.leavings import Leavings
from sandbox.pod.networks import Networks
from sandbox.pod.notebook import Notebook, now
from sandbox.pod.paths import log_path
from sandbox.pod.planning import Supplies
from sandbox.pod.podmon import Stage
from sandbox.pod.sandbox import RECORDS, PodSandbox
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.state import Condemned, ContainerState, Hindrance, Instance, PodState, Stopping
from sandbox.pod.store import Store
from sandbox.pod.streams import LogTarget
from sandbox.pod.tasks import Interrupted, Tasks, unless
from sandbox.signals import STOP_SIGNALS
from sandbox.status import Terminated

Known = tuple[ContainerState, SandboxContainer | None]  # a container that runs, and what podmon knows of it


@dataclass(frozen=True)
class Surroundings:
    """What the keepers of a pod need of its engine: where things stand, how they are set up, and whom to tell."""

    store: Store
    config: Config
    networks: Networks
    warn: Callable[[str], None]

    @functools.cached_property
    def supplies(self) -> Supplies:
        """What containers are made of."""
        store, config = self.store, self.config
        default = SeccompType.RUNTIME_DEFAULT if config.seccomp_default else SeccompType.UNCONFINED
        policy = Policy(privileges.held(), default, store.profiles)
        return Supplies(store.images, store.claims, store.slices, policy, config.pod_pids_limit)


class Instances:
    """Those of one pod.  A start under way is given up as soon as `ending` is set: the pod is to end."""

    def __init__(self, pod: Pod, book: Notebook, around: Surroundings, tasks: Tasks, ending: asyncio.Event) -> None:
        self.leavings = Leavings(book, around.store, tasks, around.warn)
        self.health = Health(pod, book, tasks, around.warn)
        self._book = book
        self._around = around
        self._tasks = tasks
        self._ending = ending

    @property
    def pod(self) -> Pod:
        return self.health.pod

    def change(self, pod: Pod) -> None:
        """Go on with the pod as it has become."""
        self.health.pod = pod

    # ---- their start ----

    async def start(self, box: PodSandbox, start: lifecycle.Start) -> None:
        """Make the container's next instance in the sandbox and run its program."""
        asked, before = self._asked(start.container), self._book.state.container(start.container)
        try:
            named = report.full_name(self._book.record)
            system_calls = planning.seccomp_filter(self.pod, asked, self._around.supplies.policy, named)
        except Hindered as error:
            self._note_hindrance(before, error)
            return
        identity, generation = secrets.token_hex(32), self._book.state.generation
        fresh = before.begun(identity, box.next_number, start.back_off, generation, asked.image)
        assert fresh.instance is not None
        self._book.write(self._book.state.with_container(fresh))
        kept = self._tasks.start(self._keep_begun(asked))
        try:
            made = await unless(self._ending, self._make(box, asked, fresh.instance, system_calls))
        except Interrupted:
            self._book.note(self._book.state.with_container(before))
        except asyncio.CancelledError:
            # The engine ends.  What is made is for the next to start; what is not was undone, and is no failure.
            known = box.containers.get(start.container)
            if known is None or known.id != fresh.instance.id:
                self._book.note(self._book.state.with_container(before))
            raise
        except (SandboxError, OSError) as error:
            self._note_start_error(box, fresh, error)
        else:
            await kept
            await self._finish_start(box, made)

    async def _keep_begun(self, asked: Container) -> None:
        """What is never to run twice does not after a power cut either: that it has begun is kept before it does."""
        if lifecycle.runs_once(self.pod, asked):
            await self._book.keep()

    def _asked(self, name: str) -> Container:
        return next(each for each in self.pod.all_containers if each.name == name)

    def _note_hindrance(self, before: ContainerState, error: Hindered) -> None:
        """Nothing was made, and no restart is counted: it is tried again."""
        hindrance = Hindrance(error.reason, error.message, now(), error.hint or "")
        state = self._book.state.with_container(before.hindered(hindrance))
        self._book.note(
            state.with_event(now(), "Failed", f"Error: {error.message}", container=before.name, warning=True)
        )

    async def _make(
        self, box: PodSandbox, asked: Container, instance: Instance, system_calls: Seccomp | None
    ) -> SandboxContainer:
        store, record, config = self._around.store, self._book.record, self._around.config
        spec = planning.container_spec(
            self.pod,
            asked,
            self._around.supplies,
            directory=store.directory(record.uid),
            ips=self._book.state.pod_ips,
            system_calls=system_calls,
        )
        store.remove_old_logs(record, asked.name, instance.attempt)
        logs = store.logs(record) / asked.name
        log = LogTarget(
            logs,
            log_path(logs, instance.attempt).name,
            config.container_log_max_size,
            config.container_log_max_files,
            config.container_log_block,
        )
        return await box.create_container(asked.name, spec, identity=instance.id, log=log)

    async def _keep_and_start(self, box: PodSandbox, made: SandboxContainer) -> None:
        await self._keep_begun(self._asked(made.name))
        await self._finish_start(box, made)

    async def _finish_start(self, box: PodSandbox, made: SandboxContainer) -> None:
        """Run the program of an instance that is made, or half made by an engine that was killed."""
        known = self._book.state.container(made.name)
        try:
            await unless(self._ending, made.start())
        except Interrupted:
            made.kill()  # its end is noted as any other
            self._tasks.start(self._watch(box, made))
        except (SandboxError, OSError) as error:
            self._note_start_error(box, known, error)
        else:
            self._note_started(box, made)
            await self._run_post_start(made)

    async def _run_post_start(self, made: SandboxContainer) -> None:
        """Its hook, where it has one, before anything else of the pod is begun; it ends with its container."""
        asked = self._asked(made.name)
        hook = asked.lifecycle.post_start
        if hook is not None:
            try:
                success = await unless(self._ending, self.health.done(hook, asked, made, UNBOUNDED))
            except Interrupted:
                return
            known = self._book.state.container(made.name)
            if not known.runs or (known.instance and known.instance.id) != made.id:
                return
            if not success:
                self._note_failed_hook("PostStart", made.name)
                self._condemn_for_hook(made.name)
                return
            self._book.note(self._book.state.with_container(_hooked(known, asked)))
        self.health.watch(asked, made)

    def _note_failed_hook(self, which: str, name: str) -> None:
        state, reason = self._book.state, f"Failed{which}Hook"
        self._book.note(state.with_event(now(), reason, f"{which}Hook failed", container=name, warning=True))

    def _condemn_for_hook(self, name: str) -> None:
        """It is killed, and what comes then its exit code decides."""
        condemned = Condemned("FailedPostStartHook", self.pod.termination_grace_period_seconds)
        known = self._book.state.container(name).changed(condemned=condemned, hooked=True)
        self._book.note(self._book.state.with_container(known))

    def _note_started(self, box: PodSandbox, made: SandboxContainer) -> None:
        """It runs; and from now on its end is waited for."""
        asked = self._asked(made.name)
        known = self._book.state.container(made.name).started(made.started or now())
        if asked.lifecycle.post_start is None:
            known = _hooked(known, asked)
        state = self._with_lack(self._book.state.with_container(known), made.name)
        state = state.with_event(now(), "Created", f"Created container: {made.name}", container=made.name)
        self._book.note_soon(state.with_event(now(), "Started", f"Started container {made.name}", container=made.name))
        self._tasks.start(self._watch(box, made))

    def _with_lack(self, state: PodState, name: str) -> PodState:
        """With a word of what a container was to have and could not be given (SEMANTICS A44)."""
        lacking = confinement.lacking(self._asked(name), self._around.supplies.policy.held)
        if not lacking:
            return state
        lacks = ", ".join(f"CAP_{each}" for each in lacking)
        message = f"Container {name} runs without {lacks}, which seedpod itself does not have"
        return state.with_event(now(), "MissingCapabilities", message, container=name, warning=True)

    # ---- their stop ----

    def stop(self, running: Iterable[Known], deadline: datetime, *, hooks: bool) -> None:
        """Begin to stop them: with their preStop hooks, which have until `deadline`."""
        state = self._book.state
        begun: list[tuple[SandboxContainer, HookAction]] = []
        for known, made in running:
            assert known.instance is not None
            hook = self._asked(known.name).lifecycle.pre_stop if hooks else None
            if made is not None and made.stage is Stage.RUNNING and hook is not None:
                begun.append((made, hook))
            else:
                hook = None
            condemned = None if termination.is_ending(state) else known.instance.condemned
            message = condemned.message if condemned else f"Stopping container {known.name}"
            state = state.with_event(now(), "Killing", message, container=known.name)
            state = state.with_container(known.changed(stopping=Stopping(deadline, hook=hook is not None)))
            self.health.terminating(known.name)
        self._book.note(state)
        for made, hook in begun:
            self._tasks.start(self._run_pre_stop(made, hook, (deadline - now()).total_seconds()))

    async def _run_pre_stop(self, made: SandboxContainer, hook: HookAction, seconds: float) -> None:
        """For as long as the grace lasts; then its container gets its signal, and the hook is not waited for."""
        try:
            async with asyncio.timeout(seconds):
                success = await self.health.done(hook, self._asked(made.name), made, seconds)
        except TimeoutError:
            success = False
        known = self._book.state.container(made.name)
        if known.instance is None or known.instance.id != made.id or known.stopping is None:
            return
        if not success:
            self._note_failed_hook("PreStop", made.name)
        known = self._book.state.container(made.name)
        assert known.stopping is not None
        stopping = replace(known.stopping, hook=False)
        self._book.become(self._book.state.with_container(known.changed(stopping=stopping)))

    def signal(self, running: Iterable[Known], kill_at: datetime) -> None:
        """Their stop signals to their first processes (SEMANTICS A35)."""
        for known, made in running:
            assert known.stopping is not None
            if made is not None and made.stage is Stage.RUNNING:
                self._thaw(made)
                made.signal(STOP_SIGNALS[self._asked(known.name).lifecycle.stop_signal or "SIGTERM"])
            elif made is not None:
                made.kill()  # its program never ran: nobody is there to hear it
            stopping = replace(known.stopping, hook=False, kill_at=kill_at)
            self._book.become(self._book.state.with_container(known.changed(stopping=stopping)))

    def _thaw(self, made: SandboxContainer) -> None:
        """What is frozen would not hear its signal."""
        try:
            if made.thaw():
                message = f"Container {made.name} was frozen: thawed, so that it can end"
                self._book.note(self._book.state.with_event(now(), "Thawed", message, container=made.name))
        except CgroupError as error:
            self._around.warn(f"{self._book.called}: container {made.name} cannot be thawed: {error}")

    def kill(self, running: Iterable[Known]) -> None:
        """SIGKILL to all that is in them."""
        for known, made in running:
            if made is not None:
                made.kill()
            stopping = replace(known.stopping or Stopping(now()), killed_at=now())
            self._book.become(self._book.state.with_container(known.changed(stopping=stopping)))

    # ---- their end ----

    def _note_start_error(self, box: PodSandbox, known: ContainerState, error: SandboxError | OSError) -> None:
        """It could not be started: an end like any other, unless it was podmon that died (see Worker)."""
        assert known.instance is not None
        if not box.alive:
            return
        end = ends.by_failure(known.instance, error, now())
        ended = known.with_end(end)
        state = self._book.state.with_container(ended)
        state = state.with_event(now(), "Failed", f"Error: {end.message}", container=known.name, warning=True)
        self._note_end_of(ended, state)
        self.leavings.remove(known.name, known.instance)

    async def _watch(self, box: PodSandbox, made: SandboxContainer) -> None:
        """Note what becomes of the log of an instance that runs, then its end, and remove what it left."""
        async for state in made.log_states():
            self._note_log(made.name, state)
        self.health.forget(made.name)
        if box.alive:  # or it is podmon that died: see Worker
            self._note_end(box, made)

    def _note_log(self, container: str, log: LogState) -> None:
        """An event for each time that it cannot be written; one, of the latest, that says how much is lost."""
        state = self._book.state
        if log.error:
            message = f"The log of container {container} cannot be written: {os.strerror(log.error)}"
            state = state.with_event(now(), "LogFailed", message, container=container, warning=True)
        if log.lost_bytes:
            lost = f"{log.lost_lines} lines ({log.lost_bytes} bytes) of this instance are lost so far"
            message = f"Output of container {container} could not be logged: {lost}"
            state = state.without_event("LogLost", container)
            state = state.with_event(now(), "LogLost", message, container=container, warning=True)
        self._book.note(state)

    def _note_end(self, box: PodSandbox, made: SandboxContainer) -> None:
        known = self._book.state.container(made.name)
        assert known.instance is not None
        if made.exit is None:
            self._note_start_error(box, known, made.failure or SandboxError("it ended before its program ran"))
            return
        ended = known.with_end(self.heard(known.name, known.instance, ends.by_exit(known.instance, made.exit)))
        self._note_end_of(ended, self._book.state.with_container(ended))
        self.leavings.remove(made.name, known.instance, made)

    def heard(self, container: str, instance: Instance, end: Terminated) -> Terminated:
        """The end of an instance with its last words, which are to be read before it is removed."""
        record, store = self._book.record, self._around.store
        return messages.with_message(
            self.pod,
            self._asked(container),
            end,
            directory=store.sandbox_directory(record.uid) / "containers" / instance.id,
            log=log_path(store.logs(record) / container, instance.attempt),
        )

    def _note_end_of(self, ended: ContainerState, state: PodState) -> None:
        limit = self._around.config.max_container_restart_period
        self._book.note(report.with_back_off(self.pod, self._book.record, state, ended, limit))
        if lifecycle.verdict(self.pod, self._asked(ended.name), ended) is None:  # for good
            self._tasks.start(self._book.keep())

    # ---- adoption ----

    def buried(self, known: ContainerState, directory: Path) -> ContainerState:
        """A container that ran when its podmon died, with no engine there: what stands in the sandbox's `directory` is
        all that is known of its end."""
        instance = known.instance
        assert instance is not None
        if not instance.started_at and not (directory / "containers" / instance.id).exists():
            return known.dropped()  # the engine was killed before it began to make it
        end = ends.by_record(instance, directory / RECORDS) or ends.unseen(instance, now())
        return known.with_end(self.heard(known.name, instance, end))

    def adopt(self, box: PodSandbox, known: ContainerState) -> None:
        """Go on with the container's instance, begun by an engine that is no more, as podmon knows it."""
        made = box.containers.get(known.name)
        if known.runs:
            self._adopt_running(box, known, made)
        elif known.instance:  # whoever noted its end may have come no further
            self.leavings.remove(known.name, known.instance, made if made and made.stage is Stage.ENDED else None)

    def _adopt_running(self, box: PodSandbox, known: ContainerState, made: SandboxContainer | None) -> None:
        if made is None:  # the engine was killed before it asked podmon for it
            assert known.instance is not None
            self._book.note(self._book.state.with_container(known.dropped()))
            self.leavings.remove(known.name, known.instance)
        elif made.stage is Stage.ENDED:
            self._note_end(box, made)
        elif made.stage is Stage.RUNNING:
            self._adopt_program(box, known, made)
        else:
            self._tasks.start(self._keep_and_start(box, made))

    def _adopt_program(self, box: PodSandbox, known: ContainerState, made: SandboxContainer) -> None:
        """Its postStart hook, where it may not have come to its end, runs once more."""
        asked = self._asked(known.name)
        known = known.started(made.started or now())
        if asked.lifecycle.post_start is None and known.instance and not known.instance.hooked:
            known = _hooked(known, asked)
        self._book.note(self._book.state.with_container(known))
        self._tasks.start(self._watch(box, made))
        if known.instance and known.instance.hooked:
            self.health.watch(asked, made)
        else:
            self._tasks.start(self._run_post_start(made))


def _hooked(known: ContainerState, asked: Container) -> ContainerState:
    """With its postStart hook done: without probes it has started by that, and is ready."""
    started = asked.startup_probe is None
    return known.changed(hooked=True, started=started, ready=started and asked.readiness_probe is None)
