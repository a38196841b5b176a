"""The profiles that an administrator has put into a directory of this machine (`seccompProfile: {type: Localhost}`)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from sandbox.errors import KernelError, NotFound, ProfileError, shown
from sandbox.linux.seccomp.oci import parse
from sandbox.linux.seccomp.profile import Profile

MAX_SIZE = 1 << 20  # bytes; the largest that people write have some tens of thousands


def read_localhost(directory: Path, name: str) -> Profile:
    """The profile in the file `name`, a relative path, below `directory`.

    Raises ProfileError for one that is no profile or a name that leads elsewhere, NotFound, or KernelError.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        message = f"{shown(name)!r} is not a path below {directory}"
        raise ProfileError("localhostProfile", "", message, hint="give a relative path without ..")
    return parse(_read(directory / path), str(directory / path))


def _read(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)  # a pipe must not hold us
    except FileNotFoundError:
        hint = "the administrator of this machine puts profiles there; RuntimeDefault is always there"
        raise NotFound("seccomp profile", str(path), hint=hint) from None
    except OSError as error:
        raise KernelError(error.errno or 0, step="read the seccomp profile", filename=str(path)) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise KernelError(errno.EINVAL, step="read the seccomp profile", filename=str(path), hint="it is not a file")
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise ProfileError(str(path), "", f"larger than {MAX_SIZE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProfileError(str(path), "", "not a profile: the text is not UTF-8") from None
