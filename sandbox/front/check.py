"""`seedpod check FILE…`: all that is wrong with manifests, without running anything; needs no root and no engine."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.errors import KernelError, printable
from sandbox.front import files
from sandbox.front.errors import print_error


def check(names: Sequence[str]) -> int:
    """Print every finding of the files, a line each, and the objects of those accepted.  1 where one is not."""
    wrong = [_check(name) for name in dict.fromkeys(names)]
    return int(any(wrong))


def _check(name: str) -> bool:
    """Whether anything is wrong with the file."""
    try:
        findings, objects = files.check(name)
    except KernelError as error:  # the others are checked all the same
        print_error(error)
        return True
    for finding in findings:
        print(printable(str(finding)))
    for each in objects:
        print(printable(f"{name}: {type(each).__name__.lower()}/{each.name} is valid"))
    return not objects
