"""securityContext, of a pod and of a container: what is accepted, and each refusal in the API server's words."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import manifest
from sandbox.errors import ManifestError
from sandbox.model import (
    Capabilities,
    PodSecurityContext,
    SeccompProfile,
    SeccompType,
    SecurityContext,
)


def document(of_pod: Any = None, of_container: Any = None) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "securityContext": of_container}
    spec = {"containers": [container], "securityContext": of_pod}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def of_pod(**fields: Any) -> PodSecurityContext:
    return manifest.from_dict(document(of_pod=fields)).security_context


def of_container(**fields: Any) -> SecurityContext:
    return manifest.from_dict(document(of_container=fields)).containers[0].security_context


def refusals(of_pod: Any = None, of_container: Any = None) -> list[str]:
    with pytest.raises(ManifestError) as refused:
        manifest.from_dict(document(of_pod, of_container))
    return [f"{each.field}: {each.message}" for each in refused.value.findings]


POD, CONTAINER = "spec.securityContext", "spec.containers[0].securityContext"
RANGE = "must be between 0 and 2147483647, inclusive"

# ---- what is accepted ----


def test_every_field_of_a_container_comes_through() -> None:
    assert of_container(
        privileged=False,
        capabilities={"add": ["NET_ADMIN", "cap_sys_time"], "drop": ["all", "CAP_KILL"]},
        runAsUser=1000,
        runAsGroup=0,
        runAsNonRoot=True,
        readOnlyRootFilesystem=True,
        allowPrivilegeEscalation=False,
        seccompProfile={"type": "Localhost", "localhostProfile": "audit/my.json"},
        procMount="Default",
        appArmorProfile={"type": "Unconfined"},
    ) == SecurityContext(
        capabilities=Capabilities(add=("NET_ADMIN", "SYS_TIME"), drop=("ALL", "KILL")),
        run_as_user=1000,
        run_as_group=0,
        run_as_non_root=True,
        read_only_root_filesystem=True,
        allow_privilege_escalation=False,
        seccomp_profile=SeccompProfile(SeccompType.LOCALHOST, "audit/my.json"),
    )


def test_every_field_of_a_pod_comes_through() -> None:
    assert of_pod(
        runAsUser=2**31 - 1,
        runAsGroup=5,
        runAsNonRoot=False,
        supplementalGroups=[10, 0, 10],
        fsGroup=2000,
        fsGroupChangePolicy="Always",
        supplementalGroupsPolicy="Merge",
        sysctls=[],
        seccompProfile={"type": "RuntimeDefault"},
        appArmorProfile={"type": "Unconfined"},
    ) == PodSecurityContext(
        run_as_user=2**31 - 1,
        run_as_group=5,
        run_as_non_root=False,
        supplemental_groups=(10, 0, 10),
        fs_group=2000,
        seccomp_profile=SeccompProfile(SeccompType.RUNTIME_DEFAULT),
    )


@pytest.mark.parametrize("empty", [None, {}, {"runAsUser": None, "seccompProfile": None, "seLinuxOptions": {}}])
def test_what_says_nothing_is_the_default(empty: Any) -> None:
    pod = manifest.from_dict(document(empty, empty))
    assert pod.security_context == PodSecurityContext()
    assert pod.containers[0].security_context == SecurityContext()


def test_a_container_with_all_capabilities_dropped_and_privileged_is_fine() -> None:
    context = of_container(privileged=True, capabilities={"drop": ["ALL"]}, allowPrivilegeEscalation=True)
    assert context == SecurityContext(privileged=True, capabilities=Capabilities(drop=("ALL",)))


# ---- what is refused ----


@pytest.mark.parametrize("field", ["runAsUser", "runAsGroup"])
@pytest.mark.parametrize("number", [-1, 2**31, 2**32 - 1])
def test_an_id_out_of_range_is_refused_in_both(field: str, number: int) -> None:
    assert refusals({field: number}, {field: number}) == [
        f"{CONTAINER}.{field}: Invalid value: {number}: {RANGE}",
        f"{POD}.{field}: Invalid value: {number}: {RANGE}",
    ]


def test_groups_out_of_range_are_refused_one_by_one() -> None:
    assert refusals({"supplementalGroups": [1, -1, 2**31], "fsGroup": -1}) == [
        f"{POD}.supplementalGroups[1]: Invalid value: -1: {RANGE}",
        f"{POD}.supplementalGroups[2]: Invalid value: {2**31}: {RANGE}",
        f"{POD}.fsGroup: Invalid value: -1: {RANGE}",
    ]


CASES = [
    ({"runAsUser": "root"}, '.runAsUser: Invalid value: "root": must be an integer, not a string'),
    ({"runAsUser": 1.5}, ".runAsUser: Invalid value: 1.5: must be a 64-bit integer"),
    ({"runAsUser": True}, ".runAsUser: Invalid value: true: must be an integer, not a boolean"),
    ({"runAsNonRoot": "yes"}, '.runAsNonRoot: Invalid value: "yes": must be a boolean, not a string'),
    ({"runAsUsr": 1}, '.runAsUsr: unknown field "runAsUsr", did you mean "runAsUser"?'),
    ({"seLinuxOptions": {"level": "s0"}}, '.seLinuxOptions: field "seLinuxOptions" is known but not implemented yet'),
    (
        {"windowsOptions": {"hostProcess": False}},
        '.windowsOptions: field "windowsOptions" is known but not implemented: it is of Windows',
    ),
    (
        {"appArmorProfile": {"type": "RuntimeDefault"}},
        '.appArmorProfile.type: Unsupported value: "RuntimeDefault": known but not implemented yet; '
        'supported values: "Unconfined"',
    ),
    ({"appArmorProfile": {}}, ".appArmorProfile.type: Required value: type is required when appArmorProfile is set"),
    ({"seccompProfile": {}}, ".seccompProfile.type: Required value: type is required when seccompProfile is set"),
    (
        {"seccompProfile": {"type": "runtime/default"}},
        '.seccompProfile.type: Unsupported value: "runtime/default": '
        'supported values: "Localhost", "RuntimeDefault", "Unconfined"',
    ),
    (
        {"seccompProfile": {"type": "Localhost"}},
        ".seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
    ),
    (
        {"seccompProfile": {"type": "Localhost", "localhostProfile": ""}},
        ".seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
    ),
    (
        {"seccompProfile": {"type": "Unconfined", "localhostProfile": "a.json"}},
        '.seccompProfile.localhostProfile: Invalid value: "a.json": can only be set when seccomp type is Localhost',
    ),
    (
        {"seccompProfile": {"type": "Localhost", "localhostProfile": "/etc/shadow"}},
        '.seccompProfile.localhostProfile: Invalid value: "/etc/shadow": must be a relative path',
    ),
    (
        {"seccompProfile": {"type": "Localhost", "localhostProfile": "a/../../b"}},
        ".seccompProfile.localhostProfile: Invalid value: \"a/../../b\": must not contain '..'",
    ),
]


@pytest.mark.parametrize(("fields", "words"), CASES)
def test_a_refusal_says_where_and_why_in_pod_and_container(fields: dict[str, Any], words: str) -> None:
    assert refusals(of_pod=fields) == [f"{POD}{words}"]
    assert refusals(of_container=fields) == [f"{CONTAINER}{words}"]


OF_POD = [
    ({"privileged": True}, '.privileged: unknown field "privileged"'),
    ({"sysctls": [{"name": "a", "value": "b"}]}, '.sysctls: field "sysctls" is known but not implemented yet'),
    (
        {"fsGroupChangePolicy": "OnRootMismatch"},
        '.fsGroupChangePolicy: Unsupported value: "OnRootMismatch": known but not implemented yet; '
        'supported values: "Always"',
    ),
    (
        {"supplementalGroupsPolicy": "Strict"},
        '.supplementalGroupsPolicy: Unsupported value: "Strict": known but not implemented yet; '
        'supported values: "Merge"',
    ),
    ({"supplementalGroups": 5}, ".supplementalGroups: Invalid value: 5: must be a list, not a number"),
]


@pytest.mark.parametrize(("fields", "words"), OF_POD)
def test_a_refusal_in_a_pods(fields: dict[str, Any], words: str) -> None:
    assert refusals(of_pod=fields) == [f"{POD}{words}"]


NO_ESCALATION = ": Invalid value: {…}: cannot set `allowPrivilegeEscalation` to false and "
OF_CONTAINER = [
    ({"fsGroup": 5}, '.fsGroup: unknown field "fsGroup"'),
    (
        {"procMount": "Unmasked"},
        '.procMount: Unsupported value: "Unmasked": known but not implemented yet; supported values: "Default"',
    ),
    ({"allowPrivilegeEscalation": False, "privileged": True}, f"{NO_ESCALATION}`privileged` to true"),
    (
        {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CAP_SYS_ADMIN"]}},
        f"{NO_ESCALATION}`capabilities.Add` CAP_SYS_ADMIN",
    ),
    (
        {"capabilities": {"drop": ["NET_RWA"]}},
        '.capabilities.drop[0]: Invalid value: "NET_RWA": unknown capability, did you mean "NET_RAW"?',
    ),
    (
        {"capabilities": {"add": ["KILL", "CAP_FROBNICATE"]}},
        '.capabilities.add[1]: Invalid value: "CAP_FROBNICATE": unknown capability',
    ),
    ({"capabilities": {"add": [""]}}, '.capabilities.add[0]: Invalid value: "": unknown capability'),
    ({"capabilities": {"add": [None]}}, ".capabilities.add[0]: Invalid value: null: must be a string, not null"),
    ({"capabilities": {"allow": []}}, '.capabilities.allow: unknown field "allow"'),
]


@pytest.mark.parametrize(("fields", "words"), OF_CONTAINER)
def test_a_refusal_in_a_containers(fields: dict[str, Any], words: str) -> None:
    assert refusals(of_container=fields) == [f"{CONTAINER}{words}"]


def test_sys_admin_by_its_short_name_passes_the_api_server_too() -> None:
    fields = {"allowPrivilegeEscalation": False, "capabilities": {"add": ["SYS_ADMIN"]}}
    assert of_container(**fields).capabilities.add == ("SYS_ADMIN",)
