"""What stands on disk below a root: the only module that writes there, images excepted.

    <root>/pods/<uid>/          a pod; flock'ed by the engine that runs it, for as long as that lives
        pod.json                its name and namespace
        etc/ volumes/ containers/<id>/{upper,work}
    <root>/images/              rootfs directories, see sandbox.pod.images

A pod whose directory nobody holds is dead, its podmon having ended with its engine; the next one that looks
removes it, cgroups first: so the directory, without which nobody would look again, goes last.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cgroups import Cgroup, CgroupError
from sandbox.errors import AlreadyExists, KernelError, SandboxError
from sandbox.model import Pod
from sandbox.pod.slices import Slices


@dataclass(frozen=True)
class Claim:
    """A pod's UID, directory and slice, ours for as long as `lock` is open."""

    uid: str
    directory: Path
    pod_slice: Cgroup
    lock: int


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Store:
    """The state of one root directory, which is made where missing."""

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        """`warn` is told what could not be removed of dead pods; it is tried again each time."""
        self.root = root
        self._warn = warn
        self._slices = Slices(root)
        try:
            for path in (root, self._pods, self.images):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KernelError(error.errno or 0, step="make the root directory", filename=str(error.filename)) from error

    @property
    def _pods(self) -> Path:
        return self.root / "pods"

    @property
    def images(self) -> Path:
        return self.root / "images"

    def claim(self, pod: Pod) -> Claim:
        """Take the pod's name: a new UID, an empty directory, an empty slice.  Raises AlreadyExists."""
        dead: list[tuple[Path, int]] = []
        try:
            with self._locked():
                if (pod.namespace, pod.name) in self._sweep(dead):
                    raise AlreadyExists("pods", pod.name)
                return self._new(pod)
        finally:
            for directory, lock in dead:  # it may take long: not under the lock of all
                self._discard(directory, lock)

    def release(self, claim: Claim) -> None:
        """Remove all there is of a pod.  Kills what of it still runs."""
        try:
            with self._locked():
                self._slices.remove(claim.uid)
            remove_tree(claim.directory)
        finally:
            os.close(claim.lock)

    def _new(self, pod: Pod) -> Claim:
        uid = str(uuid.uuid4())
        directory = self._pods / uid
        directory.mkdir(mode=0o700)
        lock = _open_directory(directory)
        try:
            _try_lock(lock)
            record = {"uid": uid, "namespace": pod.namespace, "name": pod.name}
            (directory / "pod.json").write_text(json.dumps(record))
            pod_slice = self._slices.create(uid)
        except BaseException:  # undo, then let it pass
            self._slices.remove(uid)
            self._discard(directory, lock)
            raise
        return Claim(uid, directory, pod_slice, lock)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock of the whole root, for the moment in which a pod's name, directory and slice come or go."""
        fd = _open_directory(self._pods)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _sweep(self, dead: list[tuple[Path, int]]) -> set[tuple[str, str]]:
        """Kill what is left of dead pods, and add their directories, locked, to `dead`.  Names of the living."""
        living, uids = set(), set()
        for directory in self._pods.iterdir():
            if not _is_uid(directory.name):
                continue  # somebody else's: neither ours to read nor to remove
            uids.add(directory.name)
            lock = _open_directory(directory)
            if _try_lock(lock):
                dead.append((directory, lock))
                self._remove_slice(directory.name)
                continue
            os.close(lock)
            try:
                record = json.loads((directory / "pod.json").read_text())
            except FileNotFoundError:
                continue  # its owner is removing it
            living.add((record["namespace"], record["name"]))
        for uid in self._slices.uids() - uids:  # somebody removed the directories
            self._remove_slice(uid)
        return living

    def _remove_slice(self, uid: str) -> None:
        try:
            self._slices.remove(uid)
        except CgroupError as error:
            self._warn(f"what is left of pod {uid} cannot be removed: {error}")

    def _discard(self, directory: Path, lock: int) -> None:
        try:
            remove_tree(directory)
        except (SandboxError, OSError) as error:
            self._warn(f"what is left of pod {directory.name} cannot be removed: {error}")
        finally:
            os.close(lock)


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it, however deep: a container decides how deep.  Raises SandboxError."""
    try:
        shutil.rmtree(path)
    except (RecursionError, OSError):
        # Python's goes as deep as its stack and its fds allow; rm(1) has no such end, and a better word for the rest.
        command = ["rm", "-rf", "--one-file-system", "--", str(path)]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode:
            raise SandboxError(result.stderr.splitlines()[0]) from None


def _is_uid(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
