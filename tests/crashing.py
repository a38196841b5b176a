"""An engine that is killed before an effect of it, as `python -m tests.crashing ROOT NAME NUMBER`: before the
NUMBERth one of this NAME; or, as `python -m tests.crashing ROOT`, that prints the name of each."""

from __future__ import annotations

import itertools
import os
import signal
import sys

from sandbox import effects
from sandbox.front import cli


def killing(name: str, number: int) -> None:
    """Have this process be killed before the `number`th effect of that name, from whatever thread."""
    counted = itertools.count(1)

    def witness(had: str) -> None:
        if had == name and next(counted) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    effects.witness = witness


def printing() -> None:
    effects.witness = lambda name: os.write(sys.stdout.fileno(), f"{name}\n".encode()) and None


if __name__ == "__main__":
    if len(sys.argv) > 2:
        killing(sys.argv[2], int(sys.argv[3]))
    else:
        printing()
    sys.exit(cli.main(["--root", sys.argv[1], "agent"]))
