from __future__ import annotations

import pytest

from sandbox.front.arguments import Options, Verb, argument, number, parse, switch
from sandbox.front.errors import Usage

VERBS = (
    Verb(
        "get",
        "show",
        lambda options: 0,
        (
            argument("words", nargs="*"),
            argument("-n", "--namespace", default="default"),
            argument("--tail", type=number(least=-1, most=9)),
            switch("-f", "--follow", help=""),
            switch("-t", "--tty", help=""),
            switch("--wait", default=True, help=""),
        ),
    ),
    Verb("exec", "run", lambda options: 0, (argument("words", nargs="*"), switch("-t", help="")), with_command=True),
)


def parsed(*words: str) -> Options:
    top = (argument("--root", default="/"), switch("-v", help=""))
    return parse(words, program="prog", about="about", top=top, verbs=VERBS)[1]


@pytest.mark.parametrize(
    "words",
    [
        ("get", "a", "b", "-n", "x"),
        ("get", "-n", "x", "a", "b"),
        ("get", "a", "-n", "x", "b"),
        ("get", "a", "--namespace=x", "b"),
        ("get", "a", "-nx", "b"),
    ],
)
def test_names_stand_on_both_sides_of_a_flag(words: tuple[str, ...]) -> None:
    options = parsed(*words)
    assert (options.words, options.namespace) == (["a", "b"], "x")


@pytest.mark.parametrize(
    ("word", "value"),
    [("--wait", True), ("--wait=false", False), ("--wait=0", False), ("--wait=F", False), ("--wait=true", True)],
)
def test_a_switch_has_its_value_behind_an_equals_sign_alone(word: str, value: bool) -> None:
    options = parsed("get", word, "web")
    assert (options.wait, options.words) == (value, ["web"])


def test_short_switches_can_be_joined() -> None:
    options = parsed("get", "-ft", "web")
    assert (options.follow, options.tty) == (True, True)
    assert parsed("get", "--follow", "--follow=false").follow is False


def test_what_stands_before_the_verb_is_for_all() -> None:
    options = parsed("--root", "/x", "-v", "get", "web")
    assert (options.root, options.v, options.words) == ("/x", True, ["web"])


def test_nobody_looks_into_a_command() -> None:
    options = parsed("exec", "web", "-t", "--", "sh", "-t", "--", "--bogus")
    assert (options.words, options.t, options.command) == (["web"], True, ["sh", "-t", "--", "--bogus"])
    assert parsed("exec", "web").command == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ((), "no verb was given", "prog --help"),
        (("bogus",), 'unknown verb "bogus"', "prog --help"),
        (("--bogus", "get"), "unrecognized arguments: --bogus", "prog --help"),
        (("get", "--bogus"), "unrecognized arguments: --bogus", "prog get --help"),
        (("get", "--fol"), "unrecognized arguments: --fol", "prog get --help"),
        (("get", "--tail"), "argument --tail: expected one argument", "prog get --help"),
        (("get", "--tail=x"), 'argument --tail: "x" is not a whole number', "prog get --help"),
        (("get", "--tail=10"), "argument --tail: must be between -1 and 9", "prog get --help"),
        (("get", "--wait=maybe"), "argument --wait: ignored explicit argument 'maybe'", "prog get --help"),
    ],
)
def test_wrong_usage_is_an_error_with_a_hint(words: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(Usage) as caught:
        parsed(*words)
    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--help")
    assert caught.value.code == 0
    assert capsys.readouterr().out.endswith("verbs:\n  get   show\n  exec  run\n")
