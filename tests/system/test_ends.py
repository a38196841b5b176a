"""Containers that end in every way, in each kind of pid namespace and under each restart policy (SEMANTICS A20, A24).

The tables are written by hand.  A pod has a container for each row, all of which end at once.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from cgroups import Cgroup
from sandbox.pod.slices import Slices
from sandbox.status import PodStatus, Terminated
from tests.runner import Manifest, Seedpod
from tests.staying import all_running, detached, pod_json, until

pytestmark = pytest.mark.root

NAMESPACES: dict[str, Manifest] = {"own": {}, "shared": {"shareProcessNamespace": True}, "host": {"hostPID": True}}

# What a program does: its exit code, reason and signal where it is PID 1 of its own pid namespace, and where it is not.
# PID 1 does not hear a signal that it sends itself and has no handler for: it goes on to its `exit 3`.
# But for INT: the shell has a handler of its own, which exits with 130 where INT does not end it.
#   name     | what it does                                  | PID 1             | not PID 1
PROGRAMS = """
    zero     | exit 0                                        | 0   Completed -   | 0   Completed -
    one      | exit 1                                        | 1   Error     -   | 1   Error     -
    two      | exit 2                                        | 2   Error     -   | 2   Error     -
    forty    | exit 42                                       | 42  Error     -   | 42  Error     -
    unable   | exit 126                                      | 126 Error     -   | 126 Error     -
    none     | exit 127                                      | 127 Error     -   | 127 Error     -
    like-hup | exit 128                                      | 128 Error     -   | 128 Error     -
    as-kill  | exit 137                                      | 137 Error     -   | 137 Error     -
    as-term  | exit 143                                      | 143 Error     -   | 143 Error     -
    last     | exit 255                                      | 255 Error     -   | 255 Error     -
    term     | kill -TERM $$; exit 3                         | 3   Error     -   | 143 Error     15
    kill     | kill -KILL $$; exit 3                         | 3   Error     -   | 137 Error     9
    int      | kill -INT $$; exit 3                          | 130 Error     -   | 130 Error     2
    abrt     | kill -ABRT $$; exit 3                         | 3   Error     -   | 134 Error     6
    usr1     | kill -USR1 $$; exit 3                         | 3   Error     -   | 138 Error     10
    segv     | kill -SEGV $$; exit 3                         | 3   Error     -   | 139 Error     11
    fault    | exec /probe/probe raise 11                    | 139 Error     11  | 139 Error     11
    caught   | trap "exit 7" TERM; kill -TERM $$; exit 3     | 7   Error     -   | 7   Error     -
    done     | trap "exit 0" TERM; kill -TERM $$; exit 3     | 0   Completed -   | 0   Completed -
"""

# A program that only sleeps, and what comes to it from the host.  What PID 1 has no handler for does not reach it: the
# SIGKILL that follows is what ends it.
#   name     | signal | PID 1             | not PID 1
SIGNALS = """
    term     | 15     | 137 Error     9   | 143 Error     15
    kill     | 9      | 137 Error     9   | 137 Error     9
    int      | 2      | 137 Error     9   | 130 Error     2
    abrt     | 6      | 137 Error     9   | 134 Error     6
    usr1     | 10     | 137 Error     9   | 138 Error     10
    segv     | 11     | 137 Error     9   | 139 Error     11
"""

# The container's restart policy, the rule's operator and values, how it ends, and whether it runs again.
#   name     | policy    | rule          | what it does        | again
RULES = """
    a        | Never     | In 42         | exit 42             | yes
    b        | Never     | In 42         | exit 1              | no
    c        | Never     | In 42         | exit 0              | no
    d        | Never     | NotIn 42      | exit 42             | no
    e        | Never     | NotIn 42      | exit 1              | yes
    f        | Never     | NotIn 42      | exit 0              | yes
    g        | Never     | In 0,1        | exit 0              | yes
    h        | Never     | In 139        | /probe/probe raise 11 | yes
    i        | Never     | NotIn 139     | /probe/probe raise 11 | no
    j        | OnFailure | In 0          | exit 0              | yes
    k        | OnFailure | In 1          | exit 0              | no
    l        | OnFailure | NotIn 1       | exit 1              | yes
    m        | Always    | In 42         | exit 0              | yes
"""


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def shown(terminated: Manifest) -> str:
    return f"{terminated['exitCode']} {terminated['reason']} {terminated.get('signal', '-')}"


def promised(cell: str) -> str:
    return " ".join(cell.split())


def came_to_rest(again: dict[str, bool]) -> Any:
    """Whether what runs again has done so, and all else has ended."""

    def holds(status: PodStatus) -> bool:
        return all(
            each.restart_count > 0 if again[each.name] else isinstance(each.state, Terminated)
            for each in status.containers
        )

    return holds


def ends_of(seedpod: Seedpod, again: dict[str, bool]) -> dict[str, str]:
    """How the first instance of each container of the pod ended; what does not run again did not."""
    until(seedpod, "web", came_to_rest(again))
    found = {}
    for each in pod_json(seedpod, "web")["status"]["containerStatuses"]:
        assert (each["restartCount"] > 0) is again[each["name"]], each
        found[each["name"]] = shown(each["lastState" if again[each["name"]] else "state"]["terminated"])
    return found


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_how_programs_end_and_whether_they_run_again(seedpod: Seedpod, namespace: str, policy: str) -> None:
    """# A20, A24"""
    table = {name: (does, first if namespace == "own" else other) for name, does, first, other in rows(PROGRAMS)}
    containers = [seedpod.shell(name, does.replace("$$", "$$$$")) for name, (does, _) in table.items()]  # as $$ is $
    detached(seedpod, seedpod.pod(*containers, restartPolicy=policy, **NAMESPACES[namespace]), wait=False)
    completed = {name for name, (_, end) in table.items() if "Completed" in end}
    again = {name: policy == "Always" or (policy == "OnFailure" and name not in completed) for name in table}
    assert ends_of(seedpod, again) == {name: promised(end) for name, (_, end) in table.items()}


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_how_a_signal_from_outside_ends_a_program_without_a_handler(seedpod: Seedpod, namespace: str) -> None:
    """# A24"""
    table = {
        name: (int(number), first if namespace == "own" else other) for name, number, first, other in rows(SIGNALS)
    }
    pod = seedpod.pod(*(seedpod.container(name, "sleep", "600") for name in table), **NAMESPACES[namespace])
    detached(seedpod, pod)
    status = until(seedpod, "web", all_running)
    pod_slice = Cgroup.open(Slices(seedpod.root).path(status.uid))
    for each in pod_json(seedpod, "web")["status"]["containerStatuses"]:
        identity = each["containerID"].rpartition("/")[2]
        (scope,) = (child for child in pod_slice.children() if child.name == f"{identity}.scope")
        (pid,) = scope.procs()
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, table[each["name"]][0])
        if namespace == "own":
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
    found = ends_of(seedpod, dict.fromkeys(table, False))
    assert found == {name: promised(end) for name, (_, end) in table.items()}


def test_a_rule_decides_before_the_policy(seedpod: Seedpod) -> None:
    """# A20"""
    table = rows(RULES)
    containers = []
    for name, policy, rule, does, _ in table:
        operator, values = rule.split()
        codes = {"operator": operator, "values": [int(value) for value in values.split(",")]}
        rules = [{"action": "Restart", "exitCodes": codes}]
        containers.append(seedpod.shell(name, does, restartPolicy=policy, restartPolicyRules=rules))
    detached(seedpod, seedpod.pod(*containers), wait=False)
    again = {name: expected == "yes" for name, *_, expected in table}
    assert set(again) == set(ends_of(seedpod, again))
