"""Decisions about a pod's life, pure: no clock, no I/O.

So far a pod runs each container once (restartPolicy Never) and ends when all have ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sandbox.status import START_ERROR, ExitStatus


@dataclass(frozen=True)
class Ended:
    """How one app container ended: `exit`, or None where it could not be started, at `when`."""

    exit: ExitStatus | None
    when: datetime

    @property
    def code(self) -> int:
        """0 to 255 (SEMANTICS A24)."""
        return START_ERROR if self.exit is None else self.exit.code


def exit_code(ends: Iterable[Ended]) -> int:
    """The exit code of `seedpod run`: 0, or the code of the container that failed first."""
    failed = [end for end in ends if end.code != 0]
    return min(failed, key=lambda end: end.when).code if failed else 0
