"""Pods as a command line wants them, and what becomes of them while somebody watches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sandbox.front.client import Client
from sandbox.front.naming import Wanted
from sandbox.front.printers import OneByOne
from sandbox.front.table import Columns
from sandbox.front.v1 import V1
from sandbox.status import ChangeType, PodChange

EVENT = "EVENT"
_EVENT_WIDTH = len(ChangeType.MODIFIED)  # kubectl's column has room for the longest from the start


def changes(client: Client, wanted: Wanted, deadline: float | None = None) -> Iterator[list[PodChange]]:
    """What becomes of the pods that are wanted, those to come included: first those that are there, perhaps none.

    Ends at `deadline`, a time.monotonic(); else with whoever watches.
    """
    namespace = None if wanted.all_namespaces else wanted.namespace
    with client.watch_pods(namespace, wanted.name) as watch:
        for batch in watch.until(deadline):
            yield [change for change in batch if wanted.selects(change.status)]


class Row(Protocol):
    """How an object becomes cells; called when it is printed, as its age is one of them."""

    def __call__(self, item: V1, /) -> list[str]: ...


class Shown:
    """What a watch prints: a line or an object for each change, on stdout at once."""

    def __init__(self, output: str | None, headings: list[str], row: Row, *, headers: bool, events: bool) -> None:
        """`headings` and `row` make the table.  Raises Usage."""
        self._objects = OneByOne(output, events=events)
        self._columns = Columns()
        self._row = row
        self._events = events
        self._headings = [[EVENT.ljust(_EVENT_WIDTH), *headings] if events else headings] if headers else []

    def show(self, changed: list[tuple[ChangeType, V1]]) -> None:
        """Print these."""
        if not changed:
            return
        if not self._objects.is_table:
            print("".join(self._objects.text(kind, item) for kind, item in changed), end="", flush=True)
            return
        rows = [self._cells(kind, item) for kind, item in changed]
        headings, self._headings = self._headings, []  # once, above the first
        print(self._columns.lines([*headings, *rows]), end="", flush=True)

    def _cells(self, kind: ChangeType, item: V1) -> list[str]:
        cells = self._row(item)
        return [str(kind).ljust(_EVENT_WIDTH), *cells] if self._events else cells
