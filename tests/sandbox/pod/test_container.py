"""The order of a container's ops is the design: these tests say which parts of it must not change, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sandbox.linux import native
from sandbox.linux.ops import (
    Attach,
    Bind,
    Caps,
    Chdir,
    Exec,
    Gate,
    Ids,
    Mask,
    Mount,
    NoNewPrivs,
    OomScoreAdj,
    Op,
    Own,
    Pivot,
    Private,
    ReadOnly,
    ReadOnlyRoot,
    Root,
    Symlink,
    Unshare,
)
from sandbox.pod.container import BindMount, ContainerSpec, ExecSpec, Prepared, compile_container, compile_exec, placed
from sandbox.pod.ground import Sharing, compile_pod
from sandbox.pod.privileges import DEFAULT_PRIVILEGES, Privileges

SPEC = ContainerSpec(argv=("app", "-x"), rootfs=Path("/image"), env={"A": "1"}, cwd="/work")


def compiled(*targets: str) -> list[Op]:
    rows = tuple((BindMount(Path("/host"), target, f"volume of {target}"), 20, False) for target in targets)
    return compile_container(SPEC, Prepared(rootfs=10, mounts=rows, stdout=11, stderr=12))


def place(ops: list[Op], kind: type[Op], last: bool = False) -> int:
    places = [index for index, op in enumerate(ops) if isinstance(op, kind)]
    return places[-1 if last else 0]


def test_both_gates_stand_where_they_are_promised() -> None:
    ops = compiled()
    gates = [op.name for op in ops if isinstance(op, Gate)]
    assert gates == ["PREPARE", "START"]
    assert place(ops, Gate) < place(ops, Root), "before its mounts"
    assert place(ops, Mask, last=True) < place(ops, Gate, last=True), "created: all but the program is there"


def test_nothing_is_mounted_after_what_hides() -> None:
    ops = compiled("/proc/x", "/data")
    assert place(ops, Attach, last=True) < min(place(ops, ReadOnly), place(ops, Mask))
    assert place(ops, Mount, last=True) < min(place(ops, ReadOnly), place(ops, Mask))


def test_the_old_root_is_gone_before_anything_is_looked_up_for_the_program() -> None:
    ops = compiled("/data")
    assert place(ops, Attach, last=True) < place(ops, Pivot) < place(ops, Exec)


def test_privileges_are_dropped_last() -> None:
    ops = compiled()
    assert [type(op) for op in ops[-2:]][-1] is Exec
    assert place(ops, Ids) < place(ops, Caps) < place(ops, Exec)
    assert all(not isinstance(op, Mount | Attach | Root | Pivot | Unshare) for op in ops[place(ops, Caps) :])


def test_a_volume_below_another_is_attached_after_it() -> None:
    ops = compiled("/a/b/c", "/a", "/", "/a/b/")
    assert [op.target for op in ops if isinstance(op, Attach)] == ["/", "/a", "/a/b/", "/a/b/c"]


def test_every_mount_but_the_bound_devices_is_nodev() -> None:
    mounts = [op for op in compiled() if isinstance(op, Mount)]
    without = [op.target for op in mounts if not op.attributes & native.MOUNT_ATTR_NODEV]
    assert without == ["/dev/pts"], "terminals are devices"


# ---- privileged (A43) ----


def privileged() -> list[Op]:
    rows = ((BindMount(Path("/host"), "/data", "volume"), 20, False),)
    return compile_container(
        replace(SPEC, privileged=True), Prepared(rootfs=10, mounts=rows, stdout=11, stderr=12, devices=13)
    )


def test_a_privileged_container_has_nothing_masked_or_read_only_and_the_devices_given() -> None:
    """# A43"""
    ops = privileged()
    assert [op for op in ops if isinstance(op, Mask | ReadOnly)] == []
    assert Attach(13, "/dev", "the host's devices") in ops
    assert [op.target for op in ops if isinstance(op, Bind)] == ["/dev/shm"], "and no node of the pod's"
    mounts = {op.target: op.attributes for op in ops if isinstance(op, Mount)}
    assert [target for target, attributes in mounts.items() if attributes & native.MOUNT_ATTR_RDONLY] == []
    assert {"/proc", "/sys", "/sys/fs/cgroup", "/dev/pts", "/dev/mqueue"} == set(mounts)


def test_its_cgroups_are_mounted_from_a_new_cgroup_namespace_too() -> None:
    """# finding 11"""
    assert privileged()[0] == Unshare(native.CLONE_NEWCGROUP)
    assert compile_container(SPEC, Prepared(rootfs=10, mounts=(), stdout=11, stderr=12), Sharing(host_pid=True))[
        0
    ] == Unshare(native.CLONE_NEWCGROUP)


def test_its_volumes_come_after_its_devices() -> None:
    targets = [op.target for op in privileged() if isinstance(op, Attach)]
    assert targets == ["/dev", "/data"]


# ---- readOnlyRootFilesystem ----


def test_the_rootfs_is_made_read_only_last_of_all_and_its_working_directory_before() -> None:
    """# finding 13"""
    rows = ((BindMount(Path("/host"), "/data", "volume"), 20, False),)
    spec = replace(SPEC, read_only_rootfs=True)
    ops = compile_container(spec, Prepared(rootfs=10, mounts=rows, stdout=11, stderr=12))
    sealed = place(ops, ReadOnlyRoot)
    assert ops[sealed - 1] == Chdir("/work")
    makers = [
        index for index, op in enumerate(ops) if isinstance(op, Mount | Attach | Bind | Symlink | Mask | ReadOnly)
    ]
    assert max(makers) < sealed < place(ops, Pivot)
    assert not [op for op in compiled() if isinstance(op, ReadOnlyRoot)]


# ---- who its program is ----


def test_another_user_than_root_is_given_its_output_before_it_is_one() -> None:
    spec = replace(SPEC, privileges=Privileges(uid=1000, gid=5, groups=(5, 6), permitted=0))
    ops = compile_container(spec, Prepared(rootfs=10, mounts=(), stdout=11, stderr=12))
    assert ops.index(Own(1000)) < ops.index(Ids(1000, 5, (5, 6)))
    assert not [op for op in compiled() if isinstance(op, Own)]


def test_what_joins_has_the_privileges_given_and_no_others() -> None:
    privileges = Privileges(uid=1000, bounding=1, permitted=0, no_new_privs=True)
    ops = compile_exec(ExecSpec(("sh",)), privileges, init=5, stdio=(None, 6, 7))
    assert [op for op in ops if isinstance(op, Ids | Caps)] == [Ids(1000), Caps(1, 0)]
    assert place(ops, NoNewPrivs) < place(ops, Exec)


def test_the_cgroup_namespace_is_made_by_the_child_itself_and_first() -> None:
    assert compiled()[0] == Unshare(native.CLONE_NEWCGROUP)


def test_a_pods_own_list_cuts_propagation_before_it_mounts_anything() -> None:
    ops = compile_pod(hostname="web", root=5, at="/somewhere")
    assert ops[1] == Unshare(native.CLONE_NEWNS)
    assert ops[2] == Private("/")


def test_the_program_and_its_environment_end_the_list() -> None:
    assert compiled()[-1] == Exec(("app", "-x"), ("A=1",))


def test_a_place_in_the_oom_killers_queue_is_taken_before_anything_else_can_be_done() -> None:
    """Podmon's own is the last to go: nothing of a container's is to have it any longer than it must."""
    spec = replace(SPEC, oom_score_adj=1000)
    ops = compile_container(spec, Prepared(rootfs=10, mounts=(), stdout=11, stderr=12, proc=13))
    assert place(ops, OomScoreAdj) < place(ops, Gate)
    assert OomScoreAdj(13, 1000) in ops
    joining = compile_exec(ExecSpec(("app",), oom_score_adj=-997), DEFAULT_PRIVILEGES, init=5, stdio=None, proc=6)
    assert joining[0] == OomScoreAdj(6, -997)
    assert compile_pod(hostname="web", root=5, at="/", oom_score_adj=-998, proc=7)[0] == OomScoreAdj(7, -998)


def test_who_asks_for_no_place_in_it_has_the_callers() -> None:
    assert placed(SPEC, 5).oom_score_adj == 5
    assert placed(replace(SPEC, oom_score_adj=0), 5).oom_score_adj == 0
