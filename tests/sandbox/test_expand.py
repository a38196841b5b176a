"""`$(VAR)` as kubelet expands it (SEMANTICS, Constants: expansion)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.expand import argv, environment, expand
from sandbox.model import Container, EnvVar


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "a"),
        ("x$(A)y$(B)z", "xaybz"),
        ("$(X)", "$(X)"),
        ("$$", "$"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$$$$(A)", "$$(A)"),
        ("$", "$"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(", "$("),
        ("$(A", "$(A"),
        ("$(A $$", "$(A $"),
        ("$()", "$()"),
        ("$($(A))", "$($(A))"),
        ("$(B $(A)", "$(B $(A)"),
        ("$(nested)", "$(A)"),
        ("$(line\nbreak)", "found"),
        ("", ""),
    ],
)
def test_a_reference_becomes_its_value_and_anything_else_stays(text: str, expanded: str) -> None:
    env = {"A": "a", "B": "b", "nested": "$(A)", "line\nbreak": "found"}
    assert expand(text, env) == expanded


@given(st.text())
def test_doubling_every_dollar_protects_any_text(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"": "x", "A": "x"}) == text


def test_an_environment_value_may_refer_to_earlier_variables_only() -> None:
    variables = [EnvVar("A", "a$(B)"), EnvVar("B", "b$(A)"), EnvVar("C", "$(B)")]
    assert environment(variables) == {"A": "a$(B)", "B": "ba$(B)", "C": "ba$(B)"}


def test_of_two_variables_with_one_name_the_last_counts_and_may_refer_to_the_first() -> None:
    assert environment([EnvVar("PATH", "/bin"), EnvVar("PATH", "/sbin:$(PATH)")]) == {"PATH": "/sbin:/bin"}


IMAGE = {"entrypoint": ("/entry",), "cmd": ("default", "$(A)")}


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        ((), (), ("/entry", "default", "$(A)")),
        ((), ("x", "$(A)"), ("/entry", "x", "a")),
        (("sh", "$(A)"), (), ("sh", "a")),
        (("sh",), ("-c", "$$(A)"), ("sh", "-c", "$(A)")),
    ],
)
def test_command_replaces_the_entrypoint_and_args_the_cmd(
    command: tuple[str, ...], args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    container = Container("app", "busybox", command=command, args=args, env=(EnvVar("A", "a"),))
    assert argv(container, **IMAGE) == words
