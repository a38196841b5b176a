"""How a container ended, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

START_ERROR = 128  # exit code of a container whose program could not be started (SEMANTICS A24)


@dataclass(frozen=True)
class ExitStatus:
    """The end of a container's first process.

    `code` is 0 to 255: the program's own exit code, or 128 + `signal` where a signal ended it (SEMANTICS A24).
    `started` is None for one that was killed before its program ran.  Times are UTC.
    """

    code: int
    signal: int | None
    oom_killed: bool
    started: datetime | None
    finished: datetime

    @property
    def success(self) -> bool:
        return self.code == 0
