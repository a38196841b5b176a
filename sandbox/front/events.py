"""`seedpod events`: what happened to pods, as kubectl's verb of this name prints it; with `-w` as it happens.

Events belong to a pod, and go with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.front import naming
from sandbox.front.client import Client
from sandbox.front.errors import Usage, say
from sandbox.front.naming import Wanted
from sandbox.front.printers import printer
from sandbox.front.table import set_out, when
from sandbox.front.v1 import V1, events_of
from sandbox.front.watching import Shown, changes
from sandbox.status import ChangeType, PodStatus

_TYPES = ("normal", "warning")

Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Request:
    """The command line of `events`."""

    namespace: str = "default"
    all_namespaces: bool = False
    about: str | None = None  # a pod, as pod/web
    types: Sequence[str] = ()
    output: str | None = None
    no_headers: bool = False
    watch: bool = False

    def __post_init__(self) -> None:
        """Raises Usage."""
        if not all(kind in _TYPES for kind in self.kinds):
            raise Usage("valid --types are Normal or Warning")
        if self.about is not None and "/" not in self.about:
            raise Usage("--for must be in resource/name form", hint="--for pod/web")
        _ = self.pod
        printer(self.output)

    @property
    def kinds(self) -> frozenset[str]:
        """The types in small letters; none for all."""
        return frozenset(kind.lower() for each in self.types for kind in each.split(","))

    @property
    def wanted(self) -> Wanted:
        return Wanted((), self.namespace, self.all_namespaces)

    @property
    def pod(self) -> str | None:
        """The name of the only pod that counts, in whatever namespace."""
        return naming.names([self.about])[0] if self.about else None


def events(client: Client, request: Request, *, now: datetime | None = None) -> int:
    """Print the events, the oldest first.  The exit code of the verb."""
    if request.watch:
        return _watch(client, request, now)
    found = _sorted(each for status in client.pods() if request.wanted.selects(status) for each in _of(status, request))
    if not found:
        say("No events found." if request.all_namespaces else f"No events found in {request.namespace} namespace.")
    elif as_objects := printer(request.output):
        together: V1 = {"apiVersion": "v1", "kind": "EventList", "items": found, "metadata": {}}
        print(as_objects(found, together), end="")
    else:
        at = now or datetime.now(UTC)
        rows = [_row(each, at, everywhere=request.all_namespaces) for each in found]
        print(set_out(rows if request.no_headers else [_headings(request), *rows]), end="")
    return 0


def _watch(client: Client, request: Request, now: datetime | None) -> int:
    """Print those that there are and each that comes, or comes once more, until interrupted."""
    shown = Shown(
        request.output,
        _headings(request),
        lambda event: _row(event, now or datetime.now(UTC), everywhere=request.all_namespaces),
        headers=not request.no_headers,
        events=False,
    )
    counts: dict[Key, int] = {}
    for batch in changes(client, request.wanted):
        fresh = []
        for change in batch:
            for event in _of(change.status, request):
                key = _key(event)
                if counts.get(key) != event["count"]:
                    counts[key] = event["count"]
                    fresh.append(event)
            if change.type is ChangeType.DELETED:
                counts = {key: count for key, count in counts.items() if key[0] != change.status.uid}
        shown.show([(ChangeType.ADDED, each) for each in _sorted(fresh)])
    return 0


def _of(status: PodStatus, request: Request) -> list[V1]:
    if request.pod not in (None, status.pod.name):
        return []
    return [each for each in events_of(status) if not request.kinds or each["type"].lower() in request.kinds]


def _sorted(found: Iterable[V1]) -> list[V1]:
    return sorted(found, key=lambda event: str(event["lastTimestamp"]))


def _key(event: V1) -> Key:
    """What makes it the same event once more (kubelet's aggregation)."""
    about = event["involvedObject"]
    return about["uid"], event["reason"], event["message"], about.get("fieldPath", "")


def _headings(request: Request) -> list[str]:
    columns = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    return ["NAMESPACE", *columns] if request.all_namespaces else columns


def _row(event: V1, now: datetime, *, everywhere: bool) -> list[str]:
    about = event["involvedObject"]
    cells = [
        when(event, now),
        event["type"],
        event["reason"],
        f"{about['kind']}/{about['name']}",
        event["message"].strip(),
    ]
    return [about["namespace"], *cells] if everywhere else cells
