"""`seedpod exec` and `seedpod attach`: which container is meant; sandbox.front.joining does the rest."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.errors import SpawnError, WrongState
from sandbox.front import naming
from sandbox.front.client import Client
from sandbox.front.errors import Usage, print_error, say
from sandbox.status import Phase, PodStatus


@dataclass(frozen=True)
class ExecRequest:
    """The command line of `exec`."""

    words: Sequence[str]
    command: Sequence[str]
    namespace: str = "default"
    container: str | None = None
    stdin: bool = False
    tty: bool = False

    def __post_init__(self) -> None:
        """Raises Usage."""
        if not self.command:
            several = len(naming.names(self.words)) > 1
            needs = (
                "the command must stand behind --"
                if several
                else "you must specify at least one command for the container"
            )
            raise Usage(needs, hint="seedpod exec NAME -- COMMAND")
        naming.single(self.words)


@dataclass(frozen=True)
class AttachRequest:
    """The command line of `attach`."""

    words: Sequence[str]
    namespace: str = "default"
    container: str | None = None
    stdin: bool = False
    tty: bool = False

    def __post_init__(self) -> None:
        """Raises Usage."""
        naming.single(self.words)


def exec_command(client: Client, request: ExecRequest) -> int:
    """Run a command in a container.  The exit code is the command's; as a shell has it, 127 where there is no such
    command and 126 where it cannot be run."""
    from sandbox.front.joining import exec_
    from sandbox.linux.ops import Exec

    name = naming.single(request.words)
    pod = naming.find_one(client.pods(), request.namespace, name)
    _require_unfinished(pod, "exec into")
    container = naming.container(pod.pod, request.container)
    target = client.target(request.namespace, name, container.name)
    try:
        return exec_(target, list(request.command), stdin=request.stdin, tty=request.tty)
    except SpawnError as error:
        if error.step != Exec.step:
            raise
        print_error(error)
        return 127 if error.errno == errno.ENOENT else 126


def attach(client: Client, request: AttachRequest) -> int:
    """Join the output, and perhaps the input, of a container's own program.  The exit code of the verb."""
    from sandbox.front.joining import attach as join

    name = naming.single(request.words)
    pod = naming.find_one(client.pods(), request.namespace, name)
    _require_unfinished(pod, "attach to")
    container = naming.container(pod.pod, request.container)
    if request.tty and not container.tty:
        say(f"error: Unable to use a TTY - container {container.name} did not allocate one")
    target = client.target(request.namespace, name, container.name)
    return join(target, stdin=request.stdin)


def _require_unfinished(pod: PodStatus, act: str) -> None:
    if pod.phase in (Phase.SUCCEEDED, Phase.FAILED):
        raise WrongState(
            f"cannot {act} a container in a completed pod; current phase is {pod.phase}",
            current=str(pod.phase),
            wanted=str(Phase.RUNNING),
        )
