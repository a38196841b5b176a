"""The errors that seedpod raises, and nothing else.

    SandboxError                       .hint: what to do about it, where known
    ├─ ManifestError   (+ValueError)   .findings: every finding of one load
    ├─ ProfileError    (+ValueError)   .file .field: where in a seccomp profile
    ├─ NotFound, AlreadyExists         .kind .name
    ├─ WrongState                      .current .wanted
    ├─ Unsupported                     .feature .needs
    ├─ Hindered                        .reason: kubelet's word
    ├─ TimedOut        (+TimeoutError) what was waited for did not come in time
    └─ KernelError     (+OSError)      .errno .filename .step
       └─ SpawnError                   .op: what the failing op was to do

An error is raised once, where it is found.  Layers above add what only they know with `add_note`, and each
front end turns errors into its own vocabulary by one table.
"""

from __future__ import annotations

import errno as _errno
import json
import os
from dataclasses import dataclass
from typing import Any

_SHOWN = 128  # characters of somebody else's text that a message quotes


def shown(text: str) -> str:
    """`text` on one line, printable, and not too long: a manifest's words must neither colour nor flood a terminal."""
    return printable(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def printable(text: str) -> str:
    """`text` on one line, and nothing in it that steers a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def quoted(text: str) -> str:
    """`shown`, in double quotes and with those inside escaped."""
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return json.dumps(short, ensure_ascii=not short.isprintable())


class SandboxError(Exception):
    """Whatever seedpod refuses or fails to do.

    `hint` is one line that names the cure, or None where none is known.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, order=True)
class Finding:
    """One thing wrong with a manifest: where it stands, which field, and what is wrong in the API server's words."""

    file: str
    line: int  # 1-based; 0 when the text has no line for it
    column: int  # 1-based
    field: str  # "spec.containers[0].image"; "" for the whole document
    message: str
    warning: bool = False  # the manifest is accepted all the same

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        message = f"warning: {self.message}" if self.warning else self.message
        return where + (f"{self.field}: {message}" if self.field else message)


class ManifestError(SandboxError, ValueError):
    """A manifest that is refused whole; `findings` has every reason, in the order of the text."""

    def __init__(self, findings: tuple[Finding, ...], *, hint: str | None = None) -> None:
        super().__init__("\n".join(str(finding) for finding in findings), hint=hint)
        self.findings = findings


class ProfileError(SandboxError, ValueError):
    """A seccomp profile that is refused: `field` is where in `file` (path and, where known, line), "" for all of it."""

    def __init__(self, file: str, field: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(": ".join(part for part in (file, field, message) if part), hint=hint)
        self.file = file
        self.field = field


class NotFound(SandboxError):
    """There is no `kind` called `name`."""

    def __init__(self, kind: str, name: str, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or f"{kind} {quoted(name)} not found", hint=hint)
        self.kind = kind
        self.name = name


class AlreadyExists(SandboxError):
    """A live `kind` has the name `name` already."""

    def __init__(self, kind: str, name: str, *, hint: str | None = None) -> None:
        super().__init__(f'{kind} "{name}" already exists', hint=hint)
        self.kind = kind
        self.name = name


class WrongState(SandboxError):
    """The object is `current` and would have to be `wanted` for this."""

    def __init__(self, message: str, *, current: str, wanted: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.current = current
        self.wanted = wanted


class Unsupported(SandboxError):
    """This host lacks `needs`, so `feature` cannot be had here."""

    def __init__(self, feature: str, *, needs: str, message: str | None = None, hint: str | None = None) -> None:
        super().__init__(message or f"{feature} needs {needs}, which this host lacks", hint=hint)
        self.feature = feature
        self.needs = needs


class Hindered(SandboxError):
    """A container cannot be made as long as things are so; kubelet calls that `reason`, and tries again."""

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class TimedOut(SandboxError, TimeoutError):
    """What was waited for did not come in the time that was given."""


class KernelError(SandboxError, OSError):
    """A system call failed: `errno`, `filename` (or None), and `step`, the named stage it was part of."""

    errno: int
    filename: Any

    def __init__(self, errno: int, *, step: str, filename: str | None = None, hint: str | None = None) -> None:
        name = _errno.errorcode.get(errno, str(errno))
        where = f" {shown(filename)}" if filename else ""
        SandboxError.__init__(self, f"{step}{where}: {os.strerror(errno)} ({name})", hint=hint)
        self.errno = errno
        self.strerror = os.strerror(errno)
        self.filename = filename
        self.step = step


class SpawnError(KernelError):
    """An op of a spawn failed; `op` describes it, `call` is the system call that said no."""

    def __init__(
        self, errno: int, *, op: str, call: str, step: str, filename: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(errno, step=step, filename=filename, hint=hint)
        name = _errno.errorcode.get(errno, str(errno))
        self.message = f"{op}: {call}: {os.strerror(errno)} ({name})"
        self.op = op
        self.call = call
