"""hostPath with its types: made, mounted, and refused before anything of any pod is made."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runner import TIMEOUT, Manifest, Seedpod

pytestmark = pytest.mark.root


def host(path: Path | str, kind: str = "") -> Manifest:
    return {"name": "h", "hostPath": {"path": str(path), "type": kind}}


def one(seedpod: Seedpod, script: str, volume: Manifest, name: str = "web", **mount: Any) -> Manifest:
    mounts = [{"name": "h", "mountPath": "/h", **mount}]
    return seedpod.pod(seedpod.shell("c", script, volumeMounts=mounts), name=name, volumes=(volume,))


def test_a_directory_that_is_missing_is_made(seedpod: Seedpod, tmp_path: Path) -> None:
    """# A11"""
    result = seedpod.run(one(seedpod, "echo text > /h/file", host(tmp_path / "a" / "b", "DirectoryOrCreate")))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a" / "b" / "file").read_text() == "text\n"
    assert [stat.filemode(each.stat().st_mode) for each in (tmp_path / "a", tmp_path / "a" / "b")] == ["drwxr-xr-x"] * 2


def test_a_file_that_is_missing_is_made_and_kept(seedpod: Seedpod, tmp_path: Path) -> None:
    """# A11"""
    pod = one(seedpod, "cat /h; echo text >> /h", host(tmp_path / "file", "FileOrCreate"))
    assert [seedpod.run(pod).stdout for _ in range(2)] == ["", "text\n"]
    assert stat.filemode((tmp_path / "file").stat().st_mode) == "-rw-r--r--"


def test_a_socket_can_be_mounted_and_connected_to(seedpod: Seedpod, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is short
        listener.bind("s")
        os.chdir(here)
        listener.listen()
        result = seedpod.run(one(seedpod, "/probe/probe unix-connect /h", host(tmp_path / "s", "Socket")))
        assert result.returncode == 0, result
        listener.settimeout(10)
        listener.accept()[0].close()


@pytest.mark.parametrize(("kind", "device"), [("CharDevice", "/dev/null"), ("BlockDevice", None)])
def test_a_device_can_be_mounted_and_is_of_no_use_without_privilege(
    seedpod: Seedpod, tmp_path: Path, kind: str, device: str | None
) -> None:
    """Every mount of a container is nodev."""
    path = Path(device) if device else tmp_path / "loop"
    if not device:
        os.mknod(path, stat.S_IFBLK | 0o666, os.makedev(7, 0))
    result = seedpod.run(one(seedpod, "stat -c %F /h; head -c 1 /h", host(path, kind)))
    assert result.stdout.startswith(("character special file", "block special file"))
    assert "Permission denied" in result.stderr


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("Directory", "a directory"),
        ("File", "a file"),
        ("Socket", "a socket file"),
        ("CharDevice", "a character device"),
        ("BlockDevice", "a block device"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_what_breaks_its_type_is_refused_before_anything_is_made(
    seedpod: Seedpod, tmp_path: Path, kind: str, what: str, there: bool
) -> None:
    """CONTRACT: refused before anything is touched; the other pod's directory is not made either."""
    path = tmp_path / "pipe"
    if there:
        os.mkfifo(path)
    good = one(seedpod, "true", host(tmp_path / "made", "DirectoryOrCreate"), "good")
    result = seedpod.run(good, one(seedpod, "true", host(path, kind)))
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == f'error: volume "h": hostPath type check failed: {path} is not {what}'
    assert not (tmp_path / "made").exists()
    assert seedpod.command("get").stdout == ""


def test_what_another_pod_has_made_wrong_meanwhile_is_an_error_of_the_container(
    seedpod: Seedpod, tmp_path: Path
) -> None:
    """It is looked at when the pods are asked for, and once more when it is mounted."""
    pods = (
        one(seedpod, "true", host(tmp_path / "x", "DirectoryOrCreate"), "directory"),
        one(seedpod, "true", host(tmp_path / "x", "FileOrCreate"), "file"),
    )
    result = seedpod.run(*pods)
    assert result.returncode == 128
    assert f"hostPath type check failed: {tmp_path}/x is not a" in result.stderr


def test_a_link_is_followed_as_kubelet_does(seedpod: Seedpod, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert seedpod.run(one(seedpod, "touch /h/file", host(tmp_path / "link", "Directory"))).returncode == 0
    assert (tmp_path / "real" / "file").exists()


def test_it_can_be_mounted_read_only(seedpod: Seedpod, tmp_path: Path) -> None:
    """# A11"""
    result = seedpod.run(one(seedpod, "touch /h/x", host(tmp_path, "Directory"), readOnly=True))
    assert "Read-only file system" in result.stderr
    assert list(tmp_path.glob("x")) == []


def test_mounts_below_it_are_shown(seedpod: Seedpod, tmp_path: Path) -> None:
    """In a mount namespace of the test's own, and of the engine that `run` is."""
    (tmp_path / "below").mkdir()
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(one(seedpod, "cat /h/below/file", host(tmp_path))))
    script = 'mount -t tmpfs tmpfs "$1/below" && echo text > "$1/below/file" && "$2" --root "$3" run "$4"'
    words = ["unshare", "-m", "sh", "-c", script, "sh", tmp_path, seedpod.program, seedpod.root, file]
    result = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (result.returncode, result.stdout) == (0, "text\n"), result
