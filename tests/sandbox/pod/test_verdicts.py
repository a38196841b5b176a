"""Every way to end, crossed with every policy and rule: what it is called, and whether it runs again (A20, A24).

The table is written by hand, from Kubernetes' documentation; nothing in it is computed.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sandbox.model import Container, ExitCodes, ExitCodesOperator, Pod, RestartAction, RestartPolicy, RestartRule
from sandbox.pod import ends, lifecycle, wire
from sandbox.pod.lifecycle import Start, decide
from sandbox.pod.state import Instance
from sandbox.status import Terminated
from tests.sandbox.pod.values import IDENTITY, NOON, a_state, after, running

ALWAYS, ON_FAILURE, NEVER = RestartPolicy.ALWAYS, RestartPolicy.ON_FAILURE, RestartPolicy.NEVER
IN, NOT_IN = ExitCodesOperator.IN, ExitCodesOperator.NOT_IN

# The columns of each policy: without a rule, and with one that restarts on these exit codes.
RULES = (None, (IN, (0,)), (NOT_IN, (0,)), (IN, (42,)), (NOT_IN, (42,)), (IN, (137, 143)), (NOT_IN, (137, 143)))

# x: it runs again; .: it does not.  For each policy its rules as above, and then an init container in a pod of it.
#   what podmon saw            | the status     | Always    | OnFailure | Never
TABLE = """
    code 0                     | 0   Completed  | xxxxxxx . | .x..x.x . | .x..x.x .
    code 1                     | 1   Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    code 2                     | 2   Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    code 42                    | 42  Error      | xxxxxxx x | xxxxxxx x | ..xx..x .
    code 126                   | 126 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    code 127                   | 127 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    code 128                   | 128 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    code 137                   | 137 Error      | xxxxxxx x | xxxxxxx x | ..x.xx. .
    code 143                   | 143 Error      | xxxxxxx x | xxxxxxx x | ..x.xx. .
    code 255                   | 255 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    signal HUP 1               | 129 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    signal INT 2               | 130 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    signal ABRT 6              | 134 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    signal KILL 9              | 137 Error      | xxxxxxx x | xxxxxxx x | ..x.xx. .
    signal USR1 10             | 138 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    signal SEGV 11             | 139 Error      | xxxxxxx x | xxxxxxx x | ..x.x.x .
    signal TERM 15             | 143 Error      | xxxxxxx x | xxxxxxx x | ..x.xx. .
    oom-and-code 0             | 0   OOMKilled  | xxxxxxx . | .x..x.x . | .x..x.x .
    oom-and-code 1             | 1   OOMKilled  | xxxxxxx x | xxxxxxx x | ..x.x.x .
    oom-and-signal KILL 9      | 137 OOMKilled  | xxxxxxx x | xxxxxxx x | ..x.xx. .
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]


def end_of(seen: str) -> Terminated:
    """What becomes of podmon's word of an end."""
    kind, *_, number = seen.split()
    message = SimpleNamespace(
        code=0 if kind.endswith("signal") else int(number), signal=int(number) if kind.endswith("signal") else 0,
        oom_killed=kind.startswith("oom"), ran=1, started_ns=1, finished_ns=2,
    )  # fmt: skip
    return ends.by_exit(Instance(IDENTITY, 1, 0, started_at=NOON), wire.exit_status(message))


def runs_again(pod: Pod, end: Terminated) -> bool:
    """Both what is said of the container, and what is done with it."""
    state = a_state(running().with_end(end))
    verdict = lifecycle.verdict(pod, pod.all_containers[0], state.containers[0])
    assert verdict in (None, RestartAction.RESTART)
    decision = decide(pod, state, after(0))
    assert isinstance(decision.action, Start) is (verdict is not None)
    return verdict is not None


@pytest.mark.parametrize(("seen", "status"), [row[:2] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_an_end_is_called(seen: str, status: str) -> None:  # A24
    end = end_of(seen)
    assert [str(end.exit_code), end.reason] == status.split()
    assert end.signal == (int(seen.rpartition(" ")[2]) if "signal" in seen else None)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
@pytest.mark.parametrize(("column", "policy"), [(2, ALWAYS), (3, ON_FAILURE), (4, NEVER)], ids=str)
def test_whether_it_runs_again(row: list[str], column: int, policy: RestartPolicy) -> None:  # A20
    end, other = end_of(row[0]), NEVER if policy is not NEVER else ALWAYS
    found = ""
    for rule in RULES:
        rules = (RestartRule(RestartAction.RESTART, ExitCodes(*rule)),) if rule else ()
        app = Container("app", "localhost/busybox", ("app",), restart_policy=policy, restart_policy_rules=rules)
        found += ".x"[runs_again(Pod("web", containers=(app,), restart_policy=other), end)]
        if not rule:  # and where the policy is the pod's
            plain = Container("app", "localhost/busybox", ("app",))
            assert ".x"[runs_again(Pod("web", containers=(plain,), restart_policy=policy), end)] == found
    init = Container("app", "localhost/busybox", ("app",))
    main = Container("main", "localhost/busybox", ("main",))
    pod = Pod("web", containers=(main,), init_containers=(init,), restart_policy=policy)
    again = lifecycle.verdict(pod, init, running().with_end(end)) is not None
    assert f"{found} {'.x'[again]}" == row[column]


def test_the_first_rule_that_holds_is_the_one() -> None:  # A20
    first = RestartRule(RestartAction.RESTART_ALL_CONTAINERS, ExitCodes(IN, (42,)))
    second = RestartRule(RestartAction.RESTART, ExitCodes(NOT_IN, (0,)))
    app = Container("app", "localhost/busybox", ("app",), restart_policy=NEVER, restart_policy_rules=(first, second))
    pod = Pod("web", containers=(app,), restart_policy=NEVER)
    found = [lifecycle.verdict(pod, app, running().with_end(end_of(f"code {code}"))) for code in (42, 1, 0)]
    assert found == [RestartAction.RESTART_ALL_CONTAINERS, RestartAction.RESTART, None]
