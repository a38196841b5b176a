"""capabilities.add and drop, allowPrivilegeEscalation: bit by bit, in a container's program and in what joins it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sandbox.capabilities import CAPABILITIES, DEFAULT, bits
from sandbox.linux import privileges
from tests.runner import Manifest, Seedpod, lines_of
from tests.system.contained import SHARING, STAYS, WHO, both, caps, executed, sets, standing, status

pytestmark = pytest.mark.root

ORDINARY = bits(DEFAULT)


def held() -> int:
    return privileges.held()


def context(**fields: Any) -> dict[str, Any]:
    return {"securityContext": fields}


CASES = [
    ({}, lambda: ORDINARY),
    ({"add": ["NET_ADMIN", "CAP_SYS_TIME"]}, lambda: ORDINARY | bits(("NET_ADMIN", "SYS_TIME"))),
    ({"drop": ["cap_chown", "KILL"]}, lambda: ORDINARY & ~bits(("CHOWN", "KILL"))),
    ({"add": ["SYS_PTRACE"], "drop": ["ALL"]}, lambda: bits(("SYS_PTRACE",))),
    ({"drop": ["ALL"]}, lambda: 0),
    ({"add": ["ALL"]}, held),
    ({"add": ["all"], "drop": ["SYS_ADMIN", "MKNOD"]}, lambda: held() & ~bits(("SYS_ADMIN", "MKNOD"))),
]


@pytest.mark.parametrize("user", [0, 1000], ids=["root", "another"])
def test_capabilities_are_the_ones_asked_for_bit_by_bit(seedpod: Seedpod, user: int) -> None:
    """# A43: another user's reach the bounding set alone."""
    containers = [
        seedpod.shell(f"c{number}", f"{WHO}; {STAYS}", **context(capabilities=asked, runAsUser=user))
        for number, (asked, _) in enumerate(CASES)
    ]
    standing(seedpod, seedpod.pod(*containers))
    for number, (asked, wanted) in enumerate(CASES):
        for text in both(seedpod, WHO, container=f"c{number}"):
            assert caps(text) == sets(wanted(), 0 if user else wanted()), asked


@pytest.mark.parametrize("sharing", SHARING)
def test_they_are_the_same_in_every_pid_namespace(seedpod: Seedpod, sharing: str) -> None:
    """# A43"""
    asked = {"add": ["NET_ADMIN"], "drop": ["KILL"]}
    containers = [
        seedpod.shell(f"c{user}", f"{WHO}; {STAYS}", **context(capabilities=asked, runAsUser=user))
        for user in (0, 1000)
    ]
    standing(seedpod, seedpod.pod(*containers, **SHARING[sharing]))
    wanted = (ORDINARY | bits(("NET_ADMIN",))) & ~bits(("KILL",))
    for user in (0, 1000):
        for text in both(seedpod, WHO, container=f"c{user}"):
            assert caps(text) == sets(wanted, 0 if user else wanted), user


def test_a_capability_that_is_added_can_be_used_and_one_that_is_dropped_cannot(seedpod: Seedpod) -> None:
    """# A43"""
    script = (
        "ip link set lo mtu 1400 2>/dev/null && echo yes || echo no; chown 5:5 /tmp 2>/dev/null && echo yes || echo no"
    )
    with_both = seedpod.shell("a", script, **context(capabilities={"add": ["NET_ADMIN"], "drop": ["CHOWN"]}))
    result = seedpod.run(seedpod.pod(with_both, seedpod.shell("b", script)))
    assert (lines_of(result.stdout, "a"), lines_of(result.stdout, "b")) == (["yes", "no"], ["no", "yes"])


# ---- allowPrivilegeEscalation ----


@pytest.fixture
def with_setuid(seedpod: Seedpod, copied_rootfs: Path) -> dict[str, Any]:
    """Fields of a container whose image has /setuid, which says what users it runs as."""
    shutil.copy(seedpod.probe / "probe", copied_rootfs / "setuid")
    (copied_rootfs / "setuid").chmod(0o4755)
    return {"image": f"rootfs:{copied_rootfs}"}


def user_1000(seedpod: Seedpod, image: dict[str, Any], **fields: Any) -> Manifest:
    script = f"/setuid users; {WHO}; {STAYS}"
    return {**seedpod.shell("c", script, **context(runAsUser=1000, **fields)), **image}


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("allowed", [{}, {"allowPrivilegeEscalation": True}], ids=["not said", "allowed"])
def test_a_set_user_id_program_makes_root_where_escalation_is_allowed(
    seedpod: Seedpod, with_setuid: dict[str, Any], sharing: str, allowed: dict[str, bool]
) -> None:
    standing(seedpod, seedpod.pod(user_1000(seedpod, with_setuid, **allowed), **SHARING[sharing]))
    for text in (seedpod.command("logs", "web").stdout, executed(seedpod, f"/setuid users; {WHO}")):
        assert text.splitlines()[0] == "1000 0"
        assert status(text)["NoNewPrivs"] == "0"


@pytest.mark.parametrize("sharing", SHARING)
def test_it_makes_nobody_root_where_escalation_is_not_allowed(
    seedpod: Seedpod, with_setuid: dict[str, Any], sharing: str
) -> None:
    container = user_1000(seedpod, with_setuid, allowPrivilegeEscalation=False)
    standing(seedpod, seedpod.pod(container, **SHARING[sharing]))
    for text in (seedpod.command("logs", "web").stdout, executed(seedpod, f"/setuid users; {WHO}")):
        assert text.splitlines()[0] == "1000 1000"
        assert status(text)["NoNewPrivs"] == "1"


def test_no_new_privs_of_one_container_is_not_the_others(seedpod: Seedpod) -> None:
    first = seedpod.shell("a", WHO, **context(allowPrivilegeEscalation=False))
    result = seedpod.run(seedpod.pod(first, seedpod.shell("b", WHO)))
    found = [status("\n".join(lines_of(result.stdout, name)))["NoNewPrivs"] for name in ("a", "b")]
    assert found == ["1", "0"]


# ---- what cannot be given ----


def test_a_capability_that_this_machine_does_not_give_is_refused_by_name(seedpod: Seedpod) -> None:
    """# A44"""
    lacking = [name for name in CAPABILITIES if not held() & bits((name,))]
    if not lacking:
        pytest.skip("root has every capability here; tests/system/test_missing_privileges.py takes some away")
    asking = seedpod.shell("b", "true", **context(capabilities={"add": [lacking[0]]}))
    result = seedpod.run(seedpod.pod(seedpod.shell("a", "echo started"), asking))
    assert (result.returncode, result.stdout) == (1, "")
    assert f'container "b": capabilities.add needs CAP_{lacking[0]} in seedpod\'s own bounding set' in result.stderr
    assert "hint: run seedpod where it has" in result.stderr


def test_an_unknown_capability_is_a_finding_with_its_place(seedpod: Seedpod) -> None:
    result = seedpod.run(seedpod.pod(seedpod.shell("c", "true", **context(capabilities={"drop": ["NET_RWA"]}))))
    assert result.returncode == 1
    assert (
        'capabilities.drop[0]: Invalid value: "NET_RWA": unknown capability, did you mean "NET_RAW"?' in result.stderr
    )
