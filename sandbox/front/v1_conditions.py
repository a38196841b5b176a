"""The conditions of a pod as kubelet writes them, with its reasons and messages.  Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sandbox.front.times import rfc3339
from sandbox.model import Container
from sandbox.status import ContainerStatus, Phase, PodStatus, Running, Terminated

COMPLETED, FAILED = "PodCompleted", "PodFailed"

Why = tuple[str, str]  # a reason and a message; both are empty where there is nothing to say
_NOTHING: Why = ("", "")


def conditions(status: PodStatus) -> list[dict[str, Any]]:
    """In kubelet's order.  `lastTransitionTime` is null where it is not known."""
    if status.unschedulable:
        return [_condition("PodScheduled", False, why=("Unschedulable", status.unschedulable))]
    initialized, unready = _initialization(status), _unready(status)
    held_up = unready if unready[0] else _gates(status)
    since = _last_start(status)
    return [
        _condition("PodReadyToStartContainers", status.sandbox_ready),
        _condition("Initialized", initialized[0] in ("", COMPLETED), since=_last_init(status), why=initialized),
        _condition("Ready", not held_up[0], since=since, why=held_up),
        _condition("ContainersReady", not unready[0], since=since, why=unready),
        _condition("PodScheduled", True, since=status.creation_timestamp),
    ]


def _condition(kind: str, true: bool, *, since: datetime | None = None, why: Why = _NOTHING) -> dict[str, Any]:
    said = {name: text for name, text in zip(("reason", "message"), why, strict=True) if text}
    return {
        "type": kind,
        "status": "True" if true else "False",
        "lastProbeTime": None,
        "lastTransitionTime": rfc3339(since if true else None),
        **said,
    }


def _initialization(status: PodStatus) -> Why:
    """Why the pod is not initialized, or COMPLETED where it has succeeded."""
    known = {each.name: each for each in status.init_containers}
    inits = status.pod.init_containers
    unknown = [each.name for each in inits if each.name not in known]
    if status.phase is Phase.SUCCEEDED and not unknown:
        return COMPLETED, ""
    if status.initialized:
        return _NOTHING
    sidecars = {each.name for each in status.pod.sidecars}
    done = {name for name, each in known.items() if (each.started if name in sidecars else each.ready)}
    return _told("ContainersNotInitialized", unknown, "incomplete", (each for each in inits if each.name not in done))


def _unready(status: PodStatus) -> Why:
    """Why containers are not ready."""
    known = {each.name: each for each in status.all_containers}
    serving = (*status.pod.sidecars, *status.pod.containers)
    unknown = [each.name for each in serving if each.name not in known]
    if status.phase is Phase.SUCCEEDED and not unknown:
        return COMPLETED, ""
    if status.phase is Phase.FAILED:
        return FAILED, ""
    ready = {name for name, each in known.items() if each.ready}
    return _told("ContainersNotReady", unknown, "unready", (each for each in serving if each.name not in ready))


def _told(reason: str, unknown: list[str], word: str, lacking: Iterable[Container]) -> Why:
    said = [("unknown", unknown), (word, [each.name for each in lacking if each.name not in unknown])]
    messages = [f"containers with {what} status: [{' '.join(names)}]" for what, names in said if names]
    return (reason, ", ".join(messages)) if messages else _NOTHING


def _gates(status: PodStatus) -> Why:
    """Why the pod is not ready although its containers are: nobody here sets the conditions that it waits for."""
    absent = [
        f'corresponding condition of pod readiness gate "{gate}" does not exist.' for gate in status.pod.readiness_gates
    ]
    return ("ReadinessGatesNotReady", ", ".join(absent)) if absent else _NOTHING


# ---- since when ----


def _last_init(status: PodStatus) -> datetime | None:
    """Since when the pod is initialized; when a sidecar was found to be started, nobody wrote down."""
    sidecars = {each.name: each for each in status.pod.sidecars}
    times = [status.start_time]
    for each in status.init_containers:
        if each.name not in sidecars:
            times.append(each.state.finished_at if isinstance(each.state, Terminated) else None)
        else:
            times.append(_since(each, sidecars[each.name].startup_probe is not None))
    known = [each for each in times if each is not None]
    return max(known) if len(known) == len(times) else None


def _last_start(status: PodStatus) -> datetime | None:
    """Since when all containers have been ready: without probes, since they run."""
    probed = {each.name for each in status.pod.all_containers if each.readiness_probe is not None or each.startup_probe}
    sidecars = {each.name for each in status.pod.sidecars}
    serving = [each for each in status.init_containers if each.name in sidecars]
    times = [_since(each, each.name in probed) for each in (*serving, *status.containers)]
    known = [each for each in times if each is not None]
    return max(known, default=None) if len(known) == len(times) else None


def _since(container: ContainerStatus, probed: bool) -> datetime | None:
    return container.state.started_at if isinstance(container.state, Running) and not probed else None
