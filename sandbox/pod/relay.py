"""Bytes moved between a program in a container and somebody's fds, by threads in C (native.pump).

A container gets pipes that were made for it and nothing else of the host's; whatever a caller has is at their other
end.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from dataclasses import dataclass

from sandbox.errors import KernelError
from sandbox.linux import native
from sandbox.pod import threads

_ONE = (1).to_bytes(8, sys.byteorder)  # eventfd(2)
_LINGER = 1.0  # seconds in which a thread that was told to stop does, unless it sticks in somebody's blocking fd


@dataclass(frozen=True)
class _Flow:
    """One direction: `its` is the container's end, and closed when the flow is over."""

    source: int
    sink: int
    its: int
    drain: bool = False  # what is in there at the end is moved still
    all_end: bool = False  # nobody there to take it is the end of the others too


class Relay:
    """Threads that move bytes, once they are started: by then whoever asked for it has seen to terminal and signals."""

    def __init__(self) -> None:
        try:
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        except OSError as error:
            raise KernelError(error.errno or 0, step="make an eventfd") from None
        self._flows: list[_Flow] = []
        self._threads: list[threading.Thread] = []
        self.failures: list[KernelError] = []

    def carry_out(self, source: int, sink: int, *, all_end: bool = False) -> None:
        """From the container to us."""
        self._flows.append(_Flow(source, sink, source, drain=True, all_end=all_end))

    def carry_in(self, source: int, sink: int) -> None:
        """From us to the container, which sees the end of what we have."""
        self._flows.append(_Flow(source, sink, sink))

    def start(self) -> None:
        # An interrupt in the middle would leave a thread that `close` does not know of.
        with threads.quiet():
            for flow in self._flows:  # daemons: one that sticks in somebody's blocking fd must not keep the process
                self._threads.append(threads.start(functools.partial(self._run, flow), "relay"))

    def _run(self, flow: _Flow) -> None:
        try:
            if not native.pump(flow.source, flow.sink, stop=self._stop, drain=flow.drain) and flow.all_end:
                self.stop()
        except KernelError as error:
            self.failures.append(error)
        finally:
            os.close(flow.its)

    def stop(self) -> None:
        """What is in the container's pipes by now is still moved, and nothing more."""
        os.write(self._stop, _ONE)  # which is made again where a signal comes between, as eventfd_write is not

    def wait_for_outputs(self) -> None:
        for flow, thread in zip(self._flows, self._threads, strict=True):
            if flow.drain:
                thread.join()
        if self.failures:
            raise self.failures[0]

    def close(self) -> None:
        self.stop()
        for flow in self._flows[len(self._threads) :]:  # never started
            os.close(flow.its)
        for thread in self._threads:
            thread.join(_LINGER)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._stop)
