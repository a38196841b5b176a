"""Pod states to format, made short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.model import Container, Pod, RestartPolicy
from sandbox.status import ContainerStatus, Phase, PodStatus, Running, Terminated, Waiting

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
BORN = NOW - timedelta(minutes=5)
ID = "0123456789abcdef" * 4


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def running(name: str = "app", *, ready: bool = True, **more: Any) -> ContainerStatus:
    return ContainerStatus(name, "localhost/busybox", Running(BORN), ID, started=True, ready=ready, **more)


def waiting(reason: str, name: str = "app", **more: Any) -> ContainerStatus:
    return ContainerStatus(name, "localhost/busybox", Waiting(reason, f"{reason} it is"), **more)


def terminated(code: int, reason: str, name: str = "app", *, signal: int | None = None) -> ContainerStatus:
    return ContainerStatus(name, "localhost/busybox", end(code, reason, signal=signal), ID)


def end(code: int = 1, reason: str = "Error", *, signal: int | None = None, finished: datetime = NOW) -> Terminated:
    return Terminated(code, reason, signal, started_at=BORN, finished_at=finished, container_id=ID)


def manifest(*names: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": name, "image": "localhost/busybox"} for name in names]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": containers, "restartPolicy": "Always", **spec},
    }


def status(*containers: ContainerStatus, phase: Phase = Phase.RUNNING, name: str = "web", **more: Any) -> PodStatus:
    """A pod of the containers given, started when it was made, five minutes ago.

    `inits` are its init containers, of which those in `sidecars` restart always.
    """
    inits: tuple[ContainerStatus, ...] = tuple(more.pop("inits", ()))
    policies = {name: RestartPolicy.ALWAYS for name in more.pop("sidecars", ())}
    spec = {
        "initContainers": [
            {"name": each.name, "image": each.image, "restartPolicy": policies.get(each.name)} for each in inits
        ]
    }
    written = manifest(*(each.name for each in containers), **(spec if inits else {}))
    pod = Pod(
        name,
        namespace=more.pop("namespace", "default"),
        labels=more.pop("labels", {}),
        annotations=more.pop("annotations", {}),
        restart_policy=RestartPolicy.ALWAYS,
        init_containers=tuple(
            Container(each.name, each.image, restart_policy=policies.get(each.name)) for each in inits
        ),
        containers=tuple(Container(each.name, each.image) for each in containers),
        readiness_gates=more.pop("readiness_gates", ()),
    )
    more["init_containers"] = inits
    facts = {"manifest": written, "start_time": BORN, "sandbox_ready": True, "pod_ips": ("10.0.0.2",), **more}
    return PodStatus(pod, "b7c8c5a4-0000-4000-8000-000000000001", BORN, phase, containers, **facts)
