"""The tables of a container's own restart policy and of the rules that come before it.

The rules and the words are the API server's (validation.go, validateContainerRestartPolicy).
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox import model
from sandbox.manifest import wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Choice, ListOf, Whole
from sandbox.manifest.records import Field, Record

MAX_RULES = 20
MAX_EXIT_CODES = 255


def _at_most(limit: int) -> Callable[[Cursor], None]:
    def rule(items: Cursor) -> None:
        count = sum(1 for _ in items.items())
        if count > limit:
            items.refuse(wording.too_many(count, limit), at=items.named)

    return rule


EXIT_CODES = Record(
    "ContainerRestartRuleOnExitCodes",
    model.ExitCodes,
    Field("operator", Choice(*sorted(model.ExitCodesOperator)), absent=""),
    Field("values", ListOf(Whole(bits=32), _at_most(MAX_EXIT_CODES))),
)

RULE = Record(
    "ContainerRestartRule",
    model.RestartRule,
    Field("action", Choice(*sorted(model.RestartAction)), absent=""),
    Field("exitCodes", EXIT_CODES, required="must be specified"),
)

# An empty policy is none of these, and is not an absent one.
OF_CONTAINER = (
    Field("restartPolicy", Choice(*sorted(model.RestartPolicy)), pointer=True),
    Field("restartPolicyRules", ListOf(RULE, _at_most(MAX_RULES))),
)


def rules_need_a_policy(container: Cursor) -> None:
    """What no rule speaks of is the policy's: it has to be the container's own."""
    rules = container.field("restartPolicyRules")
    if rules and any(rules.items()) and not container.field("restartPolicy"):
        missing = wording.required("must specify restartPolicy when restart rules are used")
        container.refuse(missing, at=rules.named, path=wording.child(container.path, "restartPolicy"))
