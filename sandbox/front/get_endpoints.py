"""`seedpod get endpoints`: where pods can be reached, and with `-w` each change of that (SEMANTICS A36)."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.front import endpoints, get
from sandbox.front.client import Client
from sandbox.front.errors import Usage, say
from sandbox.front.naming import Wanted
from sandbox.front.printers import OneByOne, printer
from sandbox.front.table import nothing_found, set_out
from sandbox.front.v1 import V1, pod_list
from sandbox.front.watching import Shown, changes
from sandbox.status import ChangeType, PodChange

KINDS = ("endpoints", "endpoint", "ep", "endpointslices", "endpointslice")


class Request(get.Request):
    """The command line of `get endpoints`; pods are chosen by their labels alone."""

    def __post_init__(self) -> None:
        """Raises Usage."""
        if len(self.words) > 1:
            raise Usage("endpoints have no names of their own", hint="seedpod get endpoints -l app=web")
        super().__post_init__()

    @property
    def wanted(self) -> Wanted:
        return Wanted((), self.namespace, self.all_namespaces, self.selector)

    def row(self, endpoint: V1) -> list[str]:
        return endpoints.row(endpoint, wide=self.wide, all_namespaces=self.all_namespaces)

    @property
    def headings(self) -> list[str]:
        return endpoints.headings(wide=self.wide, all_namespaces=self.all_namespaces)


def is_meant(words: Sequence[str]) -> bool:
    """Whether `get` with these words is about endpoints."""
    return bool(words) and words[0].lower() in KINDS


def get_endpoints(client: Client, request: Request) -> int:
    """Print the endpoints.  The exit code of the verb."""
    if request.watch:
        return _watch(client, request)
    pods = request.wanted.of(client.pods()).pods
    found = [each for pod in pods if (each := endpoints.endpoint(pod, node_name=client.node_name))]
    if as_objects := printer(request.output):
        made = endpoints.slices(found, _namespaces(request, found))
        print(as_objects(made, pod_list(made) if request.all_namespaces else made[0]), end="")
    elif found:
        rows = [request.row(each) for each in found]
        print(set_out(rows if request.no_headers else [request.headings, *rows]), end="")
    else:
        say(nothing_found(None if request.all_namespaces else request.namespace))
    return 0


def _namespaces(request: Request, found: Sequence[V1]) -> list[str]:
    """Those that have a slice: the one that is asked for has one in any case."""
    return [each["targetRef"]["namespace"] for each in found] if request.all_namespaces else [request.namespace]


# ---- watching ----


def _watch(client: Client, request: Request) -> int:
    """Print the endpoints and each change of one, until interrupted: its row, or the slice that it belongs to."""
    shown = Shown(
        request.output,
        request.headings,
        request.row,
        headers=not request.no_headers,
        events=request.output_watch_events,
    )
    as_rows, known = OneByOne(request.output).is_table, _Known(client.node_name)
    for index, batch in enumerate(changes(client, request.wanted)):
        for change in batch:
            taken = known.take(change)
            if taken and as_rows:
                shown.show([taken])
            elif taken and index:
                shown.show(known.slices([change.status.pod.namespace]))
        if index == 0 and not as_rows:  # those that are there, together
            shown.show(known.slices(_namespaces(request, known.all)))
    return 0


class _Known:
    """The endpoints so far."""

    def __init__(self, node_name: str) -> None:
        self._node_name = node_name
        self._by_uid: dict[str, V1] = {}
        self._namespaces: set[str] = set()  # whose slice was shown

    @property
    def all(self) -> list[V1]:
        """By the namespaces and names of their pods."""
        return sorted(
            self._by_uid.values(), key=lambda each: (each["targetRef"]["namespace"], each["targetRef"]["name"])
        )

    def slices(self, namespaces: Sequence[str]) -> list[tuple[ChangeType, V1]]:
        """Those of these namespaces, and whether each is new to who watches."""
        kinds = {name: ChangeType.MODIFIED if name in self._namespaces else ChangeType.ADDED for name in namespaces}
        self._namespaces |= kinds.keys()
        return [(kinds[each["metadata"]["namespace"]], each) for each in endpoints.slices(self.all, namespaces)]

    def take(self, change: PodChange) -> tuple[ChangeType, V1] | None:
        """What it does to the endpoint of its pod; None where that stays as it is."""
        uid = change.status.uid
        before = self._by_uid.pop(uid, None)
        if change.type is ChangeType.DELETED:
            after = None
        else:
            after = endpoints.endpoint(change.status, node_name=self._node_name)
        if after is None:
            return (ChangeType.DELETED, endpoints.gone(before)) if before else None
        self._by_uid[uid] = after
        if before == after:
            return None
        return ChangeType.MODIFIED if before else ChangeType.ADDED, after
