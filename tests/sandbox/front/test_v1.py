from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from kubernetes.client import ApiClient, V1Pod

from sandbox.front.times import rfc3339
from sandbox.front.v1 import pod_list, to_v1
from sandbox.manifest import load
from sandbox.model import (
    Capabilities,
    Container,
    EmptyDir,
    EnvVar,
    HostPath,
    Pod,
    SeccompProfile,
    SeccompType,
    SecurityContext,
    Volume,
    VolumeMount,
)
from sandbox.status import Condition, ContainerStatus, Phase, PodStatus, Terminated, Waiting
from tests.sandbox.front.pods import BORN, ID, NOW, ago, end, manifest, running, status, terminated, waiting

STATES = {
    "not started": PodStatus(Pod("web", containers=(Container("app", "i"),)), "u", BORN, Phase.PENDING, ()),
    "creating": status(waiting("ContainerCreating"), phase=Phase.PENDING, sandbox_ready=False, pod_ips=()),
    "waiting without a reason": status(waiting(""), phase=Phase.PENDING),
    "running": status(running()),
    "two addresses": status(running(), pod_ips=("10.0.0.2", "fd00::2")),
    "one of two ready": status(running("a"), running("b", ready=False)),
    "crash loop": status(waiting("CrashLoopBackOff", restart_count=3, last_state=end(finished=ago(seconds=9)))),
    "succeeded": status(terminated(0, "Completed"), phase=Phase.SUCCEEDED),
    "killed": status(terminated(137, "OOMKilled", signal=9), phase=Phase.FAILED),
    "never ran": status(
        ContainerStatus("app", "i", Terminated(128, "StartError", message="no such file", finished_at=NOW), ID),
        phase=Phase.FAILED,
    ),
    "nowhere to be found": status(
        ContainerStatus("app", "i", Terminated(137, "ContainerStatusUnknown")), phase=Phase.FAILED
    ),
    "terminating": status(running(), deletion_timestamp=NOW, deletion_grace_period_seconds=30),
    "succeeded but one is unknown": replace(status(running()), phase=Phase.SUCCEEDED, containers=()),
    "evicted": status(terminated(137, "Error"), phase=Phase.FAILED, reason="Evicted", message="memory"),
}


def deserialized(status: PodStatus) -> V1Pod:
    """The pod as the official client reads it."""
    return ApiClient().deserialize(json.dumps(to_v1(status, node_name="here")), "V1Pod", "application/json")


def condition(status: PodStatus, kind: str) -> Any:
    return next(each for each in to_v1(status, node_name="here")["status"]["conditions"] if each["type"] == kind)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_the_official_client_reads_every_state_and_writes_the_same(state: PodStatus) -> None:
    def without_nulls(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_nulls(item) for key, item in value.items() if item is not None}
        return [without_nulls(item) for item in value] if isinstance(value, list) else value

    def in_seconds(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("+00:00", "Z"))

    again = ApiClient().sanitize_for_serialization(deserialized(state))
    assert in_seconds(again) == without_nulls(to_v1(state, node_name="here"))  # no field is unknown to it


def test_identity_is_in_the_metadata() -> None:  # A12
    state = status(running(), labels={"app": "x"}, annotations={"note": "y"})
    pod = deserialized(state)
    assert (pod.api_version, pod.kind, pod.metadata.name, pod.metadata.namespace) == ("v1", "Pod", "web", "default")
    assert pod.metadata.uid == state.uid
    assert pod.metadata.creation_timestamp == BORN
    assert (pod.metadata.labels, pod.metadata.annotations) == ({"app": "x"}, {"note": "y"})
    assert "deletionTimestamp" not in to_v1(state, node_name="here")["metadata"]


def test_a_deletion_shows_its_time_and_grace_even_when_that_is_zero() -> None:  # A31
    metadata = deserialized(status(running(), deletion_timestamp=NOW, deletion_grace_period_seconds=0)).metadata
    assert (metadata.deletion_timestamp, metadata.deletion_grace_period_seconds) == (NOW, 0)


def test_times_are_utc_in_whole_seconds() -> None:
    east = datetime(2026, 1, 1, 1, 30, 59, 999999, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(east) == "2025-12-31T23:30:59Z"
    assert rfc3339(None) is None


def test_the_api_servers_defaults_are_filled_in() -> None:
    spec = deserialized(status(running())).spec
    assert (spec.restart_policy, spec.termination_grace_period_seconds, spec.dns_policy) == (
        "Always",
        30,
        "ClusterFirst",
    )
    assert (spec.node_name, spec.enable_service_links, spec.scheduler_name) == ("here", True, "default-scheduler")
    assert spec.security_context is not None
    container = spec.containers[0]
    assert container.termination_message_path == "/dev/termination-log"
    assert (container.termination_message_policy, container.image_pull_policy) == ("File", "Always")
    assert container.resources is not None


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.36", "IfNotPresent"),
        ("registry:5000/busybox", "Always"),
        ("registry:5000/busybox:1", "IfNotPresent"),
        ("busybox@sha256:" + "0" * 64, "IfNotPresent"),
        ("rootfs:/srv/root", "Always"),
    ],
)
def test_the_tag_decides_the_pull_policy(image: str, policy: str) -> None:
    written = {"spec": {"containers": [{"name": "app", "image": image}]}}
    assert deserialized(status(running(), manifest=written)).spec.containers[0].image_pull_policy == policy


def test_resources_are_canonical_with_the_requests_that_limits_imply() -> None:
    limits = {"memory": "1024Mi", "cpu": 0.5}
    written = manifest(
        containers=[{"name": "app", "image": "i", "resources": {"limits": limits}}, {"name": "b", "image": "i"}]
    )
    (pod,) = load(json.dumps(written))
    shown = to_v1(replace(status(running()), pod=pod, manifest=written), node_name="here")
    amounts = {"cpu": "500m", "memory": "1Gi"}
    assert [each["resources"] for each in shown["spec"]["containers"]] == [{"limits": amounts, "requests": amounts}, {}]
    assert list(shown["spec"]["containers"][0]["resources"]["limits"]) == ["cpu", "memory"], "in the API's order"
    assert shown["status"]["qosClass"] == "Burstable"


def test_what_the_manifest_says_is_kept_as_it_was_written() -> None:
    said = {"name": "app", "image": "i", "command": ["a", ""], "imagePullPolicy": "Never", "env": [{"name": "E"}]}
    written = manifest(containers=[said], nodeSelector={"disk": ""}, terminationGracePeriodSeconds=30.0)
    spec = to_v1(status(running(), manifest=written), node_name="here")["spec"]
    assert spec["nodeSelector"] == {"disk": ""}
    assert spec["containers"][0].items() >= said.items()
    assert json.dumps(spec["terminationGracePeriodSeconds"]) == "30"


def test_null_and_empty_fields_of_the_manifest_are_absent_ones() -> None:
    said = {"name": "app", "image": "i", "command": None, "workingDir": ""}
    written = manifest(containers=[said], dnsPolicy="", hostname=None, securityContext=None)
    spec = to_v1(status(running(), manifest=written), node_name="here")["spec"]
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["securityContext"] == {}
    assert "hostname" not in spec
    assert not {"command", "workingDir"} & spec["containers"][0].keys()


def test_the_manifest_is_not_changed() -> None:
    written = manifest("app", volumes=[{"name": "v", "hostPath": {"path": "/srv"}}])
    before = json.dumps(written)
    to_v1(status(running(), manifest=written), node_name="here")
    assert json.dumps(written) == before


def test_volumes_have_their_sources_defaults() -> None:
    written = manifest("app", volumes=[{"name": "a"}, {"name": "b", "hostPath": {"path": "/srv"}}])
    volumes = to_v1(status(running(), manifest=written), node_name="here")["spec"]["volumes"]
    assert volumes == [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/srv", "type": ""}}]


def test_what_no_manifest_names_is_shown_as_the_pod_has_it() -> None:
    pod = Pod(
        "scratch",
        containers=(
            Container("app", "i"),
            Container("probe", "i", ("c",), ("a",), "/w", (EnvVar("E", "1"),), (VolumeMount("v", "/v", True),)),
        ),
        volumes=(Volume("v", EmptyDir()), Volume("h", HostPath("/srv"))),
    )
    spec = to_v1(replace(status(running()), pod=pod), node_name="here")["spec"]
    assert [each["name"] for each in spec["containers"]] == ["app", "probe"]
    probe = spec["containers"][1]
    assert (probe["command"], probe["args"], probe["workingDir"]) == (["c"], ["a"], "/w")
    assert probe["env"] == [{"name": "E", "value": "1"}]
    assert probe["volumeMounts"] == [{"name": "v", "mountPath": "/v", "readOnly": True}]
    assert spec["volumes"] == [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/srv", "type": ""}}]


def test_so_is_its_security_context_where_that_says_something() -> None:
    contexts = {
        "plain": SecurityContext(),
        "all": SecurityContext(
            privileged=True,
            capabilities=Capabilities(("NET_ADMIN",), ("ALL",)),
            run_as_user=0,
            run_as_group=5,
            run_as_non_root=False,
            read_only_root_filesystem=True,
            allow_privilege_escalation=False,
            seccomp_profile=SeccompProfile(SeccompType.LOCALHOST, "a.json"),
        ),
        "default": SecurityContext(seccomp_profile=SeccompProfile(SeccompType.RUNTIME_DEFAULT)),
    }
    containers = tuple(Container(name, "i", security_context=each) for name, each in contexts.items())
    shown = to_v1(replace(status(running()), pod=Pod("scratch", containers=containers)), node_name="here")
    assert [each.get("securityContext") for each in shown["spec"]["containers"] if each["name"] != "app"] == [
        None,
        {
            "privileged": True,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "runAsUser": 0,
            "runAsGroup": 5,
            "runAsNonRoot": False,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"},
        },
        {"seccompProfile": {"type": "RuntimeDefault"}},
    ]


def test_container_statuses_are_sorted_by_name_and_the_spec_is_not() -> None:
    pod = deserialized(status(running("b"), running("a")))
    assert [each.name for each in pod.status.container_statuses] == ["a", "b"]
    assert [each.name for each in pod.spec.containers] == ["b", "a"]


def test_a_running_container() -> None:
    pod = deserialized(status(running(restart_count=2, last_state=end(3, finished=ago(minutes=1)))))
    shown = pod.status.container_statuses[0]
    assert (shown.ready, shown.started, shown.restart_count) == (True, True, 2)
    assert shown.container_id == f"seedpod://{ID}"
    assert shown.state.running.started_at == BORN
    assert shown.last_state.terminated.exit_code == 3


def test_a_waiting_container_has_no_id_and_is_not_started() -> None:
    shown = to_v1(status(waiting("ErrImagePull")), node_name="here")["status"]["containerStatuses"][0]
    assert shown["state"] == {"waiting": {"reason": "ErrImagePull", "message": "ErrImagePull it is"}}
    assert (shown["lastState"], shown["started"], shown["ready"]) == ({}, False, False)
    assert "containerID" not in shown


def test_a_terminated_container_tells_how() -> None:  # A24
    ended = deserialized(STATES["killed"]).status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.signal, ended.reason) == (137, 9, "OOMKilled")
    assert (ended.started_at, ended.finished_at, ended.container_id) == (BORN, NOW, f"seedpod://{ID}")


def test_a_program_that_never_ran_started_at_the_epoch_as_with_kubelet() -> None:
    ended = deserialized(STATES["never ran"]).status.container_statuses[0].state.terminated
    assert ended.started_at == datetime(1970, 1, 1, tzinfo=UTC)
    unknown = deserialized(STATES["nowhere to be found"]).status.container_statuses[0].state.terminated
    assert (unknown.started_at, unknown.finished_at) == (None, None)


def test_addresses_appear_when_they_are_there() -> None:
    shown = deserialized(STATES["two addresses"]).status
    assert (shown.pod_ip, [each.ip for each in shown.pod_ips]) == ("10.0.0.2", ["10.0.0.2", "fd00::2"])
    assert shown.host_ip == "127.0.0.1"
    before = to_v1(STATES["not started"], node_name="here")["status"]
    assert not {"podIP", "podIPs", "hostIP", "hostIPs", "startTime", "containerStatuses"} & before.keys()


def test_phase_reason_and_class() -> None:
    shown = deserialized(STATES["evicted"]).status
    assert (shown.phase, shown.reason, shown.message) == ("Failed", "Evicted", "memory")
    assert shown.qos_class == "BestEffort"


def test_conditions_are_kubelets_in_its_order() -> None:
    conditions = to_v1(status(running()), node_name="here")["status"]["conditions"]
    kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    assert [each["type"] for each in conditions] == kinds
    assert {each["status"] for each in conditions} == {"True"}


@pytest.mark.parametrize(
    ("state", "reason", "message"),
    [
        ("creating", "ContainersNotReady", "containers with unready status: [app]"),
        ("one of two ready", "ContainersNotReady", "containers with unready status: [b]"),
        ("not started", "ContainersNotReady", "containers with unknown status: [app]"),
        ("succeeded", "PodCompleted", None),
        ("killed", "PodFailed", None),
        ("succeeded but one is unknown", "ContainersNotReady", "containers with unknown status: [app]"),
    ],
)
@pytest.mark.parametrize("kind", ["Ready", "ContainersReady"])
def test_a_pod_that_is_not_ready_says_why(kind: str, state: str, reason: str, message: str | None) -> None:
    shown = condition(STATES[state], kind)
    assert (shown["status"], shown["reason"], shown.get("message")) == ("False", reason, message)


def test_a_terminating_pod_stays_ready_while_its_containers_are() -> None:  # A36
    assert condition(STATES["terminating"], "Ready")["status"] == "True"


def test_the_sandbox_has_a_condition_of_its_own() -> None:
    assert condition(STATES["creating"], "PodReadyToStartContainers")["status"] == "False"
    assert condition(STATES["running"], "PodReadyToStartContainers")["status"] == "True"


def test_a_condition_has_the_time_at_which_it_came_to_be_so() -> None:
    noted = (Condition("Ready", "True", ago(minutes=1)), Condition("PodScheduled", "True", BORN))
    pod = status(running(), conditions=noted)
    assert condition(pod, "Ready")["lastTransitionTime"] == "2026-03-04T05:05:07Z"
    assert condition(pod, "PodScheduled")["lastTransitionTime"] == "2026-03-04T05:01:07Z"
    assert condition(pod, "Initialized")["lastTransitionTime"] is None, (
        "an engine that did not note it yet made the pod"
    )


def test_conditions_that_others_set_come_first_as_they_were_said() -> None:
    said = Condition("example.com/gate", "Unknown", ago(minutes=1), "Waiting", "for the moon")
    shown = deserialized(status(running(), conditions=(said,))).status.conditions
    assert [each.type for each in shown][:2] == ["example.com/gate", "PodReadyToStartContainers"]
    first = shown[0]
    assert (first.status, first.reason, first.message) == ("Unknown", "Waiting", "for the moon")
    assert first.last_transition_time == ago(minutes=1)


def test_the_message_of_waiting_is_left_out_where_there_is_none() -> None:
    bare = status(ContainerStatus("app", "i", Waiting("PodInitializing")))
    shown = to_v1(bare, node_name="here")["status"]["containerStatuses"][0]
    assert shown["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_several_pods_are_a_list() -> None:
    pods = pod_list(to_v1(state, node_name="here") for state in (STATES["running"], STATES["killed"]))
    assert (pods["apiVersion"], pods["kind"], len(pods["items"])) == ("v1", "List", 2)
    read = ApiClient().deserialize(json.dumps(pods), "V1PodList", "application/json")
    assert [each.status.phase for each in read.items] == ["Running", "Failed"]


def test_what_is_printed_can_be_read_again() -> None:
    """`get -o json` into `run`, `get -o yaml` into `delete -f`: fields that the server set say nothing there."""
    shown = [status(running("a"), running("b"), name=name) for name in ("x", "y")]
    text = json.dumps(pod_list([to_v1(each, node_name="here") for each in shown]))
    assert load(text) == tuple(each.pod for each in shown)
