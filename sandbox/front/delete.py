"""`seedpod delete`: pods by name, by manifest or all, in kubectl's words and by its rules (SEMANTICS A39, A42)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sandbox.errors import NotFound, SandboxError
from sandbox.front import naming
from sandbox.front.client import Client
from sandbox.front.errors import Usage, say

_AT_ONCE = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. "
    "The resource may continue to run on the cluster indefinitely."
)


@dataclass(frozen=True)
class Request:
    """The command line of `delete`."""

    words: Sequence[str] = ()
    namespace: str = "default"
    file: Sequence[str] = ()
    all: bool = False
    grace_period: int = -1  # what the pod asks for
    force: bool = False
    now: bool = False
    wait: bool = True
    timeout: timedelta = timedelta(0)  # none
    ignore_not_found: bool = False

    def __post_init__(self) -> None:
        """Raises Usage."""
        _grace(self)
        _names(self)


@dataclass(frozen=True)
class _Pod:
    namespace: str
    name: str


def delete(client: Client, request: Request) -> int:
    """Delete the pods and, unless told otherwise, wait until they are gone.  The exit code of the verb."""
    grace = _grace(request)
    names = _names(request)
    named = [_Pod(request.namespace, name) for name in names] + _in_files(request.file)
    if request.force and grace == 0:
        say(_AT_ONCE)
    if request.all:
        named = [_Pod(each.pod.namespace, each.pod.name) for each in client.pods()]
        named = [each for each in named if each.namespace == request.namespace]
        if not named:
            print("No resources found")
    deleted, errors = _delete(client, named, grace, request)
    if request.wait and not request.force:  # of one that was forced nobody knows when it is gone (A40)
        errors += _wait(client, deleted, request.timeout)
    return naming.report(errors)


# ---- what was asked ----


def _grace(request: Request) -> int | None:
    """The grace period in seconds; None leaves it to the pod.  Raises Usage."""
    if request.timeout < timedelta(0):
        raise Usage("--timeout must not be negative")
    grace = request.grace_period
    if request.now:
        if grace != -1:
            raise Usage("--now and --grace-period cannot be specified together")
        grace = 1
    if request.force:
        if grace > 0:
            raise Usage("--force and --grace-period greater than 0 cannot be specified together")
        return 0
    if grace == 0:
        return 1  # to kill at once, without being sure that it is gone, takes --force
    return None if grace < 0 else grace


def _names(request: Request) -> tuple[str, ...]:
    """The pods named on the command line.  Raises Usage where not exactly one way of naming pods was used."""
    names = naming.names(request.words)
    if request.file and (request.words or request.all):
        raise Usage("when a file is given, no pod may be named as well, and --all not be set")
    if request.all and names:
        raise Usage("name cannot be provided when --all is set")
    if request.words and not names and not request.all:
        raise Usage("resource(s) were provided, but no name was specified")
    if not (request.file or request.all or names):
        raise Usage("you must provide one or more pods by name or by file", hint="delete NAME..., -f FILE or --all")
    return names


def _in_files(files: Sequence[str]) -> list[_Pod]:
    if not files:
        return []
    from sandbox.front.files import pods  # with the manifest's reader, which nobody else here needs

    return [_Pod(pod.namespace, pod.name) for file in files for pod in pods(file)]


# ---- doing it ----


def _delete(
    client: Client, pods: Sequence[_Pod], grace: int | None, request: Request
) -> tuple[list[tuple[_Pod, str]], list[SandboxError]]:
    """Begin with all of them; those that are to be waited for with their UIDs, and what could not be found."""
    deleted: list[tuple[_Pod, str]] = []
    errors: list[SandboxError] = []
    word = "force deleted" if request.force else "deleted"
    for pod in pods:
        try:
            deleted.append((pod, client.delete(pod.namespace, pod.name, grace=grace, force=request.force)))
        except NotFound as error:
            if not (request.ignore_not_found or request.all):  # of all, one may go by itself meanwhile
                errors.append(error)
        else:
            print(f'pod "{pod.name}" {word}', flush=True)
    return deleted, errors


def _wait(client: Client, pods: Sequence[tuple[_Pod, str]], timeout: timedelta) -> list[SandboxError]:
    """Wait until all are gone; the time is for all of them together.  An error for each that is still there."""
    deadline = time.monotonic() + timeout.total_seconds() if timeout else None
    late: list[SandboxError] = []
    for pod, uid in pods:
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not client.wait_removed(uid, left):
            late.append(SandboxError(f"timed out waiting for the condition on pods/{pod.name}"))
    return late
