"""What a container of a sandbox reads and writes, said as with subprocess: PIPE, DEVNULL, STDOUT, an fd, a file.

The container itself gets pipes that were made for it, or its own /dev/null, and nothing else: a file of the host's it
could open anew, and a terminal take over.  So what is no pipe of ours is relayed, by a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import io
import os
import subprocess
from contextlib import ExitStack
from typing import Protocol

from sandbox.linux import native
from sandbox.pod.podmon import writable
from sandbox.pod.relay import Relay


class HasFileno(Protocol):
    """A file, a socket, or whatever else is an fd."""

    def fileno(self) -> int: ...


Stdio = None | int | HasFileno  # where an int is an fd, or one of subprocess's constants


class Streams:
    """The streams of one container; `stdin`, `stdout` and `stderr` are our ends where PIPE was asked for."""

    def __init__(self, stdin: Stdio = None, stdout: Stdio = None, stderr: Stdio = None) -> None:
        """None: nothing to read, and what is written goes to our own stdout and stderr."""
        self.stdin: io.FileIO | None = None
        self.stdout: io.FileIO | None = None
        self.stderr: io.FileIO | None = None
        self._relay: Relay | None = None
        self._its = ExitStack()  # the container's ends
        self._sinks = ExitStack()  # copies of the fds that are relayed to and from
        with ExitStack() as undo:
            undo.callback(self.close)
            their_stdin = self._input(stdin)
            their_stdout = self._output("stdout", stdout)
            their_stderr = their_stdout if _is(stderr, subprocess.STDOUT) else self._output("stderr", stderr)
            self.its = (their_stdin, their_stdout, their_stderr)
            undo.pop_all()

    def _input(self, wanted: Stdio) -> int:
        if wanted is None or _is(wanted, subprocess.DEVNULL):
            return -1
        relay = None if _is(wanted, subprocess.PIPE) else self._relayed()
        source, sink = self._pipe(its=0)
        if relay is None:
            self.stdin = io.FileIO(sink, "w")
        else:
            try:
                given = self._copy(wanted)
            except OSError:
                os.close(sink)
                raise
            relay.carry_in(given, sink)
        return source

    def _output(self, name: str, wanted: Stdio) -> int:
        if _is(wanted, subprocess.DEVNULL):
            return -1
        if _is(wanted, subprocess.STDOUT):
            raise ValueError("only stderr can be STDOUT")
        given = None
        if not _is(wanted, subprocess.PIPE):
            try:
                given = self._copy({"stdout": 1, "stderr": 2}[name] if wanted is None else wanted)
            except OSError as error:
                if wanted is None and error.errno == errno.EBADF:  # ours is closed: so is the container's, as good as
                    return -1
                raise
        relay = None if given is None else self._relayed()
        source, sink = self._pipe(its=1)
        if relay is None or given is None:
            setattr(self, name, io.FileIO(source, "r"))
        else:
            relay.carry_out(source, given)
        return sink

    def _pipe(self, *, its: int) -> tuple[int, int]:
        """A pipe whose end `its` (0 to read, 1 to write) is the container's."""
        ends = native.pipe()
        self._its.callback(os.close, ends[its])
        return ends

    def _copy(self, wanted: int | HasFileno) -> int:
        """An fd of our own for what the caller may close at any time."""
        copy = os.dup(wanted if isinstance(wanted, int) else wanted.fileno())
        self._sinks.callback(os.close, copy)
        return copy

    def _relayed(self) -> Relay:
        self._relay = self._relay or Relay()
        return self._relay

    # ---- with the container ----

    def begin(self) -> None:
        """The container has its ends: ours alone are left, and what comes is relayed."""
        self._its.close()
        if self._relay is not None:
            self._relay.start()

    @property
    def relayed(self) -> bool:
        return self._relay is not None

    def finish(self) -> None:
        """The container has ended: what it wrote until then is relayed still.  Blocks.  Idempotent."""
        if self._relay is not None:
            self._relay.stop()
            with contextlib.suppress(OSError):  # nobody takes it: that was for the container to hear
                self._relay.wait_for_outputs()

    def close(self) -> None:
        """No more is relayed, read or written.  Blocks for a moment.  Idempotent."""
        self._its.close()
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()
        self._sinks.close()
        for end in (self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()


def _is(wanted: Stdio, constant: int) -> bool:
    return isinstance(wanted, int) and wanted == constant


class Output:
    """What a container writes to a pipe.  Iterating gives lines."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._reader: asyncio.StreamReader | None = None
        self._transport: asyncio.BaseTransport | None = None

    def fileno(self) -> int:
        return self._file.fileno()

    @functools.cached_property
    def blocking(self) -> io.BufferedReader:
        """The same as a file that blocks; either is to be used, not both."""
        return io.BufferedReader(self._file)

    async def _stream(self) -> asyncio.StreamReader:
        if self._reader is None:
            self._reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(self._reader)
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.connect_read_pipe(lambda: protocol, self._file)
        return self._reader

    async def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, or all until the end; b"" at the end."""
        return await (await self._stream()).read(size)

    async def readline(self) -> bytes:
        """A line with its end; b"" at the end."""
        return await (await self._stream()).readline()

    def close(self) -> None:
        """Read no more.  Idempotent."""
        if self._transport is not None:
            self._transport.close()
        else:
            self._file.close()

    def __aiter__(self) -> Output:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


class Input:
    """What a container reads from a pipe."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def fileno(self) -> int:
        return self._file.fileno()

    @functools.cached_property
    def blocking(self) -> io.BufferedWriter:
        """The same as a file that blocks; either is to be used, not both."""
        return io.BufferedWriter(self._file)

    async def write(self, data: bytes) -> None:
        """Write all of it.  Raises BrokenPipeError where the container has closed it."""
        os.set_blocking(self._file.fileno(), False)
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._file.fileno(), left) :]
            except BlockingIOError:
                await writable(self._file.fileno())

    def close(self) -> None:
        """The container reads its end.  Idempotent."""
        self._file.close()
