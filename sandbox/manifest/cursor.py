"""A place in the tree on its way through the tables, and the report that collects what is wrong there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sandbox.errors import Finding
from sandbox.manifest import wording
from sandbox.manifest.scalars import Scalar
from sandbox.manifest.tree import NOWHERE, Node, Place, Unreadable

MAX_FINDINGS = 1000  # nobody reads more, and a hostile text could ask for any number


class Report:
    """The findings of one load, as they come."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._findings: list[Finding] = []
        self._warnings: list[Finding] = []

    def add(self, place: Place, field: str, message: str) -> None:
        """Note a finding.  Raises Unreadable when there are too many to go on."""
        if len(self._findings) >= MAX_FINDINGS:
            raise Unreadable(place, f"more than {MAX_FINDINGS} findings, the rest of the text was not checked")
        self._note(place, field, message)

    def warn(self, place: Place, field: str, message: str) -> None:
        """Note what is accepted and has no effect.  Of too many the rest is not noted."""
        if len(self._warnings) < MAX_FINDINGS:
            self._warnings.append(Finding(self._file, place.line, place.column, field, message, warning=True))

    def end(self, unreadable: Unreadable) -> None:
        """Note the finding that ended the reading."""
        self._note(unreadable.place, "", unreadable.message)

    def _note(self, place: Place, field: str, message: str) -> None:
        self._findings.append(Finding(self._file, place.line, place.column, field, message))

    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong, in the order of the text."""
        return _in_order(self._findings)

    def warnings(self) -> tuple[Finding, ...]:
        """All warnings, in the order of the text."""
        return _in_order(self._warnings)

    def __len__(self) -> int:
        """How many things are wrong."""
        return len(self._findings)


def _in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (finding.line, finding.column)))


@dataclass(frozen=True, eq=False)
class Cursor:
    """A node on its way through the tables: with its path, and with where it is named.

    `named` is the place of its key, or of itself when it has none: where a field missing in it is told.
    """

    node: Node
    report: Report
    path: str = ""
    named: Place = NOWHERE

    def refuse(self, message: str, *, at: Place | None = None, path: str | None = None) -> None:
        self.report.add(at or self.node.place, self.path if path is None else path, message)

    def warn(self, message: str) -> None:
        self.report.warn(self.named, self.path, message)

    def fields(self) -> Iterator[tuple[str, Cursor]]:
        """The fields of a mapping, with their names; nothing for another kind of node."""
        if isinstance(self.node.value, Mapping):
            for name, (key, node) in self.node.value.items():
                yield name, Cursor(node, self.report, wording.child(self.path, name), key)

    def field(self, name: str) -> Cursor | None:
        """The field called `name`, unless it is absent or null, which mean the same."""
        if not isinstance(self.node.value, Mapping) or name not in self.node.value:
            return None
        key, node = self.node.value[name]
        return None if node.value is None else Cursor(node, self.report, wording.child(self.path, name), key)

    def absent(self, name: str, value: Scalar) -> Cursor:
        """The field called `name`, which is not there, as if it were, with this value."""
        return Cursor(Node(value, self.named, str(value)), self.report, wording.child(self.path, name), self.named)

    def items(self) -> Iterator[Cursor]:
        """The items of a list; nothing for another kind of node."""
        if isinstance(self.node.value, tuple):
            for index, node in enumerate(self.node.value):
                yield Cursor(node, self.report, f"{self.path}[{index}]", node.place)

    def each(self, name: str) -> Iterator[Cursor]:
        """The items of the list that the field called `name` is."""
        field = self.field(name)
        return field.items() if field else iter(())

    def text(self, name: str) -> str:
        """The field called `name` where it is a string, else the empty string."""
        field = self.field(name)
        return field.node.value if field and isinstance(field.node.value, str) else ""
