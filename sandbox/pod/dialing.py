"""TCP connections to the ports of pods, and what is wrong with one in kubelet's words, which are Go's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from typing import Any

from sandbox.pod.tasks import in_thread

# What this process or machine lacks: it says nothing of whoever was to be reached.
OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))

Resolved = tuple[int, Any]  # address family, and the address as sockets take it


class Unreachable(Exception):
    """There is no connection to be had; the message is Go's of a failed dial."""


def joined(host: str, port: int) -> str:
    """Host and port in one string, as net.JoinHostPort has it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def words(error: OSError) -> str:
    """What Go says of the error of a system call: the C library's words, in lower case."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


async def dialled(host: str, port: int) -> socket.socket:
    """A connection, not blocking, and the caller's to close.  It may take for ever: the caller sees to the time.

    Raises Unreachable, and OSError where this process has no fd or memory for it.
    """
    first: Unreachable | None = None
    for family, address in await _resolved(host, port):
        try:
            return await _connected(family, address, host, port)
        except Unreachable as failure:
            first = first or failure
    raise first or Unreachable(f"dial tcp: lookup {host}: no such host")


async def _connected(family: int, address: Any, host: str, port: int) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(connection, address)
        # Where nobody listens at one of our own ports, TCP may connect a socket to itself.
        if connection.getsockname() == connection.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except OSError as error:
        connection.close()
        if error.errno in OURS:
            raise
        raise Unreachable(f"dial tcp {joined(address[0], port)}: connect: {words(error)}") from None
    except BaseException:  # cancelled: undo, then let it pass
        connection.close()
        raise
    return connection


async def _resolved(host: str, port: int) -> list[Resolved]:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return await _looked_up(host, port)
    return [(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, (host, port))]


async def _looked_up(host: str, port: int) -> list[Resolved]:
    """Of a name.  The C library looks it up, in a thread that cannot be given up: who is cancelled leaves it behind."""
    lookup = asyncio.ensure_future(in_thread(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM))
    lookup.add_done_callback(_seen)
    try:
        found = await asyncio.shield(lookup)
    except (socket.gaierror, UnicodeError):  # UnicodeError: what is no name at all
        raise Unreachable(f"dial tcp: lookup {host}: no such host") from None
    return [(family, address) for family, _, _, _, address in found]


def _seen(lookup: asyncio.Future[Any]) -> None:
    """Nobody may wait for it any more: its failure is no news then."""
    with contextlib.suppress(asyncio.CancelledError):
        lookup.exception()
