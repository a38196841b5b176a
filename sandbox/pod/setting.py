"""What every program of a container starts with, written down beside its layer as long as the container is there.

What joins a container is what the container is: nothing is computed anew for it, as image, seccomp profile and what
the engine may hand on can be others by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.pod import codec
from sandbox.pod.files import write_file
from sandbox.pod.privileges import Privileges

FILE = "setting.json"


@dataclass(frozen=True)
class Setting:
    """Environment, working directory and privileges of a container's programs."""

    env: Mapping[str, str]
    cwd: str
    privileges: Privileges


def keep(directory: Path, setting: Setting) -> None:
    """Write it down in the container's own directory."""
    write_file(directory / FILE, json.dumps(codec.encode(setting)))


def kept(directory: Path) -> Setting:
    """What `keep` wrote down.  Raises OSError where it did not, or where the container has been removed; SandboxError
    where somebody else wrote there."""
    path = directory / FILE
    try:
        return codec.read(Setting, path.read_bytes())
    except ValueError as error:
        hint = "nothing can join the container before it is started anew"
        raise SandboxError(f"{path} cannot be read: {error}", hint=hint) from None
