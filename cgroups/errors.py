"""The errors of this library, and nothing else.

    CgroupError (OSError)     .errno .filename .value .hint
    ├─ NoSuchCgroup           the cgroup is not there, or was removed meanwhile
    └─ Unsupported            .needs: a file, controller or mount that this host lacks

Raised once, by the module that asked the kernel.  `str()` is one line: the file, the reason, what was being written,
and the cure where it is known.
"""

from __future__ import annotations

import errno as _errno
import os
from typing import Any


class CgroupError(OSError):
    """The kernel, or this library on its behalf, refused something about a cgroup.

    `errno` is the kernel's number, `filename` the file or directory, `value` the text that was being written (None
    where nothing was), `hint` the cure or the kernel's rule behind the refusal, or None where neither is known.
    """

    errno: int
    strerror: str
    filename: Any

    def __init__(
        self, errno: int, reason: str | None, filename: str, *, value: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(errno, reason or os.strerror(errno), filename)
        self.value = value
        self.hint = hint

    def __str__(self) -> str:
        code = _errno.errorcode.get(self.errno, str(self.errno))
        writing = "" if self.value is None else f", writing {self.value!r}"
        hint = "" if self.hint is None else f": {self.hint}"
        return f"{self.filename}: {self.strerror} ({code}{writing}){hint}"


class NoSuchCgroup(CgroupError):
    """The cgroup does not exist: it never did, or it was removed while it was being used."""


class Unsupported(CgroupError):
    """This host lacks the file, controller or mount; `needs` says what would provide it ("kernel >= 5.14")."""

    def __init__(
        self, errno: int, reason: str | None, filename: str, *, needs: str = "", value: str | None = None
    ) -> None:
        super().__init__(errno, reason, filename, value=value, hint=f"needs {needs}")
        self.needs = needs
