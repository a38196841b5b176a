"""The tables of a v1 Pod manifest: every field Kubernetes has, which of them are implemented, and their rules.

To implement a field, add a Field row here and the attribute to sandbox.model; the registry has its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sandbox import model
from sandbox.errors import quoted
from sandbox.manifest import handlers, moot, ports, restarts, rules, security, wording
from sandbox.manifest.annotations import check_annotations
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Between, Choice, Flag, ListOf, Text, Tree, Type, Whole
from sandbox.manifest.metadata import METADATA
from sandbox.manifest.records import Field, Record
from sandbox.manifest.resources import RESOURCES
from sandbox.manifest.volumes import VOLUME

# ---- rules that look at more than one field ----


def _unique(name: str, message: Callable[[str], str] = wording.duplicate) -> Callable[[Cursor], None]:
    """A rule for lists: no two items have the same `name`."""

    def rule(items: Cursor) -> None:
        seen = set()
        for item in items.items():
            value, field = item.text(name), item.field(name)
            if field and value and value in seen:
                field.refuse(message(value))
            seen.add(value)

    return rule


def _must_be_unique(value: str) -> str:
    return wording.invalid(quoted(value), "must be unique")


def _mounts_name_volumes(spec: Cursor) -> None:
    volumes = {volume.text("name") for volume in spec.each("volumes")}
    for container in (*spec.each("initContainers"), *spec.each("containers")):
        for mount in container.each("volumeMounts"):
            name = mount.field("name")
            if name and mount.text("name") not in {"", *volumes}:
                name.refuse(wording.not_found(mount.text("name")))


def _names_of_both_kinds(spec: Cursor) -> None:
    """An init container has a name of its own, too."""
    names = {container.text("name") for container in spec.each("containers")}
    for container in spec.each("initContainers"):
        name = container.field("name")
        if name and container.text("name") in names - {""}:
            name.refuse(wording.duplicate(container.text("name")))


def _one_pid_namespace(spec: Cursor) -> None:
    shared, host = spec.field("shareProcessNamespace"), spec.field("hostPID")
    if shared and host and shared.node.value is True and host.node.value is True:
        shared.refuse(wording.invalid("true", "ShareProcessNamespace and HostPID cannot both be enabled"))


# ---- containers ----

ENV_VAR = Record(
    "EnvVar",
    model.EnvVar,
    Field("name", Text(rules.env_name), required=True),
    Field("value", Text()),
)

VOLUME_MOUNT = Record(
    "VolumeMount",
    model.VolumeMount,
    Field("name", Text(), required=True),
    Field("mountPath", Text(rules.no_colon, rules.not_the_root), required=True),
    Field("readOnly", Flag()),
    settled=(
        Field("mountPropagation", Choice("None", known=("HostToContainer", "Bidirectional"))),
        Field("recursiveReadOnly", Choice("Disabled", known=("IfPossible", "Enabled"))),
    ),
    idle={"subPath": ("",), "subPathExpr": ("",)},
)

CONTAINER = Record(
    "Container",
    model.Container,
    Field("name", Text(rules.dns_label), required=True),
    Field("image", Text(rules.no_outer_space), required=True),
    Field("command", ListOf(Text())),
    Field("args", ListOf(Text())),
    Field("workingDir", Text()),
    Field("env", ListOf(ENV_VAR)),
    Field("ports", ListOf(ports.CONTAINER_PORT, _unique("name"))),
    Field("volumeMounts", ListOf(VOLUME_MOUNT, _unique("mountPath", _must_be_unique))),
    Field("resources", RESOURCES),
    Field("securityContext", security.OF_CONTAINER),
    Field("stdin", Flag()),
    Field("stdinOnce", Flag()),
    Field("tty", Flag()),
    *restarts.OF_CONTAINER,
    Field("lifecycle", handlers.LIFECYCLE),
    Field("startupProbe", handlers.PROBE),
    Field("livenessProbe", handlers.PROBE),
    Field("readinessProbe", handlers.READINESS_PROBE),
    Field("terminationMessagePath", Text(rules.not_the_root)),
    Field("terminationMessagePolicy", Choice(*model.MessagePolicy)),
    settled=(Field("imagePullPolicy", Choice("Always", "IfNotPresent", "Never")),),  # nothing is pulled yet
    rules=(restarts.rules_need_a_policy,),
)

_INIT_CONTAINER = CONTAINER.with_fields(*handlers.NOT_OF_INIT_CONTAINERS)


class _InitContainer(Type[model.Container]):
    """A container that runs to its end before the next; or a sidecar, which has all that a container has."""

    called = "an object"

    def parts(self) -> Iterator[Type[Any]]:
        yield CONTAINER

    def read(self, at: Cursor) -> model.Container:
        return (CONTAINER if handlers.is_sidecar(at) else _INIT_CONTAINER).read(at)


# ---- the pod ----

# There are no others here.
OS: Record[dict[str, Any]] = Record("PodOS", dict, Field("name", Choice("linux"), required="cannot be empty"))

READINESS_GATE: Record[str] = Record(
    "PodReadinessGate",
    lambda condition_type: condition_type,
    Field("conditionType", Text(rules.qualified_name), absent=""),
)

SPEC: Record[dict[str, Any]] = Record(
    "PodSpec",
    dict,
    Field("initContainers", ListOf(_InitContainer(), _unique("name"))),
    Field("containers", ListOf(CONTAINER, _unique("name")), required=True),
    Field("restartPolicy", Choice(*model.RestartPolicy)),
    Field("terminationGracePeriodSeconds", Whole(minimum=0)),
    Field("activeDeadlineSeconds", Between(1, 2**31 - 1)),
    Field("readinessGates", ListOf(READINESS_GATE)),
    Field("hostname", Text(rules.dns_label)),
    Field("shareProcessNamespace", Flag()),
    Field("hostNetwork", Flag()),
    Field("hostPID", Flag()),
    Field("hostIPC", Flag()),
    Field("securityContext", security.OF_POD),
    Field("volumes", ListOf(VOLUME, _unique("name"))),
    ignored=(Field("nodeName", Text(rules.dns_subdomain)),),  # there is one node
    settled=(
        Field("os", OS),
        Field("dnsPolicy", Choice("ClusterFirst", known=("ClusterFirstWithHostNet", "Default", "None"))),
        Field("enableServiceLinks", Flag()),  # there are no Services
    ),
    idle={
        "hostUsers": (True,),
        "resources": ({},),
        "setHostnameAsFQDN": (False,),
        "subdomain": ("",),
        **moot.IDLE,
    },
    moot=moot.OF_SPEC,
    rules=(
        _mounts_name_volumes,
        _names_of_both_kinds,
        _one_pid_namespace,
        ports.unique_host_ports,
        ports.host_network_ports,
        handlers.stop_signals_need_an_os,
        handlers.sleeps_end_in_time,
    ),
)


def _pod(api_version: str, kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> model.Pod:
    if spec.get("host_network"):
        both = ("init_containers", "containers")
        spec = {**spec, **{kind: ports.on_host_network(spec[kind]) for kind in both if kind in spec}}
    return model.Pod(**metadata, **spec)


POD = Record(
    "Pod",
    _pod,
    Field("apiVersion", Choice("v1"), required=True),
    Field("kind", Choice("Pod"), required=True),
    Field("metadata", METADATA, required=True),
    Field("spec", SPEC, required=True),
    ignored=(Field("status", Tree()),),
    rules=(check_annotations,),
)

# A pod whose containers come while it lives.
OPEN_POD = POD.not_requiring("spec", "containers")
