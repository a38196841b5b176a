"""The table of `seedpod get`, column for column what kubectl's `get pods` prints (SEMANTICS A32).

kubectl's columns are computed from the `v1` object, so these are too.  Pure: the time now is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from math import inf

from sandbox.front.v1 import V1, to_v1
from sandbox.status import PodStatus

NONE = "<none>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400

# kubectl's two to three significant figures: up to `limit` seconds, in this unit, and its remainder in that one.
_FIGURES: tuple[tuple[float, int, int | None], ...] = (
    (2 * _MINUTE, 1, None),
    (10 * _MINUTE, _MINUTE, 1),
    (3 * _HOUR, _MINUTE, None),
    (8 * _HOUR, _HOUR, _MINUTE),
    (48 * _HOUR, _HOUR, None),
    (8 * _DAY, _DAY, _HOUR),
    (2 * _YEAR, _DAY, None),
    (8 * _YEAR, _YEAR, _DAY),
    (inf, _YEAR, None),
)
_LETTERS = {1: "s", _MINUTE: "m", _HOUR: "h", _DAY: "d", _YEAR: "y"}


# ---- one pod ----


@dataclass(frozen=True)
class Printed:
    """What kubectl computes for one pod: the STATUS word, READY, RESTARTS and when the last one was."""

    word: str
    ready: int
    total: int
    restarts: int
    last_restart: datetime | None


def status_word(status: PodStatus) -> str:
    """The STATUS column."""
    return printed(to_v1(status, node_name="")).word


def printed(pod: V1) -> Printed:
    """kubectl's printPod, from a `v1` Pod."""
    status, sidecars = pod["status"], _sidecars(pod)
    inits, apps = status.get("initContainerStatuses", []), status.get("containerStatuses", [])
    init_word, reached = _init_word(inits, sidecars, total=len(pod["spec"].get("initContainers", [])))
    word = status.get("reason") or status["phase"]
    ready = sum(each["name"] in sidecars and bool(each.get("started")) and each["ready"] for each in inits[:reached])
    counted = inits[:reached]
    if init_word is None or _condition(pod, "Initialized"):
        counted = [each for each in inits[:reached] if each["name"] in sidecars] + apps
        word = _app_word(apps, init_word or word, pod_ready=_condition(pod, "Ready"))
        ready += sum(_serves(each) for each in apps)
    else:
        word = init_word
    return Printed(
        word=_deletion_word(pod) or word,
        ready=ready,
        total=len(pod["spec"]["containers"]) + len(sidecars),
        restarts=sum(each["restartCount"] for each in counted),
        last_restart=_last_end(counted),
    )


def _sidecars(pod: V1) -> set[str]:
    return {each["name"] for each in pod["spec"].get("initContainers", []) if each.get("restartPolicy") == "Always"}


def _condition(pod: V1, kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in pod["status"].get("conditions", []))


def _init_word(inits: Sequence[V1], sidecars: set[str], *, total: int) -> tuple[str | None, int]:
    """The word for the init container that holds the pod up (None when none does), and how many were looked at."""
    for index, each in enumerate(inits):
        ended, waiting = each["state"].get("terminated"), each["state"].get("waiting", {})
        if (ended and ended["exitCode"] == 0) or (each["name"] in sidecars and each.get("started")):
            continue
        if ended:
            return f"Init:{_end_word(ended)}", index + 1
        if waiting.get("reason", "PodInitializing") != "PodInitializing":
            return f"Init:{waiting['reason']}", index + 1
        return f"Init:{index}/{total}", index + 1
    return None, len(inits)


def _app_word(apps: Sequence[V1], word: str, *, pod_ready: bool) -> str:
    """The first container, in the order of the status, that does not run gives the word."""
    for each in apps:
        state = each["state"]
        if reason := state.get("waiting", {}).get("reason"):
            word = reason
        elif "terminated" in state:
            word = _end_word(state["terminated"])
        else:
            continue
        break
    if word == "Completed" and any(_serves(each) for each in apps):
        return "Running" if pod_ready else "NotReady"
    return word


def _end_word(ended: V1) -> str:
    if reason := ended.get("reason"):
        return str(reason)
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended['exitCode']}"


def _serves(container: V1) -> bool:
    return container["ready"] and "running" in container["state"]


def _deletion_word(pod: V1) -> str | None:
    if "deletionTimestamp" not in pod["metadata"]:
        return None
    if pod["status"].get("reason") == "NodeLost":
        return "Unknown"
    return None if pod["status"]["phase"] in ("Succeeded", "Failed") else "Terminating"


def _last_end(containers: Iterable[V1]) -> datetime | None:
    ends = [each.get("lastState", {}).get("terminated", {}).get("finishedAt") for each in containers]
    return max((datetime.fromisoformat(end) for end in ends if end), default=None)


# ---- the table ----


def table(
    statuses: Iterable[PodStatus],
    *,
    now: datetime,
    node_name: str,
    wide: bool = False,
    all_namespaces: bool = False,
    headers: bool = True,
) -> str:
    """The rows of `seedpod get` in the order given, with a heading; empty where there is no pod (see nothing_found)."""
    pods = [to_v1(status, node_name=node_name) for status in statuses]
    rows = [row(pod, now=now, wide=wide, all_namespaces=all_namespaces) for pod in pods]
    if not rows:
        return ""
    return set_out(([headings(wide=wide, all_namespaces=all_namespaces)] if headers else []) + rows)


def headings(*, wide: bool, all_namespaces: bool) -> list[str]:
    columns = ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    if wide:
        columns += ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    return ["NAMESPACE", *columns] if all_namespaces else columns


def row(pod: V1, *, now: datetime, wide: bool, all_namespaces: bool) -> list[str]:
    """The cells of one `v1` Pod."""
    cells = [*_row(pod, now), *(_wide(pod) if wide else [])]
    return [pod["metadata"]["namespace"], *cells] if all_namespaces else cells


def set_out(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, as kubectl's tables are set."""
    return Columns().lines(rows)


class Columns:
    """Columns of a table whose rows come in time: each is as wide as it had to be so far."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def lines(self, rows: Sequence[Sequence[str]]) -> str:
        """Further rows, of as many cells as the first; what stands in the last column is free."""
        shown = [[_cell(cell) for cell in row] for row in rows]
        for row in shown:
            widths = [max(6, len(cell) + 3) for cell in row[:-1]]
            self._widths = [max(pair) for pair in zip(widths, self._widths or widths, strict=True)]
        return "".join("".join(map(str.ljust, row, self._widths)) + row[-1] + "\n" for row in shown)


def nothing_found(namespace: str | None) -> str:
    """What `get` says on stderr when there is no pod in a namespace, or (None) in any."""
    return f"No resources found in {namespace} namespace." if namespace else "No resources found"


def _row(pod: V1, now: datetime) -> list[str]:
    shown = printed(pod)
    restarts = str(shown.restarts)
    if shown.restarts and shown.last_restart:
        restarts += f" ({human_duration(now - shown.last_restart)} ago)"
    age = human_duration(now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]))
    return [pod["metadata"]["name"], f"{shown.ready}/{shown.total}", shown.word, restarts, age]


def _wide(pod: V1) -> list[str]:
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])]
    passed = sum(_condition(pod, gate) for gate in gates)
    return [
        pod["status"].get("podIP") or NONE,
        pod["spec"]["nodeName"] or NONE,
        pod["status"].get("nominatedNodeName") or NONE,
        f"{passed}/{len(gates)}" if gates else NONE,
    ]


def _cell(text: str) -> str:
    """A row is a line: what follows a line's end is cut off, and no tab may make a column of its own."""
    first = text.splitlines()[0] if text else ""
    return printable(first.replace("\t", " ")) + ("..." if first != text else "")


def printable(text: str) -> str:
    """Without what a terminal would take for a command."""
    return text.replace("\x1b", "^[").replace("\r", "\\r")


def aligned(text: str, *, minimum: int, padding: int) -> str:
    """Columns from tabs, as Go's tabwriter sets them: neighbouring lines that have a tab at the same place share a
    column, as wide as its widest cell and `padding` blanks, at least `minimum`.  What follows the last tab is free."""
    rows = [line.split("\t") for line in text.split("\n")]
    for column in range(max(len(row) for row in rows) - 1):
        for ends, run in groupby(rows, key=lambda row: len(row) - 1 > column):
            block = list(run) if ends else []
            width = max([minimum, *(len(row[column]) + padding for row in block)])
            for row in block:
                row[column] = row[column].ljust(width)
    return "\n".join("".join(row) for row in rows)


def human_duration(elapsed: timedelta) -> str:
    """kubectl's short form: 119s, 3m5s, 10m, 3h5m, 47h, 2d3h, 12d, 2y10d."""
    seconds = int(elapsed.total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)  # clocks may differ by a little
    unit, minor = next((unit, minor) for limit, unit, minor in _FIGURES if seconds < limit)
    rest = seconds % unit // minor if minor else 0
    return f"{seconds // unit}{_LETTERS[unit]}" + (f"{rest}{_LETTERS[minor]}" if minor and rest else "")


def when(event: V1, now: datetime) -> str:
    """How long ago a `v1` Event was: 5s, or 10s (x4 over 5m)."""
    first, last = (_since(event.get(field), now) for field in ("firstTimestamp", "lastTimestamp"))
    count = event.get("count") or 1
    return f"{last} (x{count} over {first})" if count > 1 else first


def _since(time: str | None, now: datetime) -> str:
    return human_duration(now - datetime.fromisoformat(time)) if time else "<unknown>"
