"""The conditions of a pod as its state has them: its own with the times of their changes, and those that others set.

Whether one of its own holds follows from all the rest (PodStatus.own_conditions); when that changed last is to be
written down with what changed it.  Pure.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sandbox.errors import SandboxError, quoted
from sandbox.manifest import rules
from sandbox.pod.state import PodState
from sandbox.status import OWN_CONDITIONS, Condition, PodStatus

STATUSES = ("True", "False", "Unknown")
MAX_REASON, MAX_MESSAGE = 1024, 32768  # characters, as the API has it for conditions of most kinds


def stamped(state: PodState, status: PodStatus, now: datetime) -> PodState:
    """The state with the pod's own conditions as its `status` has them: which is another than before became so now."""
    others = (each for each in state.conditions if each.type not in OWN_CONDITIONS)
    own = (_own(state, kind, str(holds), now) for kind, holds in status.own_conditions().items())
    conditions = (*others, *own)
    return state if conditions == state.conditions else replace(state, conditions=conditions)


def _own(state: PodState, kind: str, status: str, now: datetime) -> Condition:
    known = _known(state, kind)
    return known if known and known.status == status else Condition(kind, status, now)


def _known(state: PodState, kind: str) -> Condition | None:
    return next((each for each in state.conditions if each.type == kind), None)


def with_condition(state: PodState, asked: Condition) -> PodState:
    """The state with a condition that somebody sets; one whose status is as before keeps its time."""
    known = _known(state, asked.type)
    if known is not None:
        since = known.since if known.status == asked.status else asked.since
        fresh = replace(asked, since=since)
        return replace(state, conditions=tuple(fresh if each is known else each for each in state.conditions))
    others = (each for each in state.conditions if each.type not in OWN_CONDITIONS)
    own = (each for each in state.conditions if each.type in OWN_CONDITIONS)
    return replace(state, conditions=(*others, asked, *own))


def check(asked: Condition) -> None:
    """Raises SandboxError for a condition that nobody may set, or that is none."""
    if asked.type in OWN_CONDITIONS:
        raise SandboxError(f"condition {asked.type} follows from what the pod does: nobody sets it")
    for why in rules.qualified_name(asked.type):
        raise SandboxError(f"not the type of a condition: {quoted(asked.type)}: {why}")
    if asked.status not in STATUSES:
        raise SandboxError(f"the status of a condition is one of {', '.join(STATUSES)}, not {quoted(asked.status)}")
    for name, text, limit in (("reason", asked.reason, MAX_REASON), ("message", asked.message, MAX_MESSAGE)):
        if len(text) > limit:
            raise SandboxError(f"the {name} of a condition has no more than {limit} characters")
