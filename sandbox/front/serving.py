"""`seedpod agent`: the engine as a process of its own, in the foreground or, for the verbs that need one, in the
background.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from sandbox.errors import NotFound, SandboxError, WrongState
from sandbox.front import warm
from sandbox.front.notification import Manager
from sandbox.linux import host
from sandbox.pod.connection import EngineEnded, connect
from sandbox.pod.engine import Engine
from sandbox.pod.server import IDLE, Server, serve


def agent(root: Path) -> int:
    """Serve the root until TERM, INT or `agent stop`; its pods run on.  The exit code of the verb."""
    try:
        connection = connect(root)
    except (NotFound, EngineEnded):
        pass
    else:
        connection.close()
        what = f"an engine is running for {root} already, as process {connection.pid}"
        raise WrongState(what, current="running", wanted="stopped", hint="`seedpod agent stop` ends it")

    manager = Manager()  # before any process is made that would have its name
    with warm.beside(root) as open_:

        def ready(_: Engine, server: Server) -> None:
            _stop_on_signals(server)
            open_()
            print(f"engine ready: {root}", flush=True)
            manager.ready()

        asyncio.run(serve(root, _log, ready, stopping=manager.stopping))
    return 0


def background(root: Path, word: int) -> int:
    """Serve the root as a process that nobody waits for, and end when no pod has been left for a while.

    Whoever started us reads from the pipe `word` "ready", or why not.
    """
    if os.fork():
        os._exit(0)
    with os.fdopen(word, "w") as starter, warm.beside(root) as open_:

        def ready(_: Engine, server: Server) -> None:
            _stop_on_signals(server)
            open_()
            starter.write("ready\n")
            starter.close()

        try:
            asyncio.run(serve(root, _log, ready, idle=IDLE))
        except (SandboxError, OSError) as error:
            _log(str(error))
            if not starter.closed:
                starter.write(f"{error}\n{getattr(error, 'hint', None) or ''}")
            return 1
    return 0


def _stop_on_signals(server: Server) -> None:
    """And take what a process of many pods needs: here, where the process is ours."""
    host.allow_open_files()
    loop = asyncio.get_running_loop()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))  # whatever our caller had blocked
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopping.set)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _log(text: str) -> None:
    with contextlib.suppress(OSError):  # a log that takes no more, on a full disk say, is no reason to let go of a pod
        print(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z} {text}", file=sys.stderr, flush=True)
