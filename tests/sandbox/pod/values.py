"""Values that tests of the engine's parts begin with, and strategies that draw any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from sandbox.model import Container, Pod, RestartPolicy
from sandbox.pod.state import ContainerState, Instance, PodRecord, PodState, Stopping
from sandbox.status import Terminated

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UID = "0b7a2f34-9c1d-4e5f-8a6b-0123456789ab"
IDENTITY = "a" * 64


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_pod(*names: str, policy: RestartPolicy = RestartPolicy.ALWAYS, **fields: Any) -> Pod:
    containers = tuple(Container(name, "localhost/busybox", ("app",)) for name in names or ("app",))
    return Pod("web", containers=containers, restart_policy=policy, **fields)


def a_manifest(name: str = "web", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": "localhost/busybox", "command": ["app"]}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def a_record(uid: str = UID, name: str = "web") -> PodRecord:
    return PodRecord(uid, "default", name, NOON, a_manifest(name))


def waiting(name: str = "app") -> ContainerState:
    """Of which nothing was made yet."""
    return ContainerState(name)


def making(name: str = "app", attempt: int = 0) -> ContainerState:
    return ContainerState(name, Instance(IDENTITY, attempt + 1, attempt), attempts=attempt + 1)


def running(name: str = "app", attempt: int = 0, since: datetime = NOON) -> ContainerState:
    return making(name, attempt).started(since).changed(hooked=True, started=True, ready=True)


def stopping(name: str = "app", **fields: Any) -> ContainerState:
    """Which runs, and is on its way to its end."""
    return running(name).changed(stopping=Stopping(**fields))


def ended(name: str = "app", code: int = 0, attempt: int = 0, at: datetime = NOON) -> ContainerState:
    return running(name, attempt).with_end(an_end(code, at))


def an_end(code: int = 0, at: datetime = NOON) -> Terminated:
    return Terminated(code, "Error" if code else "Completed", finished_at=at, container_id=IDENTITY)


def a_state(*containers: ContainerState, **fields: Any) -> PodState:
    return PodState(containers or (waiting(),), **{"sandbox": True, "sandboxes": 1, **fields})


# ---- any of them ----

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
