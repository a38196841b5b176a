"""News of the host's network: that links, addresses, routes, forwarding or nftables have changed.

Says that, not what: who hears of it looks.  So what comes and goes with every link of a pod is left out, and it is told
which links were deleted, as their end is waited for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandbox.linux.network_rtnl import (
    HEADER,
    NETLINK_NETFILTER,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    SOL_NETLINK,
    messages,
    tlvs,
)

_NETLINK_ADD_MEMBERSHIP = 1  # linux/netlink.h
# linux/rtnetlink.h: LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF
_ROUTE_GROUPS = (1, 5, 7, 9, 11, 24, 25)
_NFTABLES_GROUP = 7  # linux/netfilter/nfnetlink.h
_RTM_DELADDR, _RTM_DELROUTE, _RTM_NEWNETCONF, _RTM_DELNETCONF = 21, 25, 80, 81
_RT_SCOPE_LINK, _RT_TABLE_LOCAL = 253, 255
_IFLA_IFNAME = 3
_NETCONFA_IFINDEX = 1  # linux/netconf.h
_RTA_DST = 1
_IFINFO, _RTMSG, _NETCONF = 16, 12, 4  # bytes of struct ifinfomsg, rtmsg, and netconfmsg with its padding


@dataclass(frozen=True)
class News:
    """Something has changed; `link` is the name of the one that left its bridge or, if it is `gone`, was deleted."""

    link: str | None = None
    gone: bool = False


class Watch:
    """Hears of changes in the network namespace in which it is made.  Its `sockets` are readable when there is news."""

    def __init__(self, is_of_pod: Callable[[str], bool] = lambda _: False) -> None:
        """`is_of_pod` tells links of pods by their names: what their making alone changes is no news."""
        self._is_of_pod = is_of_pod
        self.sockets = (
            _member(socket.NETLINK_ROUTE, _ROUTE_GROUPS),
            _member(NETLINK_NETFILTER, (_NFTABLES_GROUP,)),
        )

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for each in self.sockets:
            each.close()

    def news(self) -> Iterator[News]:
        """What has come since, links that were made left out: they are ours, or nothing to us.  Does not block."""
        for each in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    try:
                        data = each.recv(1 << 16)
                    except OSError as error:
                        if isinstance(error, BlockingIOError):
                            raise
                        yield News()  # ENOBUFS: there was more than fits; look at all of it
                        continue
                    if each is self.sockets[0]:
                        yield from self._read(data)
                    else:
                        yield from (News() for _ in messages(data))

    def _read(self, data: bytes) -> Iterator[News]:
        for kind, message in messages(data):
            body = message[HEADER.size :]
            if kind == RTM_DELLINK:
                name = dict(tlvs(body[_IFINFO:])).get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
                yield News(name, gone=body[0] == socket.AF_UNSPEC)  # AF_BRIDGE: it is a port no more
            elif not self._is_usual(kind, body):
                yield News()

    def _is_usual(self, kind: int, body: bytes) -> bool:
        """Whether it is what the kernel does by itself when a link is made, or when one goes."""
        match kind:
            case _ if kind in (RTM_NEWLINK, _RTM_DELNETCONF):
                return True
            case _ if kind in (RTM_NEWADDR, _RTM_DELADDR):
                return body[3] == _RT_SCOPE_LINK
            case _ if kind in (RTM_NEWROUTE, _RTM_DELROUTE):
                target = dict(tlvs(body[_RTMSG:])).get(_RTA_DST, b"")
                return body[4] == _RT_TABLE_LOCAL or target.startswith(b"\xfe\x80")  # they follow from addresses
            case _ if kind == _RTM_NEWNETCONF:
                return self._is_of_pod(_link_name(body))
        return False


def _link_name(netconf: bytes) -> str:
    """Of the link that it is about; empty where it is about all, or is gone by now."""
    (index,) = struct.unpack("=i", dict(tlvs(netconf[_NETCONF:])).get(_NETCONFA_IFINDEX, b"\xff" * 4))
    try:
        return socket.if_indextoname(index) if index > 0 else ""
    except OSError:
        return ""


def _member(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    netlink.bind((0, 0))
    for group in groups:
        netlink.setsockopt(SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    return netlink
