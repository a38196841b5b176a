"""`$(VAR)` in a container's command, arguments and environment, as kubelet expands it.  Pure: text in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sandbox.errors import SandboxError, quoted
from sandbox.model import Container, EnvVar

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")

# execve(2) takes no longer string (MAX_ARG_STRLEN), so what expands beyond it is refused before it takes the memory:
# references to references grow without bound.
LONGEST = 128 << 10


def expand(text: str, env: Mapping[str, str]) -> str:
    """`text` with each `$(NAME)` replaced by its value in `env`, once, from left to right.

    `$$` becomes `$`, so `$$(NAME)` is a way to write `$(NAME)`; a name that `env` lacks, a lone `$` and an unclosed
    `$(` stay as they are.  Raises SandboxError where the result would be longer than LONGEST.
    """
    pieces: list[str] = []
    length = end = 0
    for reference in _REFERENCE.finditer(text):
        value = "$" if reference[0] == "$$" else env.get(reference[1], reference[0])
        pieces += (text[end : reference.start()], value)
        length += reference.start() - end + len(value)
        end = reference.end()
        if length > LONGEST:
            break
    if length + len(text) - end > LONGEST:
        raise SandboxError(
            f"{quoted(text)} is longer than {LONGEST} bytes, or expands to more",
            hint="no program can be given a longer argument or variable: put it into a file",
        )
    return "".join(pieces) + text[end:]


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
