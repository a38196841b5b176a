"""One container of a sandbox, as the process that asked its podmon for it knows it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

from cgroups import Cgroup, NoSuchCgroup
from sandbox.effects import effect
from sandbox.errors import SandboxError, WrongState
from sandbox.pod import programs, setting
from sandbox.pod.child import LogState
from sandbox.pod.container import ExecSpec
from sandbox.pod.podmon import Child, Podmon, Stage
from sandbox.pod.programs import Completed
from sandbox.pod.setting import Setting
from sandbox.status import ExitStatus


class SandboxContainer:
    """One container of a sandbox: created (waiting at its gate), running, or ended.

    `number` is podmon's name for it, `id` (64 hex digits) everybody else's.
    """

    def __init__(self, name: str, directory: Path, child: Child, podmon: Podmon, scope: Cgroup) -> None:
        """`directory` is its own on disk, and called by its id."""
        self.name = name
        self.id = directory.name
        self.scope = scope
        self._directory = directory
        self.child = child
        self.podmon = podmon

    @property
    def number(self) -> int:
        return self.child.number

    @property
    def stage(self) -> Stage:
        return self.child.stage

    @property
    def pid(self) -> int | None:
        """The process number of the first process on the host; None once it has ended."""
        return self.child.pid

    @property
    def pidfd(self) -> int | None:
        return self.child.pidfd

    @property
    def started(self) -> datetime | None:
        """When its program began to run."""
        return self.child.started

    @property
    def exit(self) -> ExitStatus | None:
        """How it ended, once it has, unless its program could not be started: then `failure` says why."""
        return self.child.exit

    @property
    def failure(self) -> SandboxError | None:
        return self.child.failure

    @functools.cached_property
    def setting(self) -> Setting:
        """What its program started with: what joins it is to have the same.  Raises WrongState where it is removed."""
        try:
            return setting.kept(self._directory)
        except FileNotFoundError:
            raise WrongState(f"container {self.name} is removed", current="removed", wanted="running") from None

    def log_states(self) -> AsyncIterator[LogState]:
        """How its log fares whenever that changes, up to its end."""
        return self.child.log_states()

    async def forget(self) -> None:
        """Have podmon drop what it keeps of it; it has ended."""
        await self.podmon.forget(self.child)

    async def start(self) -> None:
        """Run the program.  Raises SpawnError where the kernel will not (a missing command, …).

        Also where whoever made the container died before it was created: the gate START opens those before it.
        """
        if not Stage.SPAWNED <= self.stage <= Stage.CREATED:
            raise WrongState(
                f"container {self.name} is {self.stage.name.lower()}", current=self.stage.name.lower(), wanted="created"
            )
        await self.podmon.open_gate(self.child, "START")
        await self.child.until(Stage.RUNNING)

    async def wait(self) -> ExitStatus:
        """Wait for the end of the first process.  Raises SpawnError where it never ran."""
        await self.child.until(Stage.ENDED)
        if self.child.exit is None:
            raise WrongState(f"container {self.name} has no exit status", current="setup", wanted="ended")
        return self.child.exit

    async def ended(self) -> None:
        """Wait for the end, whatever it is."""
        await self.child.ended()

    async def run(self, spec: ExecSpec, *, stdin: bytes | None = None, timeout: float | None = None) -> Completed:
        """Run a further program in it, with its privileges, to its end: see sandbox.pod.programs."""
        privileges = self.setting.privileges
        return await programs.run(self.podmon, self.child, spec, privileges, stdin=stdin, timeout=timeout)

    def signal(self, number: int) -> None:
        """Send a signal to the first process; one that has ended is no error."""
        self.child.signal(number)

    @effect("kill a container")
    def kill(self) -> None:
        """SIGKILL every process of the container, in whatever pid namespace.  Idempotent."""
        with contextlib.suppress(NoSuchCgroup):
            self.scope.kill()

    @effect("thaw a container")
    def thaw(self) -> bool:
        """Let its processes go on where somebody has frozen it or its pod; whether that was so.  Raises CgroupError."""
        try:
            frozen = self.scope.events().frozen
            if frozen:
                for cgroup in (Cgroup(self.scope.path.parent), self.scope):
                    cgroup.thaw()
        except NoSuchCgroup:
            return False
        return frozen

    def kill_rest(self) -> None:
        """SIGKILL what the first process left behind when it ended.  Idempotent.

        There can be any only where that was not the first of its pid namespace, with which the kernel kills all others.
        """
        if self.stage is Stage.ENDED:
            self.kill()
