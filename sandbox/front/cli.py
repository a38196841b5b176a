"""The command line: words in, the library called, words and an exit code out.

Exit codes: 0, 1 for an error, 2 for wrong usage; `run` has its own (sandbox.front.run).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from importlib import metadata
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.front.errors import print_error

DEFAULT_ROOT = "/var/lib/seedpod"


def _run(options: argparse.Namespace) -> int:
    from sandbox.front import run  # with asyncio and the engine: 60 ms that other verbs do without

    if options.detach:
        return run.run_detached(options.root, options.file, wait=options.wait)
    return run.run(options.root, options.file, keep=options.keep)


def _agent(options: argparse.Namespace) -> int:
    from sandbox.front import agent

    if options.background is not None:
        return agent.background(options.root, options.background)
    return agent.agent(options.root)


def _info(options: argparse.Namespace) -> int:
    from sandbox.front.info import info

    return info(options.root)


def _version(_: argparse.Namespace) -> int:
    print(f"seedpod {metadata.version('seedpod')}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `options.act` is the verb's function."""
    top = argparse.ArgumentParser(prog="seedpod", description="Kubernetes Pods on one Linux machine, without a cluster")
    where = f"where everything lives [SEEDPOD_ROOT, else {DEFAULT_ROOT}]"
    top.add_argument("--root", type=_directory, metavar="DIR", help=where)
    top.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    top.set_defaults(root=Path(os.environ.get("SEEDPOD_ROOT") or DEFAULT_ROOT))
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = verbs.add_parser("run", help="run the pods of a manifest in the foreground")
    verb.add_argument("file", metavar="FILE", help='a manifest in YAML or JSON; "-" is stdin')
    verb.add_argument("-d", "--detach", action="store_true", help="return when the containers have started")
    verb.add_argument("--wait", type=float, metavar="60s", nargs="?", const=60.0)
    verb.add_argument("--keep", action="store_true", help="leave the pods when they have ended")
    verb.set_defaults(act=_run)
    verb = verbs.add_parser("agent")
    verb.add_argument("--background", type=int, default=None, help=argparse.SUPPRESS)
    verb.set_defaults(act=_agent)
    verb = verbs.add_parser("info", help="what this host can do, and the cure for what it cannot")
    verb.set_defaults(act=_info)
    verb = verbs.add_parser("version", help="print the version")
    verb.set_defaults(act=_version)
    return top


def _open_standard_fds() -> None:
    """Where our caller closed fds 0 to 2, open /dev/null there: or the next file that we open would be our stdout."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _directory(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no directory")
    return Path(text)


def main() -> int:
    """The program `seedpod`."""
    _open_standard_fds()
    options = parser().parse_args()
    options.root = Path(os.path.realpath(options.root))  # one root, one name, however it was written
    try:
        code = int(options.act(options))
        if sys.stdout is not None:  # a caller may have closed it
            sys.stdout.flush()
    except BrokenPipeError:  # nobody reads what we print: no error of ours, and nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (SandboxError, OSError) as error:
        if options.verbose:
            traceback.print_exc()
        print_error(error)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
