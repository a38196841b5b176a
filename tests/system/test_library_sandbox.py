"""Sandboxes without an engine, of programs that are killed and that fork; and other programs in their namespaces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import cgroups
import sandbox
from sandbox.pod.slices import Slices
from tests.program import BOX, FORK, WAIT, gone, program
from tests.runner import TIMEOUT

pytestmark = pytest.mark.root


# ---- a sandbox that is bound dies with its program ----


def test_a_bound_sandbox_dies_at_once_with_its_program_and_the_next_sweeps(
    root: Path, no_leaks: None, busybox: Path
) -> None:
    with program(BOX + WAIT, root, busybox, "bound") as running:
        podmon, app, directory = running.hear().split()
        running.kill()
    assert gone(int(podmon)) and gone(int(app))
    assert Path(directory).is_dir() and len(Slices(root).boxes()) == 1, "what remains is files, and no process"
    with program(BOX + "    box.remove()\n", root, busybox, "bound") as running:
        assert running.hear()
        assert not Path(directory).exists()
        assert running.end() == 0
    assert Slices(root).boxes() == set()


def test_list_sweeps_as_well_and_leaves_what_lives(root: Path, no_leaks: None, busybox: Path) -> None:
    script = "import sandbox\nprint(sandbox.PodSandbox.list(), flush=True)\n"
    with program(BOX + WAIT, root, busybox, "bound") as living:
        directory = living.hear().split()[2]
        with program(BOX + WAIT, root, busybox, "bound") as running:
            running.hear()
            running.kill()
        with program(script, root) as lister:
            assert lister.hear() == repr([Path(directory)])
            assert lister.end() == 0
    with program(script, root) as lister:
        assert lister.hear() == "[]"
        assert lister.end() == 0


@pytest.mark.parametrize("step", range(3))
def test_a_program_that_is_killed_while_it_makes_one_leaves_nothing_for_ever(
    step: int, root: Path, no_leaks: None, busybox: Path
) -> None:
    """Killed by itself, right after each of the steps of making one."""
    script = """
        import os, signal, sys
        import sandbox
        from sandbox.library import places
        from sandbox.pod import sandbox as inner
        steps = [(places, "write_file"), (places.Cgroup, "create"), (inner.Podmon, "launch")]
        where, name = steps[int(sys.argv[2])]
        original = getattr(where, name)
        def last(*arguments, **named):
            original(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(where, name, last)
        sandbox.PodSandbox.create(name="box")
        """
    with program(script, root, busybox, step) as running:
        assert running.process.wait(TIMEOUT) == -signal.SIGKILL
    assert len(list(root.glob("boxes/[!.]*"))) == 1
    with program("import sandbox\nsandbox.PodSandbox.list()\n", root) as lister:
        assert lister.end() == 0
    assert list(root.glob("boxes/[!.]*")) == [] and Slices(root).boxes() == set()


def test_an_unbound_sandbox_survives_and_is_found_again(root: Path, no_leaks: None, busybox: Path) -> None:
    with program(BOX + WAIT, root, busybox, "unbound") as running:
        podmon, app, directory = running.hear().split()
        running.kill()
    again = """
        import sandbox, sys
        (directory,) = sandbox.PodSandbox.list()
        with sandbox.PodSandbox.connect(directory) as box:
            print(box.pid, box.containers["app"].pid, directory, flush=True)
            box.containers["app"].kill()
            print(box.containers["app"].wait(60).code, flush=True)
        """
    with program(again, root) as running:
        assert running.hear().split() == [podmon, app, directory]
        assert running.hear() == "137"
        assert running.end() == 0
    assert gone(int(podmon))


def test_an_unbound_one_whose_podmon_is_dead_is_swept(root: Path, no_leaks: None, busybox: Path) -> None:
    with program(BOX + WAIT, root, busybox, "unbound") as running:
        podmon = int(running.hear().split()[0])
        running.kill()
    os.kill(podmon, signal.SIGKILL)
    assert gone(podmon)
    with program("import sandbox\nprint(sandbox.PodSandbox.list(), flush=True)\n", root) as lister:
        assert lister.hear() == "[]"
        assert lister.end() == 0


def test_a_forked_child_does_not_keep_a_bound_sandbox_alive(root: Path, no_leaks: None, busybox: Path) -> None:
    with program(BOX + FORK + WAIT, root, busybox, "bound") as running:
        podmon = int(running.hear().split()[0])
        child = int(running.hear())
        try:
            running.kill()
            assert gone(podmon)
            with program("import sandbox\nprint(sandbox.PodSandbox.list(), flush=True)\n", root) as lister:
                assert lister.hear() == "[]", "nor its lock"
                assert lister.end() == 0
        finally:
            os.kill(child, signal.SIGKILL)
        assert gone(child)


# ---- other programs ----


def test_its_namespaces_are_for_nsenter(loop: None, root: Path, no_leaks: None) -> None:
    """Issue 4: another program drives PodSandbox only."""
    with sandbox_of(root) as box:
        words = [f"--{name}={path}" for name, path in box.namespaces.items()]
        command = ["nsenter", *words, "sh", "-c", "hostname; readlink /proc/self/ns/net; cat /proc/net/dev"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    hostname, net, *devices = said.splitlines()
    assert hostname == "web" and net != str(Path("/proc/self/ns/net").readlink())
    assert [line.split(":")[0].strip() for line in devices[2:]] == ["lo"]


def test_its_namespaces_are_for_an_oci_runtime(
    loop: None, root: Path, no_leaks: None, tmp_path: Path, copied_rootfs: Path
) -> None:
    """Issue 4: Debian's runc runs a bundle whose config.json names them."""
    with sandbox_of(root) as box:
        bundle = a_bundle(tmp_path / "bundle", copied_rootfs, box.namespaces, cgroup=f"/{Slices(root).name}-runc")
        done = run_runc(bundle, tmp_path / "runc")
        inodes = [str(Path(path).readlink()) for path in box.namespaces.values()]
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.splitlines() == ["web", *inodes]


def sandbox_of(root: Path) -> sandbox.PodSandbox:
    return sandbox.PodSandbox.create(name="web", root=root)


def a_bundle(directory: Path, rootfs: Path, namespaces: dict[str, str], *, cgroup: str) -> Path:
    """An OCI bundle in the namespaces given, with a mount and a pid namespace of its own."""
    types = {"net": "network", "ipc": "ipc", "uts": "uts"}
    script = "hostname; for kind in net ipc uts; do readlink /proc/self/ns/$kind; done"
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
        },
        "linux": {
            "namespaces": [
                *({"type": types[name], "path": path} for name, path in namespaces.items()),
                {"type": "pid"},
                {"type": "mount"},
            ],
            "cgroupsPath": cgroup,
        },
    }
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def run_runc(bundle: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """In a mount namespace in which the v2 tree alone is to be seen at /sys/fs/cgroup: runc makes its cgroup there, and
    none in the controllers of a hybrid machine."""
    mount_point = cgroups.detect().mount_point
    script = (
        "mount --make-rprivate / && mount --rbind $0 /sys/fs/cgroup && exec runc --root $1 run --bundle $2 seedpod-test"
    )
    words = ["unshare", "--mount", "sh", "-c", script, str(mount_point), str(state), str(bundle)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT)
