"""The verbs that run no pod, and the manners of the command line."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

import cgroups
from tests.runner import TIMEOUT, Seedpod

pytestmark = pytest.mark.root


def test_version(seedpod: Seedpod) -> None:
    assert seedpod.command("version").stdout == f"seedpod {metadata.version('seedpod')}\n"


def test_info_says_what_this_host_can_do_and_the_cure_for_the_rest(seedpod: Seedpod) -> None:
    result = seedpod.command("info")
    assert (result.returncode, result.stderr) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if not line.lstrip().startswith("!"))
    layout = cgroups.detect()
    assert rows["kernel"] == os.uname().release
    assert rows["cgroups"] == f"{layout.name}, cgroup2 at {layout.mount_point}"
    assert rows["root"] == str(seedpod.root)
    assert {"namespaces", "privileges", "overlayfs", "seccomp", "nftables"} <= set(rows)
    for controller in ("cpu", "memory", "pids", "io", "cpuset", "hugetlb"):
        assert rows[controller] == ("available" if controller in layout.controllers else "not available")
    cures = [line for line in result.stdout.splitlines() if line.lstrip().startswith("!")]
    lacking = [row for row in rows.values() if row == "not available"]
    assert len(cures) >= len(lacking)


def test_the_root_can_be_given_by_the_environment(seedpod: Seedpod) -> None:
    result = subprocess.run(
        [seedpod.program, "info"],
        env={**os.environ, "SEEDPOD_ROOT": f"{seedpod.root}/../root"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert result.stdout.splitlines()[-1].split() == ["root", str(seedpod.root)]


def test_a_closed_stdout_is_no_traceback(seedpod: Seedpod) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as sink:
        result = subprocess.run(
            [seedpod.program, "info"], stdout=sink, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False
        )
    assert (result.returncode, result.stderr) == (141, b"")


def test_verbose_shows_where_an_error_came_from(seedpod: Seedpod) -> None:
    result = seedpod.command("-v", "run", "/no/such.yaml")
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("error: read /no/such.yaml: No such file or directory (ENOENT)\n")


def manifest_file(seedpod: Seedpod, tmp_path: Path, script: str) -> Path:
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(seedpod.pod(seedpod.shell("c", script))))
    return file


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_fds_change_nothing_else(seedpod: Seedpod, tmp_path: Path, closed: str) -> None:
    file = manifest_file(seedpod, tmp_path, "echo out; echo err >&2; exit 5")
    script = f"{seedpod.program} --root {seedpod.root} run {file} {closed}"
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 5
    assert result.stdout == ("" if ">&- " in f"{closed} ".replace("2>&-", "") else "out\n")
    assert result.stderr == ("" if "2>&-" in closed else "err\n")


def test_output_that_cannot_be_written_is_an_error(seedpod: Seedpod, tmp_path: Path) -> None:
    file = manifest_file(seedpod, tmp_path, "echo out; sleep 600")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        result = subprocess.run(
            [seedpod.program, "--root", seedpod.root, "run", file],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == "error: pass on the containers' output: No space left on device (ENOSPC)\n"


def test_a_stdout_that_does_not_block_loses_nothing(seedpod: Seedpod, tmp_path: Path) -> None:
    file = manifest_file(seedpod, tmp_path, "seq 1 200000")
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen([seedpod.program, "--root", seedpod.root, "run", file], stdout=write) as process:
        os.close(write)
        with os.fdopen(read) as pipe:
            assert pipe.read().split() == [str(number) for number in range(1, 200001)]
        assert process.wait(TIMEOUT) == 0


def test_an_empty_root_is_wrong_usage(seedpod: Seedpod) -> None:
    result = subprocess.run([seedpod.program, "--root", "", "info"], capture_output=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 2


def test_a_manifest_without_end_is_refused_before_it_fills_the_memory(seedpod: Seedpod) -> None:
    words = ["prlimit", f"--as={512 << 20}", str(seedpod.program), "--root", str(seedpod.root), "run", "/dev/zero"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: /dev/zero:1:1: Too long: may not be more than 3145728 bytes\n"


def test_a_manifest_from_a_stdin_that_is_closed_is_an_empty_one(seedpod: Seedpod) -> None:
    words = ["sh", "-c", 'exec "$0" --root "$1" run - <&-', str(seedpod.program), str(seedpod.root)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: <stdin>:1:1: ")
