"""`seedpod get`: the pods there are, as a table, as `v1` objects, or what a template picks out of them; with `-w` what
becomes of them.

`get endpoints` is another verb behind the same word, see sandbox.front.get_endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.front import table
from sandbox.front.client import Client
from sandbox.front.errors import Usage, say
from sandbox.front.naming import Chosen, Wanted, report
from sandbox.front.printers import printer
from sandbox.front.v1 import V1, pod_list, to_v1
from sandbox.front.watching import Shown, changes
from sandbox.status import ChangeType, PodChange


@dataclass(frozen=True)
class Request:
    """The command line of `get`."""

    words: Sequence[str]
    namespace: str = "default"
    all_namespaces: bool = False
    selector: str | None = None
    output: str | None = None
    no_headers: bool = False
    watch: bool = False
    output_watch_events: bool = False

    def __post_init__(self) -> None:
        """Raises Usage."""
        self.wanted.check()
        printer(self.output)
        if self.output_watch_events and not self.watch:
            raise Usage("--output-watch-events option can only be used with --watch")
        if self.watch and self.wanted.count > 1:
            raise Usage("you may only watch a single resource or type of resource at a time", hint="seedpod get -w")

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.words, self.namespace, self.all_namespaces, self.selector)

    @property
    def wide(self) -> bool:
        return self.output == "wide"


def get(client: Client, request: Request, *, now: datetime | None = None) -> int:
    """Print the pods.  The exit code: 1 where one of those named is not there."""
    if request.watch:
        return _watch(client, request, now)
    wanted, as_objects = request.wanted, printer(request.output)
    chosen = wanted.of(client.pods())
    if wanted.name and chosen.missing:
        return report(chosen.missing)
    if as_objects:
        pods = [to_v1(status, node_name=client.node_name) for status in chosen.pods]
        print(as_objects(pods, pods[0] if wanted.name else pod_list(pods)), end="")
    else:
        _print_table(client, request, chosen, now or datetime.now(UTC))
    return report(chosen.missing)


def _print_table(client: Client, request: Request, chosen: Chosen, now: datetime) -> None:
    text = table.table(
        chosen.pods,
        now=now,
        node_name=client.node_name,
        wide=request.wide,
        all_namespaces=request.all_namespaces,
        headers=not request.no_headers,
    )
    print(text, end="")
    if not chosen.pods and not chosen.missing:
        say(table.nothing_found(None if request.all_namespaces else request.namespace))


# ---- watching ----


def _watch(client: Client, request: Request, now: datetime | None) -> int:
    """Print the pods and each change of one, those to come included, until interrupted (SEMANTICS A38)."""
    wanted, objects = request.wanted, _Objects(client.node_name)
    shown = Shown(
        request.output,
        table.headings(wide=request.wide, all_namespaces=request.all_namespaces),
        lambda pod: table.row(
            pod, now=now or datetime.now(UTC), wide=request.wide, all_namespaces=request.all_namespaces
        ),
        headers=not request.no_headers,
        events=request.output_watch_events,
    )
    for index, batch in enumerate(changes(client, wanted)):
        if index == 0 and wanted.name and not batch:
            return report(wanted.of(()).missing)
        shown.show([each for change in batch if (each := objects.changed(change))])
    return 0


class _Objects:
    """The objects of pods that are watched: what changes in a status alone, as its events do, is no change of them."""

    def __init__(self, node_name: str) -> None:
        self._node_name = node_name
        self._known: dict[str, V1] = {}

    def changed(self, change: PodChange) -> tuple[ChangeType, V1] | None:
        pod = to_v1(change.status, node_name=self._node_name)
        if change.type is ChangeType.DELETED:
            self._known.pop(change.status.uid, None)
        elif self._known.get(change.status.uid) == pod:
            return None
        else:
            self._known[change.status.uid] = pod
        return change.type, pod
