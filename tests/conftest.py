"""Fixtures of all tests: a root of its own for each, the probe, and the proof that nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

import cgroups
from sandbox.linux import network
from sandbox.pod import leases
from sandbox.pod.root_network import read_book
from sandbox.pod.slices import Slices
from tests.network import Host
from tests.runner import Seedpod

HERE = Path(__file__).parent

# How long an example takes says how busy the machine is, and nothing else.
hypothesis.settings.register_profile("seedpod", deadline=None)
hypothesis.settings.load_profile("seedpod")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise pytest.UsageError(
            "SIGINT is ignored here, as in what a shell without job control starts in the background (`make test &`): "
            "tests that interrupt themselves would wait for ever.  Start it with `env --default-signal=INT make test`"
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    for marker in item.iter_markers("controllers"):
        for reason in filter(None, map(cgroups.detect().why_not, marker.args)):
            pytest.skip(reason)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the static program `probe` in it, to be mounted into containers; see tests/probe.c."""
    directory = tmp_path_factory.mktemp("probe")
    subprocess.run(
        ["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", HERE / "probe.c", "-o", directory / "probe"],
        check=True,
    )
    return directory


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of built images that the roots of tests share, so that not each builds its own."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def root(tmp_path: Path, images: Path) -> Iterator[Path]:
    """A SEEDPOD_ROOT for one test.  At its end nothing of its pods may be left."""
    directory = tmp_path / "root"
    directory.mkdir()
    (directory / "images").symlink_to(images)
    yield directory
    left = sorted(str(path) for kind in ("pods", "boxes") for path in directory.glob(f"{kind}/[!.]*"))
    assert left == [], "directories of pods are left"


def _snapshot(slice_prefix: str, root: Path) -> dict[str, object]:
    """What a pod could leave on a machine, by kind.  Other programs' doings beside the test are not in it."""
    mount_point = cgroups.detect().mount_point
    assert mount_point is not None
    return {
        "cgroups": sorted(path.name for path in mount_point.glob(f"{slice_prefix}*")),
        "children": _children(),
        "fds": _fds(),
        "links": [name for name in network.link_names() if _is_of(name, slice_prefix)],
        "nft": [line for line in _nft("list ruleset") if slice_prefix.removesuffix(".slice") in line],
        "mounts": [line for line in _mounts() if line.split()[4] != str(root)],  # a disk of the test's own
        "podmons": _podmons_of(slice_prefix),
    }


def _is_of(link: str, slice_prefix: str) -> bool:
    """Whether a link is one that others do not make beside us: of this root, or none of any root's."""
    name = slice_prefix.removesuffix(".slice")
    return link.startswith((name, leases.link_name(name, 0)[:-1])) or not link.startswith(("seedpod", "sp"))


def _nft(words: str) -> list[str]:
    return subprocess.run(["nft", *words.split()], check=True, capture_output=True, text=True).stdout.splitlines()


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def _fds() -> list[str]:
    """What our fds refer to; pytest's own capture files and pipes among them."""
    targets = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(fd.readlink()))
        except FileNotFoundError:  # the fd that reads the directory
            continue
    return sorted(targets)


def _podmons_of(slice_prefix: str) -> list[str]:
    """Processes of the whole machine in a cgroup of ours, but for the dead: one whose engine was killed is for
    the machine's init to reap."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            lines = (directory / "cgroup").read_text().splitlines()
            state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if state != "Z" and any(line.startswith(f"0::/{slice_prefix}") for line in lines):
            found.append(directory.name)
    return found


@pytest.fixture(scope="session")
def loop() -> None:
    """The library's loop runs: it is started once, and what it holds open is no leak of a test."""
    from sandbox.library.loop import LOOP

    LOOP.call(lambda: None)


@pytest.fixture
def no_leaks(root: Path) -> Iterator[None]:
    """Processes, mounts, links, nft rules, cgroups, fds and files are the same after the test as before it.

    Addresses and routes go with their link; no pod has a lease.
    """
    prefix = Slices(root).name.removesuffix(".slice")  # of pods and of sandboxes without an engine
    before = _snapshot(prefix, root)
    yield
    assert _snapshot(prefix, root) == before
    book = read_book(root)
    assert (book.leases, book.leaving, book.up, book.opened, book.accepted) == ({}, (), False, {}, ())


@pytest.fixture
def seedpod(root: Path, probe: Path, no_leaks: None) -> Iterator[Seedpod]:
    """The command line, on a root of its own."""
    runner = Seedpod(root, probe, Path(sys.executable).parent / "seedpod")
    yield runner
    runner.end_all()


@pytest.fixture
def host(probe: Path, tmp_path: Path) -> Iterator[Host]:
    """A machine of the test's own."""
    made = Host(probe, tmp_path / "seedpod", Path(sys.executable).parent / "seedpod")
    yield made
    made.end()


@pytest.fixture
def on_host(root: Path, probe: Path, no_leaks: None, host: Host) -> Iterator[Seedpod]:
    """The command line on that machine, which is in the end as the test's first pod found it."""
    runner = Seedpod(root, probe, host.program)
    yield runner
    runner.end_all()
    assert host.before is None or host.traces() == host.before


@pytest.fixture
def pod_slice(root: Path, no_leaks: None) -> Iterator[cgroups.Cgroup]:
    """An empty slice of a pod, for tests that make a sandbox without an engine."""
    slices = Slices(root)
    yield slices.create("test")
    slices.remove("test")
    slices.remove_parents()


@pytest.fixture(scope="session")
def busybox(images: Path) -> Path:
    """The rootfs directory of localhost/busybox."""
    from sandbox.pod.images import find

    return find("localhost/busybox", images).rootfs


@pytest.fixture
def copied_rootfs(busybox: Path, tmp_path: Path) -> Path:
    """A copy of busybox's rootfs that a test may change."""
    target = tmp_path / "rootfs"
    shutil.copytree(busybox, target, symlinks=True)
    return target
