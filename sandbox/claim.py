"""What a PersistentVolumeClaim is, for the whole program: plain frozen values, as those of sandbox.model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sandbox.quantity import Quantity


class AccessMode(StrEnum):
    """Who may mount a claim's volume; on one machine only the last says something."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_ONLY_MANY = "ReadOnlyMany"
    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"  # one pod at a time


@dataclass(frozen=True)
class PersistentVolumeClaim:
    """A directory that outlives the pods which mount it; `storage` bytes are a request, not a limit.

    A `storage_class_name` or `volume_name` of None leaves it to whoever makes the volume.
    """

    name: str
    access_modes: tuple[AccessMode, ...]
    storage: Quantity
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    storage_class_name: str | None = None
    volume_name: str | None = None
