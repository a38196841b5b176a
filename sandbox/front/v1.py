"""Pods as the `v1` objects that Kubernetes' own tools read: what its API server would have stored, and a status as
kubelet writes it.

The one place that knows both that vocabulary and ours.  `kubectl` computes its tables and descriptions from these
objects, and so do sandbox.front.table and sandbox.front.describe.  Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sandbox import model
from sandbox.front.times import rfc3339
from sandbox.front.v1_conditions import conditions
from sandbox.quantity import Quantity, parse
from sandbox.status import ContainerState, ContainerStatus, Event, PodStatus, Running, Terminated, Waiting

V1 = dict[str, Any]

COMPONENT = "seedpod"  # who reports events

# What kubelet writes as the start of an instance whose program never ran: the runtime's zero.
_NEVER_STARTED = "1970-01-01T00:00:00Z"

# What the API server fills in, apart from the fields that the model has.
_POD_DEFAULTS: V1 = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "schedulerName": "default-scheduler",
    "securityContext": {},
}
_CONTAINER_DEFAULTS: V1 = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBES, _HOOKS = ("startupProbe", "livenessProbe", "readinessProbe"), ("postStart", "preStop")
_PROBE_DEFAULTS: V1 = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_HANDLER_DEFAULTS: Mapping[str, V1] = {
    "httpGet": {"path": "/", "scheme": "HTTP"},
    "tcpSocket": {},
    "grpc": {"service": ""},
}


def to_v1(status: PodStatus, *, node_name: str) -> V1:
    """The pod as a `v1` Pod: plain dicts, lists and scalars, ready for JSON."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(status),
        "spec": _spec(status, node_name),
        "status": _status(status),
    }


def pod_list(pods: Iterable[V1]) -> V1:
    """Several `v1` objects as the `v1` List that kubectl prints."""
    return {"apiVersion": "v1", "kind": "List", "items": list(pods), "metadata": {"resourceVersion": ""}}


def _present(**fields: object) -> V1:
    """The fields that say something; the API leaves the others out."""
    return {name: value for name, value in fields.items() if value not in (None, "", {}, [])}


def _metadata(status: PodStatus) -> V1:
    return _present(
        name=status.pod.name,
        namespace=status.pod.namespace,
        uid=status.uid,
        creationTimestamp=rfc3339(status.creation_timestamp),
        labels=dict(status.pod.labels),
        annotations=dict(status.pod.annotations),
        deletionTimestamp=rfc3339(status.deletion_timestamp),
        deletionGracePeriodSeconds=status.deletion_grace_period_seconds,
    )


# ---- spec ----


def _spec(status: PodStatus, node_name: str) -> V1:
    pod, written = status.pod, _said(_without_nulls(status.manifest.get("spec") or {}))
    spec = {
        **_POD_DEFAULTS,
        **written,
        "restartPolicy": str(pod.restart_policy),
        "terminationGracePeriodSeconds": pod.termination_grace_period_seconds,
        "nodeName": node_name,
        **_present(initContainers=_containers(written, "initContainers", pod.init_containers, pod)),
        "containers": _containers(written, "containers", pod.containers, pod),
    }
    if volumes := _named(written, "volumes", pod.volumes, _from_volume):
        spec["volumes"] = [_volume(item) for item in volumes]
    return spec


def _named(written: V1, field: str, ours: Iterable[Any], render: Callable[[Any], V1]) -> list[V1]:
    """The items of a list as the manifest has them, and those that it lacks (added by the library) as we have them."""
    items: list[V1] = list(written.get(field, []))
    names = {item["name"] for item in items}
    return items + [render(item) for item in ours if item.name not in names]


def _without_nulls(value: Any) -> Any:
    """The API server takes a field that is null for one that is absent."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _said(fields: V1) -> V1:
    """The fields of an object but those that hold an empty string, which is an absent one to the API server."""
    return {name: value for name, value in fields.items() if value != ""}


def _containers(written: V1, field: str, ours: Iterable[model.Container], pod: model.Pod) -> list[V1]:
    asked = {container.name: container.resources for container in ours}
    return [
        {**_container(item, pod), "resources": _resources(asked.get(item["name"], model.Resources()))}
        for item in _named(written, field, ours, _from_container)
    ]


def _container(written: V1, pod: model.Pod) -> V1:
    image = written.get("image", "")
    container = {**_CONTAINER_DEFAULTS, "imagePullPolicy": _pull_policy(image), **_said(written)}
    if ports := written.get("ports"):
        container["ports"] = [_port(item, pod.host_network) for item in ports]
    container.update({kind: _probe(container[kind]) for kind in _PROBES if container.get(kind)})
    if hooks := container.get("lifecycle"):
        container["lifecycle"] = {name: _handler(hook) if name in _HOOKS else hook for name, hook in hooks.items()}
    return container


def _probe(written: V1) -> V1:
    """With the defaults where nothing or 0 is said; a delay of 0 is left out."""
    said = {name: value for name, value in written.items() if value != 0}
    return {**_PROBE_DEFAULTS, **_handler(said)}


def _handler(written: V1) -> V1:
    """A handler of a probe or a hook; a field of it that is empty is an absent one."""
    handler = dict(written)
    for kind, defaults in _HANDLER_DEFAULTS.items():
        if kind in handler:
            handler[kind] = {**defaults, **_said(handler[kind])}
    return handler


def _port(written: V1, host_network: bool) -> V1:
    on_host = {"hostPort": written["containerPort"]} if host_network else {}
    return {"protocol": "TCP", **_said(written), **on_host}


def _resources(resources: model.Resources) -> V1:
    """With the requests that limits imply, all in the canonical form."""
    return _present(limits=_amounts(resources.limits), requests=_amounts(resources.requests))


def _amounts(amounts: Mapping[str, Quantity]) -> V1:
    return {name: str(amount) for name, amount in sorted(amounts.items())}


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "IfNotPresent" if "@" in image or tag not in ("", "latest") else "Always"


def _volume(written: V1) -> V1:
    if "hostPath" in written:
        return {**written, "hostPath": {"type": "", **written["hostPath"]}}
    if limit := written.get("emptyDir", {}).get("sizeLimit"):
        return {**written, "emptyDir": {**written["emptyDir"], "sizeLimit": canonical(limit)}}
    return written if len(written) > 1 else {**written, "emptyDir": {}}


def canonical(amount: str | int | float) -> str:
    """A quantity of a manifest as the API server stores it: `1024Mi` is `1Gi`."""
    return str(parse(str(amount).strip()))


def _from_container(container: model.Container) -> V1:
    return _present(
        name=container.name,
        image=container.image,
        command=list(container.command),
        args=list(container.args),
        workingDir=container.working_dir,
        env=[{"name": variable.name, "value": variable.value} for variable in container.env],
        ports=[
            _present(
                name=port.name,
                hostIP=port.host_ip,
                hostPort=port.host_port or None,
                containerPort=port.container_port,
                protocol=port.protocol,
            )
            for port in container.ports
        ],
        volumeMounts=[
            _present(name=mount.name, mountPath=mount.mount_path, readOnly=mount.read_only or None)
            for mount in container.volume_mounts
        ],
        securityContext=_from_security(container.security_context),
    )


def _from_security(context: model.SecurityContext) -> V1:
    profile = context.seccomp_profile
    capabilities = _present(add=list(context.capabilities.add), drop=list(context.capabilities.drop))
    return _present(
        privileged=context.privileged or None,
        capabilities=capabilities,
        runAsUser=context.run_as_user,
        runAsGroup=context.run_as_group,
        runAsNonRoot=context.run_as_non_root,
        readOnlyRootFilesystem=context.read_only_root_filesystem or None,
        allowPrivilegeEscalation=None if context.allow_privilege_escalation else False,
        seccompProfile=profile and _present(type=str(profile.type), localhostProfile=profile.localhost_profile),
    )


def _from_volume(volume: model.Volume) -> V1:
    match volume.source:
        case model.HostPath(path, kind):
            return {"name": volume.name, "hostPath": {"path": path, "type": str(kind)}}
        case model.ClaimVolume(claim, read_only):
            source = _present(claimName=claim, readOnly=read_only or None)
            return {"name": volume.name, "persistentVolumeClaim": source}
        case model.EmptyDir(medium, limit):
            source = _present(medium=str(medium), sizeLimit=str(limit) if limit else None)
            return {"name": volume.name, "emptyDir": source}


# ---- status ----


def _status(status: PodStatus) -> V1:
    on_node = status.start_time is not None
    if status.unschedulable:
        # What kubelet has not seen has no containers yet, as little as one that the scheduler found no node for.
        return {"phase": str(status.phase), "conditions": conditions(status), "qosClass": str(status.pod.qos_class)}
    own = (status.host_ip,) if on_node and status.pod.host_network else ()
    ips = [{"ip": ip} for ip in status.pod_ips or own]
    return _present(
        phase=str(status.phase),
        conditions=conditions(status),
        message=status.message,
        reason=status.reason,
        hostIP=status.host_ip if on_node else None,
        hostIPs=[{"ip": status.host_ip}] if on_node else None,
        podIP=ips[0]["ip"] if ips else None,
        podIPs=ips,
        startTime=rfc3339(status.start_time),
        initContainerStatuses=[_container_status(each) for each in status.init_containers],
        # kubelet sorts these by name, whatever the order in the spec.
        containerStatuses=[_container_status(each) for each in sorted(status.containers, key=lambda each: each.name)],
        qosClass=str(status.pod.qos_class),
    )


def _container_status(container: ContainerStatus) -> V1:
    return {
        "name": container.name,
        "state": _state(container.state),
        "lastState": _state(container.last_state) if container.last_state else {},
        "ready": container.ready,
        "restartCount": container.restart_count,
        "image": container.image,
        "imageID": "",
        **_present(containerID=_container_id(container.container_id)),
        "started": container.started,
    }


def _container_id(identity: str) -> str:
    return f"seedpod://{identity}" if identity else ""


def _state(state: ContainerState) -> V1:
    match state:
        case Waiting(reason, message):
            return {"waiting": _present(reason=reason, message=message)}
        case Running(started_at):
            return {"running": {"startedAt": rfc3339(started_at)}}
        case Terminated():
            return {"terminated": _terminated(state)}


def _terminated(state: Terminated) -> V1:
    never_ran = _NEVER_STARTED if state.finished_at else None
    return {
        "exitCode": state.exit_code,
        **_present(signal=state.signal, reason=state.reason, message=state.message),
        "startedAt": rfc3339(state.started_at) or never_ran,
        "finishedAt": rfc3339(state.finished_at),
        **_present(containerID=_container_id(state.container_id)),
    }


# ---- events ----


def events_of(status: PodStatus) -> list[V1]:
    """What happened to the pod, as `v1` Events, the oldest first."""
    return [_event(status, event) for event in status.events]


def _field_path(pod: model.Pod, container: str) -> str:
    """What of the pod an event is about: "" for one of the pod as a whole."""
    if not container:
        return ""
    field = "initContainers" if any(each.name == container for each in pod.init_containers) else "containers"
    return f"spec.{field}{{{container}}}"


def _event(status: PodStatus, event: Event) -> V1:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            # As kubelet names them: by the pod and the nanosecond.
            "name": f"{status.pod.name}.{round(event.first.timestamp() * 10**6) * 1000:x}",
            "namespace": status.pod.namespace,
            "creationTimestamp": rfc3339(event.first),
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": status.pod.name,
            "namespace": status.pod.namespace,
            "uid": status.uid,
            **_present(fieldPath=_field_path(status.pod, event.container)),
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": event.message,
        "firstTimestamp": rfc3339(event.first),
        "lastTimestamp": rfc3339(event.last),
        "count": event.count,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
    }
