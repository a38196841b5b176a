"""The claims of a root as they stand on disk, each a directory with a record and its data.

    <root>/claims/<namespace>/<name>/
        claim.json      what was asked for; a directory without it is not ours
        data/           what pods mount
    <root>/claims/.new-… .old-…     one being made, one being removed

A claim appears and goes by one rename, so whoever makes or removes it may be killed at any moment.  Unlike pods, claims
outlive the machine's end as well: what stands here is synced.  Knows nothing of pods.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError
from sandbox.pod import codec, files
from sandbox.pod.trees import remove_unmounted

# As local-path-provisioner makes it: any user of any container may write.  No other user of the host comes this far.
DATA_MODE = 0o777
_BEGUN, _ENDED = ".new-", ".old-"

Key = tuple[str, str]  # namespace and name, both valid: paths are made of them


@dataclass(frozen=True)
class ClaimRecord:
    """A claim as it was asked for; `manifest` is as it was written last."""

    uid: str
    created: datetime
    manifest: Mapping[str, Any]


class ClaimFiles:
    """What stands in one directory.  One engine uses it."""

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        """`warn` is told what could not be read or removed."""
        self._directory = directory
        self._warn = warn

    def path(self, key: Key) -> Path:
        return self._directory / key[0] / key[1]

    def data(self, key: Key) -> Path:
        return self.path(key) / "data"

    def is_whole(self, key: Key) -> bool:
        """Whether there are the claim's directories; a link in their place is somebody's mistake, or trap."""
        return all(_is_directory(each) for each in (self.path(key).parent, self.path(key), self.data(key)))

    def load(self) -> Iterator[tuple[Key, ClaimRecord]]:
        """The claims that stand here.  What never became one, or is none any more, is removed."""
        for directory in _directories(self._directory):
            if directory.name.startswith((_BEGUN, _ENDED)):
                self._discard(directory)
                continue
            for path in _directories(directory):
                key = (directory.name, path.name)
                try:
                    yield key, codec.read(ClaimRecord, (path / "claim.json").read_bytes())
                except (OSError, ValueError) as error:
                    self.left_alone(key, error)

    def left_alone(self, key: Key, error: Exception) -> None:
        self._warn(f"persistentvolumeclaim {key[0]}/{key[1]} is left alone: it cannot be read: {error}")

    def make(self, key: Key, record: ClaimRecord) -> None:
        """Make a claim with an empty volume.

        Raises SandboxError where something that is no claim of ours has its place, and OSError.
        """
        fresh = self._directory / f"{_BEGUN}{uuid.uuid4()}"
        files.make_directory(fresh)
        try:
            files.make_directory(fresh / "data")
            (fresh / "data").chmod(DATA_MODE)
            _write(fresh / "claim.json", record)
            self._put(fresh, key)
        except (OSError, SandboxError):
            self._discard(fresh)
            raise

    def _put(self, fresh: Path, key: Key) -> None:
        path = self.path(key)
        if not os.path.lexists(path.parent):
            files.make_directory(path.parent)
            files.sync(self._directory)
        blocker = path if _is_directory(path.parent) else path.parent
        if os.path.lexists(blocker):
            raise SandboxError(
                f'{blocker} is in the way of persistentvolumeclaim "{key[1]}"',
                hint="move it away: it is nothing that seedpod made, or cannot be read any more",
            )
        files.rename(fresh, path)
        try:
            files.sync(path.parent)
        except OSError:
            files.rename(path, fresh)
            raise

    def write(self, key: Key, record: ClaimRecord) -> None:
        """Note what is asked for now.  Raises OSError; then it is as it was."""
        _write(self.path(key) / "claim.json", record)

    def take_away(self, key: Key) -> Path:
        """End the claim; what is left of it, for `remove_unmounted`.  One that was removed by hand is fine."""
        path, left = self.path(key), self._directory / f"{_ENDED}{uuid.uuid4()}"
        with contextlib.suppress(FileNotFoundError):
            files.rename(path, left)
            files.sync(path.parent)
        with contextlib.suppress(OSError):  # it has other claims
            path.parent.rmdir()
        return left

    def _discard(self, left: Path) -> None:
        try:
            remove_unmounted(left)
        except SandboxError as error:
            self._warn(f"what is left of a persistentvolumeclaim cannot be removed: {error}")


def _directories(directory: Path) -> list[Path]:
    """The directories in one; a link to one is none."""
    with os.scandir(directory) as entries:
        return sorted(Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _write(path: Path, record: ClaimRecord) -> None:
    """To outlive the machine's end."""
    files.write_file(path, json.dumps(codec.encode(record), separators=(",", ":")), synced=True)
