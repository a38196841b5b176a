"""Connections that the kernel tracks: forgetting those that lead where they should not any more.

A UDP client that goes on sending to a port keeps its entry, wherever that leads.  nfnetlink, by hand: pyroute2 would
read every entry of the machine, while here one compare of bytes passes over nearly all.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from sandbox.effects import effect
from sandbox.errors import KernelError
from sandbox.linux.network_rtnl import (
    FAMILY,
    HEADER,
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    TIMEOUT,
    error_in,
    messages,
    tlvs,
)

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
_CTNETLINK = 1 << 8
_GET, _DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE = 1, 2, 12, 18
_TUPLE_PROTO, _PROTO_NUM, _PROTO_DST_PORT = 2, 1, 3
_NESTED = 0x8000
_HEAD = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id


def forget_answers(address: IPv4Address | IPv6Address) -> None:
    """Forget every connection that is answered by `address`, which nobody has any more.  Raises KernelError."""
    _forget(FAMILY[address.version], address.packed, lambda _, reply: address.packed in reply)


def forget_udp_port(port: int, version: int) -> None:
    """Forget every UDP connection to this port, so that it is led anew.  Raises KernelError."""
    packed = port.to_bytes(2)
    _forget(FAMILY[version], packed, lambda original, _: _udp_target(original) == packed)


def _udp_target(original: bytes) -> bytes | None:
    """The port that a tuple goes to, as the kernel has it, where it is of UDP."""
    protocol = dict(tlvs(dict(tlvs(original)).get(_TUPLE_PROTO, b"")))
    return protocol.get(_PROTO_DST_PORT) if protocol.get(_PROTO_NUM) == bytes([socket.IPPROTO_UDP]) else None


@effect("forget connections")
def _forget(family: int, mark: bytes, unwanted: Callable[[bytes, bytes], bool]) -> None:
    """Forget the entries whose tuples, there and back, are `unwanted`; `mark` is in the bytes of every such."""
    head = _HEAD.pack(family, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as netlink:
        netlink.settimeout(TIMEOUT)
        netlink.bind((0, 0))
        netlink.send(_message(_GET, NLM_F_DUMP, head))
        for entry in [entry for entry in _entries(netlink) if mark in entry]:
            attributes = dict(tlvs(entry))
            if unwanted(attributes[_TUPLE_ORIG], attributes[_TUPLE_REPLY]):
                named = [(_TUPLE_ORIG | _NESTED, attributes[_TUPLE_ORIG]), (_ID, attributes[_ID])]
                zone = [(_ZONE, attributes[_ZONE])] if _ZONE in attributes else []
                body = b"".join(_attribute(kind, value) for kind, value in named + zone)
                netlink.send(_message(_DELETE, NLM_F_ACK, head + body))
                _acknowledged(netlink)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _entries(netlink: socket.socket) -> list[bytes]:
    """The attributes of every entry."""
    entries: list[bytes] = []
    while True:
        for kind, message in messages(netlink.recv(1 << 20)):
            if kind == NLMSG_DONE:
                return entries
            if kind == NLMSG_ERROR:
                raise KernelError(error_in(message), step="list tracked connections")
            entries.append(message[HEADER.size + _HEAD.size :])


def _acknowledged(netlink: socket.socket) -> None:
    number = error_in(netlink.recv(4096))
    if number not in (0, errno.ENOENT):  # it has ended by itself
        raise KernelError(number, step="forget a tracked connection")
