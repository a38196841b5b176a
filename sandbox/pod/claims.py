"""The claims of a root: which there are, which pods use them, and what may be done with them.

How they stand on disk is in sandbox.pod.claim_files.  A pod uses a claim from before its sandbox is made until nothing
of it runs any more, which is what Kubernetes calls scheduled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sandbox import manifest
from sandbox.claim import AccessMode, PersistentVolumeClaim
from sandbox.errors import AlreadyExists, ManifestError, NotFound, SandboxError, WrongState
from sandbox.model import Pod
from sandbox.pod.claim_files import ClaimFiles, ClaimRecord, Key
from sandbox.pod.trees import remove_unmounted
from sandbox.status import ClaimPhase, ClaimStatus

KIND = "persistentvolumeclaims"
STORAGE_CLASS = "local"  # of a claim that names none; here they are all the same


class Asked(NamedTuple):
    """A claim that there is to be: its UID if it is to be made, what it is, and its manifest as it was written."""

    uid: str
    claim: PersistentVolumeClaim
    manifest: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return self.claim.namespace, self.claim.name


@dataclass(frozen=True)
class _Known:
    record: ClaimRecord
    claim: PersistentVolumeClaim  # with what its manifest leaves to us


class Claims:
    """The claims of one root.  One engine uses it."""

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        """`warn` is told what could not be read or removed."""
        self.changed = asyncio.Event()  # set when a claim may be had that could not, and then replaced
        self._files = ClaimFiles(directory, warn)
        self._known: dict[Key, _Known] = {}
        self._users: dict[Key, dict[str, str]] = {}  # the pods that use it: UID to name

    # ---- what there is ----

    def load(self) -> None:
        """Read what stands on disk."""
        for key, record in self._files.load():
            try:
                claim = manifest.object_from_dict(record.manifest, PersistentVolumeClaim)
                if (claim.namespace, claim.name) != key:  # a copy
                    raise ValueError(f"it is that of {claim.namespace}/{claim.name}")
            except (ManifestError, ValueError) as error:
                self._files.left_alone(key, error)
            else:
                self._known[key] = _Known(record, _filled(claim, record.uid))

    def statuses(self) -> list[ClaimStatus]:
        """All claims, by namespace and name."""
        return [self._status(key) for key in sorted(self._known)]

    def find(self, namespace: str, name: str) -> str:
        """The UID of the claim of this name.  Raises NotFound."""
        try:
            return self._known[namespace, name].record.uid
        except KeyError:
            raise NotFound(KIND, name) from None

    def _status(self, key: Key) -> ClaimStatus:
        known = self._known[key]
        phase = ClaimPhase.BOUND if self._files.is_whole(key) else ClaimPhase.LOST
        users = tuple(self._user_names(key))
        return ClaimStatus(known.claim, known.record.uid, known.record.created, phase, self._files.data(key), users)

    def volume(self, namespace: str, name: str) -> Path:
        """The directory of a claim's volume.  Raises SandboxError where there is none (any more)."""
        if reason := self._missing(namespace, name):
            raise SandboxError(reason, hint=f"seedpod volume ls -n {namespace}")
        return self._files.data((namespace, name))

    def _missing(self, namespace: str, name: str) -> str | None:
        known = self._known.get((namespace, name))
        if known is None:
            return f'persistentvolumeclaim "{name}" not found'
        if not self._files.is_whole((namespace, name)):
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{known.claim.volume_name}"'
        return None

    # ---- who uses them ----

    def take(self, uid: str, pod: Pod) -> str | None:
        """Have the pod use the claims that it names, all or none; why it cannot, in the scheduler's words."""
        keys = [(pod.namespace, name) for name in pod.claims]
        for key in keys:
            if reason := self._missing(*key) or self._taken(key, uid):
                return reason
        self.keep(uid, pod)
        return None

    async def taken(self, uid: str, pod: Pod, tell: Callable[[str], None]) -> None:
        """Wait until the pod uses the claims that it names; `tell` hears why it cannot, when that is another."""
        told = None
        while True:
            changed = self.changed
            reason = self.take(uid, pod)
            if reason is None:
                return
            if reason != told:
                tell(reason)
            told = reason
            await changed.wait()

    def keep(self, uid: str, pod: Pod) -> None:
        """The pod uses the claims that it names, whatever has become of them meanwhile."""
        for name in pod.claims:
            self._users.setdefault((pod.namespace, name), {})[uid] = pod.name

    def _taken(self, key: Key, uid: str) -> str | None:
        others = self._users.get(key, {}).keys() - {uid}
        if others and AccessMode.READ_WRITE_ONCE_POD in self._known[key].claim.access_modes:
            return "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
        return None

    def release(self, uid: str) -> None:
        """The pod uses none any more.  Idempotent."""
        if [key for key, users in self._users.items() if users.pop(uid, None)]:
            self._tell()

    def _user_names(self, key: Key) -> list[str]:
        return sorted(self._users.get(key, {}).values())

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    # ---- making and changing ----

    def create(self, asked: Asked) -> None:
        """Make one claim; to ask twice with the same UID makes one.

        Raises AlreadyExists, SandboxError and OSError, and has then made nothing.
        """
        known = self._known.get(asked.key)
        if known is None:
            self._make(asked)
        elif known.record.uid != asked.uid:
            raise AlreadyExists(KIND, asked.claim.name)

    def check(self, asked: Iterable[Asked]) -> list[str]:
        """What `applied` would do with each: "created", "configured", "unchanged".  Raises SandboxError."""
        return [self._word(each) for each in asked]

    def _word(self, asked: Asked) -> str:
        known = self._known.get(asked.key)
        if known is None:
            return "created"
        return "configured" if _changed(known.claim, _filled(asked.claim, asked.uid, known.claim)) else "unchanged"

    @contextmanager
    def applied(self, asked: Iterable[Asked]) -> Iterator[None]:
        """Have there be these claims, made or changed where need be; as they were before if the block fails."""
        with ExitStack() as undo:
            for each in asked:
                self._apply(each, undo)
            yield
            undo.pop_all()

    def _apply(self, asked: Asked, undo: ExitStack) -> None:
        known = self._known.get(asked.key)
        if known is None:
            self._make(asked)
            undo.callback(self._unmake, asked.key)
        elif _changed(known.claim, claim := _filled(asked.claim, asked.uid, known.claim)):
            self._change(asked.key, _Known(replace(known.record, manifest=asked.manifest), claim))
            undo.callback(self._change, asked.key, known)

    def _make(self, asked: Asked) -> None:
        record = ClaimRecord(asked.uid, datetime.now(UTC), asked.manifest)
        self._files.make(asked.key, record)
        self._known[asked.key] = _Known(record, _filled(asked.claim, asked.uid))
        self._tell()

    def _change(self, key: Key, known: _Known) -> None:
        self._files.write(key, known.record)
        self._known[key] = known

    def _unmake(self, key: Key) -> None:
        del self._known[key]
        remove_unmounted(self._files.take_away(key))

    # ---- removing ----

    def remove(self, uid: str) -> Path | None:
        """End the claim of this UID, unless it is gone already; what is left of it is the caller's to remove.

        Raises WrongState where a pod uses it.
        """
        key = next((key for key, known in self._known.items() if known.record.uid == uid), None)
        if key is None:
            return None
        if users := self._user_names(key):
            raise _in_use(key, users)
        left = self._files.take_away(key)
        del self._known[key]
        return left


def _in_use(key: Key, users: list[str]) -> WrongState:
    names = ", ".join(f'"{name}"' for name in users)
    return WrongState(
        f'persistentvolumeclaim "{key[1]}" is in use by pod{"s" if len(users) > 1 else ""} {names}',
        current="in use",
        wanted="unused",
        hint=f"seedpod delete -n {key[0]} {' '.join(users)}",
    )


# ---- what a claim is, and what of it may change ----


def _filled(
    claim: PersistentVolumeClaim, uid: str, before: PersistentVolumeClaim | None = None
) -> PersistentVolumeClaim:
    """With what the manifest leaves to us: what it was before, else our own."""
    storage_class = before.storage_class_name if before else STORAGE_CLASS
    volume = before.volume_name if before else f"pvc-{uid}"
    return replace(
        claim,
        storage_class_name=claim.storage_class_name or storage_class,
        volume_name=claim.volume_name or volume,
    )


_FIXED = ("access_modes", "storage_class_name", "volume_name")


def _changed(before: PersistentVolumeClaim, after: PersistentVolumeClaim) -> bool:
    """Whether they differ.  Raises SandboxError, in the API server's words, where they must not."""
    reason = None
    if any(getattr(before, name) != getattr(after, name) for name in _FIXED):
        reason = (
            "spec: Forbidden: spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims"
        )
    elif after.storage < before.storage:
        reason = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    if reason:
        raise SandboxError(
            f'The PersistentVolumeClaim "{before.name}" is invalid: {reason}',
            hint=f"seedpod volume inspect -n {before.namespace} {before.name} shows what it is",
        )
    return before != after
