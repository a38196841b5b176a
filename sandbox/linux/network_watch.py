"""News of the host's network: that links, addresses, routes, forwarding or nftables have changed.

Says that, not what: who hears of it looks.  One link is told by name, as it is waited for: a deleted one.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.linux.network_rtnl import HEADER, NETLINK_NETFILTER, RTM_DELLINK, RTM_NEWLINK, SOL_NETLINK, messages, tlvs

_NETLINK_ADD_MEMBERSHIP = 1  # linux/netlink.h
# linux/rtnetlink.h: LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF
_ROUTE_GROUPS = (1, 5, 7, 9, 11, 24, 25)
_NFTABLES_GROUP = 7  # linux/netfilter/nfnetlink.h
_IFLA_IFNAME = 3
_IFINFO = 16  # bytes of struct ifinfomsg


@dataclass(frozen=True)
class News:
    """Something has changed; `gone` is the name of the link that was deleted, if it was that."""

    gone: str | None = None


class Watch:
    """Hears of changes in the network namespace in which it is made.  Its `sockets` are readable when there is news."""

    def __init__(self) -> None:
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
                    yield from _read(data, of_links=each is self.sockets[0])


def _member(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    netlink.bind((0, 0))
    for group in groups:
        netlink.setsockopt(SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    return netlink


def _read(data: bytes, *, of_links: bool) -> Iterator[News]:
    for kind, message in messages(data):
        if of_links and kind == RTM_DELLINK:
            attributes = dict(tlvs(message[HEADER.size + _IFINFO :]))
            yield News(attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"))
        elif not (of_links and kind == RTM_NEWLINK):
            yield News()
