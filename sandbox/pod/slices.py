"""The cgroups of a root: their names, and the slice of each pod.

    seedpod.slice/seedpod-besteffort.slice/seedpod-besteffort-pod<uid>.slice/
        podmon.scope  <container-id>.scope

    seedpodbox<id>.slice/               a sandbox without an engine, the same inside

The names are systemd's (a slice's name spells its parents), so that both drivers can use them: hence underscores in
the UID, and no parent of boxes that two programs could make and remove at once.  Every pod is BestEffort as long as a
manifest can ask for no resources.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cgroups
from cgroups import Cgroup
from sandbox.errors import Unsupported
from sandbox.pod.paths import DEFAULT_ROOT


def _prefix(root: Path) -> str:
    """ "seedpod", with a hash of the root directory unless it is the usual one: two roots never meet."""
    if root == DEFAULT_ROOT:
        return "seedpod"
    return "seedpod" + hashlib.sha256(os.fsencode(root)).hexdigest()[:8]


class Slices:
    """The cgroup tree of one root, below the cgroup `parent` of the cgroup2 mount, which must exist."""

    def __init__(self, root: Path, parent: str = "") -> None:
        layout = cgroups.detect()
        if layout.mount_point is None:
            raise Unsupported(
                "a pod's slice",
                needs="a cgroup2 mount",
                hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup, or boot with it",
            )
        prefix = _prefix(root)
        self.name = f"{prefix}.slice"
        self._top = layout.mount_point / parent
        self._box_prefix = f"{prefix}box"  # no hash begins so
        self._parents = [layout.mount_point / parent / self.name]
        self._parents.append(self._parents[0] / f"{prefix}-besteffort.slice")
        self._pod_prefix = f"{prefix}-besteffort-pod"

    def path(self, uid: str) -> Path:
        """Where the slice of the pod with this UID is, or would be."""
        return self._parents[-1] / f"{self._pod_prefix}{uid.replace('-', '_')}.slice"

    def uids(self) -> set[str]:
        """The pods that have a slice."""
        names = (path.name for path in self._parents[-1].glob(f"{self._pod_prefix}*.slice"))
        return {name[len(self._pod_prefix) : -len(".slice")].replace("_", "-") for name in names}

    def create(self, uid: str) -> Cgroup:
        """The pod's new, empty slice."""
        for parent in self._parents:
            Cgroup.create(parent, exist_ok=True)
        return Cgroup.create(self.path(uid))

    def handle(self, uid: str) -> Cgroup:
        """The pod's slice as it is."""
        return Cgroup(self.path(uid))

    def remove(self, uid: str) -> None:
        """Kill what is in the pod's slice and remove it.  Idempotent; blocks while processes die."""
        Cgroup(self.path(uid)).remove_tree()

    def remove_parents(self) -> None:
        """Remove the parents that no pod's slice is in.  Does not block."""
        for parent in reversed(self._parents):
            if parent.is_dir() and not Cgroup(parent).children():
                Cgroup(parent).remove(timeout=0)

    # ---- sandboxes without an engine ----

    def box(self, identity: str) -> Cgroup:
        """The slice of such a sandbox, made or not."""
        return Cgroup(self._top / f"{self._box_prefix}{identity}.slice")

    def boxes(self) -> set[str]:
        """Those that have a slice."""
        names = (path.name for path in self._top.glob(f"{self._box_prefix}*.slice"))
        return {name[len(self._box_prefix) : -len(".slice")] for name in names}
