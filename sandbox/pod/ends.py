"""How containers end, in the words of the `v1` Pod status (SEMANTICS A24): seen, read from podmon's record, or guessed.

A record is the file that podmon writes for each child, `name value` a line, with the fields of struct sp_message
(csrc/spawn.h).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from sandbox.errors import SandboxError
from sandbox.linux import native, ops
from sandbox.pod import wire
from sandbox.pod.state import Instance
from sandbox.status import START_ERROR, ExitStatus, Terminated

KILLED = 128 + int(signal.SIGKILL)


def by_exit(instance: Instance, exit_status: ExitStatus) -> Terminated:
    """The end of an instance whose first process was seen to end."""
    reason = "OOMKilled" if exit_status.oom_killed else "Completed" if exit_status.success else "Error"
    return Terminated(
        exit_code=exit_status.code,
        reason=reason,
        signal=exit_status.signal,
        started_at=exit_status.started or instance.started_at,
        finished_at=exit_status.finished,
        container_id=instance.id,
    )


def by_failure(instance: Instance, error: SandboxError | OSError, at: datetime) -> Terminated:
    """The end of an instance whose program could not be started."""
    return Terminated(
        exit_code=START_ERROR,
        reason="StartError",
        message=error.message if isinstance(error, SandboxError) else str(error),
        finished_at=at,
        container_id=instance.id,
        hint=getattr(error, "hint", None) or "",
    )


def with_podmon(instance: Instance, at: datetime) -> Terminated:
    """The end of an instance that was killed because its podmon was."""
    return Terminated(KILLED, "Error", int(signal.SIGKILL), "", instance.started_at, at, instance.id)


def unseen(instance: Instance, at: datetime) -> Terminated:
    """The end of an instance of which nothing is known: neither engine nor podmon were there to see it."""
    message = "The container could not be located when its engine came back"
    return Terminated(KILLED, "ContainerStatusUnknown", None, message, instance.started_at, at, instance.id)


def by_record(instance: Instance, records: Path) -> Terminated | None:
    """The end that podmon wrote down in the directory `records`; None where it wrote none.

    One that is cut off, as by a power failure, is none.
    """
    try:
        lines = (records / instance.id).read_text(errors="replace").splitlines()
        fields = {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
        return _recorded(instance, fields, records / instance.id)
    except (FileNotFoundError, AttributeError, KeyError, ValueError):
        return None


def _recorded(instance: Instance, fields: Mapping[str, int], record: Path) -> Terminated:
    finished = wire.time_of(fields["finished_ns"]) or datetime.fromtimestamp(record.stat().st_mtime, UTC)
    if fields["type"] == native.MESSAGE["FAILED"]:
        failure = ops.failure((), index=fields["op"], call=fields["call"], number=fields["err"])
        return by_failure(instance, failure, finished)
    told = SimpleNamespace(**{"oom_killed": 0, **fields})  # older podmons did not look for it
    return by_exit(instance, replace(wire.exit_status(told), finished=finished))
