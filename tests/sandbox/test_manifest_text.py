"""Text on its way to a manifest: YAML as Kubernetes reads it, whatever the bytes, within bounded work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox import manifest
from sandbox.errors import ManifestError
from sandbox.manifest import pod as tables
from sandbox.manifest import tree
from sandbox.manifest.scalars import plain
from sandbox.manifest.tree import MAX_BYTES, MAX_NODES, Node, Unreadable
from sandbox.model import Pod

GOOD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: &labels {app: web}
  annotations: *labels
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  volumes:
  - name: data
    emptyDir: {}
  - {name: etc, hostPath: {path: /etc}}
  containers:
  - name: app
    image: busybox
    command: ["sh", "-c", "echo \\"$(A)\\""]
    env:
    - name: A
      value: |
        two
        lines
    volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
"""


def value(node: Node) -> Any:
    """What a tree says, without its places."""
    match node.value:
        case tuple():
            return [value(item) for item in node.value]
        case dict():
            return {name: value(entry.node) for name, entry in node.value.items()}
        case _:
            return node.value


def read(text: str | bytes) -> tuple[list[Any], list[str]]:
    """The documents of a text, and `line:column: path: message` of everything told on the way."""
    told: list[str] = []

    def refuse(place: tree.Place, path: str, message: str) -> None:
        told.append(f"{place.line}:{place.column}: {path}: {message}")

    documents = []
    try:
        for node in tree.documents(text, refuse):
            documents.append(value(node))
    except Unreadable as end:
        told.append(f"{end.place.line}:{end.place.column}: {end.message}")
    return documents, told


# ---- scalars ----


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        *[(word, True) for word in ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE")],
        *[(word, False) for word in ("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE")],
        *[(word, None) for word in ("", "~", "null", "Null", "NULL")],
        *[
            (word, word)
            for word in ("yEs", "tRUE", "nULL", "2026-01-01", "1:30", "a", "-", "+", ".", "1.2.3", "0x", "1e", "_1")
        ],
        ("0", 0),
        ("8080", 8080),
        ("-1", -1),
        ("+1", 1),
        ("1_000", 1000),
        ("017", 15),
        ("-017", -15),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("08", 8.0),
        ("0178", 178.0),
        ("9" * 100, int("9" * 100)),
        ("9" * 101, "9" * 101),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
    ],
)
def test_an_unquoted_scalar_means_what_it_means_to_kubernetes(text: str, meaning: object) -> None:
    assert (type(plain(text)), plain(text)) == (type(meaning), meaning)


@pytest.mark.parametrize("quoted", ['"yes"', "'yes'", "!!str yes", "! yes", "|-\n  yes", ">-\n  yes"])
def test_a_quoted_or_tagged_or_block_scalar_is_a_string(quoted: str) -> None:
    assert read(f"a: {quoted}\n") == ([{"a": "yes"}], [])


def test_standard_tags_that_fit_are_accepted() -> None:
    text = "!!map {a: !!int 1, b: !!bool yes, c: !!float 1, d: !!null '', e: !!seq [1]}"
    assert read(text) == ([{"a": 1, "b": True, "c": 1, "d": None, "e": [1]}], [])


# ---- what YAML allows and a manifest does not ----


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n  b: 1\n  b: 2\n", '3:3: a.b: key "b" already set in map'),
        ('a: [{"b": 1, b: 2}]', '1:14: a[0].b: key "b" already set in map'),
        ("1.5: a", '1:1: : a key must be a string; quote it: "1.5"'),
        ("a: {~: b}", '1:5: a: a key must be a string; quote it: "~"'),
        ("a: {1: b, '1': c}", '1:11: a.1: key "1" already set in map'),
        (f"a: {{{2**63}: b}}", f'1:5: a: a key must be a string; quote it: "{2**63}"'),
        ("a: {[b]: c}", "1:5: a: a key must be a string"),
        ("a: !!python/object:os.system x", '1:4: a: tag "!!python/object:os.system" is not allowed here'),
        ("a: [!custom {}]", '1:5: a[0]: tag "!custom" is not allowed here'),
        ("a: !!binary YQ==", '1:4: a: tag "!!binary" is not allowed here'),
        ("a: !!int x", '1:4: a: tag "!!int" is not allowed here'),
        ("a: !!set {b}", '1:4: a: tag "!!set" is not allowed here'),
        ("a:\n  <<: 5\n", "2:7: a: map merge requires map or sequence of maps as the value"),
    ],
)
def test_a_fault_in_the_structure_is_told_with_its_place_and_the_rest_is_read(text: str, told: str) -> None:
    documents, tellings = read(text)
    assert tellings == [told]
    assert len(documents) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1,\n", "2:1: not valid YAML: did not find expected node content, while parsing a flow node"),
        ("a:\n\tb: 1\n", "2:1: not valid YAML: a tab cannot indent: use spaces"),
        ("a: *b\n", '1:4: no anchor before this alias of "b"'),
        ("a: &b [*b]\n", '1:8: no anchor before this alias of "b"'),
        ("a: 1\n---\nb: &x 1\n---\nc: *x", '5:4: no anchor before this alias of "x"'),
        ("a: x\nb: \0", "2:4: character U+0000 is not allowed in YAML"),
        ("ü: \x07", "1:4: character U+0007 is not allowed in YAML"),
        ("a: \ud800", "1:4: character U+D800 is not allowed in YAML"),
        ("ü: x\nü\xff".encode("latin-1"), "1:1: byte 0xfc is not UTF-8"),
        (b"\xc3\xbc: x\r\n\xc3\xbc \xff", "2:3: byte 0xff is not UTF-8"),
        ("x" * (MAX_BYTES + 1), "1:1: Too long: may not be more than 3145728 bytes"),
        ("ü" * (MAX_BYTES // 2 + 1), "1:1: Too long: may not be more than 3145728 bytes"),
    ],
)
def test_a_text_that_cannot_be_read_is_told_with_the_place_where_reading_ends(text: str | bytes, told: str) -> None:
    assert read(text)[1] == [told]


def test_documents_before_the_end_of_sense_are_still_read() -> None:
    documents, told = read("a: 1\n---\nb: [\n")
    assert documents == [{"a": 1}]
    assert [line.split(":")[0] for line in told] == ["4"]


def test_a_byte_order_mark_may_open_the_text_and_stand_nowhere_else() -> None:
    assert read("\ufeffa: 1") == ([{"a": 1}], [])
    assert read("\ufeff\ufeffa: 1")[1] == ["1:1: character U+FEFF is not allowed in YAML"]
    assert read("a: x\ufeff")[1] == ["1:5: character U+FEFF is not allowed in YAML"]


def test_a_text_as_long_as_allowed_is_read() -> None:
    assert read("#" * MAX_BYTES) == ([], [])


def test_a_key_that_is_a_whole_number_or_a_boolean_is_what_it_is_in_json() -> None:
    """As sigs.k8s.io/yaml has it: labels with such keys are accepted by Kubernetes."""
    expected = {"1": "a", "16": "b", "15": "c", "true": "d", "false": "e"}
    assert read("{1: a, 0x10: b, 017: c, yes: d, off: e}") == ([expected], [])
    text = GOOD.replace("{app: web}", "{1: web, on: web}")
    assert manifest.load(text)[0].labels == {"1": "web", "true": "web"}
    with pytest.raises(ManifestError, match=r'6:1: spec\.true: unknown field "true"'):
        manifest.load(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b}],\n\non: b}"
        )


@pytest.mark.parametrize(
    "number", [".nan", ".inf", "-.inf", str(2**63), "9" * 60, "1e300", "1e999", "1.5", "0x" + "f" * 40]
)
def test_a_number_that_is_no_integer_of_64_bits_is_refused(number: str) -> None:
    with pytest.raises(ManifestError, match=r"9:34: spec\.terminationGracePeriodSeconds: Invalid value"):
        manifest.load(GOOD.replace("terminationGracePeriodSeconds: 5", f"terminationGracePeriodSeconds: {number}"))


@pytest.mark.parametrize("quantity", [".nan", ".inf", "1_000Ki", "1e", "1 Mi", "--1"])
def test_a_quantity_that_kubernetes_does_not_read_is_refused(quantity: str) -> None:
    with pytest.raises(ManifestError, match="sizeLimit: Invalid value"):
        manifest.load(GOOD.replace("emptyDir: {}", f"emptyDir: {{sizeLimit: {quantity}}}"))


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_like_and_are_counted_alike(line_break: str) -> None:
    assert manifest.load(GOOD.replace("\n", line_break)) == manifest.load(GOOD)
    text = GOOD.replace("kind: Pod", "kind: Pod\nkimd: Pod").replace("\n", line_break)
    with pytest.raises(ManifestError, match='3:1: kimd: unknown field "kimd"'):
        manifest.load(text)


# ---- anchors and merge keys ----


def test_an_alias_stands_for_its_anchor() -> None:
    assert read("a: &x {b: 1}\nc: [*x, *x]\n") == ([{"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}], [])


def test_a_merge_fills_in_what_is_not_set_and_earlier_sources_win() -> None:
    text = "one: &x {a: 1, b: 1}\ntwo: &y {b: 2, c: 2}\nall: {c: 3, <<: [*x, *y], d: 3}\n"
    assert read(text)[0][0]["all"] == {"a": 1, "b": 1, "c": 3, "d": 3}
    assert read(text)[1] == []


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert read('a: {"<<": 5}') == ([{"a": {"<<": 5}}], [])


# ---- bounded work ----


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    return "\n".join(lines)


def merge_bomb() -> str:
    lines = ["a0: &a0 {x: 1, y: 1, z: 1}"]
    lines += [f"a{n}: &a{n} {{b: *a{n - 1}, c: *a{n - 1}, <<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(), "aliases counted as often as used"),
        (merge_bomb(), "aliases counted as often as used"),
        ("[" + "a," * 1_500_000 + "]", "aliases counted as often as used"),
        ("---\n" * 700_000, "aliases counted as often as used"),
        ("[" * 1_000_000, "nested deeper than 100 levels"),
        ("{a: " * 700_000, "nested deeper than 100 levels"),
        ("- " * 1_000_000, "nested deeper than 100 levels"),
        ("? " * 1_000_000, "nested deeper than 100 levels"),
    ],
)
def test_a_text_that_asks_for_much_work_is_refused_after_little(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = 0
    parse = tree._events

    def counting(text: str) -> Iterator[Any]:
        nonlocal parsed
        for event in parse(text):
            parsed += 1
            yield event

    monkeypatch.setattr(tree, "_events", counting)
    with pytest.raises(ManifestError, match=message):
        manifest.load(text)
    assert parsed < 4 * MAX_NODES  # an empty document is three events


def test_as_many_values_as_allowed_are_read() -> None:
    assert read("[" + "a," * (MAX_NODES - 1) + "]")[1] == []
    assert read("[" + "a," * MAX_NODES + "]")[1] != []


def test_a_nesting_of_a_hundred_levels_is_read() -> None:
    assert read("[" * 100 + "]" * 100)[1] == []
    assert read("[" * 101 + "]" * 101)[1] == ["1:101: nested deeper than 100 levels"]


def test_a_nesting_that_the_parser_refuses_itself_is_told_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """libyaml looks ahead for the end of a possible key, and since 0.2.6 has a limit of its own on the way."""

    def refuse(_text: str, Loader: type) -> None:
        mark = yaml.Mark("<text>", 1000, 0, 1000, None, None)
        raise yaml.scanner.ScannerError("while increasing flow level", mark, "exceeded maximum nesting depth", mark)

    monkeypatch.setattr(yaml, "parse", refuse)
    assert read("[")[1] == ["1:1001: nested deeper than 100 levels"]


# ---- whatever the text ----


@pytest.fixture(params=["with libyaml", "without libyaml"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without libyaml":
        monkeypatch.setattr(tree, "_PARSER", yaml.SafeLoader)


def accepts_or_refuses(text: str | bytes) -> None:
    try:
        pods = manifest.load(text, file="f")
    except ManifestError as error:
        assert error.findings
        assert all(finding.line >= 1 and finding.column >= 1 and finding.message for finding in error.findings)
        assert "\n" not in str(error.findings[0])
        str(error).encode()
    else:
        assert pods and all(isinstance(pod, Pod) for pod in pods)


PUNCTUATION = "\n\t :-[]{},&*!|>'\"%@`#?~\\\0\x85\ufeff\u2028\ud800𝄞"
SYNTAX = [
    "\n  ",
    "- ",
    ": ",
    "*a",
    "&a ",
    "<<: ",
    "!!int ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "%TAG ! x\n",
    '"\\UFFFFFFFF"',
]
WORDS = ["null", "yes", "1.5", "0x", "\\ud800", "\\0", "name: ", "spec: ", "containers: ", "a" * 300]
YAML_PIECES = st.sampled_from([*PUNCTUATION, *SYNTAX, *WORDS])


@pytest.mark.usefixtures("parser")
class TestNoTextGivesAnythingButPodsOrFindings:
    @given(st.binary())
    def test_random_bytes(self, data: bytes) -> None:
        accepts_or_refuses(data)

    @given(st.text(st.characters(codec=None)))
    @example('"\\UFFFFFFFF"')
    @example("%YAML " + "9" * 5000 + ".1\n---\n")
    def test_random_text(self, text: str) -> None:
        accepts_or_refuses(text)

    @given(st.lists(YAML_PIECES).map("".join))
    def test_random_yaml(self, text: str) -> None:
        accepts_or_refuses(text)

    @settings(max_examples=300)
    @given(st.data())
    def test_a_valid_manifest_with_a_piece_replaced(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(GOOD)))
        end = data.draw(st.integers(start, min(len(GOOD), start + 30)))
        accepts_or_refuses(GOOD[:start] + data.draw(YAML_PIECES) + GOOD[end:])

    def test_the_valid_manifest_itself_is_accepted(self) -> None:
        assert manifest.load(GOOD)[0].containers[0].env[0].value == "two\nlines\n"


NAMES = st.sampled_from(
    sorted(
        {
            field.name
            for record in (tables.POD, tables.METADATA, tables.SPEC, tables.CONTAINER)
            for field in record.fields
        }
        | {"name", "value", "mountPath", "readOnly", "emptyDir", "hostPath", "path", "status", "tty", "x", "a b", ""}
    )
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(max_codepoint=0xD7FF))
    | st.sampled_from(["v1", "Pod", "Never", "web", "/data"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=30,
)


def outcome(load: Any, *args: Any) -> Any:
    try:
        return load(*args)
    except ManifestError as error:
        return sorted((finding.field, finding.message) for finding in error.findings)


@given(st.fixed_dictionaries({"spec": JSON}, optional={"kind": st.just("Pod"), "apiVersion": JSON, "metadata": JSON}))
def test_a_dict_and_its_json_have_the_same_outcome(obj: dict[str, Any]) -> None:
    as_text = outcome(lambda: manifest.load(json.dumps(obj))[0])
    assert outcome(manifest.from_dict, obj) == as_text
