"""The cgroups of a root: their names, and the slice of each pod.

    seedpod.slice/
        seedpod-pod<uid>.slice/                     of a Guaranteed pod
            podmon.scope  <container-id>.scope
        seedpod-burstable.slice/
            seedpod-burstable-pod<uid>.slice/
        seedpod-besteffort.slice/
            seedpod-besteffort-pod<uid>.slice/

    seedpodbox<id>.slice/               a sandbox without an engine, the same inside

The names are systemd's (a slice's name spells its parents), so that both drivers can use them: hence underscores in
the UID, and no parent of boxes that two programs could make and remove at once.  Controllers are turned on where a pod
needs them: one that asks for nothing pays for none.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import cgroups
from cgroups import Cgroup, Cpu, NoSuchCgroup
from sandbox.effects import effect
from sandbox.errors import Unsupported
from sandbox.model import QosClass
from sandbox.pod import resources
from sandbox.pod.paths import DEFAULT_ROOT
from sandbox.pod.resources import NOTHING_ASKED, Means, Placement

CONTROLLERS = ("cpu", "hugetlb", "memory", "pids")  # those that a manifest can ask for
NAME = "seedpod"


def root_name(root: Path) -> str:
    """What all that a root has in the kernel is called by: two roots never meet.

    "seedpod", with a hash of the root directory unless it is the usual one; 15 bytes, as the name of a link may have.
    """
    if root == DEFAULT_ROOT:
        return NAME
    return NAME + hashlib.sha256(os.fsencode(root)).hexdigest()[:8]


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
        prefix = root_name(root)
        self.name = f"{prefix}.slice"
        self._above = layout.mount_point / parent
        self._box_prefix = f"{prefix}box"  # no hash begins so
        self._top = Cgroup(self._above / self.name)
        # Of each class the slice that its pods are in, and how their names begin.
        self._classes = {
            QosClass.BEST_EFFORT: (self._top.child(f"{prefix}-besteffort.slice"), f"{prefix}-besteffort-pod"),
            QosClass.BURSTABLE: (self._top.child(f"{prefix}-burstable.slice"), f"{prefix}-burstable-pod"),
            QosClass.GUARANTEED: (self._top, f"{prefix}-pod"),
        }
        self._burstable: dict[str, int] = {}  # by UID, the thousandths of a CPU that Burstable pods request
        self._weighing = threading.Lock()

    # ---- what there is ----

    def why_not(self, controller: str) -> str | None:
        """Why the pods cannot have a controller, and the cure; None where they can."""
        return self._top.why_not(controller)

    @functools.cached_property
    def means(self) -> Means:
        """What pods can be held with here, as it was when first asked for."""
        controllers = frozenset(each for each in CONTROLLERS if self.why_not(each) is None)
        reserved = cgroups.page_sizes() if "hugetlb" in controllers else {}
        return Means(
            controllers, tuple(size for size, count in reserved.items() if count), Path("/proc/swaps").exists()
        )

    def path(self, uid: str) -> Path:
        """Where the pod's slice is; where it has none, where that would be if it asked for nothing."""
        places = [parent.path / _slice_name(begin, uid) for parent, begin in self._classes.values()]
        return next((path for path in places if path.is_dir()), places[0])

    def uids(self) -> set[str]:
        """The pods that have a slice."""
        return {
            path.name[len(begin) : -len(".slice")].replace("_", "-")
            for parent, begin in self._classes.values()
            for path in parent.path.glob(f"{begin}*.slice")
        }

    def handle(self, uid: str) -> Cgroup:
        """The pod's slice as it is."""
        return Cgroup(self.path(uid))

    # ---- making and removing ----

    @effect("make a pod's slice")
    def create(self, uid: str, placement: Placement = NOTHING_ASKED) -> Cgroup:
        """The pod's new, empty slice.  Raises CgroupError, and has then removed it."""
        parent, begin = self._classes[placement.qos]
        is_new = not parent.path.is_dir()
        for cgroup in dict.fromkeys((self._top, parent)):
            Cgroup.create(cgroup.path, exist_ok=True)
        pod = parent.create_child(_slice_name(begin, uid))
        try:
            pod.apply(*placement.knobs)
            pod.enable(*placement.controllers)  # now: with processes below it would take the kernel longer
            self.keep(uid, placement)
            if is_new or placement.qos is not QosClass.BEST_EFFORT:
                self._weigh()
        except BaseException:  # undo, then let it pass
            self.remove(uid)
            raise
        return pod

    def keep(self, uid: str, placement: Placement) -> None:
        """Know of a pod whose slice there is: of how much the Burstable ones request together."""
        if placement.qos is QosClass.BURSTABLE:
            self._burstable[uid] = placement.cpu

    def _weigh(self) -> None:
        """Give the slices of the classes their weights, as kubelet does: what all Burstable pods request, and nothing.

        Where no pod has needed the cpu controller yet there is nothing to weigh.
        """
        with self._weighing:
            if "cpu" not in self._top.enabled():
                return
            requested = {QosClass.BURSTABLE: sum(list(self._burstable.values())), QosClass.BEST_EFFORT: 0}
            for qos, milli in requested.items():
                with suppress(NoSuchCgroup):
                    self._classes[qos][0].apply(Cpu(weight=resources.weight(milli)))

    @effect("remove a pod's slice")
    def remove(self, uid: str) -> None:
        """Kill what is in the pod's slice and remove it.  Idempotent; blocks while processes die."""
        self.handle(uid).remove_tree()
        if self._burstable.pop(uid, None) is not None:
            with suppress(NoSuchCgroup):  # the last one has gone
                self._weigh()

    @effect("remove empty slices")
    def remove_parents(self) -> None:
        """Remove the parents that no pod's slice is in.  Does not block."""
        for parent, _ in self._classes.values():  # the one that holds the others comes last
            if parent.path.is_dir() and not parent.children():
                parent.remove(timeout=0)

    # ---- sandboxes without an engine ----

    def box(self, identity: str) -> Cgroup:
        """The slice of such a sandbox, made or not."""
        return Cgroup(self._above / f"{self._box_prefix}{identity}.slice")

    def boxes(self) -> set[str]:
        """Those that have a slice."""
        names = (path.name for path in self._above.glob(f"{self._box_prefix}*.slice"))
        return {name[len(self._box_prefix) : -len(".slice")] for name in names}


def _slice_name(begin: str, uid: str) -> str:
    return f"{begin}{uid.replace('-', '_')}.slice"
