"""News of the host's network: that links, addresses, routes, forwarding or nftables have changed.

Says that, not what: who hears of it looks.  So what comes and goes with every link of a pod is left out, and what
others do with what is theirs alone; and it is told which links were deleted, as their end is waited for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
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
_RTA_DST, _RTA_OIF = 1, 4
_NFTA_TABLE = 1  # linux/netfilter/nf_tables.h: in messages of every kind but one the name of the table
_NFT_NEWGEN = 10 << 8 | 15  # that one: the end of each transaction
_NFGENMSG = 4
_IFINFO, _RTMSG, _NETCONF = 16, 12, 4  # bytes of struct ifinfomsg, rtmsg, and netconfmsg with its padding


@dataclass(frozen=True)
class News:
    """Something has changed; `link` is the name of the one that left its bridge or, if it is `gone`, was deleted."""

    link: str | None = None
    gone: bool = False


class Watch:
    """Hears of changes in the network namespace in which it is made.  Its `sockets` are readable when there is news."""

    def __init__(
        self,
        is_of_pod: Callable[[str], bool] = lambda _: False,
        is_others: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_of_pod` tells links of pods by their names: what their making alone changes is no news.  `is_others`
        tells links and tables of nftables that are nothing to us, whatever becomes of them."""
        self._is_of_pod = is_of_pod
        self._is_others = is_others
        self.sockets = (
            _member(socket.NETLINK_ROUTE, _ROUTE_GROUPS),
            _member(NETLINK_NETFILTER, (_NFTABLES_GROUP,)),
        )
        # Indexes of links of others: when an address or a route is gone, its link may be, too, and with it the name.
        self._others = {index for index, name in socket.if_nameindex() if is_others(name)}

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
                        yield from (News() for kind, message in messages(data) if not self._is_of_others(kind, message))

    def _read(self, data: bytes) -> Iterator[News]:
        for kind, message in messages(data):
            body = message[HEADER.size :]
            if kind == RTM_NEWLINK:
                if self._is_others(_name(body[_IFINFO:], _IFLA_IFNAME)):
                    self._others.add(_index(body))
            elif kind == RTM_DELLINK:
                name, gone = _name(body[_IFINFO:], _IFLA_IFNAME), body[0] == socket.AF_UNSPEC
                if gone:  # not AF_BRIDGE: it is a port no more
                    self._others.discard(_index(body))
                if not self._is_others(name):
                    yield News(name, gone=gone)
            elif not self._is_usual(kind, body):
                yield News()

    def _is_of_others(self, kind: int, message: bytes) -> bool:
        """Whether what nftables tell is about a table of others, or nothing but that something was told."""
        return kind == _NFT_NEWGEN or self._is_others(_name(message[HEADER.size + _NFGENMSG :], _NFTA_TABLE))

    def _is_usual(self, kind: int, body: bytes) -> bool:
        """Whether it is what the kernel does by itself when a link is made, or when one goes."""
        match kind:
            case _ if kind == _RTM_DELNETCONF:
                return True
            case _ if kind in (RTM_NEWADDR, _RTM_DELADDR):
                return body[3] == _RT_SCOPE_LINK or _index(body) in self._others
            case _ if kind in (RTM_NEWROUTE, _RTM_DELROUTE):
                return self._is_usual_route(body)
            case _ if kind == _RTM_NEWNETCONF:
                name = _link_name(body)
                return name == "" or (name is not None and (self._is_of_pod(name) or self._is_others(name)))
        return False

    def _is_usual_route(self, body: bytes) -> bool:
        """Local ones and those of link-local addresses follow from addresses."""
        if body[4] == _RT_TABLE_LOCAL:
            return True
        about = dict(tlvs(body[_RTMSG:]))
        by = about.get(_RTA_OIF)
        return about.get(_RTA_DST, b"").startswith(b"\xfe\x80") or (
            by is not None and int.from_bytes(by, sys.byteorder) in self._others
        )


def _name(attributes: bytes, kind: int) -> str:
    """What is called so in the attributes; empty where they have none."""
    found = next((value for each, value in tlvs(attributes) if each == kind), b"")
    return found.rstrip(b"\0").decode(errors="replace")


def _index(body: bytes) -> int:
    """Of a link: struct ifinfomsg and struct ifaddrmsg have it in the same place."""
    (index,) = struct.unpack_from("=i", body, 4)
    return int(index)


def _link_name(netconf: bytes) -> str | None:
    """Of the link that it is about: None where it is about all, empty where that is gone by now, which is told, too."""
    (index,) = struct.unpack("=i", dict(tlvs(netconf[_NETCONF:])).get(_NETCONFA_IFINDEX, b"\xff" * 4))
    try:
        return socket.if_indextoname(index) if index > 0 else None
    except OSError:
        return ""


def _member(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    netlink.bind((0, 0))
    for group in groups:
        netlink.setsockopt(SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    return netlink
