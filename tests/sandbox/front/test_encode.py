from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sandbox.front.encode import json_text, yaml_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)


@given(VALUES)
def test_what_was_written_reads_the_same(value: Any) -> None:
    assert yaml.safe_load(yaml_text(value)) == value
    assert json.loads(json_text(value)) == json.loads(json_text(value, indent=4)) == value


def test_json_has_sorted_keys_and_gos_escapes() -> None:
    assert json_text({"b": "<&>", "a": "é\u2028\x7f\x9b"}) == (
        '{"a":"é\\u2028\\u007f\\u009b","b":"\\u003c\\u0026\\u003e"}'
    )


def test_half_a_pair_of_surrogates_is_no_reason_to_fail() -> None:
    assert json.loads(json_text("\udcff").encode()) == "\udcff"
    assert yaml_text("\udcff").encode() == b'"\\uDCFF"\n'


@pytest.mark.parametrize(
    "text",
    ["yes", "off", "true", "null", "~", "", "y", "N", "1", "0x1f", "0o17", "089", "1e3", "1_000", "1:30", ".5",
     "2026-01-01", "2026-01-02T15:04:05Z", "=", "<<", ".inf", "-1", "+1.5e-3"],
)  # fmt: skip
def test_strings_that_could_be_something_else_have_quotes(text: str) -> None:
    assert yaml_text({"a": text}) == f'a: "{text}"\n'


@pytest.mark.parametrize("text", ["web", "localhost/busybox", "10.0.0.2", "sh -c true", "1.2.3", "64Mi", "node"])
def test_plain_strings_have_none(text: str) -> None:
    assert yaml_text({"a": text}) == f"a: {text}\n"


def test_yaml_is_in_block_style_without_references() -> None:
    twice = {"x": "a long line " * 20}
    assert yaml_text({"b": [twice, twice], "a": "one\ntwo\n"}) == (
        f"a: |\n  one\n  two\nb:\n- x: '{twice['x']}'\n- x: '{twice['x']}'\n"
    )
