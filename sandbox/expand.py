"""`$(VAR)` in a container's command, arguments and environment, as kubelet expands it.  Pure: text in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sandbox.model import Container, EnvVar

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, env: Mapping[str, str]) -> str:
    """`text` with each `$(NAME)` replaced by its value in `env`, once, from left to right.

    `$$` becomes `$`, so `$$(NAME)` is a way to write `$(NAME)`; a name that `env` lacks, a lone `$` and an unclosed
    `$(` stay as they are.
    """

    def value(reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        return env.get(reference[1], reference[0])

    return _REFERENCE.sub(value, text)


def environment(variables: Iterable[EnvVar]) -> dict[str, str]:
    """What `env` comes to, in its order: a value may refer to the variables before it; of one name the last counts."""
    env: dict[str, str] = {}
    for variable in variables:
        env[variable.name] = expand(variable.value, env)
    return env


def argv(container: Container, *, entrypoint: Iterable[str] = (), cmd: Iterable[str] = ()) -> tuple[str, ...]:
    """The words to execute: the container's command and args, expanded, in place of the image's entrypoint and cmd.

    The image's own words are not expanded, and its cmd is for its own entrypoint: a `command` discards both.
    """
    env = environment(container.env)
    command = tuple(expand(word, env) for word in container.command)
    args = tuple(expand(word, env) for word in container.args)
    if command:
        return command + args
    return tuple(entrypoint) + (args or tuple(cmd))
