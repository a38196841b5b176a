"""Manifests: text or dict in, what Kubernetes calls objects out, or every reason why not.

A manifest is read as Kubernetes reads it, strictly, and accepted whole or refused whole.  The way through: `tree` and
`scalars` read YAML, `cursor` walks it by the table of each kind: `pod` (with `handlers` of probes and hooks, `ports`,
`resources`, `restarts`, `security`, `volumes`, `annotations`, and what is `moot`, `scheduling` above all) and `claim`,
both with `metadata`.  Tables are `records` made of the kinds of field in `fields` and the `rules` for strings; what
else Kubernetes has, the `registry` knows; `wording` has what findings say.  Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from sandbox.claim import PersistentVolumeClaim
from sandbox.errors import Finding, ManifestError
from sandbox.manifest import registry, tree, wording
from sandbox.manifest.claim import CLAIM
from sandbox.manifest.cursor import Cursor, Report
from sandbox.manifest.fields import Refused
from sandbox.manifest.pod import OPEN_POD, POD
from sandbox.manifest.records import Record, refuse_unknown_below
from sandbox.manifest.tree import MAX_BYTES, Node, Place, Unreadable
from sandbox.model import Pod

__all__ = ["MAX_BYTES", "Document", "Object", "check", "documents", "from_dict", "load", "object_from_dict"]

Object = Pod | PersistentVolumeClaim
T = TypeVar("T", Pod, PersistentVolumeClaim)
Kinds = Mapping[str, Record[Any]]

# A new kind is a class called as the kind is, a module with its table, and a row here.
_KINDS: Kinds = {"Pod": POD, "PersistentVolumeClaim": CLAIM}
_OPEN_POD: Kinds = {"Pod": OPEN_POD}


class Document(NamedTuple):
    """An object, and the manifest that it was read from as it was written: plain dicts, lists and scalars."""

    object: Object
    manifest: dict[str, Any]


def load(text: str | bytes, *, file: str = "<text>") -> tuple[Object, ...]:
    """The objects of a YAML or JSON text of one or more documents, in its order; there is at least one.

    `file` is only a name for findings.  Raises ManifestError with every finding, whatever the text is.
    """
    return tuple(document.object for document in documents(text, file=file))


def documents(
    text: str | bytes, *, file: str = "<text>", warn: Callable[[Finding], None] = lambda _: None
) -> tuple[Document, ...]:
    """As `load`, each object with its manifest.  `warn` is told of what is accepted and has no effect."""
    report, found = _read(file, _KINDS, lambda refuse: tree.documents(text, refuse))
    _accept(report, warn)
    return tuple(Document(made, tree.to_python(node)) for made, node in found)


def check(text: str | bytes, *, file: str = "<text>") -> tuple[tuple[Finding, ...], tuple[Object, ...]]:
    """Every finding of a text, warnings included, in its order; and its objects, none of them where one is refused."""
    report, found = _read(file, _KINDS, lambda refuse: tree.documents(text, refuse))
    findings = sorted((*report.findings(), *report.warnings()), key=lambda finding: (finding.line, finding.column))
    return tuple(findings), () if len(report) else tuple(made for made, _ in found)


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
    kinds = _OPEN_POD if open else {"Pod": POD}
    return _one(manifest, Pod, kinds, file, warn)


def object_from_dict(
    manifest: Mapping[str, object],
    kind: type[T],
    *,
    file: str = "<dict>",
    warn: Callable[[Finding], None] = lambda _: None,
) -> T:
    """As `from_dict`, for an object of any kind, which it has to be."""
    return _one(manifest, kind, {kind.__name__: _KINDS[kind.__name__]}, file, warn)


def _one(manifest: Mapping[str, object], kind: type[T], kinds: Kinds, file: str, warn: Callable[[Finding], None]) -> T:
    report, found = _read(file, kinds, lambda refuse: iter([tree.from_python(manifest, refuse)]))
    _accept(report, warn)
    ((made, _),) = found
    assert isinstance(made, kind)
    return made


def _read(
    file: str, kinds: Kinds, read: Callable[[tree.Refuse], Iterator[Node]]
) -> tuple[Report, list[tuple[Object, Node]]]:
    report = Report(file)
    found: list[tuple[Object, Node]] = []
    try:
        found.extend(_objects(read(report.add), kinds, report))
        if not found and not len(report):
            report.add(Place(1, 1), "", "no object in it")
    except Unreadable as unreadable:
        report.end(unreadable)
    return report, found


def _accept(report: Report, warn: Callable[[Finding], None]) -> None:
    if len(report):
        raise ManifestError(report.findings())
    for finding in report.warnings():
        warn(finding)


def _objects(nodes: Iterable[Node], kinds: Kinds, report: Report) -> Iterator[tuple[Object, Node]]:
    seen: set[tuple[str, str]] = set()
    for node in _unfolded(nodes, report):
        document = Cursor(node, report, named=node.place)
        try:
            name, table = _table(document, kinds)
            _refuse_repeated_name(document, name, seen)
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


def _table(document: Cursor, kinds: Kinds) -> tuple[str, Record[Any]]:
    """The document's kind, and the table for it; one that names none is held against the first, which says so.

    Of a kind that is none of them, nor of Kubernetes' that a pod refers to, nothing else is looked at: its fields mean
    other things.
    """
    name, kind = document.text("kind"), document.field("kind")
    if kind and name and name not in kinds:
        known = name in registry.KINDS
        kind.refuse(wording.unsupported(name, kinds, known=known))
        if known:
            refuse_unknown_below(document, name)
        raise Refused
    name = name or next(iter(kinds))
    return name, kinds[name]


def _refuse_repeated_name(document: Cursor, kind: str, seen: set[tuple[str, str]]) -> None:
    metadata = document.field("metadata")
    name = metadata.field("name") if metadata else None
    if not metadata or not name or not metadata.text("name"):
        return
    full = f"{metadata.text('namespace') or 'default'}/{metadata.text('name')}"
    if (kind, full) in seen:
        name.refuse(wording.duplicate(full))
    seen.add((kind, full))
