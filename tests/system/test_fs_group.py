"""fsGroup: whose a pod's volumes are, and what another user than root can do in them (SEMANTICS A5, A11)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.runner import Manifest, Seedpod, lines_of

pytestmark = pytest.mark.root

GROUP = 4711
CONTEXT: dict[str, Any] = {"securityContext": {"runAsUser": 1000, "fsGroup": GROUP}}
MOUNT: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}
SHOW = "stat -c '%g %a' /v; touch /v/new && stat -c '%u %g' /v/new"


def volume(**source: Any) -> Manifest:
    return {"name": "v", **source}


@pytest.mark.parametrize("source", [{}, {"medium": "Memory"}])
def test_an_empty_dir_is_the_groups_with_all_that_is_made_in_it(seedpod: Seedpod, source: dict[str, str]) -> None:
    """# A5"""
    container = seedpod.shell("c", SHOW, **MOUNT)
    result = seedpod.run(seedpod.pod(container, volumes=(volume(emptyDir=source),), **CONTEXT))
    assert result.stdout.splitlines() == [f"{GROUP} 2777", f"1000 {GROUP}"]


@pytest.mark.parametrize("source", [{}, {"medium": "Memory"}])
def test_without_one_it_is_roots_and_anybodys_to_write(seedpod: Seedpod, source: dict[str, str]) -> None:
    container = seedpod.shell("c", SHOW, **MOUNT)
    pod = seedpod.pod(container, volumes=(volume(emptyDir=source),), securityContext={"runAsUser": 1000})
    assert seedpod.run(pod).stdout.splitlines() == ["0 777", "1000 0"]


def test_users_of_one_pod_share_what_they_write_by_the_group(seedpod: Seedpod) -> None:
    """# A11"""
    first = seedpod.shell("a", "umask 007; mkdir /v/d; echo hello > /v/d/f; mkfifo /v/go; echo > /v/go", **MOUNT)
    script = "until read _ < /v/go; do :; done 2>/dev/null; cat /v/d/f; echo more >> /v/d/f && echo yes"
    second = seedpod.shell("b", script, **MOUNT, securityContext={"runAsUser": 2000})
    result = seedpod.run(seedpod.pod(first, second, volumes=(volume(emptyDir={}),), **CONTEXT))
    assert lines_of(result.stdout, "b") == ["hello", "yes"]


def test_what_a_claim_holds_is_given_to_the_group_before_any_container_runs(seedpod: Seedpod) -> None:
    """# A5"""
    claimed = volume(persistentVolumeClaim={"claimName": "data"})
    script = "mkdir -m 700 /v/d; echo secret > /v/d/f; chmod 600 /v/d/f; ln -s /etc/passwd /v/link"
    assert seedpod.run(CLAIM, seedpod.pod(seedpod.shell("c", script, **MOUNT), volumes=(claimed,))).returncode == 0
    read = "cat /v/d/f; echo more >> /v/d/f && stat -c '%u %g %a' /v/d/f /v/d; stat -c %g /etc/passwd; touch /v/d/new"
    containers = [seedpod.shell("a", read, **MOUNT), seedpod.shell("b", "stat -c %g /v/d/f", **MOUNT)]
    result = seedpod.run(seedpod.pod(*containers, volumes=(claimed,), **CONTEXT))
    assert lines_of(result.stdout, "a") == ["secret", f"0 {GROUP} 660", f"0 {GROUP} 2770", "0"]
    assert lines_of(result.stdout, "b") == [str(GROUP)]
    last = seedpod.run(seedpod.pod(seedpod.shell("c", "stat -c '%u %g' /v/d/new", **MOUNT), volumes=(claimed,)))
    assert last.stdout == f"1000 {GROUP}\n", "the group of its directory"
    assert seedpod.command("volume", "rm", "data").returncode == 0


def test_a_claim_that_is_only_read_is_left_as_it_is(seedpod: Seedpod) -> None:
    claimed = volume(persistentVolumeClaim={"claimName": "data", "readOnly": True})
    container = seedpod.shell("c", "stat -c %g /v", **MOUNT)
    assert seedpod.run(CLAIM, seedpod.pod(container, volumes=(claimed,), **CONTEXT)).stdout == "0\n"
    assert seedpod.command("volume", "rm", "data").returncode == 0


def test_a_host_path_is_never_given_away(seedpod: Seedpod, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = [(path.stat().st_gid, path.stat().st_mode) for path in (tmp_path, tmp_path / "file")]
    container = seedpod.shell("c", "id -G; stat -c %g /v", **MOUNT)
    result = seedpod.run(seedpod.pod(container, volumes=(volume(hostPath={"path": str(tmp_path)}),), **CONTEXT))
    assert result.stdout.splitlines() == [f"0 {GROUP}", "0"]
    assert [(path.stat().st_gid, path.stat().st_mode) for path in (tmp_path, tmp_path / "file")] == before


def test_a_link_that_a_container_left_in_a_claim_leads_to_nothing_of_the_host(seedpod: Seedpod, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    claimed = volume(persistentVolumeClaim={"claimName": "data"})
    script = f"ln -s {outside} /v/a; ln -s {tmp_path} /v/b; ln -s /v/b/outside /v/c"
    assert seedpod.run(CLAIM, seedpod.pod(seedpod.shell("c", script, **MOUNT), volumes=(claimed,))).returncode == 0
    result = seedpod.run(seedpod.pod(seedpod.shell("c", "stat -c %g /v/a", **MOUNT), volumes=(claimed,), **CONTEXT))
    assert result.stdout == f"{GROUP}\n"
    assert (outside.stat().st_gid, stat.S_IMODE(outside.stat().st_mode)) == (os.getgid(), 0o600)
    assert seedpod.command("volume", "rm", "data").returncode == 0
