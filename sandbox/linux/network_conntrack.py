"""Connections that the kernel tracks: forgetting those that lead to an address which nobody has any more.

A UDP client goes on sending to the same port, and its entry would go on leading there.  nfnetlink, by hand: pyroute2
would read every entry of the machine, while here one compare of bytes passes over nearly all.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from sandbox.errors import KernelError
from sandbox.linux.network_rtnl import (
    HEADER,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    TIMEOUT,
    tlvs,
)

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
_CTNETLINK = 1 << 8
_GET, _DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE = 1, 2, 12, 18
_NESTED = 0x8000
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_NETLINK_NETFILTER = 12  # linux/netlink.h
_HEAD = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id


def forget(address: IPv4Address | IPv6Address) -> None:
    """Forget every connection that is answered by `address`.  Raises KernelError."""
    head = _HEAD.pack(_FAMILY[address.version], 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as netlink:
        netlink.settimeout(TIMEOUT)
        netlink.bind((0, 0))
        netlink.send(_message(_GET, NLM_F_DUMP, head))
        found = [entry for entry in _entries(netlink) if address.packed in entry]
        for entry in found:
            attributes = dict(tlvs(entry))
            if address.packed in attributes.get(_TUPLE_REPLY, b""):
                named = (_TUPLE_ORIG | _NESTED, attributes[_TUPLE_ORIG]), (_ID, attributes[_ID])
                zone = [(_ZONE, attributes[_ZONE])] if _ZONE in attributes else []
                body = b"".join(_attribute(kind, value) for kind, value in (*named, *zone))
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
        data = netlink.recv(1 << 20)
        while data:
            length, kind, *_ = HEADER.unpack_from(data)
            if kind == NLMSG_DONE:
                return entries
            if kind == NLMSG_ERROR:
                (number,) = struct.unpack_from("=i", data, HEADER.size)
                raise KernelError(-number, step="list tracked connections")
            entries.append(data[HEADER.size + _HEAD.size : length])
            data = data[(length + 3) & ~3 :]


def _acknowledged(netlink: socket.socket) -> None:
    (number,) = struct.unpack_from("=i", netlink.recv(4096), HEADER.size)
    if number not in (0, -errno.ENOENT):  # it has ended by itself
        raise KernelError(-number, step="forget a tracked connection")
