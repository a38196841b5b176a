"""How errors look on the command line: one table from exceptions to words, and exit code 1."""

from __future__ import annotations

import contextlib
import sys

from sandbox.errors import AlreadyExists, ManifestError, NotFound, SandboxError, printable

# What kubectl's users know by heart.
_FROM_SERVER = {NotFound: "Error from server (NotFound)", AlreadyExists: "Error from server (AlreadyExists)"}


_OF_SERVER = ("pods", "persistentvolumeclaims")


class Usage(SandboxError):
    """The command line makes no sense: exit code 2."""


class BadRequest(SandboxError):
    """It makes sense, but not for the pod as it is now; the words are the API server's."""


def say(text: str) -> None:
    """A line on stderr, or nowhere if our caller closed it: `print` alone would take stdout then.

    Or if it takes no more: an engine that we host goes on.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def print_warning(text: str) -> None:
    """`warning: …` on stderr."""
    say(f"warning: {text}")


def print_error(error: SandboxError | OSError, *, subject: str = "") -> None:
    """`error: …` on stderr, a line for each finding of a manifest, then `hint: …` where there is a cure."""
    lines = _lines(error, subject)
    hint = getattr(error, "hint", None)
    if hint:
        lines.append(f"hint: {hint}")
    # Names and paths in a message are a manifest's or the disk's: none of them may steer the terminal.
    say("\n".join(map(printable, lines)))


def _lines(error: SandboxError | OSError, subject: str) -> list[str]:
    if isinstance(error, ManifestError):
        return [f"error: {finding}" for finding in error.findings]
    if isinstance(error, NotFound | AlreadyExists) and error.kind in _OF_SERVER:
        return [f"{_FROM_SERVER[type(error)]}: {error}"]
    if isinstance(error, BadRequest):
        return [f"Error from server (BadRequest): {error}"]
    if isinstance(error, SandboxError):
        return [f"error: {subject}{error}"]
    # A disk that is full, no more fds, a cgroup that is busy: the kernel's word, and what it was about.
    about = f"{error.filename}: " if error.filename else ""
    return [f"error: {subject}{about}{error.strerror}"]
