"""`seedpod describe`: a pod for people, in the layout of kubectl's describe.

What a manifest can hold is shown; a field that becomes implemented gets its line here.  Pure: the time now is an
argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from email.utils import format_datetime
from urllib.parse import quote

from sandbox.front.table import NONE, aligned, human_duration, printable, when
from sandbox.front.v1 import V1, to_v1
from sandbox.status import PodStatus

_IN_A_PATH = "/$&+,:;=@~"  # what Go leaves as it is there

MAX_ANNOTATION = 140  # longer ones go on lines of their own, cut

# kubectl apply's own bookkeeping, a copy of the whole manifest.
_HIDDEN_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def describe(
    status: PodStatus, events: Sequence[V1] = (), *, now: datetime, node_name: str, zone: tzinfo | None = None
) -> str:
    """The pod as kubectl describes it; `events` are `v1` Events, oldest first; times are in `zone`, None: here."""
    pod = to_v1(status, node_name=node_name)
    kinds = ("initContainerStatuses", "containerStatuses")
    statuses = {each["name"]: each for kind in kinds for each in pod["status"].get(kind, [])}
    lines = [
        *_identity(pod, now, zone),
        *_addresses(pod["status"]),
        *_containers("Init Containers", pod["spec"].get("initContainers", []), statuses, zone),
        *_containers("Containers", pod["spec"]["containers"], statuses, zone),
        *_conditions(pod),
        *_volumes(pod["spec"].get("volumes", [])),
        f"QoS Class:\t{pod['status']['qosClass']}",
        *_map("Node-Selectors", pod["spec"].get("nodeSelector", {})),
        *_several("Tolerations", _tolerations(pod["spec"].get("tolerations", []))),
        *_events(events, now),
    ]
    return aligned(printable("".join(f"{line}\n" for line in lines)), minimum=0, padding=2)


def _identity(pod: V1, now: datetime, zone: tzinfo | None) -> Iterator[str]:
    metadata, status = pod["metadata"], pod["status"]
    yield f"Name:\t{metadata['name']}"
    yield f"Namespace:\t{metadata['namespace']}"
    yield f"Node:\t{pod['spec']['nodeName']}/{status.get('hostIP', '')}"
    if "startTime" in status:
        yield f"Start Time:\t{_time(status['startTime'], zone)}"
    yield from _map("Labels", metadata.get("labels", {}))
    yield from _annotations(metadata.get("annotations", {}))
    if "deletionTimestamp" in metadata and status["phase"] not in ("Succeeded", "Failed"):
        lasts = human_duration(now - datetime.fromisoformat(metadata["deletionTimestamp"]))
        yield f"Status:\tTerminating (lasts {lasts})"
        yield f"Termination Grace Period:\t{metadata['deletionGracePeriodSeconds']}s"
    else:
        yield f"Status:\t{status['phase']}"
    for field in ("reason", "message"):
        if field in status:
            yield f"{field.title()}:\t{status[field]}"
    yield from _seccomp(pod["spec"], "", "")


def _seccomp(owner: V1, indent: str, deeper: str) -> Iterator[str]:
    """The profile that a pod or a container names."""
    profile = owner.get("securityContext", {}).get("seccompProfile")
    if profile:
        yield f"{indent}SeccompProfile:\t{profile['type']}"
        if "localhostProfile" in profile:
            yield f"{deeper}LocalhostProfile:\t{profile['localhostProfile']}"


def _map(title: str, entries: Mapping[str, str]) -> Iterator[str]:
    return _several(title, [f"{key}={value}" for key, value in sorted(entries.items())])


def _several(title: str, values: Sequence[str]) -> Iterator[str]:
    for index, value in enumerate(values or [NONE]):
        yield f"{'' if index else title + ':'}\t{value}"


def _annotations(annotations: Mapping[str, str]) -> Iterator[str]:
    title = "Annotations:"
    for key, value in sorted(annotations.items()):
        if key == _HIDDEN_ANNOTATION:
            continue
        text = value.removesuffix("\n")
        if len(key) + len(text) + 2 <= MAX_ANNOTATION and "\n" not in text:
            yield f"{title}\t{key}: {text}"
        else:
            yield f"{title}\t{key}:"
            for line in text.split("\n"):
                room = MAX_ANNOTATION - 2
                yield f"\t  {line[:room]}{'...' if len(line) > room else ''}"
        title = ""
    if title:
        yield f"{title}\t{NONE}"


def _addresses(status: V1) -> Iterator[str]:
    yield f"IP:\t{status.get('podIP', '')}"
    ips = status.get("podIPs", [])
    yield "IPs:" if ips else f"IPs:\t{NONE}"
    yield from (f"  IP:\t{each['ip']}" for each in ips)


# ---- containers ----


def _containers(title: str, containers: Sequence[V1], statuses: Mapping[str, V1], zone: tzinfo | None) -> Iterator[str]:
    if containers:
        yield f"{title}:"
    for container in containers:
        status = statuses.get(container["name"])
        yield f"  {container['name']}:"
        if status:
            yield f"    Container ID:\t{status.get('containerID', '')}"
        yield f"    Image:\t{container['image']}"
        if status:
            yield f"    Image ID:\t{status['imageID']}"
        yield from _ports(container.get("ports", []))
        yield from _seccomp(container, "    ", "      ")
        yield from _words("Command", container.get("command", []))
        yield from _words("Args", container.get("args", []))
        if status:
            yield from _container_state(status, zone)
        yield from _resources(container["resources"])
        yield from _probes(container)
        yield from _environment(container.get("env", []))
        yield from _mounts(container.get("volumeMounts", []))


def _ports(ports: Sequence[V1]) -> Iterator[str]:
    """A port that the host does not have is its port 0, as kubectl shows it."""
    title = "Ports" if len(ports) > 1 else "Port"
    for prefix, field in (("", "containerPort"), ("Host ", "hostPort")):
        shown = ", ".join(f"{each.get(field, 0)}/{each['protocol']}" for each in ports)
        yield f"    {prefix}{title}:\t{shown or NONE}"


def _words(title: str, words: Sequence[str]) -> Iterator[str]:
    if words:
        yield f"    {title}:"
        yield from (f"      {line}" for word in words for line in word.split("\n"))


def _container_state(status: V1, zone: tzinfo | None) -> Iterator[str]:
    yield from _state("State", status["state"], zone)
    if "terminated" in status["lastState"]:
        yield from _state("Last State", status["lastState"], zone)
    yield f"    Ready:\t{status['ready']}"
    yield f"    Restart Count:\t{status['restartCount']}"


def _state(title: str, state: V1, zone: tzinfo | None) -> Iterator[str]:
    kind, facts = next(iter(state.items()))
    yield f"    {title}:\t{kind.title()}"
    if kind == "running":
        yield f"      Started:\t{_time(facts['startedAt'], zone)}"
        return
    if "reason" in facts:
        yield f"      Reason:\t{facts['reason']}"
    if kind == "waiting":
        return
    if "message" in facts:
        yield f"      Message:\t{facts['message']}"
    yield f"      Exit Code:\t{facts['exitCode']}"
    if "signal" in facts:
        yield f"      Signal:\t{facts['signal']}"
    for name, field in (("Started", "startedAt"), ("Finished", "finishedAt")):
        yield f"      {name}:\t{_time(facts[field], zone)}"


def _resources(resources: V1) -> Iterator[str]:
    for title in ("limits", "requests"):
        if title in resources:
            yield f"    {title.title()}:"
            yield from (f"      {name}:\t{amount}" for name, amount in resources[title].items())


def _probes(container: V1) -> Iterator[str]:
    for title in ("Liveness", "Readiness", "Startup"):
        if probe := container.get(f"{title.lower()}Probe"):
            counts = (
                f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe['timeoutSeconds']}s "
                f"period={probe['periodSeconds']}s #success={probe['successThreshold']} "
                f"#failure={probe['failureThreshold']}"
            )
            yield f"    {title}:\t{_action(probe)} {counts}"


def _action(probe: V1) -> str:
    match probe:
        case {"exec": action}:
            return f"exec [{' '.join(action.get('command', []))}]"
        case {"httpGet": action}:
            host = action.get("host", "")
            at = f"{f'[{host}]' if ':' in host else host}:{action['port']}"
            path = quote(action["path"], safe=_IN_A_PATH)
            return f"http-get {action['scheme'].lower()}://{at}{'' if path.startswith('/') else '/'}{path}"
        case {"tcpSocket": action}:
            return f"tcp-socket {action.get('host', '')}:{action['port']}"
        case {"grpc": action}:
            return f"grpc <pod>:{action['port']} {action['service']}"
        case _:
            return "unknown"


def _environment(variables: Sequence[V1]) -> Iterator[str]:
    yield "    Environment:" if variables else f"    Environment:\t{NONE}"
    for variable in variables:
        first, *others = str(variable.get("value", "")).split("\n")
        yield f"      {variable['name']}:\t{first}"
        yield from (f"      \t{line}" for line in others)


def _mounts(mounts: Sequence[V1]) -> Iterator[str]:
    yield "    Mounts:" if mounts else f"    Mounts:\t{NONE}"
    for mount in sorted(mounts, key=lambda each: str(each["mountPath"])):
        yield f"      {mount['mountPath']} from {mount['name']} ({'ro' if mount.get('readOnly') else 'rw'})"


# ---- the rest ----


def _conditions(pod: V1) -> Iterator[str]:
    status = pod["status"]
    states = {each["type"]: each["status"] for each in status["conditions"]}
    if gates := pod["spec"].get("readinessGates", []):
        yield "Readiness Gates:"
        yield "  Type\tStatus"
        kinds = [gate["conditionType"] for gate in gates]
        yield from (f"  {kind} \t{states.get(kind, NONE)} " for kind in kinds)
    yield "Conditions:"
    yield "  Type\tStatus"
    yield from (f"  {each['type']} \t{each['status']} " for each in status["conditions"])


def _volumes(volumes: Sequence[V1]) -> Iterator[str]:
    yield "Volumes:" if volumes else f"Volumes:\t{NONE}"
    for volume in volumes:
        yield f"  {volume['name']}:"
        facts = _source(volume)
        yield from (f"    {name}:\t{value}" for name, value in facts.items()) if facts else ("  <unknown>",)


def _source(volume: V1) -> Mapping[str, str]:
    match volume:
        case {"hostPath": source}:
            kind = "HostPath (bare host directory volume)"
            return {"Type": kind, "Path": source["path"], "HostPathType": source["type"]}
        case {"persistentVolumeClaim": source}:
            kind = "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)"
            read_only = str(source.get("readOnly", False)).lower()
            return {"Type": kind, "ClaimName": source["claimName"], "ReadOnly": read_only}
        case {"emptyDir": source}:
            kind = "EmptyDir (a temporary directory that shares a pod's lifetime)"
            limit = source.get("sizeLimit") or "<unset>"
            return {"Type": kind, "Medium": source.get("medium", ""), "SizeLimit": limit}
        case _:
            return {}


def _tolerations(tolerations: Sequence[V1]) -> list[str]:
    return [_toleration(each) for each in sorted(tolerations, key=lambda each: str(each.get("key", "")))]


def _toleration(toleration: V1) -> str:
    key, value = str(toleration.get("key", "")), toleration.get("value", "")
    text = key + (f"={value}" if value else "")
    text += f":{toleration['effect']}" if toleration.get("effect") else ""
    if toleration.get("operator") == "Exists" and not value:
        text += " op=Exists" if text else "op=Exists"
    return text + (f" for {toleration['tolerationSeconds']}s" if "tolerationSeconds" in toleration else "")


def _events(events: Sequence[V1], now: datetime) -> Iterator[str]:
    if not events:
        yield f"Events:\t{NONE}"
        return
    yield "Events:"
    yield "  Type\tReason\tAge\tFrom\tMessage"
    yield "  ----\t------\t----\t----\t-------"
    for event in events:
        source = event.get("source", {}).get("component") or event.get("reportingComponent", "")
        field = event.get("involvedObject", {}).get("fieldPath")
        message = (f"{field}: " if field else "") + str(event["message"]).strip()
        yield f"  {event['type']}\t{event['reason']}\t{when(event, now)}\t{source}\t{message}"


def _time(time: str | None, zone: tzinfo | None) -> str:
    """As in mail headers: Mon, 02 Jan 2006 15:04:05 -0700."""
    return format_datetime(datetime.fromisoformat(time).astimezone(zone)) if time else "<unknown>"
