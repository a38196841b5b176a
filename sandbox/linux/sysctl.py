"""Kernel parameters below /proc/sys, by their path there: "net/ipv4/ip_forward".

Those of net/ are of the network namespace that the calling thread is in.
"""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.effects import effect
from sandbox.errors import KernelError

_SYS = Path("/proc/sys")


def read(name: str) -> str | None:
    """The value, or None where the kernel does not know the parameter (any more: a link may have gone)."""
    try:
        return (_SYS / name).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


@effect("set a kernel parameter")
def write(name: str, value: str) -> None:
    """Set a parameter.  Raises KernelError."""
    try:
        (_SYS / name).write_text(value)
    except OSError as error:
        raise KernelError(error.errno or 0, step=f"set to {value}", filename=str(_SYS / name)) from None


def write_where_known(name: str, value: str) -> bool:
    """Set a parameter where the kernel knows it; whether it does."""
    if not os.path.lexists(_SYS / name):
        return False
    write(name, value)
    return True
