"""What a container cannot see or do by default (SEMANTICS A4, A43; DESIGN, findings 5 to 7, 11 and 13)."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import capabilities
from sandbox.linux.security import MASKED_PATHS, READ_ONLY_PATHS
from tests.runner import Seedpod

pytestmark = pytest.mark.root


def answer(seedpod: Seedpod, script: str, **fields: object) -> list[str]:
    """What a shell script prints in a container, stderr included."""
    result = seedpod.run(seedpod.pod(seedpod.shell("c", f"exec 2>&1; {script}", **fields)))
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_capabilities_are_the_default_ones_bit_by_bit(seedpod: Seedpod) -> None:
    """# A43"""
    lines = answer(seedpod, "grep ^Cap /proc/self/status")
    found = {name.strip(":"): int(bits, 16) for name, bits in (line.split() for line in lines)}
    default = capabilities.bits(capabilities.DEFAULT)
    assert found == {"CapInh": 0, "CapPrm": default, "CapEff": default, "CapBnd": default, "CapAmb": 0}


def test_no_supplementary_group_of_ours_comes_along(seedpod: Seedpod) -> None:
    os.setgroups([1234])
    try:
        assert answer(seedpod, "grep ^Groups: /proc/self/status; id -u; id -g") == ["Groups:\t0 ", "0", "0"]
    finally:
        os.setgroups([])


def test_signals_are_at_their_defaults_and_none_is_blocked(seedpod: Seedpod) -> None:
    """Python ignores SIGPIPE and podmon blocks all: neither may reach a program.  The shell's own child is asked."""
    result = seedpod.run(seedpod.pod(seedpod.container("c", "/probe/probe", "signals")))
    assert result.stdout.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_no_file_descriptor_but_three_reaches_the_program(seedpod: Seedpod) -> None:
    result = seedpod.run(seedpod.pod(seedpod.container("c", "ls", "-l", "/proc/self/fd")))
    found = {words[-3]: words[-1] for words in (line.split() for line in result.stdout.splitlines()) if "->" in words}
    assert sorted(found) == ["0", "1", "2"]
    assert found["0"] == "/dev/null"
    assert found["1"].startswith("pipe:")
    assert found["2"].startswith("pipe:")


def test_the_umask_of_our_caller_does_not_reach_the_program(seedpod: Seedpod) -> None:
    before = os.umask(0o077)
    try:
        assert answer(seedpod, "umask; stat -c %a / /dev /tmp") == ["0022", "755", "755", "1777"]
    finally:
        os.umask(before)


def test_stdin_is_not_the_hosts_dev_null(seedpod: Seedpod) -> None:
    """# finding 7: through it a container could change the mode and owner of the host's."""
    null = Path("/dev/null")
    before = null.stat()
    answer(seedpod, "chmod 600 /proc/self/fd/0 /dev/null; chown 7:7 /proc/self/fd/0 /dev/null")
    after = null.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


def leads_to(victim: Path, fd: int) -> str:
    """The path of a host's file through an fd that might be open on anything of the host."""
    return f"/proc/self/fd/{fd}{'/..' * 20}{victim}"


@pytest.mark.parametrize("way", ["command", "interpreter"])
def test_no_open_fd_leads_execve_to_a_program_of_the_host(
    seedpod: Seedpod, copied_rootfs: Path, probe: Path, way: str
) -> None:
    """execve looks up a program and its interpreter before it closes what is close-on-exec (as in CVE-2024-21626)."""
    victim = probe / "probe"
    containers = []
    for fd in range(24):
        command = leads_to(victim, fd)
        if way == "interpreter":
            script = copied_rootfs / f"script{fd}"
            script.write_text(f"#!{command} device\n")
            script.chmod(0o755)
            command = f"/script{fd}"
        containers.append({"name": f"c{fd}", "image": f"rootfs:{copied_rootfs}", "command": [command, "x"]})
    result = seedpod.run(seedpod.pod(*containers))
    assert result.returncode == 128
    assert result.stdout == ""
    assert "usage: probe" not in result.stderr, "a program of the host has run"
    assert result.stderr.count("error: ") == len(containers)


ADD_KEY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(250, 1, None) > 0, "keyctl: join a new session keyring"
assert libc.syscall(248, b"user", b"secret of the caller", b"x", 1, -3) > 0, "add_key"
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_the_session_keyring_of_the_caller_is_not_the_containers(seedpod: Seedpod, tmp_path: Path) -> None:
    file = tmp_path / "pod.json"
    command = ("/probe/probe", "session-key", "secret of the caller")
    file.write_text(json.dumps(seedpod.pod(seedpod.container("c", *command))))
    found = subprocess.run(
        [sys.executable, "-c", ADD_KEY, seedpod.probe / "probe", "session-key", "secret of the caller"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout == "ok\n", "the key is there for a program that is started in the plain way"
    result = subprocess.run(
        [sys.executable, "-c", ADD_KEY, seedpod.program, "--root", seedpod.root, "run", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == "ENOKEY\n"


def ignore_the_librarys_signals() -> None:
    """As make starts its children; the C library refuses to do it, the kernel does not."""
    ignore = (ctypes.c_uint64 * 4)(1)
    for number in (32, 33, 34, 64):
        assert ctypes.CDLL(None).syscall(13, number, ignore, None, 8) == 0, "rt_sigaction"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of rt_sigaction is that of x86_64")
def test_not_even_the_signals_of_the_c_library_stay_ignored(seedpod: Seedpod) -> None:
    pod = seedpod.pod(seedpod.container("c", "/probe/probe", "signals"))
    process = seedpod.start(pod, preexec_fn=ignore_the_librarys_signals)
    assert process.communicate(timeout=60)[0].split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_a_pipe_mounted_over_dev_null_does_not_hang_the_start(seedpod: Seedpod, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    volumes = ({"name": "fifo", "hostPath": {"path": str(tmp_path / "fifo")}}, {"name": "dev", "emptyDir": {}})
    covered = seedpod.shell("a", "echo started", volumeMounts=[{"name": "fifo", "mountPath": "/dev/null"}])
    gone = seedpod.shell("b", "cat /proc/keys; ls /dev", volumeMounts=[{"name": "dev", "mountPath": "/dev"}])
    result = seedpod.run(seedpod.pod(covered, gone, volumes=volumes))
    lines = sorted(result.stdout.splitlines())  # neither waits for the other
    assert (result.returncode, lines, result.stderr) == (0, ["a | started", "b | termination-log"], "")


def test_a_device_node_that_a_container_makes_cannot_be_opened(seedpod: Seedpod) -> None:
    """CAP_MKNOD is a default: nodev on every mount is what keeps the host's disk shut."""
    volume = {"name": "v", "emptyDir": {}}
    disk = next(path.stat() for path in Path("/dev").iterdir() if stat.S_ISCHR(path.stat().st_mode))
    places = ("/disk", "/tmp/disk", "/v/disk", "/dev/disk", "/dev/shm/disk")
    script = "; ".join(
        f"/probe/probe device {place} c {os.major(disk.st_rdev)} {os.minor(disk.st_rdev)}" for place in places
    )
    mounts = [{"name": "v", "mountPath": "/v"}]
    result = seedpod.run(seedpod.pod(seedpod.shell("c", script, volumeMounts=mounts), volumes=(volume,)))
    assert result.stdout.splitlines() == ["EACCES"] * len(places)


def test_the_devices_that_a_container_has_work(seedpod: Seedpod) -> None:
    script = (
        "echo x > /dev/null && head -c 3 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c;"
        "head -c 8 /dev/random | wc -c; echo x > /dev/full; ls -l /dev/ptmx | sed 's/.*-> //'; ls /dev/pts"
    )
    assert answer(seedpod, script) == [
        " 00 00 00",
        "8",
        "8",
        "sh: write error: No space left on device",
        "pts/ptmx",
        "ptmx",
    ]


@pytest.mark.parametrize("path", MASKED_PATHS)
def test_a_masked_path_shows_nothing(seedpod: Seedpod, path: str) -> None:
    script = f"if [ -d {path} ]; then ls -A {path}; elif [ -e {path} ]; then cat {path}; fi"
    assert answer(seedpod, script) == []


@pytest.mark.parametrize("path", READ_ONLY_PATHS)
def test_a_read_only_path_of_proc_cannot_be_written(seedpod: Seedpod, path: str) -> None:
    lines = answer(seedpod, f"grep ' {path} ' /proc/self/mountinfo")
    assert len(lines) == Path(path).exists(), "what this kernel lacks needs no cover"
    assert all(line.split()[5].startswith("ro,") for line in lines)


def test_a_write_to_a_sysctl_is_refused(seedpod: Seedpod) -> None:
    (line,) = answer(seedpod, "echo x > /proc/sys/kernel/hostname")
    assert "Read-only file system" in line


def test_sysfs_and_the_cgroups_are_read_only(seedpod: Seedpod) -> None:
    lines = answer(
        seedpod, "echo 1 > /sys/fs/cgroup/cgroup.kill; mkdir /sys/fs/cgroup/x; echo 1 > /sys/kernel/profiling"
    )
    assert len(lines) == 3
    assert all("Read-only file system" in line or "nonexistent" in line for line in lines), lines


def test_a_container_sees_its_own_cgroup_as_the_root(seedpod: Seedpod) -> None:
    """# A4"""
    lines = answer(seedpod, "grep ^0:: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs")
    assert lines[0] == "0::/"
    assert "1" in lines[1:], "the processes of the mounted root are the container's own"


def test_mounting_is_refused(seedpod: Seedpod) -> None:
    """# A43"""
    lines = answer(seedpod, "mount -t tmpfs tmpfs /tmp; mount -o remount,rw /sys; umount /proc/sys; hostname other")
    assert len(lines) == 4
    assert all("ermitted" in line or "denied" in line for line in lines), lines


def test_only_its_own_processes_are_seen(seedpod: Seedpod) -> None:
    """# A4"""
    result = seedpod.run(seedpod.pod(seedpod.container("a", "ps", "-o", "pid"), seedpod.container("b", "sleep", "0")))
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["PID", "1"]


def test_nothing_of_the_host_is_in_the_mount_table(seedpod: Seedpod) -> None:
    lines = answer(seedpod, "cat /proc/self/mountinfo")
    roots = {line.split()[4]: line.split(" - ")[1].split()[0] for line in lines}
    assert roots.pop("/") == "overlay"
    assert {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"} <= set(roots)
    expected = ("/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/probe")
    assert [point for point in roots if not point.startswith(expected)] == []
    assert str(seedpod.root) not in "".join(line for line in lines if " / / " in line)


def test_every_tmpfs_has_an_inode_limit(seedpod: Seedpod) -> None:
    """# finding 13: a million empty files fit into any size."""
    # The probe, /etc/hosts and /etc/hostname lie in directories of the host, whose /tmp may be a tmpfs without one.
    devices = [path.stat().st_dev for path in (seedpod.root, seedpod.probe)]
    of_host = [f"{os.major(device)}:{os.minor(device)}" for device in devices]
    mounts = answer(seedpod, "cat /proc/self/mountinfo")
    tmpfs = [line for line in mounts if " - tmpfs " in line and line.split()[2] not in of_host]
    assert tmpfs
    assert all(",nr_inodes=" in line for line in tmpfs), tmpfs


def test_propagation_is_private(seedpod: Seedpod) -> None:
    assert [
        line for line in answer(seedpod, "cat /proc/self/mountinfo") if "shared:" in line or "master:" in line
    ] == []


def test_an_image_whose_program_is_proc_self_exe_gets_no_handle_to_a_file_of_the_host(
    seedpod: Seedpod, copied_rootfs: Path
) -> None:
    """# finding 6"""
    (copied_rootfs / "trap").write_text("#!/proc/self/exe\n")
    (copied_rootfs / "trap").chmod(0o755)
    pod = seedpod.pod({**seedpod.container("c", "/trap"), "image": f"rootfs:{copied_rootfs}"})
    result = seedpod.run(pod)
    # podmon is executed again as the interpreter, finds no socket at its fd and ends at once.
    assert (result.returncode, result.stdout, result.stderr) == (64, "", "")


def test_hostile_links_of_an_image_lead_nowhere_out_of_it(
    seedpod: Seedpod, copied_rootfs: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (copied_rootfs / "absolute").symlink_to(outside)
    (copied_rootfs / "climbing").symlink_to("../" * 30 + str(outside).lstrip("/"))
    mounts = [{"name": "v", "mountPath": f"/{link}/made"} for link in ("absolute", "climbing")]
    container = {**seedpod.shell("c", "ls -d /absolute/made /climbing/made", volumeMounts=mounts)}
    container["image"] = f"rootfs:{copied_rootfs}"
    result = seedpod.run(seedpod.pod(container, volumes=({"name": "v", "emptyDir": {}},)))
    assert list(outside.iterdir()) == []
    assert "Traceback" not in result.stderr


def test_the_hosts_mount_options_of_cgroup2_stay(seedpod: Seedpod) -> None:
    """# finding 11"""

    def options() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line.split(" - ")[1] for line in lines if " - cgroup2 " in line]

    before = options()
    assert before
    answer(seedpod, "cat /sys/fs/cgroup/cgroup.controllers")
    assert options() == before


def test_a_host_path_is_not_seen_through_what_is_mounted_on_it_later(seedpod: Seedpod, tmp_path: Path) -> None:
    """A mount made on the host afterwards does not appear inside: propagation None."""
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "go")
    volume = {"name": "host", "hostPath": {"path": str(tmp_path)}}
    mount = [{"name": "host", "mountPath": "/host"}]
    script = "echo up; read _ < /host/go; grep -c ' /host/sub ' /proc/self/mountinfo"
    process = seedpod.start(seedpod.pod(seedpod.shell("c", script, volumeMounts=mount), volumes=(volume,)))
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "sub"], check=True)
    try:
        (tmp_path / "go").write_text("\n")
        assert process.communicate(timeout=60)[0] == "0\n"
    finally:
        subprocess.run(["umount", tmp_path / "sub"], check=True)
