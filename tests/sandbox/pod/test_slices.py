"""The tree of a root: where pods of each class lie, what their slices are given, and what is left of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import cgroups
from cgroups import Cgroup, CgroupError, Cpu, Memory, Pids
from sandbox.model import QosClass
from sandbox.pod.resources import NOTHING_ASKED, Placement
from sandbox.pod.slices import CONTROLLERS, Slices

pytestmark = pytest.mark.root

UID, OTHER, THIRD = (f"3f2a1b6c-0000-4000-8000-00000000000{n}" for n in range(3))
GUARANTEED = Placement(QosClass.GUARANTEED)
BURSTABLE = Placement(QosClass.BURSTABLE)


@pytest.fixture
def real(root: Path, no_leaks: None) -> Iterator[Slices]:
    slices = Slices(root)
    yield slices
    for uid in slices.uids():
        slices.remove(uid)
    slices.remove_parents()


def read(path: Path, file: str) -> str:
    return (path / file).read_text().strip()


def test_other_roots_have_other_slices_and_the_usual_one_the_plain_name(tmp_path: Path) -> None:
    names = {Slices(path).name for path in (tmp_path, tmp_path / "a", Path("/var/lib/seedpod"))}
    assert len(names) == 3
    assert Slices(Path("/var/lib/seedpod")).name == "seedpod.slice"
    assert Slices(tmp_path / os.fsdecode(b"\xff")).name not in names, "whatever bytes are in its name"


def test_each_pod_has_a_slice_and_the_parents_go_with_the_last(real: Slices) -> None:  # A12
    for uid in (UID, OTHER):
        real.create(uid)
    assert real.uids() == {UID, OTHER}
    real.remove(UID)
    real.remove_parents()
    assert real.uids() == {OTHER}
    for _ in range(2):
        real.remove(OTHER)
    real.remove_parents()
    assert not real.path(OTHER).parent.parent.exists()


def test_each_class_has_its_place_in_the_tree(real: Slices) -> None:
    """# A4: Guaranteed pods lie directly below the root's slice."""
    for uid, placement in ((UID, GUARANTEED), (OTHER, BURSTABLE), (THIRD, NOTHING_ASKED)):
        real.create(uid, placement)
    top = real.name.removesuffix(".slice")
    places = {uid: str(real.path(uid)).partition(f"{real.name}/")[2] for uid in (UID, OTHER, THIRD)}
    assert places == {
        UID: f"{top}-pod{UID.replace('-', '_')}.slice",
        OTHER: f"{top}-burstable.slice/{top}-burstable-pod{OTHER.replace('-', '_')}.slice",
        THIRD: f"{top}-besteffort.slice/{top}-besteffort-pod{THIRD.replace('-', '_')}.slice",
    }
    assert real.uids() == {UID, OTHER, THIRD}


@pytest.mark.parametrize("placement", [GUARANTEED, BURSTABLE, NOTHING_ASKED], ids=lambda each: str(each.qos))
def test_a_slice_is_found_by_its_uid_alone_whatever_the_class(root: Path, real: Slices, placement: Placement) -> None:
    """By an engine that knows nothing more, as one that removes what is left of a pod."""
    made = real.create(UID, placement)
    others = Slices(root)
    assert others.path(UID) == made.path
    assert others.handle(UID) == made
    others.remove(UID)
    others.remove_parents()
    assert not made.path.exists()
    assert not made.path.parent.exists()


def test_a_pod_that_asks_for_nothing_turns_on_no_controller(real: Slices) -> None:
    made = real.create(UID)
    for path in (made.path, made.path.parent, made.path.parent.parent):
        assert read(path, "cgroup.subtree_control") == ""


@pytest.mark.controllers("cpu", "memory", "pids")
def test_a_pods_slice_has_what_it_is_given_and_its_containers_can_have_theirs(real: Slices) -> None:
    knobs = (Cpu(weight=59, quota=50_000, period=100_000), Memory(max=64 << 20), Pids(20))
    made = real.create(UID, Placement(QosClass.BURSTABLE, 500, knobs, ("cpu", "memory")))
    files = ("cpu.weight", "cpu.max", "memory.max", "pids.max")
    assert [read(made.path, file) for file in files] == ["59", "50000 100000", "67108864", "20"]
    assert made.enabled() == {"cpu", "memory"}


@pytest.mark.controllers("cpu")
def test_the_slices_of_the_classes_weigh_what_their_pods_request(real: Slices) -> None:
    """As kubelet has it: all Burstable pods together what they request, those of BestEffort next to nothing."""

    def weights() -> list[str]:
        parents = (real.path(OTHER).parent, real.path(UID).parent)
        return [read(path, "cpu.weight") for path in parents if path.is_dir()]

    def burstable(milli: int) -> Placement:
        return Placement(QosClass.BURSTABLE, milli, (Cpu(weight=1),))

    real.create(OTHER)
    real.create(UID, burstable(1000))
    assert weights() == ["1", "100"]
    real.create(THIRD, burstable(1000))
    assert weights() == ["1", "174"]
    real.remove(THIRD)
    assert weights() == ["1", "100"]


@pytest.mark.controllers("cpu")
def test_a_slice_for_best_effort_that_comes_later_weighs_as_little(real: Slices) -> None:
    real.create(UID, Placement(QosClass.BURSTABLE, 1000, (Cpu(weight=100),)))
    real.create(OTHER)
    assert read(real.path(OTHER).parent, "cpu.weight") == "1"


@pytest.mark.controllers("cpu")
def test_the_next_engine_counts_the_pods_that_it_adopts(root: Path, real: Slices) -> None:
    placement = Placement(QosClass.BURSTABLE, 1000, (Cpu(weight=100),))
    real.create(UID, placement)
    after = Slices(root)
    after.keep(UID, placement)
    after.create(OTHER, placement)
    assert read(after.path(UID).parent, "cpu.weight") == "174"
    after.remove(UID)
    assert read(after.path(OTHER).parent, "cpu.weight") == "100"


@pytest.mark.controllers("pids")
def test_a_slice_that_cannot_be_given_what_it_is_to_have_is_removed(real: Slices) -> None:
    with pytest.raises(CgroupError, match="at most 4194304"):
        real.create(UID, Placement(QosClass.BURSTABLE, 1000, (Pids(5_000_000),)))
    assert real.uids() == set()
    real.create(UID, Placement(QosClass.BURSTABLE, 500))


def test_what_pods_can_be_held_with_is_what_the_host_offers(real: Slices) -> None:
    layout = cgroups.detect()
    offered = {each for each in CONTROLLERS if layout.why_not(each) is None}
    assert real.means.controllers == offered
    assert real.means.swap is Path("/proc/swaps").exists()
    for each in CONTROLLERS:
        assert (real.why_not(each) is None) is (each in offered)


@pytest.mark.controllers("memory")
def test_a_parent_that_holds_processes_is_why_there_are_no_controllers(root: Path, no_leaks: None) -> None:
    """cgroupParent may name the cgroup of a service, which a service manager has put its program into."""
    mount_point = cgroups.detect().mount_point
    assert mount_point is not None
    service = Cgroup.create(mount_point / f"seedpodtest-{os.getpid()}.service")
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        service.add(sleeper.pid)
        slices = Slices(root, service.name)
        assert slices.means.controllers == frozenset()
        assert (slices.why_not("memory") or "").startswith(f"{service} holds processes")
    finally:
        sleeper.kill()
        sleeper.wait()
        service.remove()
