from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from sandbox.front.table import aligned, human_duration, nothing_found, printed, status_word, table
from sandbox.status import Phase, PodStatus
from tests.sandbox.front.pods import BORN, NOW, ago, end, running, status, terminated, waiting

DELETED = {"deletion_timestamp": NOW, "deletion_grace_period_seconds": 30}

WORDS: list[tuple[str, PodStatus]] = [
    ("Pending", status(waiting(""), phase=Phase.PENDING)),
    ("ContainerCreating", status(waiting("ContainerCreating"), phase=Phase.PENDING)),
    ("PodInitializing", status(waiting("PodInitializing"), phase=Phase.PENDING)),
    ("ErrImagePull", status(waiting("ErrImagePull"), phase=Phase.PENDING)),
    ("ImagePullBackOff", status(waiting("ImagePullBackOff"), phase=Phase.PENDING)),
    ("CreateContainerConfigError", status(waiting("CreateContainerConfigError"), phase=Phase.PENDING)),
    ("Running", status(running())),
    ("Running", status(running(ready=False))),
    ("CrashLoopBackOff", status(waiting("CrashLoopBackOff"))),
    ("Completed", status(terminated(0, "Completed"), phase=Phase.SUCCEEDED)),
    ("Error", status(terminated(1, "Error"), phase=Phase.FAILED)),
    ("OOMKilled", status(terminated(137, "OOMKilled"), phase=Phase.FAILED)),
    ("StartError", status(terminated(128, "StartError"), phase=Phase.FAILED)),
    ("Signal:9", status(terminated(137, "", signal=9), phase=Phase.FAILED)),
    ("ExitCode:1", status(terminated(1, ""), phase=Phase.FAILED)),
    ("ExitCode:0", status(terminated(0, ""), phase=Phase.SUCCEEDED)),
    ("NotReady", status(running("a"), terminated(0, "Completed", "b"))),
    ("Completed", status(running("a", ready=False), terminated(0, "Completed", "b"))),
    ("Error", status(running("a"), terminated(1, "Error", "b"))),
    ("Evicted", status(running(), phase=Phase.FAILED, reason="Evicted")),
    ("DeadlineExceeded", status(phase=Phase.FAILED, reason="DeadlineExceeded")),
    # The first by name wins, in whatever order the manifest has them.
    ("Error", status(waiting("CrashLoopBackOff", "b"), terminated(1, "Error", "a"))),
    ("CrashLoopBackOff", status(terminated(1, "Error", "b"), waiting("CrashLoopBackOff", "a"))),
    ("Terminating", status(running(), **DELETED)),
    ("Terminating", status(waiting("CrashLoopBackOff"), **DELETED)),
    ("Terminating", status(waiting("ContainerCreating"), phase=Phase.PENDING, **DELETED)),
    ("Unknown", status(running(), reason="NodeLost", **DELETED)),
    # A phase that is final outlives the deletion.
    ("Completed", status(terminated(0, "Completed"), phase=Phase.SUCCEEDED, **DELETED)),
    ("Error", status(terminated(1, "Error"), phase=Phase.FAILED, **DELETED)),
]


@pytest.mark.parametrize(("word", "state"), WORDS)
def test_status_is_the_word_that_kubectl_prints(word: str, state: PodStatus) -> None:  # A32
    assert status_word(state) == word


def test_a_pod_that_is_ready_says_so_although_one_container_completed() -> None:  # A32
    pod = v1_pod(apps=[{"running": {}}, {"terminated": {"exitCode": 0, "reason": "Completed"}}], Ready="True")
    assert printed(pod).word == "Running"


# ---- init containers, as any `v1` Pod may have them ----


def v1_pod(
    *,
    inits: Sequence[Any] = (),
    apps: Sequence[Any] = ({"waiting": {"reason": "PodInitializing"}},),
    sidecars: int = 0,
    **conditions: str,
) -> dict[str, Any]:
    """A pod whose first `sidecars` init containers are sidecars; a running container is started and ready."""

    def shown(prefix: str, states: Sequence[Any]) -> list[dict[str, Any]]:
        up = ["running" in state for state in states]
        return [
            {
                "name": f"{prefix}{n}",
                "state": state,
                "ready": up[n],
                "started": up[n],
                "restartCount": 10 if prefix == "a" else 1,
            }
            for n, state in enumerate(states)
        ]

    policy = [{"restartPolicy": "Always"}] * sidecars + [{}] * len(inits)
    return {
        "metadata": {"name": "web"},
        "spec": {
            "initContainers": [{"name": f"i{n}", **policy[n]} for n in range(len(inits))],
            "containers": [{"name": f"a{n}"} for n in range(len(apps))],
        },
        "status": {
            "phase": "Pending",
            "initContainerStatuses": shown("i", inits),
            "containerStatuses": shown("a", apps),
            "conditions": [{"type": kind, "status": state} for kind, state in conditions.items()],
        },
    }


DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
UP: dict[str, Any] = {"running": {}}
QUEUED = {"waiting": {"reason": "PodInitializing"}}


@pytest.mark.parametrize(
    ("word", "inits"),
    [
        ("Init:0/2", [UP, QUEUED]),
        ("Init:0/2", [QUEUED, QUEUED]),
        ("Init:1/2", [DONE, UP]),
        ("Init:1/2", [DONE, {"waiting": {}}]),
        ("Init:Error", [{"terminated": {"exitCode": 1, "reason": "Error"}}]),
        ("Init:ExitCode:3", [{"terminated": {"exitCode": 3}}]),
        ("Init:Signal:9", [{"terminated": {"exitCode": 137, "signal": 9}}]),
        ("Init:CrashLoopBackOff", [DONE, {"waiting": {"reason": "CrashLoopBackOff"}}]),
        ("Init:ErrImagePull", [{"waiting": {"reason": "ErrImagePull"}}, QUEUED]),
        ("PodInitializing", [DONE, DONE]),
    ],
)
def test_init_containers_come_first(word: str, inits: list[Any]) -> None:  # A32
    assert printed(v1_pod(inits=inits)).word == word


def test_a_sidecar_holds_nothing_up_once_it_is_started() -> None:  # A23, A32
    shown = printed(v1_pod(inits=[UP, DONE], apps=[UP], sidecars=1))
    assert (shown.word, shown.ready, shown.total) == ("Pending", 2, 2)
    assert printed(v1_pod(inits=[QUEUED, QUEUED], sidecars=1)).word == "Init:0/2"


def test_restarts_are_those_of_init_containers_until_they_are_through() -> None:
    assert printed(v1_pod(inits=[UP, QUEUED])).restarts == 1
    assert printed(v1_pod(inits=[DONE, UP])).restarts == 2
    assert printed(v1_pod(inits=[DONE, DONE])).restarts == 10
    assert printed(v1_pod(inits=[UP, DONE], sidecars=1)).restarts == 11


def test_a_sidecar_that_crashes_after_initialization_hides_no_container() -> None:
    pod = v1_pod(inits=[{"terminated": {"exitCode": 1, "reason": "Error"}}], apps=[UP], sidecars=1, Initialized="True")
    assert (printed(pod).word, printed(pod).ready) == ("Init:Error", 1)


# ---- the table ----


def shown(*states: PodStatus, **options: Any) -> str:
    return table(states, now=NOW, node_name="here", **options)


def test_the_table_is_laid_out_as_kubectl_does() -> None:
    crashed = waiting("CrashLoopBackOff", restart_count=3, last_state=end(finished=ago(minutes=4, seconds=2)))
    states = [status(running("a"), running("b", ready=False)), status(crashed, name="a-much-longer-name")]
    assert shown(*states) == (
        "NAME                 READY   STATUS             RESTARTS       AGE\n"
        "web                  1/2     Running            0              5m\n"
        "a-much-longer-name   0/1     CrashLoopBackOff   3 (4m2s ago)   5m\n"
    )


def test_wide_adds_address_and_node() -> None:
    states = [status(running()), status(waiting("ContainerCreating"), phase=Phase.PENDING, pod_ips=())]
    assert shown(*states, wide=True) == (
        "NAME   READY   STATUS              RESTARTS   AGE   IP         NODE   NOMINATED NODE   READINESS GATES\n"
        "web    1/1     Running             0          5m    10.0.0.2   here   <none>           <none>\n"
        "web    0/1     ContainerCreating   0          5m    <none>     here   <none>           <none>\n"
    )


def test_readiness_gates_are_counted() -> None:
    gates = {"spec": {"containers": [], "readinessGates": [{"conditionType": "Ready"}, {"conditionType": "x/y"}]}}
    assert shown(status(running(), manifest=gates), wide=True).rstrip("\n").endswith(" 1/2")


def test_all_namespaces_name_theirs_first() -> None:
    assert shown(status(running(), namespace="prod"), all_namespaces=True) == (
        "NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE\n"
        "prod        web    1/1     Running   0          5m\n"
    )  # fmt: skip


def test_headers_can_be_left_out() -> None:
    assert shown(status(running()), headers=False) == "web   1/1   Running   0     5m\n"


def test_no_pods_are_no_table() -> None:
    assert shown() == ""
    assert nothing_found("default") == "No resources found in default namespace."
    assert nothing_found(None) == "No resources found"


def test_a_restart_without_a_known_end_has_no_time() -> None:
    assert "   2          5m" in shown(status(running(restart_count=2)))


def test_an_end_without_a_restart_is_none() -> None:
    assert "Running   0          5m" in shown(status(running(last_state=end())))


def test_the_newest_end_dates_the_restarts() -> None:
    old, new = (
        running(name, restart_count=1, last_state=end(finished=ago(hours=hours)))
        for name, hours in (("a", 9), ("b", 1))
    )
    assert "2 (60m ago)" in shown(status(old, new))


def test_a_terminating_pod_still_counts_as_ready() -> None:  # A32
    assert "1/1     Terminating" in shown(status(running(), **DELETED))


def test_no_cell_breaks_its_line_or_commands_the_terminal() -> None:
    assert shown(status(running(), reason="a\tb\x1b[31m\nc"), headers=False).split("   ")[2] == "a b^[[31m..."


# ---- durations ----

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"),
        (-1.9, "0s"),
        (-1, "0s"),
        (0, "0s"),
        (0.999, "0s"),
        (5, "5s"),
        (119.9, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (185, "3m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (659, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 59, "3h"),
        (3 * HOUR + 5 * MINUTE, "3h5m"),
        (8 * HOUR - 1, "7h59m"),
        (8 * HOUR, "8h"),
        (48 * HOUR - 1, "47h"),
        (48 * HOUR, "2d"),
        (2 * DAY + 3 * HOUR, "2d3h"),
        (8 * DAY - 1, "7d23h"),
        (8 * DAY, "8d"),
        (12 * DAY + 5 * HOUR, "12d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR, "2y"),
        (2 * YEAR + 10 * DAY, "2y10d"),
        (8 * YEAR - 1, "7y364d"),
        (8 * YEAR, "8y"),
        (30 * YEAR + 100 * DAY, "30y"),
    ],
)
def test_durations_have_kubectls_few_figures(seconds: float, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text


def test_age_counts_from_creation() -> None:
    assert human_duration(NOW - BORN) == "5m"
    assert shown(status(running())).rstrip().endswith("5m")


# ---- columns ----


def test_neighbouring_lines_share_a_column_and_a_line_without_one_parts_them() -> None:
    text = "a\tb\nlong name\tb\nhead:\n  x\ty\n"
    assert aligned(text, minimum=0, padding=2) == "a          b\nlong name  b\nhead:\n  x  y\n"


def test_a_column_has_its_least_width_and_the_last_cell_is_free() -> None:
    assert aligned("a\tb\tc", minimum=6, padding=3) == "a     b     c"
