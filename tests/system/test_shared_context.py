"""What the containers of a pod share, and what each has for itself (SEMANTICS A3, A4, A6, A7, A8, A10, A11)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.pod.slices import Slices
from tests.runner import Manifest, Seedpod, lines_of

pytestmark = pytest.mark.root

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
SHARED = ("ipc", "net", "uts")
OWN = ("cgroup", "mnt", "pid")


@pytest.fixture
def meeting(tmp_path: Path) -> Manifest:
    """A volume with named pipes by which containers, of several pods too, wait for each other."""
    directory = tmp_path / "meeting"
    directory.mkdir()
    for name in ("ready", "ready2", "done", "done2"):
        os.mkfifo(directory / name)
    return {"name": "meeting", "hostPath": {"path": str(directory)}}


MEETING_MOUNT = {"name": "meeting", "mountPath": "/meeting"}


def test_containers_share_net_ipc_and_uts_and_nothing_else_nor_anything_with_the_host(
    seedpod: Seedpod, meeting: Manifest
) -> None:
    """# A3, A4"""
    script = "".join(f"readlink /proc/self/ns/{kind};" for kind in KINDS)
    # Neither may end before the other has begun, or the numbers of its namespaces could be given out again.
    containers = (
        seedpod.shell("one", f"{script} read _ < /meeting/ready", volumeMounts=[MEETING_MOUNT]),
        seedpod.shell("two", f"{script} echo > /meeting/ready", volumeMounts=[MEETING_MOUNT]),
    )
    result = seedpod.run(seedpod.pod(*containers, volumes=(meeting,)))
    assert result.returncode == 0, result.stderr
    one, two = (dict(zip(KINDS, lines_of(result.stdout, name), strict=True)) for name in ("one", "two"))
    host = {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in KINDS}
    assert {kind: one[kind] == two[kind] for kind in KINDS} == {
        **dict.fromkeys(SHARED, True),
        **dict.fromkeys(OWN, False),
    }
    for kind in KINDS:
        assert host[kind] not in (one[kind], two[kind]), kind


def test_hostname_is_the_pods_name(seedpod: Seedpod) -> None:
    """# A10"""
    script = "hostname; cat /etc/hostname; echo $HOSTNAME; cat /proc/sys/kernel/hostname"
    result = seedpod.run(seedpod.pod(seedpod.shell("one", script), seedpod.shell("two", script), name="my.pod"))
    assert lines_of(result.stdout, "one") == lines_of(result.stdout, "two") == ["my.pod"] * 4


def test_hostname_can_be_set_and_a_long_name_is_cut(seedpod: Seedpod) -> None:
    """# A10"""
    assert seedpod.run(seedpod.pod(seedpod.shell("one", "hostname"), hostname="other")).stdout == "other\n"
    long_name = "a" * 62 + ".b"
    assert seedpod.run(seedpod.pod(seedpod.shell("one", "hostname"), name=long_name)).stdout == "a" * 62 + "\n"


def test_both_addresses_of_localhost_are_up(seedpod: Seedpod) -> None:
    """# A6"""
    result = seedpod.run(seedpod.pod(seedpod.shell("one", "ip -o addr show dev lo; ip -o link | wc -l")))
    assert "127.0.0.1/8" in result.stdout
    assert "::1/128" in result.stdout
    assert result.stdout.splitlines()[-1] == "2", "lo and eth0"


def test_a_port_of_one_container_is_reached_by_the_other_and_cannot_be_bound_twice(
    seedpod: Seedpod, meeting: Manifest
) -> None:
    """# A6"""
    server = "/probe/probe tcp-bind 8080 hold & echo > /meeting/ready; read _ < /meeting/done"
    client = "read _ < /meeting/ready; until /probe/probe tcp-connect 8080; do :; done;"
    client += "/probe/probe tcp-bind 8080; wget -qO- http://localhost:8081/ 2>&1; echo > /meeting/done"
    result = seedpod.run(
        seedpod.pod(
            seedpod.shell("server", server, volumeMounts=[MEETING_MOUNT]),
            seedpod.shell("client", client, volumeMounts=[MEETING_MOUNT]),
            volumes=(meeting,),
        )
    )
    answers = [line for line in lines_of(result.stdout, "client") if line != "ECONNREFUSED"]
    assert answers[0] == "ok"
    assert answers[1] == "EADDRINUSE"
    assert "Connection refused" in answers[2], "localhost is a name that resolves"


def test_the_same_port_is_free_in_another_pod(seedpod: Seedpod, meeting: Manifest) -> None:
    """# A8"""
    first = "/probe/probe tcp-bind 8080 hold & echo > /meeting/ready; read _ < /meeting/done"
    second = "read _ < /meeting/ready; /probe/probe tcp-connect 8080; /probe/probe tcp-bind 8080; echo > /meeting/done"
    result = seedpod.run(
        seedpod.pod(seedpod.shell("c", first, volumeMounts=[MEETING_MOUNT]), name="first", volumes=(meeting,)),
        seedpod.pod(seedpod.shell("c", second, volumeMounts=[MEETING_MOUNT]), name="second", volumes=(meeting,)),
    )
    assert lines_of(result.stdout, "second/c") == ["ECONNREFUSED", "ok"]


def test_abstract_unix_sockets_are_the_pods(seedpod: Seedpod, meeting: Manifest) -> None:
    """# A6, A8: they belong to the network namespace."""
    server = "/probe/probe abstract-listen pod.sock & read _ < /meeting/done; read _ < /meeting/done2"
    inside = "until /probe/probe abstract-connect pod.sock; do :; done; echo > /meeting/ready; echo > /meeting/done"
    outside = "read _ < /meeting/ready; /probe/probe abstract-connect pod.sock; echo > /meeting/done2"
    result = seedpod.run(
        seedpod.pod(
            seedpod.shell("server", server, volumeMounts=[MEETING_MOUNT]),
            seedpod.shell("client", inside, volumeMounts=[MEETING_MOUNT]),
            volumes=(meeting,),
        ),
        seedpod.pod(seedpod.shell("client", outside, volumeMounts=[MEETING_MOUNT]), name="other", volumes=(meeting,)),
    )
    assert lines_of(result.stdout, "web/client")[-1] == "ok"
    assert lines_of(result.stdout, "other/client") == ["ECONNREFUSED"]


# What one container makes and another finds: the question to the probe, and the name or key.
IPC = (("sem", "77"), ("shm", "78"), ("msg", "79"), ("mq", "/queue"), ("pshm", "/memory"), ("psem", "/semaphore"))


def test_sysv_and_posix_ipc_is_seen_in_the_pod_and_not_in_another(seedpod: Seedpod, meeting: Manifest) -> None:
    """# A7, A8"""
    make = "; ".join(f"/probe/probe {kind}-make {name}" for kind, name in IPC)
    find = "; ".join(f"/probe/probe {kind}-find {name}" for kind, name in IPC)
    maker = f"{make}; echo > /meeting/ready; echo > /meeting/ready2; read _ < /meeting/done; read _ < /meeting/done2"
    result = seedpod.run(
        seedpod.pod(
            seedpod.shell("maker", maker, volumeMounts=[MEETING_MOUNT]),
            seedpod.shell(
                "finder", f"read _ < /meeting/ready; {find}; echo > /meeting/done", volumeMounts=[MEETING_MOUNT]
            ),
            volumes=(meeting,),
        ),
        seedpod.pod(
            seedpod.shell(
                "finder", f"read _ < /meeting/ready2; {find}; echo > /meeting/done2", volumeMounts=[MEETING_MOUNT]
            ),
            name="other",
            volumes=(meeting,),
        ),
    )
    assert lines_of(result.stdout, "web/maker") == ["ok"] * len(IPC)
    assert lines_of(result.stdout, "web/finder") == ["ok"] * len(IPC)
    assert lines_of(result.stdout, "other/finder") == ["ENOENT"] * len(IPC)


def test_dev_shm_is_one_tmpfs_of_64_mib(seedpod: Seedpod) -> None:
    """# A7"""
    result = seedpod.run(seedpod.pod(seedpod.shell("one", "df -k /dev/shm | tail -n 1; stat -c %a /dev/shm")))
    device, blocks, *_ = result.stdout.split()
    assert (device, blocks) == ("tmpfs", str(64 * 1024))
    assert result.stdout.split()[-1] == "1777"


def test_an_empty_dir_is_shared_and_a_read_only_mount_of_it_refuses_writes(seedpod: Seedpod, meeting: Manifest) -> None:
    """# A11"""
    volumes = ({"name": "data", "emptyDir": {}}, meeting)
    writable = {"name": "data", "mountPath": "/data"}
    read_only = {"name": "data", "mountPath": "deep/er/data", "readOnly": True}
    result = seedpod.run(
        seedpod.pod(
            seedpod.shell(
                "writer", "echo text > /data/file; echo > /meeting/ready", volumeMounts=[writable, MEETING_MOUNT]
            ),
            seedpod.shell(
                "reader",
                "read _ < /meeting/ready; cat /deep/er/data/file; echo > /deep/er/data/file",
                volumeMounts=[read_only, MEETING_MOUNT],
            ),
            volumes=volumes,
        )
    )
    assert lines_of(result.stdout, "reader") == ["text"]
    assert any("Read-only file system" in line for line in lines_of(result.stderr, "reader"))
    assert result.returncode == 1


def test_a_host_path_may_be_a_file_or_a_directory(seedpod: Seedpod, tmp_path: Path) -> None:
    """# A11"""
    (tmp_path / "file").write_text("from the host\n")
    volumes = (
        {"name": "file", "hostPath": {"path": str(tmp_path / "file")}},
        {"name": "directory", "hostPath": {"path": str(tmp_path)}},
    )
    mounts = [{"name": "file", "mountPath": "/etc/app.conf"}, {"name": "directory", "mountPath": "/host"}]
    result = seedpod.run(
        seedpod.pod(
            seedpod.shell("one", "cat /etc/app.conf; echo back > /host/written", volumeMounts=mounts), volumes=volumes
        )
    )
    assert result.stdout == "from the host\n"
    assert (tmp_path / "written").read_text() == "back\n"


def test_what_a_container_writes_is_its_own_and_never_the_images(seedpod: Seedpod, copied_rootfs: Path) -> None:
    before = sorted(path.name for path in (copied_rootfs / "etc").iterdir())
    mine = {"image": f"rootfs:{copied_rootfs}"}
    result = seedpod.run(
        seedpod.pod(
            seedpod.shell("one", "echo mine > /etc/mine; rm /etc/passwd; ls /etc", **mine),
            seedpod.shell("two", "ls /etc", **mine),
        )
    )
    assert result.returncode == 0
    assert "mine" in lines_of(result.stdout, "one")
    assert "mine" not in lines_of(result.stdout, "two")
    assert "passwd" in lines_of(result.stdout, "two")
    assert sorted(path.name for path in (copied_rootfs / "etc").iterdir()) == before


def test_containers_are_in_leaves_of_the_pods_slice(seedpod: Seedpod) -> None:
    """# A4: seen from the host, by the cgroup that the container's init is in."""
    process = seedpod.start(
        seedpod.pod(seedpod.shell("one", "echo up; exec sleep 600"), seedpod.shell("two", "echo up; exec sleep 600"))
    )
    assert process.stdout is not None
    assert {process.stdout.readline() for _ in range(2)} == {"one | up\n", "two | up\n"}
    try:
        (uid,) = (path.name for path in (seedpod.root / "pods").iterdir())
        pod = Slices(seedpod.root).path(uid)
        assert pod.name.endswith(f"-besteffort-pod{uid.replace('-', '_')}.slice")
        leaves = {path.name: (path / "cgroup.procs").read_text().split() for path in pod.iterdir() if path.is_dir()}
        assert len(leaves) == 3
        assert len(leaves.pop("podmon.scope")) == 1
        assert all(name.endswith(".scope") and len(name) == 64 + len(".scope") for name in leaves)
        assert all(leaves.values())
        assert (pod / "cgroup.procs").read_text() == ""
    finally:
        process.terminate()
        process.communicate(timeout=60)
