"""The conditions of a pod as kubelet writes them, with its reasons and messages.  Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sandbox.front.times import rfc3339
from sandbox.model import Container
from sandbox.status import OWN_CONDITIONS, Phase, PodStatus

COMPLETED, FAILED = "PodCompleted", "PodFailed"

Why = tuple[str, str]  # a reason and a message; both are empty where there is nothing to say
_NOTHING: Why = ("", "")


def conditions(status: PodStatus) -> list[dict[str, Any]]:
    """In kubelet's order: those that others have set, then its own."""
    own, noted = _own(status), {each.type: each for each in status.conditions}
    others = [each for each in status.conditions if each.type not in OWN_CONDITIONS]
    return [
        *(_condition(each.type, each.status, each.since, (each.reason, each.message)) for each in others),
        *(
            _condition(kind, str(holds), noted[kind].since if kind in noted else None, why)
            for kind, (holds, why) in own.items()
        ),
    ]


def _own(status: PodStatus) -> dict[str, tuple[bool, Why]]:
    """Whether each of its own holds, as PodStatus.own_conditions has it, and why."""
    if status.unschedulable:
        return {"PodScheduled": (False, ("Unschedulable", status.unschedulable))}
    initialized, unready = _initialization(status), _unready(status)
    held_up = unready if unready[0] else _gates(status)
    return {
        "PodReadyToStartContainers": (status.sandbox_ready, _NOTHING),
        "Initialized": (initialized[0] in ("", COMPLETED), initialized),
        "Ready": (not held_up[0], held_up),
        "ContainersReady": (not unready[0], unready),
        "PodScheduled": (True, _NOTHING),
    }


def _condition(kind: str, status: str, since: datetime | None, why: Why) -> dict[str, Any]:
    said = {name: text for name, text in zip(("reason", "message"), why, strict=True) if text}
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": rfc3339(since),
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
    """Why the pod is not ready although its containers are: others have not said what it waits for."""
    said = {gate: status.condition_status(gate) for gate in status.pod.readiness_gates}
    lacking = [_lacking(gate, known) for gate, known in said.items() if known != "True"]
    return ("ReadinessGatesNotReady", ", ".join(lacking)) if lacking else _NOTHING


def _lacking(gate: str, status: str | None) -> str:
    if status is None:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    return f'the status of pod readiness gate "{gate}" is not "True", but {status}'
