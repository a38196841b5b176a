"""The verbs that run no pod, and the manners of the command line."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata

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
