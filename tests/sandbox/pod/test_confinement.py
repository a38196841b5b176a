"""What security contexts make of a container, without one."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from sandbox.capabilities import CAPABILITIES, DEFAULT, bits
from sandbox.errors import Hindered, Unsupported
from sandbox.linux import seccomp
from sandbox.model import (
    Capabilities,
    Container,
    Pod,
    PodSecurityContext,
    SeccompProfile,
    SeccompType,
    SecurityContext,
)
from sandbox.pod import confinement
from sandbox.pod.confinement import Asked, Policy
from sandbox.pod.privileges import Privileges
from sandbox.pod.users import User

EVERY = bits(CAPABILITIES)
ROOT, WEB = User(0, 0, (0,), "/root"), User(1000, 1000, (1000, 2000), "/home/web")
FULL_NAME = "web_default(1-2-3)"


def a_container(**context: object) -> Container:
    return Container("app", "i", security_context=SecurityContext(**context))  # type: ignore[arg-type]


def a_pod(*containers: Container, **context: object) -> Pod:
    return Pod("web", containers=containers, security_context=PodSecurityContext(**context))  # type: ignore[arg-type]


def policy(held: int = EVERY, default: SeccompType = SeccompType.UNCONFINED, profiles: Path = Path("/none")) -> Policy:
    return Policy(held, default, profiles)


# ---- who ----


@pytest.mark.parametrize(("of_pod", "own"), list(product([None, 0, 1000], repeat=2)))
def test_a_containers_ids_come_before_the_pods_and_0_is_one(of_pod: int | None, own: int | None) -> None:
    """# A5"""
    pod = a_pod(run_as_user=of_pod, run_as_group=of_pod)
    asked = confinement.asked(pod, a_container(run_as_user=own, run_as_group=own))
    wanted = of_pod if own is None else own
    assert (asked.uid, asked.gid) == (wanted, wanted)


def test_user_and_group_are_taken_one_by_one() -> None:
    pod = a_pod(run_as_user=1, run_as_group=2, supplemental_groups=(3, 4), fs_group=5)
    assert confinement.asked(pod, a_container(run_as_user=9)) == Asked(9, 2, (5, 3, 4), non_root=False)


@pytest.mark.parametrize(
    ("of_pod", "own", "wanted"),
    [(None, None, False), (True, None, True), (True, False, False), (False, True, True), (None, True, True)],
)
def test_a_containers_run_as_non_root_comes_before_the_pods(
    of_pod: bool | None, own: bool | None, wanted: bool
) -> None:
    assert confinement.asked(a_pod(run_as_non_root=of_pod), a_container(run_as_non_root=own)).non_root is wanted


def test_root_that_must_not_be_is_refused_in_kubelets_words() -> None:
    container = a_container(run_as_non_root=True)
    with pytest.raises(Hindered) as hindered:
        confinement.require_non_root(a_pod(), container, FULL_NAME)
    assert hindered.value.reason == "CreateContainerConfigError"
    assert str(hindered.value) == (
        'container has runAsNonRoot and image will run as root (pod: "web_default(1-2-3)", container: app)'
    )
    with pytest.raises(Hindered) as hindered:
        confinement.require_non_root(a_pod(run_as_user=0), container, FULL_NAME)
    assert str(hindered.value) == (
        'container\'s runAsUser breaks non-root policy (pod: "web_default(1-2-3)", container: app)'
    )
    assert hindered.value.hint == "set runAsUser to another user than 0, or runAsNonRoot to false"


def test_another_user_may_be() -> None:
    confinement.require_non_root(a_pod(run_as_user=1), a_container(run_as_non_root=True), FULL_NAME)
    confinement.require_non_root(a_pod(run_as_user=0), a_container(run_as_non_root=True, run_as_user=1), FULL_NAME)
    confinement.require_non_root(a_pod(run_as_user=0, run_as_non_root=False), a_container(), FULL_NAME)


# ---- what it may ----


def privileges(container: Container, user: User, held: int = EVERY) -> Privileges:
    return confinement.privileges(container, user, held=held, system_calls=None)


def test_root_has_its_capabilities_in_effect_and_another_user_reaches_them_through_files_alone() -> None:
    """# A43"""
    container = a_container(capabilities=Capabilities(add=("NET_ADMIN",), drop=("KILL",)))
    wanted = (bits(DEFAULT) | bits(("NET_ADMIN",))) & ~bits(("KILL",))
    assert privileges(container, ROOT) == Privileges(0, 0, (0,), wanted, wanted)
    assert privileges(container, WEB) == Privileges(1000, 1000, (1000, 2000), wanted, 0)


def test_a_privileged_container_has_what_seedpod_has_whatever_it_drops() -> None:
    """# A43"""
    held = EVERY & ~bits(("SYS_RESOURCE",))
    container = a_container(privileged=True, capabilities=Capabilities(drop=("ALL",)))
    assert privileges(container, ROOT, held).bounding == held
    assert privileges(container, WEB, held) == Privileges(1000, 1000, (1000, 2000), held, 0)


def test_no_new_privs_is_set_when_escalation_is_not_allowed() -> None:
    assert privileges(a_container(), WEB).no_new_privs is False
    assert privileges(a_container(allow_privilege_escalation=False), WEB).no_new_privs is True


def test_a_capability_that_seedpod_lacks_is_refused_by_name_before_anything_is_made() -> None:
    """# A44"""
    held = EVERY & ~bits(("SYS_RESOURCE", "NET_ADMIN"))
    asking = a_container(capabilities=Capabilities(add=("SYS_TIME", "NET_ADMIN", "SYS_RESOURCE")))
    with pytest.raises(Unsupported) as refused:
        confinement.check(a_pod(Container("other", "i"), asking), policy(held))
    assert str(refused.value) == (
        'container "app": capabilities.add needs CAP_NET_ADMIN, CAP_SYS_RESOURCE in seedpod\'s own bounding set, '
        "which this host lacks"
    )
    assert refused.value.hint == (
        "run seedpod where it has CAP_NET_ADMIN, CAP_SYS_RESOURCE (see `seedpod info`), or do not add it"
    )


@pytest.mark.parametrize(
    "context",
    [
        {"capabilities": Capabilities(add=("ALL",))},
        {"capabilities": Capabilities(add=("SYS_RESOURCE",), drop=("SYS_RESOURCE",))},
        {"privileged": True, "capabilities": Capabilities(add=("SYS_RESOURCE",))},
        {"capabilities": Capabilities(drop=("SYS_RESOURCE",))},
    ],
)
def test_all_is_what_can_be_had_and_what_is_dropped_need_not_be(context: dict[str, object]) -> None:
    confinement.check(a_pod(a_container(**context)), policy(EVERY & ~bits(("SYS_RESOURCE",))))


def test_what_is_lacking_of_all_is_known_by_name() -> None:
    held = EVERY & ~bits(("SYS_RESOURCE",))
    assert confinement.lacking(a_container(privileged=True), held) == ("SYS_RESOURCE",)
    assert confinement.lacking(a_container(capabilities=Capabilities(add=("ALL",))), held) == ("SYS_RESOURCE",)
    dropped = Capabilities(add=("ALL",), drop=("SYS_RESOURCE",))
    assert confinement.lacking(a_container(capabilities=dropped), held) == ()
    assert confinement.lacking(a_container(), held) == ()
    assert confinement.lacking(a_container(privileged=True), EVERY) == ()


# ---- seccomp ----

DEFAULTED, NONE = SeccompProfile(SeccompType.RUNTIME_DEFAULT), SeccompProfile(SeccompType.UNCONFINED)
MINE = SeccompProfile(SeccompType.LOCALHOST, "a/b.json")


def test_a_containers_profile_comes_before_the_pods_and_that_before_the_default() -> None:
    """# A43"""
    of_none, of_pod = a_pod(), a_pod(seccomp_profile=MINE)
    own = a_container(seccomp_profile=NONE)
    for default in (SeccompType.UNCONFINED, SeccompType.RUNTIME_DEFAULT):
        assert confinement.seccomp_profile(of_none, a_container(), default=default) == SeccompProfile(default)
        assert confinement.seccomp_profile(of_pod, a_container(), default=default) == MINE
        assert confinement.seccomp_profile(of_pod, own, default=default) == NONE
        assert confinement.seccomp_profile(of_none, own, default=default) == NONE


def test_a_privileged_container_has_none_whatever_is_asked_for() -> None:
    """# A43"""
    container = a_container(privileged=True, seccomp_profile=DEFAULTED)
    pod = a_pod(seccomp_profile=DEFAULTED)
    assert confinement.seccomp_profile(pod, container, default=SeccompType.RUNTIME_DEFAULT) == NONE


def test_the_filter_is_made_for_the_capabilities_that_the_container_has() -> None:
    pod = a_pod(seccomp_profile=DEFAULTED)
    plain = confinement.seccomp_filter(pod, a_container(), policy())
    powerful = confinement.seccomp_filter(pod, a_container(capabilities=Capabilities(add=("SYS_ADMIN",))), policy())
    assert plain is not None
    assert powerful is not None
    assert plain.name == "RuntimeDefault"
    assert plain.program == seccomp.compile_profile(seccomp.default_profile(), frozenset(DEFAULT))
    assert plain.program != powerful.program
    assert confinement.seccomp_filter(a_pod(), a_container(), policy()) is None
    assert confinement.seccomp_filter(a_pod(), a_container(), policy(default=SeccompType.RUNTIME_DEFAULT)) == plain


def test_a_profile_of_the_administrators_is_found_below_its_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}))
    found = confinement.seccomp_filter(a_pod(seccomp_profile=MINE), a_container(), policy(profiles=tmp_path))
    assert found is not None
    assert found.name == "a/b.json"


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "no such file or directory"), ("{", "a/b.json:1:2: "), ('{"defaultAction": "x"}', "defaultAction: ")],
)
def test_one_that_is_missing_or_none_keeps_the_container_waiting(tmp_path: Path, text: str | None, why: str) -> None:
    (tmp_path / "a").mkdir()
    if text is not None:
        (tmp_path / "a" / "b.json").write_text(text)
    with pytest.raises(Hindered) as hindered:
        confinement.seccomp_filter(a_pod(seccomp_profile=MINE), a_container(), policy(profiles=tmp_path))
    assert hindered.value.reason == "CreateContainerError"
    assert str(hindered.value).startswith(f'cannot load seccomp profile "{tmp_path}/a/b.json": ')
    assert why in str(hindered.value)
