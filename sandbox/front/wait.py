"""`seedpod wait`: until something is true of pods, in kubectl's words.

What that may be is in sandbox.front.conditions.  Nothing is asked again and again: the engine tells of changes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sandbox.errors import NotFound, SandboxError
from sandbox.front import conditions
from sandbox.front.client import Client
from sandbox.front.errors import Usage
from sandbox.front.naming import Wanted, report
from sandbox.front.v1 import to_v1
from sandbox.front.watching import changes
from sandbox.status import ChangeType, PodChange

_A_WEEK = 7 * 86400.0  # seconds: what kubectl waits where that is not to end

Key = tuple[str, str]  # namespace and name: who goes and comes again is the same to who waits


@dataclass(frozen=True)
class Request:
    """The command line of `wait`."""

    words: Sequence[str]
    condition: str
    namespace: str = "default"
    all_namespaces: bool = False
    selector: str | None = None
    all: bool = False
    timeout: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        """Raises Usage."""
        self.wanted.check()
        conditions.parse(self.condition)
        if self.all and self.wanted.count:
            raise Usage("name cannot be provided when --all is set")
        if not (self.wanted.count or self.all or self.selector):
            if self.words:
                raise Usage("resource(s) were provided, but no name was specified", hint="a name, -l or --all")
            raise Usage("you must provide one or more pods by name", hint="seedpod wait NAME..., -l SELECTOR or --all")

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.words, self.namespace, self.all_namespaces, self.selector)


def wait(client: Client, request: Request) -> int:
    """Wait until it is true of all of them.  The exit code: 1 where it is not, in time."""
    return _Waiting(client.node_name, request).main(client)


class _Waiting:
    """The pods that are waited for, and those for which there is no use in it."""

    def __init__(self, node_name: str, request: Request) -> None:
        self._node_name = node_name
        self._wanted = request.wanted
        self._seconds = request.timeout.total_seconds()
        self._condition = conditions.parse(request.condition)
        self._left: list[Key] = []
        self._errors: list[SandboxError] = []

    def main(self, client: Client) -> int:
        once = self._seconds == 0
        deadline = time.monotonic() + (self._seconds if self._seconds >= 0 else _A_WEEK)
        begun = False
        for batch in changes(client, self._wanted, None if once else deadline):
            if not begun:
                self._begin(batch)
                begun = bool(self._left) or not self._waits_for_any
            for change in batch:
                self._look(change)
            if once or (begun and not self._left):
                break
        word = "condition not met for" if once else "timed out waiting for the condition on"
        late = [SandboxError(f"{word} pods/{name}") for _, name in self._left]
        if not begun:
            late = [SandboxError("timed out waiting for the condition")]
        return report([*late, *self._errors])

    @property
    def _waits_for_any(self) -> bool:
        return self._condition.create and not self._wanted.count

    def _begin(self, there: Sequence[PodChange]) -> None:
        """Who is waited for: those that are named, else those that are there."""
        known = [(each.status.pod.namespace, each.status.pod.name) for each in there]
        if not self._wanted.count:
            self._left = list(known)
            if not known and not (self._condition.create or self._condition.delete):
                self._errors.append(SandboxError("no matching resources found"))
            return
        for name in self._wanted.names:
            key = (self._wanted.namespace, name)
            if key in known or self._condition.create:
                self._left.append(key)
            elif not self._condition.delete:  # what is not there is gone
                self._errors.append(NotFound("pods", name))

    def _look(self, change: PodChange) -> None:
        key = (change.status.pod.namespace, change.status.pod.name)
        if key not in self._left:
            return
        try:
            met = self._is_met(change)
        except SandboxError as error:
            self._left.remove(key)
            self._errors.append(error)
            return
        if met:
            self._left.remove(key)
            print(f"pod/{change.status.pod.name} condition met", flush=True)

    def _is_met(self, change: PodChange) -> bool:
        if change.type is ChangeType.DELETED:
            return self._condition.delete
        return self._condition.holds(to_v1(change.status, node_name=self._node_name))
