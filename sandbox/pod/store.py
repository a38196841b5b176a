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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cgroups import Cgroup
from sandbox.errors import AlreadyExists, KernelError
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

    def __init__(self, root: Path) -> None:
        self.root = root
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
        with self._locked():
            if (pod.namespace, pod.name) in self._sweep():
                raise AlreadyExists("pods", pod.name)
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
                self._remove(uid, lock)
                raise
            return Claim(uid, directory, pod_slice, lock)

    def release(self, claim: Claim) -> None:
        """Remove all there is of a pod.  Kills what of it still runs."""
        with self._locked():
            self._remove(claim.uid, claim.lock)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock of the whole root, for the moment in which a pod's name, directory and slice come or go."""
        fd = _open_directory(self._pods)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _sweep(self) -> set[tuple[str, str]]:
        """Remove the dead pods; namespace and name of the living."""
        living = set()
        for directory in self._pods.iterdir():
            lock = _open_directory(directory)
            if _try_lock(lock):
                self._remove(directory.name, lock)
                continue
            os.close(lock)
            record = json.loads((directory / "pod.json").read_text())
            living.add((record["namespace"], record["name"]))
        return living

    def _remove(self, uid: str, lock: int) -> None:
        try:
            self._slices.remove(uid)
            shutil.rmtree(self._pods / uid)
        finally:
            os.close(lock)
