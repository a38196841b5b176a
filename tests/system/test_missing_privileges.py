"""A seedpod that is itself not given what pods take: it says so before anything is made (SEMANTICS A44)."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import prctl
import pytest

from sandbox.capabilities import CAPABILITIES
from sandbox.linux.host import NEEDED_CAPABILITIES
from tests.runner import Seedpod
from tests.system.contained import WHO, caps

pytestmark = pytest.mark.root


def without(*names: str) -> Callable[[], None]:
    """For `preexec_fn`: what is executed then, as root, has all capabilities but these, and can never have them."""
    numbers = [CAPABILITIES.index(name) for name in names]

    def drop() -> None:
        for number in numbers:
            prctl.capbset_drop(number)

    return drop


@pytest.fixture
def lacking(seedpod: Seedpod) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run -` of a pod by a seedpod without these capabilities."""

    def run(*names: str, **fields: object) -> subprocess.CompletedProcess[str]:
        pod = seedpod.pod(seedpod.shell("c", WHO, **fields))
        return seedpod.command("run", "-", input=json.dumps(pod), preexec_fn=without(*names))

    return run


@pytest.mark.parametrize("name", NEEDED_CAPABILITIES)
def test_without_one_that_every_pod_takes_it_refuses_by_name(
    seedpod: Seedpod, lacking: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    """# A44"""
    result = lacking(name)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"error: running a pod needs CAP_{name}, which this host lacks",
        "hint: run it outside of a container, or in one that has these capabilities",
    ]
    assert list(seedpod.root.glob("pods/*")) == []


def test_an_agent_does_so_too(seedpod: Seedpod) -> None:
    result = seedpod.command("agent", preexec_fn=without("SYS_ADMIN"))
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "error: running a pod needs CAP_SYS_ADMIN, which this host lacks"


def test_an_engine_goes_by_its_name_in_ps(seedpod: Seedpod) -> None:
    pod = json.dumps(seedpod.pod(seedpod.shell("c", "true")))
    assert seedpod.command("run", "-d", "-", input=pod).returncode == 0
    pid = int((seedpod.root / "agent.pid").read_text())
    assert Path(f"/proc/{pid}/comm").read_text() == "seedpod:engine\n"


def test_root_of_another_user_namespace_than_the_first_is_told_that_it_is(seedpod: Seedpod) -> None:
    """# A44"""
    pod = json.dumps(seedpod.pod(seedpod.shell("c", "true")))
    command = ["unshare", "--user", "--map-root-user", seedpod.program, "--root", seedpod.root, "run", "-"]
    result = subprocess.run(command, input=pod, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "error: running a pod needs the first user namespace, which this host lacks"


def test_a_capability_that_is_added_and_cannot_be_given_is_refused_by_name(
    lacking: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """# A44"""
    result = lacking("SYS_TIME", securityContext={"capabilities": {"add": ["SYS_TIME", "SYS_CHROOT"]}})
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        'error: container "c": capabilities.add needs CAP_SYS_TIME in seedpod\'s own bounding set, '
        "which this host lacks",
        "hint: run seedpod where it has CAP_SYS_TIME (see `seedpod info`), or do not add it",
    ]


@pytest.mark.parametrize("context", [{"privileged": True}, {"capabilities": {"add": ["ALL"]}}])
def test_all_capabilities_are_those_that_seedpod_has_itself(
    lacking: Callable[..., subprocess.CompletedProcess[str]], context: dict[str, object]
) -> None:
    """# A43"""
    result = lacking("SYS_TIME", "SYS_BOOT", securityContext=context)
    found = caps(result.stdout)
    taken = functools.reduce(int.__or__, (1 << CAPABILITIES.index(name) for name in ("SYS_TIME", "SYS_BOOT")))
    assert found["CapBnd"] & taken == 0
    assert found["CapBnd"] == found["CapEff"] != 0


def test_other_pods_of_such_a_seedpod_are_as_ever(lacking: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = lacking("SYS_TIME", "SYS_BOOT", "SYS_RESOURCE", "BPF")
    assert result.returncode == 0, result
    assert caps(result.stdout)["CapBnd"] == 0xA80425FB
