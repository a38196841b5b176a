"""`seedpod logs`: what a pod's containers wrote, up to now or until they end.

The files are read here, by sandbox.pod.logs; the engine is asked only which instance of a container is meant, and, with
`-f`, when it has ended.  Each container that is followed has a thread of its own.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from sandbox.errors import SandboxError, WrongState
from sandbox.front import naming, signals
from sandbox.front.client import Client, Ended
from sandbox.front.errors import BadRequest, Usage
from sandbox.front.writing import write_all
from sandbox.pod import attempts, threads
from sandbox.pod.entries import Entry
from sandbox.pod.logs import Options, read
from sandbox.pod.paths import log_directory
from sandbox.status import PodStatus

BLOCK = 65536  # bytes written at a time, where nobody waits for each line

_STDOUT = 1


@dataclass(frozen=True)
class Request:
    """The command line of `logs`."""

    words: Sequence[str]
    namespace: str = "default"
    container: str | None = None
    follow: bool = False
    previous: bool = False
    tail: int = -1  # all
    since: timedelta | None = None
    since_time: datetime | None = None
    timestamps: bool = False
    all_containers: bool = False
    prefix: bool = False

    def __post_init__(self) -> None:
        """Raises Usage."""
        naming.single(self.words)
        _options(self)


def logs(client: Client, root: Path, request: Request) -> int:
    """Print the logs.  The exit code of the verb."""
    name = naming.single(request.words)
    options = _options(request)
    pod = naming.find_one(client.pods(), request.namespace, name)
    if request.all_containers:
        containers = [container.name for container in pod.pod.all_containers]
    else:
        containers = [naming.container(pod.pod, request.container).name]
    if options.follow:
        _follow(client, [_source(root, request, pod, name) for name in containers], options)
        return 0
    for name in containers:  # one after the other: a container without logs holds up only those behind it
        source = _source(root, request, pod, name)
        _carry(read(source.directory, source.instance, options), source.line, _Sink())
    return 0


def _options(request: Request) -> Options:
    """What to read.  Raises Usage."""
    if request.all_containers and request.container:
        raise Usage(f"--all-containers=true should not be specified with container name {request.container}")
    if request.tail < -1:
        raise Usage("--tail must be greater than or equal to -1")
    if request.since and request.since_time:
        raise Usage("at most one of --since or --since-time may be specified")
    if request.since and request.since < timedelta(0):
        raise Usage("--since must be greater than 0")
    return Options(
        tail=None if request.tail == -1 else request.tail,
        since=request.since or request.since_time,
        follow=request.follow and not request.previous,  # one that has ended writes no more
    )


# ---- which instance ----


@dataclass(frozen=True)
class _Source:
    """One instance of a container: where its log is, and how its lines are printed."""

    uid: str
    container: str
    instance: int
    directory: Path
    line: Callable[[Entry], bytes]


def _source(root: Path, request: Request, pod: PodStatus, name: str) -> _Source:
    """Raises BadRequest where the container has no log."""
    pod_name = pod.pod.name
    prefix = f"[pod/{pod_name}/{name}] ".encode() if request.prefix else b""
    whole = bool(prefix) or request.all_containers

    def line(entry: Entry) -> bytes:
        text = prefix + entry.line(timestamps=request.timestamps)
        return text + b"\n" if whole and entry.partial else text  # the next line may be another container's

    directory = log_directory(root, namespace=pod.pod.namespace, name=pod_name, uid=pod.uid, container=name)
    status = next((each for each in pod.all_containers if each.name == name), None)
    try:
        instance = attempts.to_read(status, name, pod_name, previous=request.previous)
    except WrongState as error:
        raise BadRequest(error.message) from None
    return _Source(pod.uid, name, instance, directory, line)


# ---- carrying lines ----


class _Sink:
    """Our stdout, for lines of several threads."""

    def __init__(self) -> None:
        self._writing = threading.Lock()

    def write(self, lines: bytes | bytearray) -> None:
        with self._writing:
            write_all(_STDOUT, lines)


def _carry(entries: Iterable[Entry], line: Callable[[Entry], bytes], sink: _Sink, *, block: int = BLOCK) -> None:
    """Print the entries, once `block` bytes of them have come together."""
    ready = bytearray()
    for entry in entries:
        ready += line(entry)
        if len(ready) >= block:
            sink.write(ready)
            ready.clear()
    sink.write(ready)


def _follow(client: Client, sources: Sequence[_Source], options: Options) -> None:
    """Print what the containers write until all have ended, or until one cannot be read or printed any more."""
    sink, results, over = _Sink(), SimpleQueue[OSError | SandboxError | KeyboardInterrupt | None](), threading.Event()

    def carry(source: _Source, ended: Ended) -> None:
        def finished() -> bool:
            return over.is_set() or ended.finished()

        try:
            entries = read(source.directory, source.instance, options, finished=finished, wake=ended.fileno())
            _carry(entries, source.line, sink, block=1)
        except (OSError, SandboxError) as error:
            results.put(error)
        else:
            results.put(None)

    with ExitStack() as stack:
        # We wait for a lock, and a signal that comes just before would not wake us.
        stack.enter_context(signals.taken([signal.SIGINT], lambda _: results.put(KeyboardInterrupt())))
        watched = [
            (each, stack.enter_context(client.ended(each.uid, each.container, each.instance))) for each in sources
        ]
        stack.callback(over.set)
        for each in watched:
            # One that waits for a container or for a reader does not keep the program from its end.
            threads.start(partial(carry, *each), "log")
        for _ in watched:
            if error := results.get():
                raise error
