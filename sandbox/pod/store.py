"""What stands on disk below a root: the only module that writes there, but for images, claims, logs and what is in
sandbox.pod.paths.

    <root>/pods/<uid>/          a pod
        pod.json                what was asked for; a pod without it was never made, or is removed to its last file
        state.json              where it is in its life
        kept.json               where it was when that had to outlive a power cut: state.json is never synced
        etc/ volumes/           its files
        sandbox/                podmon's: its socket, records of ends, containers/<id>/{upper,work,setting.json}
    <root>/boot                 the boot of the machine that all of this was last seen in
    <root>/claims/              volumes that outlive pods, see sandbox.pod.claims
    <root>/logs/<namespace>_<name>_<uid>/<container>/<restart>.log
    <root>/images/              rootfs directories, see sandbox.pod.images
    <root>/seccomp/             profiles of type Localhost, the administrator's

Every file is replaced whole; what has to outlive a power cut is synced (decision 19).  The engine is the only writer,
so nothing here takes a lock but that of the root.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cgroups import CgroupError
from sandbox.errors import SandboxError
from sandbox.pod import codec
from sandbox.pod.claims import Claims
from sandbox.pod.files import make_directory, remove_file, sync, write_file
from sandbox.pod.paths import pod_log_directory
from sandbox.pod.slices import Slices
from sandbox.pod.state import PodRecord, PodState
from sandbox.pod.trees import remove_tree


class Store:
    """The state of one root directory.  One engine, which holds its lock, uses it."""

    def __init__(self, root: Path, slices: Slices, warn: Callable[[str], None]) -> None:
        """`warn` is told what could not be read or removed."""
        self.root = root
        self.slices = slices
        self.claims = Claims(root / "claims", warn)
        self._warn = warn

    @property
    def _pods(self) -> Path:
        return self.root / "pods"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def profiles(self) -> Path:
        """The seccomp profiles that the administrator has put there."""
        return self.root / "seccomp"

    def directory(self, uid: str) -> Path:
        return self._pods / uid

    def sandbox_directory(self, uid: str) -> Path:
        return self._pods / uid / "sandbox"

    def logs(self, record: PodRecord) -> Path:
        return pod_log_directory(self.root, namespace=record.namespace, name=record.name, uid=record.uid)

    # ---- writing ----

    def add(self, record: PodRecord, state: PodState) -> None:
        """Note a new pod: from here on it exists."""
        make_directory(self.directory(record.uid))
        try:
            make_directory(self.logs(record), exist_ok=True)
            for container in state.containers:
                make_directory(self.logs(record) / container.name)
            self.save(record.uid, state)
            write_file(self.directory(record.uid) / "pod.json", _dump(record))
        except OSError:
            self.remove(record)
            raise

    def extend(self, record: PodRecord, container: str) -> None:
        """Note that a pod has one container more, which `record` has already: from here on that exists."""
        logs = self.logs(record) / container
        make_directory(logs)
        try:
            write_file(self.directory(record.uid) / "pod.json", _dump(record))
        except OSError:
            logs.rmdir()
            raise

    @contextmanager
    def changed(self, changes: Iterable[tuple[PodRecord, PodRecord, PodState]]) -> Iterator[None]:
        """Note that pods are asked for otherwise: of each its record before and after, and its state as it is.  The
        records are as before if the block fails.

        The state goes first: it says what instances were begun with, and the new record what they are to be.
        """
        with ExitStack() as undo:
            for before, after, state in changes:
                self.save(before.uid, state)
                path = self.directory(before.uid) / "pod.json"
                write_file(path, _dump(after), synced=True)  # the one that it replaces has to outlive a power cut, too
                undo.callback(write_file, path, _dump(before), synced=True)
            yield
            undo.pop_all()

    def save(self, uid: str, state: PodState) -> None:
        """Note where a pod is in its life."""
        write_file(self.directory(uid) / "state.json", _dump(state))

    def keep(self, uid: str, state: PodState) -> None:
        """Have the pod outlive a power cut, as it is by now.  Blocks while the disk writes."""
        sync(self.directory(uid) / "pod.json")
        write_file(self.directory(uid) / "kept.json", _dump(state), synced=True)
        sync(self._pods)

    def was_of_boot(self, boot: str) -> bool:
        """Whether the last engine was of this boot of the machine, or did not say of which."""
        try:
            return (self.root / "boot").read_text().strip() == boot
        except FileNotFoundError:
            return True

    def note_boot(self, boot: str) -> None:
        """What stands on disk is of this boot from now on.  A disk that takes nothing is told of: it is asked again."""
        try:
            write_file(self.root / "boot", f"{boot}\n", synced=True)
        except OSError as error:
            self._warn(f"{self.root / 'boot'} cannot be written: {error.strerror}")

    def load(self, *, rebooted: bool = False) -> Iterator[tuple[PodRecord, PodState]]:
        """The pods that stand on disk.  What never became one, or is hardly one any more, is removed.

        `rebooted`: it was written in another boot of the machine, which may have ended at any moment.
        """
        uids = set()
        for directory in sorted(self._pods.iterdir()):
            if not is_uid(directory.name):
                continue  # somebody else's: neither ours to read nor to remove
            known = self._read(directory, rebooted)
            if known is not None:
                uids.add(directory.name)
                yield known
        for uid in self.slices.uids() - uids:
            if not self.directory(uid).exists():  # or it is left alone
                self._remove_slice(uid)
        self._remove_strange_logs(uids)

    def _read(self, directory: Path, rebooted: bool) -> tuple[PodRecord, PodState] | None:
        try:
            record = codec.read(PodRecord, (directory / "pod.json").read_bytes())
            state = self._read_state(directory, rebooted)
            if record.uid != directory.name:  # a copy: paths are made of it
                raise ValueError(f"it is that of pod {record.uid}")
        except FileNotFoundError:
            self._remove_remains(directory)
            return None
        except (OSError, ValueError) as error:
            if rebooted and not (directory / "kept.json").exists():  # nobody was told yet that it is there
                self._remove_remains(directory)
            else:
                self._warn(f"pod {directory.name} is left alone: its state cannot be read: {error}")
            return None
        return record, state

    def _read_state(self, directory: Path, rebooted: bool) -> PodState:
        try:
            return codec.read(PodState, (directory / "state.json").read_bytes())
        except (FileNotFoundError, ValueError):
            if not rebooted:
                raise
            kept = codec.read(PodState, (directory / "kept.json").read_bytes())
            self._warn(f"pod {directory.name}: its state was lost with the power, and is that of an earlier moment")
            return kept

    # ---- removing ----

    def remove(self, record: PodRecord) -> None:
        """Remove all there is of a pod; kills what of it still runs.  Idempotent.  Blocks while processes die."""
        self.slices.remove(record.uid)
        directory, logs = self.directory(record.uid), self.logs(record)
        if logs.is_dir():
            remove_tree(logs)
        if directory.is_dir():
            remove_file(directory / "pod.json")  # from here on it is known for what is left of one
            remove_tree(directory)

    def remove_sandbox(self, uid: str) -> None:
        """Kill and remove what is left of a pod's sandbox: cgroups, records, layers.  Idempotent."""
        self.slices.remove(uid)
        if self.sandbox_directory(uid).is_dir():
            remove_tree(self.sandbox_directory(uid))

    def remove_layer(self, uid: str, container_id: str) -> None:
        """Remove what a container that ended had written to its root file system, and the record of its end."""
        directory = self.sandbox_directory(uid)
        remove_file(directory / "records" / container_id)
        layer = directory / "containers" / container_id
        if layer.is_dir():
            remove_tree(layer)

    def remove_old_logs(self, record: PodRecord, container: str, attempt: int) -> None:
        """Keep the logs of the instance `attempt` and of the one before it (`logs --previous`), as kubelet does."""
        directory = self.logs(record) / container
        for path in directory.glob("*.log*"):
            number = path.name.partition(".")[0]
            if number.isdigit() and int(number) < attempt - 1:
                remove_file(path)

    def _remove_strange_logs(self, uids: set[str]) -> None:
        for directory in (self.root / "logs").iterdir():
            uid = directory.name.rpartition("_")[2]
            if is_uid(uid) and uid not in uids and not self.directory(uid).exists():
                self._discard(directory)

    def _remove_remains(self, directory: Path) -> None:
        self._remove_slice(directory.name)
        self._discard(directory)

    def _remove_slice(self, uid: str) -> None:
        try:
            self.slices.remove(uid)
        except CgroupError as error:
            self._warn(f"what is left of pod {uid} cannot be removed: {error}")

    def _discard(self, directory: Path) -> None:
        try:
            remove_tree(directory)
        except (SandboxError, OSError) as error:
            self._warn(f"what is left of pod {directory.name} cannot be removed: {error}")


def _dump(value: Any) -> str:
    # ASCII alone: whatever a manifest says and whatever the locale is, it can be written.
    return json.dumps(codec.encode(value), separators=(",", ":"))


def is_uid(name: str) -> bool:
    """Whether this is a UID as pods have them, and so a plain name for a directory."""
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
