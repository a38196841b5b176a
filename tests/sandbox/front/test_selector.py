from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.front.errors import Usage
from sandbox.front.selector import parse

LABELS = {"app": "web", "tier": "db", "empty": "", "example.com/a-b_c": "1.0"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("  ", True),
        ("app", True),
        ("nope", False),
        ("!app", False),
        ("! nope", True),
        ("app=web", True),
        ("app==web", True),
        (" app = web ", True),
        ("app=db", False),
        ("app!=db", True),
        ("app!=web", False),
        ("nope!=x", True),
        ("empty=", True),
        ("app=", False),
        ("nope=", False),
        ("empty=,app", True),
        ("example.com/a-b_c=1.0", True),
        ("app in (web)", True),
        ("app in (db, web)", True),
        ("app in(db,cache)", False),
        ("nope in (web)", False),
        ("empty in ()", True),
        ("empty in (,x)", True),
        ("nope in ()", False),
        ("app notin (db,cache)", True),
        ("app notin (web)", False),
        ("nope notin (web)", True),
        ("app=web,tier=db", True),
        ("app=web,tier!=db", False),
        ("app in (a,b),tier", False),
    ],
)
def test_requirements_hold_as_kubectls_do(text: str, selected: bool) -> None:
    assert parse(text)(LABELS) is selected


def test_a_key_may_be_called_as_an_operator() -> None:
    assert parse("in in (x)")({"in": "x"})
    assert parse("notin")({"notin": ""})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("=", 'found "="'),
        ("a,", "it ends too early"),
        (",a", 'found ","'),
        ("!", "it ends too early"),
        ("a=b=c", 'found "="'),
        ("a b", 'found "b"'),
        ("a in b", 'found "b"'),
        ("a in (b", "it ends too early"),
        ("a in", "it ends too early"),
        ("a notin (b))", 'found ")"'),
        ("a===b", 'found "="'),
        ("a>1", 'found ">"'),
        ("ä", 'found "ä"'),
        ("a=(b)", 'found "("'),
    ],
)
def test_what_is_no_selector_is_refused(text: str, found: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(text)
    assert str(caught.value) == f'unable to parse selector "{text}": {found}'


WORDS = st.text("abcxyz0189-_./", min_size=1, max_size=5)


@given(st.dictionaries(WORDS, WORDS), WORDS, st.lists(WORDS, min_size=1), WORDS)
def test_operators_are_each_others_opposite(labels: dict[str, str], key: str, values: list[str], value: str) -> None:
    several = ",".join(values)
    assert parse(f"{key}={value}")(labels) == (labels.get(key) == value)
    assert parse(f"{key}={value}")(labels) != parse(f"{key}!={value}")(labels)
    assert parse(f"{key} in ({several})")(labels) == (labels.get(key) in values)
    assert parse(f"{key} in ({several})")(labels) != parse(f"{key} notin ({several})")(labels)
    assert parse(key)(labels) != parse(f"!{key}")(labels)


@given(st.text(max_size=20))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    with suppress(Usage):
        assert parse(text)({}) in (True, False)
