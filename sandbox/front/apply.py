"""`seedpod apply`: have there be what manifests say, in kubectl's words, and tell of what was replaced."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sandbox.errors import SandboxError
from sandbox.front import naming
from sandbox.front.client import Client
from sandbox.front.errors import Usage
from sandbox.front.files import Contents, contents_of
from sandbox.model import Pod
from sandbox.pod.requests import AppliedPod, Word

# What kubectl writes behind what it would have done.
_DRY = {"none": "", "client": " (dry run)", "server": " (server dry run)"}


@dataclass(frozen=True)
class Request:
    """The command line of `apply`."""

    file: Sequence[str] = ()
    dry_run: str = "none"
    timeout: timedelta = timedelta(0)  # none

    def __post_init__(self) -> None:
        """Raises Usage."""
        require_files(self.file)
        if self.dry_run not in _DRY:
            raise Usage(
                f'invalid dry-run value ({self.dry_run}). Must be "none", "server", or "client"',
                hint="seedpod apply --help",
            )
        if self.timeout < timedelta(0):
            raise Usage("--timeout must not be negative")


def require_files(files: Sequence[str]) -> None:
    """Raises Usage."""
    if not files:
        raise Usage("must specify -f", hint='-f FILE, or "-f -" for stdin')


def apply(client: Client, request: Request) -> int:
    """Make, change or replace what has to be, and wait for those that are replaced.  The exit code of the verb."""
    contents = contents_of(request.file)
    pods, claims = documents(contents)
    applied = client.apply(pods, claims, dry_run=request.dry_run != "none")
    for (claim, _), word in zip(contents.claims, applied.claims, strict=True):
        print(f"persistentvolumeclaim/{claim.name} {word}{_DRY[request.dry_run]}", flush=True)
    wait = _Waiting(client, request.timeout)
    errors: list[SandboxError] = []
    for (pod, document), each in zip(contents.pods, applied.pods, strict=True):
        try:
            if request.dry_run == "none":
                wait.create(pod, document, each)
        except SandboxError as error:
            errors.append(error)
        else:
            print(f"pod/{pod.name} {_words(each, request.dry_run)}", flush=True)
    return naming.report(errors)


def documents(contents: Contents) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The documents of its pods and claims."""
    return [document for _, document in contents.pods], [document for _, document in contents.claims]


def _words(applied: AppliedPod, dry_run: str) -> str:
    if applied.word is Word.REPLACED and dry_run == "none":
        return f"replaced (new UID {applied.uid})"
    return f"{applied.word}{_DRY[dry_run]}"


class _Waiting:
    """Makes pods that have another before them, once that is gone; the time is for all of them together."""

    def __init__(self, client: Client, timeout: timedelta) -> None:
        self._client = client
        self._deadline = time.monotonic() + timeout.total_seconds() if timeout else None

    def create(self, pod: Pod, document: Mapping[str, Any], applied: AppliedPod) -> None:
        """Raises SandboxError where time is up, or somebody else has made one of that name meanwhile."""
        if not applied.before:
            return
        left = None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)
        if not self._client.wait_removed(applied.before, left):
            raise SandboxError(
                f"timed out waiting for the condition on pods/{pod.name}",
                hint="it is being deleted still: apply the file once more and it is made anew",
            )
        self._client.create_pod(applied.uid, document)
