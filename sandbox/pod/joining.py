from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    directory: Path
    number: int
    env: Mapping[str, str]
    cwd: str
    tty: bool
    stdin: bool
