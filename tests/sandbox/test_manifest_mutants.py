"""Valid manifests with one thing wrong: each is refused at the line where that is, whatever it is.

The manifests are those of examples/ and tests/manifests; each is written anew, an entry a line, so that the line of a
mutant's fault is known.  SEEDPOD_MUTANTS says how many examples hypothesis draws, of some ten mutants each.
"""

from __future__ import annotations

import json
import os
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import manifest
from sandbox.manifest import Document, check, documents
from sandbox.manifest.registry import FIELDS

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted([*(ROOT / "examples").glob("*.yaml"), *(ROOT / "tests" / "manifests").glob("*.*")])
EXAMPLES = int(os.environ.get("SEEDPOD_MUTANTS", "2500"))

KUBERNETES = {name for fields in FIELDS.values() for name in fields}

# Objects whose keys are the user's, so that another is as good; and what only has to be an object.
OWN_KEYS = ("labels", "annotations", "nodeSelector", "matchLabels")
UNREAD = ("status", "managedFields")


@dataclass
class Entry:
    """A value in a manifest: with the key that it stands at, or as an item of a list, where that is None."""

    key: str | None
    value: Any  # a scalar, or a list of entries where it is an object or a list
    is_list: bool = False
    own_keys: bool = False
    read: bool = True
    twice: bool = field(default=False, compare=False)

    @property
    def kind(self) -> str:
        if not isinstance(self.value, list):
            return type(self.value).__name__
        return "list" if self.is_list else "dict"


def entry(key: str | None, value: Any, parent: Entry | None = None) -> Entry:
    made = Entry(
        key,
        value,
        isinstance(value, list),
        own_keys=parent is not None and parent.key in OWN_KEYS,
        read=parent is None or (parent.read and parent.key not in UNREAD),
    )
    if isinstance(value, dict):
        made.value = [entry(name, each, made) for name, each in value.items()]
    elif isinstance(value, list):
        made.value = [entry(None, each, made) for each in value]
    return made


def entries(parent: Entry) -> Iterator[Entry]:
    for each in parent.value if isinstance(parent.value, list) else ():
        yield each
        yield from entries(each)


class Text:
    """A manifest as text, an entry a line, and the line of each entry."""

    def __init__(self, root: Entry) -> None:
        self.lines: list[str] = []
        self.line_of: dict[int, int] = {}
        self._write(root, "")

    def _write(self, each: Entry, end: str) -> None:
        self.line_of[id(each)] = len(self.lines) + 1
        start = "" if each.key is None else f"{json.dumps(each.key)}: "
        if not isinstance(each.value, list):
            self.lines.append(f"{start}{json.dumps(each.value)}{end}")
            return
        opening, closing = "[]" if each.is_list else "{}"
        self.lines.append(start + opening)
        inner = [one for one in each.value for _ in range(1 + one.twice)]
        for index, one in enumerate(inner):
            self._write(one, "," if index + 1 < len(inner) else "")
        self.lines.append(closing + end)

    def __str__(self) -> str:
        return "\n".join(self.lines)


ALL = [document for path in SOURCES for document in documents(path.read_bytes(), file=path.name)]


@pytest.mark.parametrize("document", ALL, ids=lambda document: document.object.name)
def test_a_manifest_that_is_written_anew_says_the_same(document: Document) -> None:
    assert manifest.load(str(Text(entry(None, document.manifest)))) == (document.object,)


# ---- one thing wrong ----

ROUNDS = {
    "list": ["text", True, 7, {"zz": 1}],
    "dict": ["text", True, 7, [1]],
    "str": [{"zz": 1}, [[1]], True],
    "int": [{"zz": 1}, [1], True, "no number!"],
    "float": [{"zz": 1}, [1], True, "no number!"],
    "bool": [{"zz": 1}, [1], 7, "text"],
}


def refused_at(root: Entry, at: Entry, says: str = "") -> None:
    """The manifest is refused, and one finding is at this entry's line: at its second one, where it stands twice."""
    text = Text(root)
    findings, accepted = check(str(text))
    line = text.line_of[id(at)]
    found = [each.message for each in findings if each.line == line and not each.warning]
    assert accepted == ()
    assert [each for each in found if says in each], f"line {line} of\n{text}\n{[str(each) for each in findings]}"


@dataclass
class Changed:
    """While the block lasts, an entry is another."""

    at: Entry
    changes: dict[str, Any]

    def __enter__(self) -> None:
        self.before = {name: getattr(self.at, name) for name in self.changes}
        self._set(self.changes)

    def __exit__(self, *_: object) -> None:
        self._set(self.before)

    def _set(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.at, name, value)


def misspelled(draw: Callable[[st.SearchStrategy[Any]], Any], key: str) -> str:
    """Near or far, and no field of Kubernetes', which could stand here."""
    index = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from(string.ascii_letters))
    near = draw(
        st.sampled_from(
            [
                key[:index] + key[index + 1 :],
                key[:index] + letter + key[index:],
                key[:index] + letter + key[index + 1 :],
                key[:index] + key[index:].swapcase(),
                f"x-{key}",
                letter * 70,
            ]
        )
    )
    return near if near and near not in {key, *KUBERNETES} else f"{key}{key[-1]}x"


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def test_every_mutant_is_refused_at_its_line(data: st.DataObject) -> None:
    root = entry(None, data.draw(st.sampled_from(ALL)).manifest)
    one = data.draw(st.sampled_from([each for each in entries(root) if each.read]))
    for value in ROUNDS.get(one.kind, []):
        wrong = entry(one.key, value)
        with Changed(one, {"value": wrong.value, "is_list": wrong.is_list}):
            refused_at(root, one)
    if one.key is None:
        return
    with Changed(one, {"twice": True}):
        refused_at(root, one, f'key "{one.key}" already set in map')
    if not one.own_keys:
        for _ in range(4):
            with Changed(one, {"key": misspelled(data.draw, one.key)}):
                refused_at(root, one, "unknown field" if one.key in KUBERNETES else "")


# Where one of these is missing, another is read in another way.
DECIDING = ("apiVersion", "kind", "restartPolicy")


@settings(max_examples=max(100, EXAMPLES // 10), suppress_health_check=list(HealthCheck), database=None)
@given(st.sampled_from(ALL), st.data())
def test_of_two_things_wrong_both_are_told(document: Document, data: st.DataObject) -> None:
    root = entry(None, document.manifest)
    named = [each for each in entries(root) if each.read and not each.own_keys and each.key in KUBERNETES - {*DECIDING}]
    one = data.draw(st.sampled_from(named))
    within = [id(each) for each in entries(one)]
    others = [each for each in named if id(each) not in within and id(one) not in map(id, (each, *entries(each)))]
    other = data.draw(st.sampled_from(others))
    # Of two that are called alike the second would not be looked at.
    words = misspelled(data.draw, str(one.key)), f"{misspelled(data.draw, str(other.key))}zz"
    with Changed(one, {"key": words[0]}), Changed(other, {"key": words[1]}):
        refused_at(root, one, "unknown field")
        refused_at(root, other, "unknown field")


# ---- any YAML ----

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["v1", "Pod", "Always", "web", "/data", "1Gi", "0x1f", "1_0", "017", "yes", "~", "=", "<<"])
)
KEYS = st.sampled_from(sorted(KUBERNETES)) | st.text(max_size=4)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@settings(max_examples=max(100, EXAMPLES // 10), suppress_health_check=list(HealthCheck), database=None)
@given(st.sampled_from(ALL), st.data())
def test_any_value_in_the_place_of_any_other_is_accepted_or_refused(document: Document, data: st.DataObject) -> None:
    """Whatever it is, nothing but objects or findings with a place comes of it."""
    root = entry(None, document.manifest)
    one = data.draw(st.sampled_from(list(entries(root))))
    tree = data.draw(TREES)
    marker = "value-to-be-replaced"
    with Changed(one, {"value": marker, "is_list": False}):
        text = str(Text(root))
    flow = yaml.safe_dump(tree, default_flow_style=True, width=10**6).split("\n...")[0].strip()
    mutant = text.replace(json.dumps(marker), flow)
    findings, accepted = check(mutant)
    lines = mutant.count("\n") + 1
    assert all(1 <= each.line <= lines and each.column >= 1 and each.message for each in findings)
    assert bool(accepted) == all(each.warning for each in findings)
