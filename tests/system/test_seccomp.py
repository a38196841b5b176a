"""seccompProfile: which filter a container's programs have, and what one that cannot be had does to it."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.runner import Seedpod, lines_of
from tests.system.contained import SHARING, STAYS, STAYS_READ_ONLY, both, standing

pytestmark = pytest.mark.root

# Says whether there is a filter, and whether it lets two calls pass: what RuntimeDefault forbids, and what it does not.
ASK = "grep ^Seccomp: /proc/self/status; unshare -U true 2>/dev/null && echo yes || echo no; mkdir /tmp/d$$ && echo yes"
FREE, FILTERED = ["Seccomp:\t0", "yes", "yes"], ["Seccomp:\t2", "no", "yes"]

# Everything but mkdir.
NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
}


def profile(kind: str, path: str | None = None) -> dict[str, Any]:
    said = {"type": kind} if path is None else {"type": kind, "localhostProfile": path}
    return {"securityContext": {"seccompProfile": said}}


def localhost(seedpod: Seedpod, name: str, text: str) -> None:
    path = seedpod.root / "seccomp" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_containers_profile_comes_before_the_pods_and_none_is_the_default(seedpod: Seedpod) -> None:
    """# A43"""
    containers = [
        seedpod.shell("a", ASK),
        seedpod.shell("b", ASK, **profile("RuntimeDefault")),
        seedpod.shell("c", ASK, **profile("Unconfined")),
    ]
    result = seedpod.run(seedpod.pod(*containers))
    assert [lines_of(result.stdout, name) for name in "abc"] == [FREE, FILTERED, FREE]
    result = seedpod.run(seedpod.pod(*containers, **profile("RuntimeDefault")))
    assert [lines_of(result.stdout, name) for name in "abc"] == [FILTERED, FILTERED, FREE]


def test_the_configuration_makes_runtime_default_the_default(seedpod: Seedpod) -> None:
    """# A43: kubelet's seccompDefault"""
    (seedpod.root / "config.toml").write_text("seccompDefault = true\n")
    containers = [seedpod.shell("a", ASK), seedpod.shell("b", ASK, **profile("Unconfined"))]
    privileged = seedpod.shell("c", ASK, securityContext={"privileged": True})
    result = seedpod.run(seedpod.pod(*containers, privileged))
    assert [lines_of(result.stdout, name) for name in "abc"] == [FILTERED, FREE, FREE]


@pytest.mark.parametrize("sharing", SHARING)
def test_what_joins_has_the_containers_filter(seedpod: Seedpod, sharing: str) -> None:
    containers = {}
    for user, escalation in product((0, 1000), (True, False)):
        own = {
            "allowPrivilegeEscalation": escalation,
            "runAsUser": user,
            **profile("RuntimeDefault")["securityContext"],
        }
        name = f"c{user}-{escalation}".lower()
        containers[name] = seedpod.shell(name, f"{ASK}; {STAYS}", securityContext=own)
    standing(seedpod, seedpod.pod(*containers.values(), **SHARING[sharing]))
    for name in containers:
        for text in both(seedpod, ASK, container=name):
            assert text.splitlines() == FILTERED, name


def test_a_profile_of_the_administrators_filters(seedpod: Seedpod) -> None:
    localhost(seedpod, "audit/no-mkdir.json", json.dumps(NO_MKDIR))
    script = f"mkdir /tmp/d 2>&1; {STAYS_READ_ONLY}"
    standing(seedpod, seedpod.pod(seedpod.shell("c", script, **profile("Localhost", "audit/no-mkdir.json"))))
    wanted = "mkdir: can't create directory '/tmp/d': Operation not supported\n"
    assert seedpod.command("logs", "web").stdout == wanted
    # What joins has the filter that the container was started with.
    localhost(seedpod, "audit/no-mkdir.json", json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    result = seedpod.command("exec", "web", "--", "sh", "-c", "mkdir /tmp/d 2>&1")
    assert (result.returncode, result.stdout) == (1, wanted)


def test_a_profile_that_is_not_there_keeps_the_container_waiting_until_it_is(seedpod: Seedpod) -> None:
    """containerd's word is CreateContainerError; kubelet tries again."""
    process = seedpod.start(seedpod.pod(seedpod.shell("app", ASK, **profile("Localhost", "mine.json"))))
    assert process.stdout is not None and process.stderr is not None
    path = seedpod.root / "seccomp" / "mine.json"
    assert process.stderr.readline() == (
        f'error: pod "web", container "app": CreateContainerError: cannot load seccomp profile "{path}": '
        "no such file or directory\n"
    )
    assert process.stderr.readline().startswith("hint: ")
    known = json.loads(seedpod.command("get", "web", "-o", "json").stdout)["status"]["containerStatuses"][0]
    assert known["state"]["waiting"]["reason"] == "CreateContainerError"
    assert known["restartCount"] == 0
    localhost(seedpod, "mine.json", json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout.splitlines(), stderr) == (0, ["Seccomp:\t2", "yes", "yes"], "")


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "mine.json:1:"), ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "SCMP_ACT_NOTIFY"), ("\xff", "mine.json")],
)
def test_a_file_that_is_no_profile_is_told_with_its_place(seedpod: Seedpod, text: str, why: str) -> None:
    localhost(seedpod, "mine.json", text)
    pod = seedpod.pod(seedpod.shell("app", "echo started", **profile("Localhost", "mine.json")))
    result = seedpod.command("run", "-d", "-", input=json.dumps(pod))
    assert result.stdout == "pod/web created\n"
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert 'CreateContainerError: cannot load seccomp profile "' in line
    assert why in line


def test_a_profile_that_forbids_what_starts_a_program_says_so(seedpod: Seedpod) -> None:
    localhost(seedpod, "mine.json", json.dumps({"defaultAction": "SCMP_ACT_ERRNO"}))
    result = seedpod.run(seedpod.pod(seedpod.shell("app", "true", **profile("Localhost", "mine.json"))))
    assert result.returncode == 128
    assert "execve: Operation not permitted (EPERM)" in result.stderr
    assert "hint: the seccomp profile mine.json may forbid execve, which starting a container takes" in result.stderr


def test_a_link_among_the_profiles_is_the_administrators_to_make(seedpod: Seedpod, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text(json.dumps(NO_MKDIR))
    (seedpod.root / "seccomp").mkdir()
    (seedpod.root / "seccomp" / "mine.json").symlink_to(tmp_path / "elsewhere.json")
    result = seedpod.run(seedpod.pod(seedpod.shell("app", ASK, **profile("Localhost", "mine.json"))))
    assert result.stdout.splitlines()[:1] == ["Seccomp:\t2"]
