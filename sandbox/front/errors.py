"""How errors look on the command line: one table from exceptions to words, and exit code 1."""

from __future__ import annotations

import sys

from cgroups import CgroupError
from sandbox.errors import AlreadyExists, ManifestError, NotFound, SandboxError

# What kubectl's users know by heart.
_FROM_SERVER = {NotFound: "Error from server (NotFound)", AlreadyExists: "Error from server (AlreadyExists)"}


def print_error(error: SandboxError | CgroupError, *, subject: str = "") -> None:
    """`error: …` on stderr, a line for each finding of a manifest, then `hint: …` where there is a cure."""
    if isinstance(error, ManifestError):
        lines = [f"error: {finding}" for finding in error.findings]
    elif isinstance(error, NotFound | AlreadyExists) and error.kind == "pods":
        lines = [f"{_FROM_SERVER[type(error)]}: {error}"]
    elif isinstance(error, CgroupError):
        lines = [f"error: {subject}{error.filename}: {error.strerror}"]
    else:
        lines = [f"error: {subject}{error}"]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    print("\n".join(lines), file=sys.stderr, flush=True)
