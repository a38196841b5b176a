"""The tables of a v1 Pod manifest: every field Kubernetes has, which of them are implemented, and their rules.

To implement a field, move its name from `known` into a Field row and add the attribute to sandbox.model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox import model
from sandbox.errors import quoted
from sandbox.manifest import moot, rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Choice, Field, Flag, ListOf, Record, Text, TextMap, Whole

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
    for container in spec.each("containers"):
        for mount in container.each("volumeMounts"):
            name = mount.field("name")
            if name and mount.text("name") not in {"", *volumes}:
                name.refuse(wording.not_found(mount.text("name")))


def _at_most_one_source(volume: Cursor) -> None:
    sources = [field for name, field in volume.fields() if name in _IMPLEMENTED_SOURCES and volume.field(name)]
    for extra in sources[1:]:
        extra.refuse(wording.forbidden("may not specify more than 1 volume type"), at=extra.named)


def _one_pid_namespace(spec: Cursor) -> None:
    shared, host = spec.field("shareProcessNamespace"), spec.field("hostPID")
    if shared and host and shared.node.value is True and host.node.value is True:
        shared.refuse(wording.forbidden("ShareProcessNamespace and HostPID cannot both be enabled"))


# ---- volumes ----


def _volume(
    name: str, empty_dir: model.EmptyDir | None = None, host_path: model.HostPath | None = None
) -> model.Volume:
    # The API server makes a volume without a source an emptyDir.
    return model.Volume(name, host_path or empty_dir or model.EmptyDir())


EMPTY_DIR = Record(model.EmptyDir, known="medium sizeLimit mode")

HOST_PATH = Record(
    model.HostPath,
    Field("path", Text(rules.absolute_path, rules.no_backsteps), required=True),
    known="type",
    idle={"type": ("",)},
)

_IMPLEMENTED_SOURCES = ("emptyDir", "hostPath")

VOLUME = Record(
    _volume,
    Field("name", Text(rules.dns_label), required=True),
    Field("emptyDir", EMPTY_DIR),
    Field("hostPath", HOST_PATH),
    known="""
        awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI ephemeral fc flexVolume
        flocker gcePersistentDisk gitRepo glusterfs image iscsi nfs persistentVolumeClaim photonPersistentDisk
        portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume
    """,
    rules=(_at_most_one_source,),
)

# ---- containers ----

ENV_VAR = Record(
    model.EnvVar,
    Field("name", Text(rules.env_name), required=True),
    Field("value", Text()),
    known="valueFrom",
)

VOLUME_MOUNT = Record(
    model.VolumeMount,
    Field("name", Text(), required=True),
    Field("mountPath", Text(rules.no_colon, rules.not_the_root), required=True),
    Field("readOnly", Flag()),
    known="bindMountOptions mountPropagation recursiveReadOnly subPath subPathExpr",
)

CONTAINER = Record(
    model.Container,
    Field("name", Text(rules.dns_label), required=True),
    Field("image", Text(rules.no_outer_space), required=True),
    Field("command", ListOf(Text())),
    Field("args", ListOf(Text())),
    Field("workingDir", Text()),
    Field("env", ListOf(ENV_VAR)),
    Field("volumeMounts", ListOf(VOLUME_MOUNT, _unique("mountPath", _must_be_unique))),
    Field("stdin", Flag()),
    Field("stdinOnce", Flag()),
    Field("tty", Flag()),
    known="""
        envFrom imagePullPolicy lifecycle livenessProbe ports readinessProbe resizePolicy resources restartPolicy
        restartPolicyRules securityContext startupProbe terminationMessagePath terminationMessagePolicy volumeDevices
    """,
    idle={
        "resources": ({},),
        "imagePullPolicy": ("Always", "IfNotPresent", "Never"),  # nothing is pulled yet
        "terminationMessagePath": ("/dev/termination-log",),
        "terminationMessagePolicy": ("File",),
    },
)

# ---- the pod ----

METADATA: Record[dict[str, Any]] = Record(
    dict,
    Field("name", Text(rules.dns_subdomain), required=True),
    Field("namespace", Text(rules.dns_label)),
    Field("labels", TextMap(rules.qualified_name, Text(rules.label_value))),
    Field("annotations", TextMap(rules.annotation_key, Text(), max_bytes=256 << 10)),
    known="finalizers generateName ownerReferences",
    ignored="""
        creationTimestamp deletionGracePeriodSeconds deletionTimestamp generation managedFields resourceVersion
        selfLink uid
    """,
)

SPEC: Record[dict[str, Any]] = Record(
    dict,
    Field("containers", ListOf(CONTAINER, _unique("name")), required=True),
    Field("restartPolicy", Choice(*model.RestartPolicy)),
    Field("terminationGracePeriodSeconds", Whole(minimum=0)),
    Field("hostname", Text(rules.dns_label)),
    Field("shareProcessNamespace", Flag()),
    Field("hostNetwork", Flag()),
    Field("hostPID", Flag()),
    Field("hostIPC", Flag()),
    Field("volumes", ListOf(VOLUME, _unique("name"))),
    known="""
        activeDeadlineSeconds dnsConfig dnsPolicy ephemeralContainers evictionResponders hostAliases hostUsers
        hostnameOverride imagePullSecrets initContainers os overhead readinessGates resourceClaims resources
        runtimeClassName schedulingGates schedulingGroup securityContext setHostnameAsFQDN subdomain
    """,
    ignored="nodeName",  # there is one node
    idle={
        "dnsPolicy": ("ClusterFirst",),
        "securityContext": ({},),
        "resources": ({},),
        **moot.IDLE,
    },
    moot=moot.OF_SPEC,
    rules=(_mounts_name_volumes, _one_pid_namespace),
)


def _pod(api_version: str, kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> model.Pod:
    return model.Pod(**metadata, **spec)


POD = Record(
    _pod,
    Field("apiVersion", Choice("v1"), required=True),
    Field("kind", Choice("Pod"), required=True),
    Field("metadata", METADATA, required=True),
    Field("spec", SPEC, required=True),
    ignored="status",
)

# A pod whose containers come while it lives.
OPEN_POD = POD.not_requiring("spec", "containers")
