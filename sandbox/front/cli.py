"""The command line: words in, the library called, words and an exit code out.

Exit codes: 0, 1 for an error, 2 for wrong usage; `run` has its own (sandbox.front.run), `exec` the command's, `diff` 2
for an error, since 1 is that there is a difference.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.front.arguments import Options, argument, checked, parse, switch
from sandbox.front.errors import Usage, print_error
from sandbox.front.verbs import VERBS
from sandbox.pod.paths import DEFAULT_ROOT, root_of

_ABOUT = "Kubernetes Pods on one Linux machine, without a cluster"


def _directory(text: str) -> Path:
    if not text:
        raise SandboxError("an empty name is no directory")
    return Path(text)


_TOP = (
    argument(
        "--root",
        type=checked(_directory),
        metavar="DIR",
        help=f"where everything lives [SEEDPOD_ROOT, else {DEFAULT_ROOT}]",
    ),
    switch("-v", "--verbose", help="show the traceback of an error"),
)


def _open_standard_fds() -> None:
    """Where our caller closed fds 0 to 2, open /dev/null there: or the next file that we open would be our stdout."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _call(words: Sequence[str], options: Options) -> int:
    """Do what the words say.  `options` is filled as they are understood."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # argparse hides an interrupt behind an error
    try:
        verb, parsed = parse(words, program="seedpod", about=_ABOUT, top=_TOP, verbs=VERBS)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    vars(options).update(vars(parsed), failure=verb.failure)
    options.root = root_of(options.root)
    code = verb.act(options)
    if sys.stdout is not None:  # a caller may have closed it
        sys.stdout.flush()
    return code


def main(words: Sequence[str] | None = None) -> int:
    """The program `seedpod`."""
    _open_standard_fds()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale that lacks a letter is no reason to fail
    options = Options(verbose=False, failure=1)
    try:
        return _call(sys.argv[1:] if words is None else words, options)
    except BrokenPipeError:  # nobody reads what we print: no error of ours, and nobody to tell
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (SandboxError, OSError) as error:
        if options.verbose:
            import traceback

            traceback.print_exc()
        print_error(error)
        return 2 if isinstance(error, Usage) else int(options.failure)


if __name__ == "__main__":
    sys.exit(main())
