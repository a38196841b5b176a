"""Finding the engine of a root, starting one, and talking to it line by line (the protocol is drawn in
sandbox.pod.server).

Synchronous and light to import: `get` must not pay for asyncio, the extension or the manifest loader.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.errors import NotFound, SandboxError
from sandbox.pod import codec
from sandbox.pod.paths import LOG_FILE, make_root, socket_path, starting

PROTOCOL = 2
PATIENCE = 10.0  # seconds in which a running engine is to say that it is there
MAX_LINE = 64 << 20  # bytes; a request holds manifests, of which each may have 3 MiB
BLOCK = 1 << 16


class EngineEnded(Exception):
    """The engine ended before it answered."""


class Connection:
    """One connection to a running engine.

    Raises FileNotFoundError or ConnectionRefusedError where none listens, SandboxError where it does not answer, and
    EngineEnded where it ends.
    """

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self._buffer = b""
        try:
            # The kernel's time limit: with Python's a queue that is full would be an error at once.
            self._limit_sending(PATIENCE)
            self.socket.connect(str(path))
            self._limit_sending(0)
            self.socket.settimeout(PATIENCE)
            hello = self._hello()
            if hello.get("engine") != PROTOCOL:
                raise SandboxError(
                    f"the engine of {path.parent} is of another version of seedpod",
                    hint=f"end its process (its pods run on): its number is in {path.parent}/agent.pid",
                )
        except (TimeoutError, BlockingIOError):
            self.socket.close()
            raise SandboxError(
                f"the engine of {path.parent} does not answer",
                hint=f"is its process stopped? its number is in {path.parent}/agent.pid",
            ) from None
        except BaseException:  # undo, then let it pass
            self.socket.close()
            raise
        self.pid: int = hello["pid"]
        self.node_name: str = hello["nodeName"]
        self.socket.settimeout(None)

    def _limit_sending(self, seconds: float) -> None:
        whole = int(seconds)
        limit = struct.pack("ll", whole, int((seconds - whole) * 1e6))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _hello(self) -> dict[str, Any]:
        try:
            hello = self._receive()
        except ValueError:
            hello = None
        return hello if isinstance(hello, dict) else {}

    def close(self) -> None:
        self.socket.close()

    def become(self, other: Connection) -> None:
        """Go on as `other`, under the same file descriptor: whoever polls it need not be told."""
        os.dup2(other.socket.fileno(), self.socket.fileno(), inheritable=False)
        self._buffer, self.pid, self.node_name = other._buffer, other.pid, other.node_name
        self.socket.settimeout(None)
        other.close()

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Ask, and wait for the answer.  Raises what the engine raised."""
        try:
            self.socket.sendall(encode_request(verb, arguments))
        except (BrokenPipeError, ConnectionResetError):
            raise EngineEnded from None
        return self.next_answer()

    def next_answer(self) -> Any:
        return decode_answer(self._receive())

    def ready(self) -> bool:
        """Whether `next_answer` has one, or the end, without waiting."""
        try:
            while b"\n" not in self._buffer:
                data = self.socket.recv(BLOCK, socket.MSG_DONTWAIT)
                if not data:
                    return True
                self._buffer += data
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return True

    def _receive(self) -> Any:
        blocks = [self._buffer]
        try:
            while b"\n" not in blocks[-1]:
                data = self.socket.recv(BLOCK)
                if not data:
                    raise EngineEnded
                blocks.append(data)
        except ConnectionResetError:
            raise EngineEnded from None
        finally:
            self._buffer = b"".join(blocks)  # a time limit may come in the middle of a line
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)


def encode_request(verb: str, arguments: Mapping[str, Any]) -> bytes:
    """The line that asks for it.  Raises SandboxError for one that no engine would read."""
    request = json.dumps({"verb": verb, **arguments}, separators=(",", ":"))
    if len(request) >= MAX_LINE:
        what = f"what is asked of the engine at once is longer than {MAX_LINE >> 20} MiB"
        raise SandboxError(what, hint="ask for fewer or smaller pods at a time")
    return request.encode() + b"\n"


def decode_answer(message: Any) -> Any:
    """The answer in a line of the engine's.  Raises the error that is in it instead."""
    if "error" in message:
        raise codec.decode_error(message)
    return message["answer"]


def connect(root: Path) -> Connection:
    """Connect to the engine of a root.  Raises NotFound("agent") where none is up, EngineEnded where it just ends."""
    try:
        return Connection(socket_path(root))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotFound("agent", str(root), f"no engine is running for {root}") from None
    except PermissionError:
        raise SandboxError(f"the engine of {root} answers to root alone", hint="run it with sudo") from None


def connect_or_start(root: Path) -> Connection:
    """Connect to the engine of a root; where none is up, start one in the background.  Raises as `connect` does, and
    SandboxError with what the new one said."""
    try:
        return connect(root)
    except NotFound:
        make_root(root)
    with starting(root):
        try:
            return connect(root)
        except NotFound:
            start_engine(root)
            return connect(root)


def start_engine(root: Path) -> None:
    """Start an engine in the background and wait until it takes clients.  Raises SandboxError with what it said."""
    said, word = os.pipe()
    try:
        with (root / LOG_FILE).open("ab") as log:
            command = [
                sys.executable,
                "-m",
                "sandbox.front.cli",
                "--root",
                str(root),
                "agent",
                "--background",
                str(word),
            ]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(word,),
                start_new_session=True,
                cwd="/",
            )
        os.close(word)
        word = -1
        with open(said, "rb", closefd=False) as pipe:
            answer = pipe.read().decode(errors="replace")
        process.wait()  # it goes on as a child of its own
    finally:
        os.close(said)
        if word >= 0:
            os.close(word)
    if answer != "ready\n":
        message, _, hint = answer.rstrip("\n").partition("\n")
        what = message or f"it ended without a word; see {root / LOG_FILE}"
        raise SandboxError(f"the engine could not be started: {what}", hint=hint or None)
