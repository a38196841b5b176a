"""The verbs: a row for each, with what it takes, and the few lines that call it.

A verb's module is imported when the verb is called: `get` need not pay for what `run` needs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from sandbox.front import flags, times
from sandbox.front.arguments import SUPPRESS, Options, Verb, argument, checked, filled, switch
from sandbox.front.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sandbox.front.client import Client

T = TypeVar("T")


def connect(options: Options, *, start: bool = True) -> AbstractContextManager[Client]:
    """A connection to the engine of the root; `start` one if there is none, else raise NotFound."""
    from sandbox.pod.client import Client

    return Client(options.root, start=start)


# ---- from options to calls: wrong usage is refused before an engine is started ----


def _asked(options: Options, kind: type[T], act: Callable[[Client, T], int]) -> int:
    """Have an engine do what the options say: `kind` are those that the verb takes, `act` is what it does with them."""
    request = filled(kind, options)
    with connect(options) as client:
        return act(client, request)


def _run(options: Options) -> int:
    if options.wait is not None and not options.detach:
        raise Usage("--wait goes with -d", hint="seedpod run --help")
    from sandbox.front import run

    if options.detach and options.keep:
        raise Usage("--keep is for pods in the foreground: -d leaves them anyway", hint="seedpod run --help")
    if options.detach:
        return run.run_detached(options.root, options.file, wait=options.wait)
    return run.run(options.root, options.file, keep=options.keep)


def _apply(options: Options) -> int:
    from sandbox.front.apply import Request, apply

    return _asked(options, Request, apply)


def _diff(options: Options) -> int:
    from sandbox.front.diff import Request, diff

    return _asked(options, Request, diff)


def _get(options: Options) -> int:
    from sandbox.front import get, get_endpoints

    if get_endpoints.is_meant(options.words):
        return _asked(options, get_endpoints.Request, get_endpoints.get_endpoints)
    return _asked(options, get.Request, get.get)


def _describe(options: Options) -> int:
    from sandbox.front.describe_pods import Request, describe_pods

    return _asked(options, Request, describe_pods)


def _logs(options: Options) -> int:
    from sandbox.front.logs import Request, logs

    request = filled(Request, options)
    with connect(options) as client:
        return logs(client, options.root, request)


def _exec(options: Options) -> int:
    from sandbox.front.join import ExecRequest, exec_command

    return _asked(options, ExecRequest, exec_command)


def _attach(options: Options) -> int:
    from sandbox.front.join import AttachRequest, attach

    return _asked(options, AttachRequest, attach)


def _delete(options: Options) -> int:
    from sandbox.front.delete import Request, delete

    return _asked(options, Request, delete)


def _events(options: Options) -> int:
    from sandbox.front.events import Request, events

    return _asked(options, Request, events)


def _wait(options: Options) -> int:
    from sandbox.front.wait import Request, wait

    return _asked(options, Request, wait)


def _volume(options: Options) -> int:
    from sandbox.front.volume import Request, volume

    return _asked(options, Request, volume)


def _agent(options: Options) -> int:
    if options.what == "stop":
        from sandbox.front.agent import stop

        return stop(lambda: connect(options, start=False), now=options.now)
    if options.now:
        raise Usage("--now goes with stop", hint="seedpod agent --help")
    from sandbox.front import serving

    if options.background is not None:
        return serving.background(options.root, options.background)
    return serving.agent(options.root)


def _check(options: Options) -> int:
    from sandbox.front.check import check

    return check(options.files)


def _info(options: Options) -> int:
    from sandbox.front.info import info

    return info(options.root)


def _version(_: Options) -> int:
    from importlib import metadata  # as long as all the rest

    print(f"seedpod {metadata.version('seedpod')}")
    return 0


# ---- the table ----


VERBS: tuple[Verb, ...] = (
    Verb(
        "run",
        "run the pods of a manifest in the foreground",
        _run,
        usage="[-d] [--wait[=DURATION]] [--keep] FILE",
        arguments=(
            argument("file", metavar="FILE", help='a manifest in YAML or JSON; "-" is stdin'),
            switch("-d", "--detach", help="return when the containers have started; the pods stay"),
            argument(
                "--wait",
                bare="60s",
                type=checked(times.duration),
                metavar="[=DURATION]",
                help="with -d, return when the pods are ready, and fail after this long [60s]",
            ),
            switch("--keep", help="leave the pods where they are when they have ended"),
        ),
    ),
    Verb(
        "apply",
        "have there be what manifests say: made, changed or replaced",
        _apply,
        (
            flags.FILES,
            argument(
                "--dry-run",
                bare="client",
                default="none",
                metavar="[=client|server|none]",
                help="say what would be done, and do nothing [client]",
            ),
            argument(
                "--timeout",
                type=checked(times.duration),
                default=timedelta(0),
                metavar="DURATION",
                help="how long to wait for the end of what is replaced, as 90s or 1h30m [0: for ever]",
            ),
        ),
        usage="-f FILE [--dry-run[=client|server|none]] [--timeout DURATION]",
    ),
    Verb(
        "diff",
        "show what apply would change; exit code 1 if anything",
        _diff,
        (flags.FILES,),
        usage="-f FILE",
        failure=2,
    ),
    Verb(
        "get",
        "show pods, or their endpoints, in a table or as objects",
        _get,
        (
            argument(
                "words",
                nargs="*",
                metavar="NAME",
                help='a pod; "pod" may stand before names, as in pod web, pod/web; or "endpoints" instead of any',
            ),
            *flags.SELECTING[1:],
            argument("-o", "--output", metavar="FORMAT", help="wide, json, yaml, name or jsonpath=TEMPLATE"),
            switch("--no-headers", help="no heading above the table"),
            switch("-w", "--watch", help="then go on with each change, and with pods to come"),
            switch("--output-watch-events", help="with -w, say of each what happened: ADDED, MODIFIED, DELETED"),
        ),
    ),
    Verb("describe", "tell all about pods, with what happened to them", _describe, flags.SELECTING),
    Verb(
        "events",
        "show what happened to pods",
        _events,
        (
            flags.NAMESPACE,
            flags.ALL_NAMESPACES,
            argument("--for", dest="about", metavar="POD", help="what happened to this one: pod/web"),
            argument(
                "--types", action="append", default=[], metavar="TYPES", help="only these: Warning, Normal [both]"
            ),
            argument("-o", "--output", metavar="FORMAT", help="json, yaml, name or jsonpath=TEMPLATE"),
            switch("--no-headers", help="no heading above the table"),
            switch("-w", "--watch", help="then go on with those to come"),
        ),
    ),
    Verb(
        "logs",
        "print what the containers of a pod wrote",
        _logs,
        (
            flags.WORDS,
            flags.NAMESPACE,
            flags.CONTAINER,
            switch("--all-containers", help="of all containers"),
            switch("-f", "--follow", help="go on until the container ends"),
            switch("-p", "--previous", help="of the instance before the last restart"),
            argument("--tail", type=flags.WHOLE, default=-1, metavar="N", help="the last N lines [-1: all]"),
            argument(
                "--since", type=checked(times.duration), metavar="DURATION", help="not older than this: 90s, 1h30m"
            ),
            argument(
                "--since-time", type=checked(times.moment), metavar="TIME", help="since then: 2026-01-02T15:04:05Z"
            ),
            switch("--timestamps", help="each line behind its time"),
            switch("--prefix", help="each line behind [pod/NAME/CONTAINER]"),
        ),
    ),
    Verb(
        "exec",
        "run a command in a container",
        _exec,
        (flags.WORDS, flags.NAMESPACE, flags.CONTAINER, flags.STDIN, flags.TTY),
        with_command=True,
        usage="[-i] [-t] [-n NS] NAME [-c CONTAINER] -- COMMAND [ARG ...]",
    ),
    Verb(
        "attach",
        "join the output of a running container",
        _attach,
        (flags.WORDS, flags.NAMESPACE, flags.CONTAINER, flags.STDIN, flags.TTY),
    ),
    Verb(
        "delete",
        "delete pods, and wait until they are gone",
        _delete,
        (
            flags.WORDS,
            flags.NAMESPACE,
            argument(
                "-f", "--filename", dest="file", action="append", default=[], metavar="FILE", help="what it names"
            ),
            switch("--all", help="all pods of the namespace"),
            argument(
                "--grace-period",
                type=flags.WHOLE,
                default=-1,
                metavar="N",
                help="seconds from TERM to KILL [-1: what the pod says]; 0 is 1 unless it is forced",
            ),
            switch("--now", help="as --grace-period=1"),
            switch("--force", help="the name is free at once, whatever still runs"),
            switch("--wait", default=True, help="until they are gone [true]; --wait=false does not"),
            argument(
                "--timeout",
                type=checked(times.duration),
                default=timedelta(0),
                metavar="DURATION",
                help="how long to wait, as 90s or 1h30m [0: for ever]",
            ),
            switch("--ignore-not-found", help="a pod that is not there is no error"),
        ),
    ),
    Verb(
        "wait",
        "wait until something is true of pods",
        _wait,
        (
            *flags.SELECTING,
            argument(
                "--for",
                dest="condition",
                default="",
                metavar="WHAT",
                help="condition=Ready, condition=Ready=false, jsonpath='{.status.phase}'=Running, create or delete",
            ),
            switch("--all", help="all pods of the namespace that are there"),
            argument(
                "--timeout",
                type=checked(times.duration),
                default=timedelta(seconds=30),
                metavar="DURATION",
                help="how long to wait, for all together [30s]; 0 looks once, less than that waits for a week",
            ),
        ),
    ),
    Verb(
        "volume",
        "persistent volumes: list, create, remove, inspect the claims to them",
        _volume,
        (
            argument("what", choices=("ls", "create", "rm", "inspect"), metavar="ls|create|rm|inspect"),
            argument("words", nargs="*", metavar="NAME", help="a claim"),
            argument(
                "-n",
                "--namespace",
                default="default",
                type=flags.namespace,
                metavar="NS",
                help="the claims' namespace [default]",
            ),
            switch("-A", "--all-namespaces", help="ls: the claims of all namespaces"),
            argument("-o", "--output", metavar="FORMAT", help="ls: wide, json, yaml, name or jsonpath=TEMPLATE"),
            switch("--no-headers", help="ls: no heading above the table"),
            argument("--size", metavar="QUANTITY", help="create: how much is asked for, no limit [1Gi]"),
        ),
        usage="ls|create|rm|inspect [-n NS] [-A] [-o FORMAT] [--no-headers] [--size QUANTITY] [NAME ...]",
    ),
    Verb(
        "agent",
        "be the engine, in the foreground; or end it: its pods go on",
        _agent,
        (
            argument(
                "what",
                nargs="?",
                choices=("stop",),
                metavar="stop",
                help="end the engine that runs, once the deletions under way are done",
            ),
            switch("--now", help="leave those to the next engine"),
            argument("--background", type=int, help=SUPPRESS),  # how connection.start_engine calls us
        ),
    ),
    Verb(
        "check",
        "say all that is wrong with manifests, and run nothing",
        _check,
        (argument("files", nargs="+", metavar="FILE", help='a manifest in YAML or JSON; "-" is stdin'),),
    ),
    Verb("info", "what this host can do, and the cure for what it cannot", _info),
    Verb("version", "print the version", _version),
)
