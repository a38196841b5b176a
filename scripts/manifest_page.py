"""Writes the fields into docs/manifest.md, from the tables of sandbox.manifest and its registry: `make docs`.

What the tables cannot say of a field stands in NOTES, by `Type.field`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sandbox.manifest.claim import CLAIM
from sandbox.manifest.fields import Choice, Never, Type
from sandbox.manifest.pod import POD
from sandbox.manifest.records import Field, Record
from sandbox.manifest.registry import FIELDS, WHY

PAGE = Path(__file__).parent.parent / "docs" / "manifest.md"
BEGIN = "<!-- From here written by `make docs`: do not edit. -->\n"
END = "<!-- To here. -->\n"

NOTES = {
    "ObjectMeta.generateName": "beside a `name` it says nothing, alone it is refused",
    "ObjectMeta.name": "the hostname unless `spec.hostname` is set",
    "PodSpec.restartPolicy": "`Always` (the default), `OnFailure`, `Never`",
    "PodSpec.terminationGracePeriodSeconds": "default 30; 2 at least take effect",
    "PodSpec.activeDeadlineSeconds": "from 1 to 2147483647, counted from the pod's start",
    "PodSpec.readinessGates": "types of conditions without which the pod is not ready",
    "PodSpec.shareProcessNamespace": "PID 1 is a reaper without privileges; a container ends with its first process",
    "PodSpec.hostNetwork": "the hostname is the node's name",
    "PodSpec.hostIPC": "/dev/shm is the host's",
    "PodSpec.securityContext": "for all containers; a container's own come first",
    "PodSpec.initContainers": "all that a container has; `lifecycle` and probes only for a sidecar, which is an init "
    "container with `restartPolicy: Always`. See below",
    "PodSecurityContext.supplementalGroups": "beside the groups that the image's /etc/group gives the user",
    "PodSecurityContext.fsGroup": "also the group of emptyDirs and claims, given before any container runs, and never "
    "of a hostPath",
    "Volume.emptyDir": "what a volume is that names no source",
    "EmptyDirVolumeSource.medium": "on disk, or `Memory`",
    "EmptyDirVolumeSource.sizeLimit": "the size of one in memory; a pod that goes beyond one on disk is evicted. See "
    "[volumes.md](volumes.md)",
    "HostPathVolumeSource.path": "absolute",
    "HostPathVolumeSource.type": "every type; what breaks it is refused before anything is made",
    "PersistentVolumeClaimVolumeSource.claimName": "a pod whose claim is not there stays Pending until it is",
    "Container.image": "`localhost/busybox` or `rootfs:/absolute/path`",
    "Container.command": "with `$(VAR)` expansion; a string may expand to 128 KiB, what execve takes",
    "Container.args": "as `command`",
    "Container.workingDir": "made where missing, on a read-only root too",
    "Container.volumeMounts": "at most 224",
    "Container.ports": "declared alone: every port can be reached by the pod's address",
    "Container.resources": "see below",
    "Container.securityContext": "see below",
    "Container.stdin": "for `attach`, as the two that go with it",
    "PodSpec.os": "only `linux`",
    "Container.restartPolicy": "instead of the pod's",
    "Container.restartPolicyRules": "at most 20; they need a `restartPolicy`",
    "Container.terminationMessagePath": "default `/dev/termination-log`. See below",
    "Container.terminationMessagePolicy": "`File` (the default) or `FallbackToLogsOnError`",
    "ContainerRestartRule.action": "`Restart`, `RestartAllContainers`",
    "ContainerRestartRuleOnExitCodes.operator": "`In`, `NotIn`",
    "ContainerRestartRuleOnExitCodes.values": "at most 255",
    "EnvVar.value": "with `$(VAR)` expansion",
    "VolumeMount.mountPath": "not over the container's root directory",
    "ContainerPort.protocol": "`TCP`, `UDP`, and `SCTP` without a hostPort",
    "ContainerPort.hostPort": "a port of the host that leads to the pod, see [network.md](network.md); refused where "
    "somebody has it, and none leads to an init container that is no sidecar. With hostNetwork it is the "
    "containerPort",
    "ResourceRequirements.limits": "`cpu`, `memory`, `hugepages-<size>`; `ephemeral-storage`, held by "
    "[eviction](volumes.md#eviction)",
    "ResourceRequirements.requests": "the same; of `ephemeral-storage` without effect",
    "SecurityContext.privileged": "see below",
    "SecurityContext.allowPrivilegeEscalation": "`false` sets no_new_privs",
    "SecurityContext.readOnlyRootFilesystem": "the root alone: /dev, /proc, volumes and the pod's files of /etc stay "
    "as they are",
    "Capabilities.add": "names with `CAP_` or without, in any case, or `ALL`; an unknown one is refused",
    "Capabilities.drop": "as `add`",
    "SeccompProfile.type": "`RuntimeDefault`, `Localhost`, `Unconfined`. The default is `Unconfined`, or "
    "`RuntimeDefault` with `seccompDefault` in the configuration",
    "SeccompProfile.localhostProfile": "below `<root>/seccomp/`",
    "HTTPGetAction.port": "a number, or the name of one of the container's",
    "TCPSocketAction.port": "as of `httpGet`",
    "Lifecycle.stopSignal": "`SIGTERM`, `SIGRTMIN+3` and the like; needs `spec.os.name`",
    "LifecycleHandler.tcpSocket": "is accepted and fails when it is run",
    "SleepAction.seconds": "no longer than terminationGracePeriodSeconds, and may be 0",
    "PersistentVolumeClaimSpec.storageClassName": "recorded",
    "PersistentVolumeClaimSpec.volumeName": "recorded",
    "VolumeResourceList.storage": "a request, not a limit",
}


def _with_effect(kind: Type[Any]) -> Iterator[Type[Any]]:
    return (field.type for field in kind.fields) if isinstance(kind, Record) else kind.parts()


def tables(parts: Callable[[Type[Any]], Iterator[Type[Any]]]) -> dict[str, Record[Any]]:
    """A table of each type that there are tables of, as far as `parts` goes, in the order of the registry."""
    found: dict[str, Record[Any]] = {}
    waiting: list[Type[Any]] = [POD, CLAIM]
    while waiting:
        kind = waiting.pop(0)
        if isinstance(kind, Record):
            if kind.of in found:
                continue
            found[kind.of] = kind
        waiting.extend(parts(kind))
    return {of: found[of] for of in FIELDS if of in found}


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _settled(field: Field) -> str:
    return f"only {_names(field.type.supported)}" if isinstance(field.type, Choice) else "accepted, changes nothing"


def _said(of: str, table: Record[Any]) -> Iterator[tuple[str, str]]:
    """Each field of a type with what is said of it, in the order of the registry."""
    implemented = {field.name for field in table.fields if not isinstance(field.type, Never)}
    settled = {field.name: _settled(field) for field in table.settled}
    ignored = {field.name for field in table.ignored}
    for name in FIELDS[of]:
        if name in implemented:
            yield name, NOTES.get(f"{of}.{name}", "implemented")
        elif name in settled:
            yield name, NOTES.get(f"{of}.{name}", settled[name])
        elif name in table.moot:
            yield name, f"no effect, with a warning: {table.moot[name][1]}"
        elif name in ignored:
            yield name, "passed over: the API server's own"
        else:
            why = WHY.get(f"{of}.{name}", "")
            yield name, f"refused: {why}" if why else "refused: not implemented yet"


def _rows(of: str, table: Record[Any]) -> Iterator[str]:
    grouped: dict[str, list[str]] = {}
    for name, said in _said(of, table):
        grouped.setdefault(said, []).append(name)
    for said, names in sorted(grouped.items(), key=lambda row: _rank(row[0])):
        yield f"| {_names(names)} | {said} |"


def _rank(said: str) -> tuple[bool, bool, bool]:
    """What is implemented first, what is refused last."""
    without = said.startswith(("no effect", "only `", "accepted, ", "passed over"))
    return said.startswith("refused"), without, said != "implemented"


def _holders(of: str) -> str:
    holders = [f"{kind}.{field}" for kind, fields in FIELDS.items() for field, inner in fields.items() if inner == of]
    return _names(holders)


def _table(of: str, table: Record[Any]) -> str:
    rows = "\n".join(_rows(of, table))
    holders = _holders(of)
    return f"### {of}\n\n{f'In {holders}.' if holders else 'A document.'}\n\n| field | |\n|---|---|\n{rows}\n"


def _list(types: Iterable[str]) -> str:
    return "\n".join(f"- {of}: {_names(FIELDS[of])}" for of in types)


def generated() -> str:
    shown, read = tables(_with_effect), tables(lambda kind: kind.parts())
    return "\n".join(
        (
            *(_table(of, table) for of, table in shown.items()),
            "### Checked, without effect\n\nWhat stands only in fields that have none.\n",
            _list(of for of in read if of not in shown),
            "\n### Known and refused\n",
            "What stands only in fields, or is only of objects, that are refused. Slips in it are found.\n",
            _list(of for of in FIELDS if of not in read) + "\n",
        )
    )


def page(text: str) -> str:
    """The page with its generated part written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{generated()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
