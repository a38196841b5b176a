"""Manifests: text or dict in, pods out, or every reason why not.

A manifest is read as Kubernetes reads it, strictly, and accepted whole or refused whole.  The way through: `tree` and
`scalars` read YAML, `cursor` walks it by the tables in `pod`, which are made of the kinds of field in `fields` and the
`rules` for strings; `wording` has what findings say.  Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sandbox.errors import Finding, ManifestError
from sandbox.manifest import tree, wording
from sandbox.manifest.cursor import Cursor, Report
from sandbox.manifest.fields import Record, Refused
from sandbox.manifest.pod import OPEN_POD, POD
from sandbox.manifest.tree import MAX_BYTES, Node, Place, Unreadable
from sandbox.model import Pod

__all__ = ["MAX_BYTES", "check", "documents", "from_dict", "load"]

_Kinds = Mapping[str, Record[Pod]]
_KINDS: _Kinds = {"Pod": POD}
_OPEN_KINDS: _Kinds = {"Pod": OPEN_POD}


def load(text: str | bytes, *, file: str = "<text>") -> tuple[Pod, ...]:
    """The pods of a YAML or JSON text of one or more documents, in its order; there is at least one.

    `file` is only a name for findings.  Raises ManifestError with every finding, whatever the text is.
    """
    return tuple(pod for pod, _ in documents(text, file=file))


def documents(
    text: str | bytes, *, file: str = "<text>", warn: Callable[[Finding], None] = lambda _: None
) -> tuple[tuple[Pod, dict[str, Any]], ...]:
    """As `load`, each pod with its document as it was written: plain dicts, lists and scalars.

    `warn` is told of what is accepted and has no effect.
    """
    report, found = _read(file, lambda refuse: tree.documents(text, refuse))
    _accept(report, warn)
    return tuple((pod, tree.to_python(node)) for pod, node in found)


def check(text: str | bytes, *, file: str = "<text>") -> tuple[tuple[Finding, ...], tuple[Pod, ...]]:
    """Every finding of a text, warnings included, in its order; and its pods, none of them where one is refused."""
    report, found = _read(file, lambda refuse: tree.documents(text, refuse))
    findings = sorted((*report.findings(), *report.warnings()), key=lambda finding: (finding.line, finding.column))
    return tuple(findings), () if len(report) else tuple(pod for pod, _ in found)


def from_dict(
    manifest: Mapping[str, object],
    *,
    file: str = "<dict>",
    open: bool = False,
    warn: Callable[[Finding], None] = lambda _: None,
) -> Pod:
    """The pod of one already parsed manifest; findings have line 0.  An `open` pod may be without containers.

    Raises ManifestError.
    """
    kinds = _OPEN_KINDS if open else _KINDS
    report, found = _read(file, lambda refuse: iter([tree.from_python(manifest, refuse)]), kinds)
    _accept(report, warn)
    ((pod, _),) = found
    return pod


def _read(
    file: str, read: Callable[[tree.Refuse], Iterator[Node]], kinds: _Kinds = _KINDS
) -> tuple[Report, list[tuple[Pod, Node]]]:
    report = Report(file)
    pods: list[tuple[Pod, Node]] = []
    try:
        pods.extend(_pods(read(report.add), report, kinds))
        if not pods and not len(report):
            report.add(Place(1, 1), "", "no Pod in it")
    except Unreadable as unreadable:
        report.end(unreadable)
    return report, pods


def _accept(report: Report, warn: Callable[[Finding], None]) -> None:
    if len(report):
        raise ManifestError(report.findings())
    for finding in report.warnings():
        warn(finding)


def _pods(nodes: Iterable[Node], report: Report, kinds: _Kinds) -> Iterator[tuple[Pod, Node]]:
    seen: set[str] = set()
    for node in _unfolded(nodes, report):
        document = Cursor(node, report, named=node.place)
        try:
            table = _table(document, kinds)
            _refuse_repeated_name(document, seen)
            yield table.read(document), node
        except Refused:
            continue


def _unfolded(nodes: Iterable[Node], report: Report) -> Iterator[Node]:
    """The documents, each List's items in its place: that is how kubectl prints several objects."""
    for node in nodes:
        document = Cursor(node, report, named=node.place)
        if document.text("kind") == "List":
            yield from (item.node for item in document.each("items"))
        else:
            yield node


def _table(document: Cursor, kinds: _Kinds) -> Record[Pod]:
    """The table for the document's kind.  Of another kind nothing else is looked at: its fields mean other things."""
    name = document.text("kind") or "Pod"
    kind = document.field("kind")
    if kind and name not in kinds:
        kind.refuse(wording.unsupported(name, kinds))
        raise Refused
    return kinds[name]


def _refuse_repeated_name(document: Cursor, seen: set[str]) -> None:
    metadata = document.field("metadata")
    name = metadata.field("name") if metadata else None
    if not metadata or not name or not metadata.text("name"):
        return
    full = f"{metadata.text('namespace') or 'default'}/{metadata.text('name')}"
    if full in seen:
        name.refuse(wording.duplicate(full))
    seen.add(full)
