"""privileged: what such a container can do that no other can, each tried for real (SEMANTICS A43)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sandbox.capabilities import CAPABILITIES, bits, names
from sandbox.linux import devices, privileges
from sandbox.linux.security import MASKED_PATHS, READ_ONLY_PATHS
from tests.runner import Manifest, Seedpod, lines_of
from tests.system.contained import SHARING, STAYS, WHO, caps, executed, sets, standing, status

pytestmark = pytest.mark.root

PRIVILEGED: dict[str, Any] = {"securityContext": {"privileged": True}}
# In memory: one on disk is on a filesystem of the host, and nodev where that is.
VOLUME: Manifest = {"name": "v", "emptyDir": {"medium": "Memory"}}
MOUNT: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}


def answers(seedpod: Seedpod, script: str, **spec: Any) -> tuple[list[str], list[str]]:
    """What a privileged container prints, and one beside it that is not."""
    containers = [
        seedpod.shell("yes", f"exec 2>&1; {script}", **PRIVILEGED, **MOUNT),
        seedpod.shell("no", f"exec 2>&1; {script}", **MOUNT),
    ]
    result = seedpod.run(seedpod.pod(*containers, volumes=(VOLUME,), **spec))
    return lines_of(result.stdout, "yes"), lines_of(result.stdout, "no")


def tried(*commands: str) -> str:
    """A script that says of each command whether it worked."""
    return "; ".join(f"({command}) >/dev/null 2>&1 && echo yes || echo no" for command in commands)


def only_privileged(seedpod: Seedpod, *commands: str, **spec: Any) -> None:
    yes, no = answers(seedpod, tried(*commands), **spec)
    assert dict(zip(commands, yes, strict=True)) == dict.fromkeys(commands, "yes")
    assert dict(zip(commands, no, strict=True)) == dict.fromkeys(commands, "no")


# ---- what it is ----


@pytest.mark.parametrize("sharing", SHARING)
def test_it_has_every_capability_that_seedpod_has_and_no_filter(seedpod: Seedpod, sharing: str) -> None:
    """# A43"""
    context = {"privileged": True, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
    container = seedpod.shell("c", f"{WHO}; {STAYS}", securityContext=context)
    standing(seedpod, seedpod.pod(container, **SHARING[sharing]))
    for text in (seedpod.command("logs", "web").stdout, executed(seedpod, WHO)):
        assert caps(text) == sets(privileges.held())
        assert (status(text)["NoNewPrivs"], status(text)["Seccomp"]) == ("0", "0")


def test_another_user_than_root_has_them_in_its_bounding_set_alone(seedpod: Seedpod) -> None:
    """# A43"""
    container = seedpod.shell("c", WHO, securityContext={"privileged": True, "runAsUser": 1000})
    text = seedpod.run(seedpod.pod(container)).stdout
    assert text.startswith("uid=1000 ")
    assert caps(text) == sets(privileges.held(), 0)


def test_what_it_cannot_be_given_is_told_in_an_event(seedpod: Seedpod) -> None:
    """# A44"""
    lacking = names(bits(CAPABILITIES) & ~privileges.held())
    standing(seedpod, seedpod.pod(seedpod.shell("c", STAYS, **PRIVILEGED)))
    described = seedpod.command("describe", "web").stdout
    assert ("MissingCapabilities" in described) is bool(lacking)
    if lacking:
        what = ", ".join(f"CAP_{name}" for name in lacking)
        assert f"Container c runs without {what}, which seedpod itself does not have" in described


# ---- the network ----


def test_it_configures_the_pods_network_which_the_other_then_uses(seedpod: Seedpod) -> None:
    """# A43"""
    only_privileged(
        seedpod,
        "ip addr add 10.98.76.54/32 dev lo",
        "ip link set lo mtu 1400",
        "ip link add made type veth",
        "ip route add blackhole 10.98.0.0/16",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    )
    container = seedpod.shell("a", f"ip addr add 10.98.76.54/32 dev lo; mkdir -p /v/made; {STAYS}", **PRIVILEGED)
    standing(seedpod, seedpod.pod(container, seedpod.shell("b", STAYS)))
    assert "10.98.76.54/32" in executed(seedpod, "ip addr show dev lo", container="b")


# ---- mounts ----


def test_it_mounts(seedpod: Seedpod) -> None:
    """# A43"""
    only_privileged(
        seedpod,
        "mount -t tmpfs tmpfs /tmp && touch /tmp/x",
        "mount --bind /tmp /home",
        "mount -o remount,bind,ro /v && ! touch /v/x",
        "mount -t proc proc /home",
        "umount -l /proc",
    )


def test_what_it_mounts_is_seen_by_nobody_else(seedpod: Seedpod) -> None:
    first = seedpod.shell(
        "a", f"mkdir -p /v/m; mount -t tmpfs tmpfs /v/m; touch /v/m/x; {STAYS}", **PRIVILEGED, **MOUNT
    )
    standing(seedpod, seedpod.pod(first, seedpod.shell("b", STAYS, **MOUNT), volumes=(VOLUME,)))
    assert executed(seedpod, "ls /v/m", container="a") == "x\n"
    assert executed(seedpod, "ls /v/m", container="b") == ""
    assert " /v/m " not in Path("/proc/self/mountinfo").read_text()


def test_its_own_cgroup_is_its_to_divide_and_the_hosts_options_stay(seedpod: Seedpod) -> None:
    """# finding 11"""

    def options() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line.split(" - ")[1] for line in lines if " - cgroup2 " in line]

    before = options()
    assert before
    only_privileged(
        seedpod,
        "mkdir /sys/fs/cgroup/made && echo 0 > /sys/fs/cgroup/made/cgroup.procs",
        "mount -t cgroup2 cgroup2 /home && test -d /home/made",
    )
    assert options() == before


def test_kernel_files_are_neither_masked_nor_read_only(seedpod: Seedpod) -> None:
    """# A43"""
    script = "cut -d' ' -f5,6 /proc/self/mountinfo"
    yes, no = (dict(line.split() for line in lines) for lines in answers(seedpod, script))
    covered = [path for path in (*MASKED_PATHS, *READ_ONLY_PATHS) if Path(path).exists()]
    assert covered
    assert [path for path in covered if path in yes] == []
    assert [path for path in covered if path not in no] == []
    for path in ("/sys", "/sys/fs/cgroup"):
        assert yes[path].startswith("rw,")
        assert no[path].startswith("ro,")


# ---- devices ----


def test_it_has_the_hosts_devices_with_their_modes_and_owners(seedpod: Seedpod) -> None:
    """# A43"""
    wanted = {
        str(node.path): (stat.filemode(node.mode), node.uid, node.gid, os.major(node.device), os.minor(node.device))
        for node in devices.find()
    }
    script = (
        "cd /dev; find . -type b -o -type c | grep -v ^./pts/ | while read f; do stat -c '%n %A %u %g %t %T' $f; done"
    )
    yes, no = answers(seedpod, script)
    rows = (line.removeprefix("./").split() for line in yes)
    found = {
        name: (mode, int(uid), int(gid), int(major, 16), int(minor, 16)) for name, mode, uid, gid, major, minor in rows
    }
    assert found == wanted
    assert len(no) == 6


def test_what_it_does_to_a_node_is_not_done_to_the_hosts(seedpod: Seedpod) -> None:
    before = {path.name: path.lstat().st_mode for path in Path("/dev").iterdir()}
    yes, _ = answers(seedpod, tried("chmod 0 /dev/full", "rm /dev/zero", "mv /dev/random /dev/other"))
    assert yes == ["yes"] * 3
    after = {path.name: path.lstat().st_mode for path in Path("/dev").iterdir()}
    assert {name: after.get(name) for name in ("full", "zero", "random", "other")} == {
        name: before.get(name) for name in ("full", "zero", "random", "other")
    }


def test_it_opens_a_device_of_the_host_and_makes_nodes_of_its_own_anywhere(seedpod: Seedpod) -> None:
    """# A43"""
    only_privileged(
        seedpod,
        "head -c 1 /dev/kmsg",
        *(f"/probe/probe device {place}/node c 1 5" for place in ("/dev", "/tmp", "/v")),
    )


@pytest.mark.skipif(not Path("/dev/loop-control").exists(), reason="needs loop devices")
def test_it_reads_and_writes_a_block_device(seedpod: Seedpod) -> None:
    """# A43: of a file of its own, which it makes one of."""
    script = """
        trap 'losetup -d $device' EXIT
        dd if=/dev/zero of=/v/disk bs=64k count=16 2>/dev/null
        for device in $(seq 0 255); do
            device=/dev/loop$device
            [ -e $device ] || mknod $device b 7 ${device#/dev/loop}
            losetup $device /v/disk 2>/dev/null && break
        done
        printf written > $device
        sync
        head -c 7 /v/disk
    """
    result = seedpod.run(seedpod.pod(seedpod.shell("c", script, **PRIVILEGED, **MOUNT), volumes=(VOLUME,)))
    assert (result.stdout, result.returncode) == ("written", 0), result.stderr


def test_its_terminals_are_its_own_devpts(seedpod: Seedpod) -> None:
    yes, no = answers(seedpod, "readlink /dev/ptmx; ls /dev/pts; ls -A /dev/shm /dev/mqueue | grep -v :")
    assert yes == no
    assert yes[:2] == ["pts/ptmx", "ptmx"]


# ---- beside others ----


@pytest.mark.parametrize("sharing", SHARING)
def test_one_that_is_not_privileged_is_no_weaker_beside_one_that_is(seedpod: Seedpod, sharing: str) -> None:
    """# A43"""
    first = seedpod.shell(
        "yes", f"chmod 0 /dev/null; chown 5 /dev/zero; mount -o remount,rw /sys; {STAYS}", **PRIVILEGED
    )
    alone = [seedpod.shell("no", STAYS)]
    attempts = tried("mount -t tmpfs t /tmp", "echo 1 > /proc/sys/vm/drop_caches", "head -c 1 /dev/kmsg")
    look = f"{WHO}; cut -d' ' -f5,6 /proc/self/mountinfo | sort; ls -l /dev; {attempts}"
    found = []
    for containers in (alone, [first, *alone]):
        standing(seedpod, seedpod.pod(*containers, **SHARING[sharing]))
        lines = executed(seedpod, look, container="no").splitlines()
        found.append([line for line in lines if not line.startswith(("l", "total"))])
        assert seedpod.command("delete", "web", "--now").returncode == 0
    assert found[0] == found[1]


@pytest.mark.parametrize("source", [{}, {"medium": "Memory"}])
def test_a_node_that_it_leaves_in_a_shared_volume_is_inert_for_the_other(
    seedpod: Seedpod, source: dict[str, str]
) -> None:
    """# A43: nodev is each container's own."""
    first = seedpod.shell("yes", f"mknod -m 666 /v/zero c 1 5; {STAYS}", **PRIVILEGED, **MOUNT)
    volumes = ({"name": "v", "emptyDir": source},)
    standing(seedpod, seedpod.pod(first, seedpod.shell("no", STAYS, **MOUNT), volumes=volumes))
    read = tried("test -c /v/zero", "head -c 1 /v/zero")
    nodev = not source and os.statvfs(seedpod.root).f_flag & os.ST_NODEV
    assert executed(seedpod, read, container="yes").split() == ["yes", "no" if nodev else "yes"]
    assert executed(seedpod, read, container="no").split() == ["yes", "no"]


def test_the_manifest_that_get_prints_is_one_that_run_takes(seedpod: Seedpod) -> None:
    context = {"privileged": True, "capabilities": {"add": ["NET_ADMIN"]}, "runAsUser": 0}
    pod = seedpod.pod(seedpod.shell("c", "true", securityContext=context), securityContext={"fsGroup": 5})
    assert seedpod.command("run", "-d", "-", input=json.dumps(pod)).returncode == 0
    printed = seedpod.command("get", "web", "-o", "json").stdout
    spec = json.loads(printed)["spec"]
    assert (spec["securityContext"], spec["containers"][0]["securityContext"]) == ({"fsGroup": 5}, context)
    assert seedpod.command("delete", "web", "--now").returncode == 0
    assert seedpod.command("run", "-d", "-", input=printed).returncode == 0
