"""readOnlyRootFilesystem: the rootfs, and nothing that is mounted in it (DESIGN, finding 13)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runner import Manifest, Seedpod, lines_of
from tests.system.contained import SHARING, STAYS_READ_ONLY, executed, standing
from tests.terminal import terminal

pytestmark = pytest.mark.root

CONTEXT: dict[str, Any] = {"readOnlyRootFilesystem": True}
SEALED: dict[str, Any] = {"securityContext": CONTEXT}
VOLUMES: tuple[Manifest, ...] = ({"name": "v", "emptyDir": {}},)


def written(*places: str) -> str:
    """A script that says of each file whether it could be written, and why not."""
    return "; ".join(f"{{ echo x > {place} && echo yes; }} 2>&1 | sed 's/.*: //'" for place in places)


def test_the_root_cannot_be_written_and_all_that_is_mounted_can(seedpod: Seedpod) -> None:
    """# A5"""
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/etc/deep/below"}]
    no = ["/x", "/tmp/x", "/etc/passwd", "/etc/deep/x", "/root/x"]
    yes = [
        "/v/x",
        "/etc/deep/below/y",
        "/dev/x",
        "/dev/shm/x",
        "/etc/hosts",
        "/etc/hostname",
        "/proc/self/oom_score_adj",
    ]
    script = f"{written(*no, *yes[:-1])}; echo 500 > {yes[-1]} && echo yes"
    result = seedpod.run(seedpod.pod(seedpod.shell("c", script, volumeMounts=mounts, **SEALED), volumes=VOLUMES))
    assert result.stdout.splitlines() == ["Read-only file system"] * len(no) + ["yes"] * len(yes)


@pytest.mark.parametrize("sharing", SHARING)
def test_it_is_the_same_for_what_joins_and_in_every_pid_namespace(seedpod: Seedpod, sharing: str) -> None:
    script = written("/x", "/dev/x")
    container = seedpod.shell("c", f"{script}; {STAYS_READ_ONLY}", **SEALED)
    standing(seedpod, seedpod.pod(container, **SHARING[sharing]))
    assert seedpod.command("logs", "web").stdout == executed(seedpod, script) == "Read-only file system\nyes\n"


def test_a_missing_target_and_working_directory_are_made_before(seedpod: Seedpod) -> None:
    """# finding 13: targets first, read-only last.  The working directory as runc makes it."""
    mounts = [{"name": "v", "mountPath": "/made/for/it"}]
    script = f"pwd; ls -d /made/for/it; {written('work', '/made/x')}"
    container = seedpod.shell("c", script, workingDir="/not/there/yet", volumeMounts=mounts, **SEALED)
    result = seedpod.run(seedpod.pod(container, volumes=VOLUMES))
    assert result.stdout.splitlines() == ["/not/there/yet", "/made/for/it"] + ["Read-only file system"] * 2


def test_a_working_directory_that_cannot_be_made_is_an_error_that_names_it(seedpod: Seedpod) -> None:
    volume = {"name": "v", "hostPath": {"path": str(seedpod.probe)}}
    mounts = [{"name": "v", "mountPath": "/v", "readOnly": True}]
    container = seedpod.shell("c", "true", workingDir="/v/missing", volumeMounts=mounts, **SEALED)
    result = seedpod.run(seedpod.pod(container, volumes=(volume,)))
    assert result.returncode == 128
    assert "change into /v/missing: mkdirat: Read-only file system (EROFS)" in result.stderr


def test_the_other_containers_roots_and_the_image_are_untouched(seedpod: Seedpod, copied_rootfs: Path) -> None:
    image = {"image": f"rootfs:{copied_rootfs}"}
    containers = [
        {**seedpod.shell("a", written("/x"), **SEALED), **image},
        {**seedpod.shell("b", written("/x")), **image},
    ]
    result = seedpod.run(seedpod.pod(*containers))
    assert (lines_of(result.stdout, "a"), lines_of(result.stdout, "b")) == (["Read-only file system"], ["yes"])
    assert not (copied_rootfs / "x").exists()


def test_root_in_it_cannot_make_it_writable_again_unless_it_is_privileged(seedpod: Seedpod) -> None:
    """# A43"""
    script = f"mount -o remount,bind,rw / 2>/dev/null; {written('/x')}"
    containers = [
        seedpod.shell("a", script, **SEALED),
        seedpod.shell("b", script, securityContext={**CONTEXT, "privileged": True}),
    ]
    result = seedpod.run(seedpod.pod(*containers))
    assert (lines_of(result.stdout, "a"), lines_of(result.stdout, "b")) == (["Read-only file system"], ["yes"])


def test_a_terminal_works_in_it(seedpod: Seedpod) -> None:
    container = seedpod.shell("c", f"tty; {STAYS_READ_ONLY}", tty=True, stdin=True, **SEALED)
    standing(seedpod, seedpod.pod(container))
    assert seedpod.command("logs", "web").stdout.strip() == "/dev/pts/0"
    run = [seedpod.program, "--root", seedpod.root, "exec", "-i", "-t", "web", "--", "sh", "-c", written("/x")]
    with terminal(run) as screen:
        screen.until(b"Read-only file system")
