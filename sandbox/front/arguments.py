"""How a command line becomes values: verbs as rows of a table, and the only user of argparse.

Differs from argparse alone in what kubectl's users type: names may stand on both sides of a flag, a switch takes
`--wait=false` but never the word behind it, what follows `--` is a command that nobody looks into, and wrong usage is
an error like any other.  Knows no verb.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn, TypeVar

from sandbox.errors import SandboxError, quoted
from sandbox.front.errors import Usage

Options = argparse.Namespace
SUPPRESS = argparse.SUPPRESS  # as `help`: an argument that is nobody's to type
T = TypeVar("T")

# What Go's flags take for a truth value.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


@dataclass(frozen=True)
class Argument:
    """One argument, as argparse has it: its names, and what it is.

    `bare` is the value of a flag that is given without one; any other value then stands behind "=".
    """

    names: tuple[str, ...]
    settings: Mapping[str, Any]
    switch: bool = False
    bare: str | None = None


@dataclass(frozen=True)
class Verb:
    """A row: the word, what it does, the function that does it, and what it takes.

    `with_command` says that a command follows behind `--`; it comes as `options.command`.  `failure` is the exit code
    of an error.
    """

    name: str
    help: str
    act: Callable[[Options], int]
    arguments: tuple[Argument, ...] = ()
    with_command: bool = False
    usage: str | None = None
    failure: int = 1


def argument(*names: str, bare: str | None = None, **settings: Any) -> Argument:
    """A word, or a flag with a value."""
    return Argument(names, settings, bare=bare)


def switch(*names: str, help: str, default: bool = False, dest: str | None = None) -> Argument:
    """A flag that is true or false; `--flag` is true, `--flag=BOOL` what it says."""
    word = dest or names[-1].lstrip("-").replace("-", "_")
    return Argument(names, {"dest": word, "default": default, "help": help}, switch=True)


def checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """`read` as the type of an argument: what it refuses is wrong usage."""

    def convert(text: str) -> T:
        try:
            return read(text)
        except SandboxError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def number(*, least: int, most: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number in this range."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not a whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}")
        return value

    return convert


def filled(kind: type[T], options: Options) -> T:
    """The dataclass `kind` from the arguments that have the names of its fields."""
    return kind(**{field.name: getattr(options, field.name) for field in fields(kind)})  # type: ignore[arg-type]


def parse(
    words: Sequence[str], *, program: str, about: str, top: Sequence[Argument], verbs: Sequence[Verb]
) -> tuple[Verb, Options]:
    """The verb that was asked for, and its options with those that stood before it.  Raises Usage."""
    parser = _top_parser(program, about, top, verbs)
    options = parser.parse_args(words)
    if not options.words:
        raise _wrong(parser, "no verb was given")
    name, *rest = options.words
    verb = next((verb for verb in verbs if verb.name == name), None)
    if verb is None:
        raise _wrong(parser, f"unknown verb {quoted(name)}")
    del options.words
    if verb.with_command and "--" in rest:
        cut = rest.index("--")
        rest, options.command = rest[:cut], rest[cut + 1 :]
    elif verb.with_command:
        options.command = []
    bare = {name: f"{name}={each.bare}" for each in verb.arguments if each.bare for name in each.names}
    rest = [bare.get(word, word) for word in rest]
    return verb, _verb_parser(program, verb).parse_intermixed_args(rest, options)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _wrong(self, message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a pipe that nobody reads is still an error that can be caught
        super().exit(status, message)


def _wrong(parser: argparse.ArgumentParser, message: str) -> Usage:
    return Usage(message, hint=f"{parser.prog} --help")


def _top_parser(program: str, about: str, top: Sequence[Argument], verbs: Sequence[Verb]) -> _Parser:
    width = max(len(verb.name) for verb in verbs) + 2
    parser = _Parser(
        prog=program,
        usage=f"{program} [options] VERB ...",
        description=about,
        epilog="verbs:\n" + "\n".join(f"  {verb.name:<{width}}{verb.help}" for verb in verbs),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add(parser, top)
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _verb_parser(program: str, verb: Verb) -> _Parser:
    about = verb.help[0].upper() + verb.help[1:] + "."
    usage = f"{program} {verb.name} {verb.usage}" if verb.usage else None
    parser = _Parser(prog=f"{program} {verb.name}", usage=usage, description=about, allow_abbrev=False)
    _add(parser, verb.arguments)
    return parser


def _add(parser: argparse.ArgumentParser, arguments: Sequence[Argument]) -> None:
    for each in arguments:
        if not each.switch:
            parser.add_argument(*each.names, **each.settings)
            continue
        parser.add_argument(*each.names, action="store_true", **each.settings)
        # An option whose name has the value in it: argparse looks for those before it cuts at "=".
        hidden = {**each.settings, "help": argparse.SUPPRESS}
        for action, values in (("store_true", _TRUE), ("store_false", _FALSE)):
            spelled = [f"{name}={value}" for name in each.names for value in values]
            parser.add_argument(*spelled, action=action, **hidden)
