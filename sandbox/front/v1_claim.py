"""Claims as `v1` PersistentVolumeClaims: what the API server would have stored, and the status of one that is bound.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from sandbox.front.times import rfc3339
from sandbox.front.v1 import V1
from sandbox.status import ClaimStatus

VOLUME_MODE = "Filesystem"


def claim_to_v1(status: ClaimStatus) -> V1:
    """The claim; beside what the API has, its status says where on the host its data is, and which pods use it."""
    claim = status.claim
    modes, storage = [str(mode) for mode in claim.access_modes], {"storage": str(claim.storage)}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim.name,
            "namespace": claim.namespace,
            "uid": status.uid,
            "creationTimestamp": rfc3339(status.creation_timestamp),
            **({"labels": dict(claim.labels)} if claim.labels else {}),
            **({"annotations": dict(claim.annotations)} if claim.annotations else {}),
        },
        "spec": {
            "accessModes": modes,
            "resources": {"requests": storage},
            "storageClassName": claim.storage_class_name,
            "volumeMode": VOLUME_MODE,
            "volumeName": claim.volume_name,
        },
        "status": {
            "phase": str(status.phase),
            "accessModes": modes,
            "capacity": storage,
            "path": str(status.path),
            **({"usedBy": list(status.used_by)} if status.used_by else {}),
        },
    }
