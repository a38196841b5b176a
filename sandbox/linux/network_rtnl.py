"""rtnetlink on a socket of our own, with messages that pyroute2 encodes and reads.

pyroute2's own sockets run an event loop each and take a round trip per message.  Here any number of changes goes to the
kernel in one, and a socket stays in the network namespace that its thread was in when it was opened.  Knows messages,
not pods.  pyroute2 costs 110 ms to import, so it is imported where a message is made.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network
from typing import Any

from sandbox.effects import effect
from sandbox.errors import KernelError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

# linux/netlink.h
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR, NLMSG_DONE = 0x2, 0x3
NLMSGERR_ATTR_MSG = 1
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port

# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1

IFF_UP = 0x1  # linux/if.h
IN6_ADDR_GEN_MODE_NONE = 1  # linux/if_link.h
IFA_F_NODAD = 0x02  # linux/if_addr.h
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
TIMEOUT = 10.0  # seconds; the kernel answers before send() returns


@dataclass(frozen=True)
class Change:
    """One request: `step` names it in errors, an errno in `fine` is none."""

    step: str
    kind: int
    flags: int
    message: Any
    fine: frozenset[int] = frozenset()

    def encoded(self, sequence: int) -> bytes:
        header = self.message["header"]
        header["type"], header["flags"] = self.kind, NLM_F_REQUEST | NLM_F_ACK | self.flags
        header["sequence_number"] = sequence
        self.message.encode()
        return bytes(self.message.data)


@dataclass(frozen=True)
class Link:
    """A link as the kernel shows it; `master` is the index of its bridge, or 0."""

    index: int
    name: str
    kind: str
    alias: str
    master: int
    mtu: int
    up: bool


@dataclass(frozen=True)
class Route:
    """A route of the main table by which something is sent; `network` is None for a default route."""

    version: int
    network: Network | None
    link: int


@dataclass
class Rtnl:
    """A socket in the network namespace that the thread is in which makes it.  Not for two threads at once."""

    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.settimeout(TIMEOUT)
        self._socket.bind((0, 0))

    def __enter__(self) -> Rtnl:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @effect("change links")
    def change(self, *changes: Change) -> None:
        """Make the changes, in one message.  Raises KernelError for the first that failed; the others were tried."""
        self._socket.send(b"".join(change.encoded(number) for number, change in enumerate(changes)))
        failures: dict[int, KernelError] = {}
        for _ in changes:
            sequence, number, said = self._acknowledged()
            change = changes[sequence]
            if number and number not in change.fine:
                failures[sequence] = KernelError(number, step=change.step, hint=said or None)
        if failures:
            raise failures[min(failures)]

    def _acknowledged(self) -> tuple[int, int, str]:
        """The next answer: the sequence number of what it is about, its errno, and the kernel's own words."""
        data = self._socket.recv(65536)
        length, kind, flags, sequence, _ = HEADER.unpack_from(data)
        assert kind == NLMSG_ERROR and length == len(data), "an acknowledgement is a datagram of its own"
        attributes = data[2 * HEADER.size + 4 :] if flags & NLM_F_ACK_TLVS else b""
        said = [value for about, value in tlvs(attributes) if about == NLMSGERR_ATTR_MSG]
        words = [value.rstrip(b"\0").decode(errors="replace") for value in said]
        return sequence, error_in(data), " ".join(words)

    def _dump(self, kind: int, message: Any) -> Iterator[Any]:
        header = message["header"]
        header["type"], header["flags"] = kind, NLM_F_REQUEST | NLM_F_DUMP
        message.encode()
        self._socket.send(bytes(message.data))
        while True:
            for answer, data in messages(self._socket.recv(1 << 20)):
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    raise KernelError(error_in(data), step="netlink: list")
                decoded = type(message)(data)
                decoded.decode()
                yield decoded

    def links(self) -> list[Link]:
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

        return [_link(each) for each in self._dump(RTM_GETLINK, ifinfmsg())]

    def link(self, name: str) -> Link | None:
        """The link of this name."""
        message = _link_message(name)
        message["header"]["type"], message["header"]["flags"] = RTM_GETLINK, NLM_F_REQUEST
        message.encode()
        self._socket.send(bytes(message.data))
        data = self._socket.recv(1 << 16)
        if HEADER.unpack_from(data)[1] == NLMSG_ERROR:
            number = error_in(data)
            if number == errno.ENODEV:
                return None
            raise KernelError(number, step="look at link", filename=name)
        decoded = type(message)(data)
        decoded.decode()
        return _link(decoded)

    def addresses(self, index: int = 0) -> list[Interface]:
        """The addresses of all links, or of the one with this index."""
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

        found: list[Interface] = []
        for family, of in ((socket.AF_INET, IPv4Interface), (socket.AF_INET6, IPv6Interface)):
            message = ifaddrmsg()
            message["family"], message["index"] = family, index
            for each in self._dump(RTM_GETADDR, message):
                if not index or each["index"] == index:
                    found.append(of((_local(each), each["prefixlen"])))
        return found

    def routes(self) -> list[Route]:
        """The unicast routes of the main table, both families."""
        from pyroute2.netlink.rtnl.rtmsg import rtmsg

        found: list[Route] = []
        for version, family in FAMILY.items():
            message = rtmsg()
            message["family"] = family
            for each in self._dump(RTM_GETROUTE, message):
                if each["type"] == RTN_UNICAST and _table(each) == RT_TABLE_MAIN:
                    found.extend(_routes(version, each))
        return found


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of a datagram: type, and all of it."""
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        yield kind, data[:length]
        data = data[(length + 3) & ~3 :]


def error_in(message: bytes) -> int:
    """The errno that an NLMSG_ERROR tells; 0 where it acknowledges."""
    (number,) = struct.unpack_from("=i", message, HEADER.size)
    return -int(number)


def tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data`: type (without its flags) and value."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=(info.get_attr("IFLA_INFO_KIND") or "") if info else "",
        alias=message.get_attr("IFLA_IFALIAS") or "",
        master=message.get_attr("IFLA_MASTER") or 0,
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & IFF_UP),
    )


def _local(message: Any) -> str:
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _table(message: Any) -> int:
    return int(message.get_attr("RTA_TABLE") or message["table"])


def _routes(version: int, message: Any) -> Iterator[Route]:
    """A route of several hops is one by each of their links."""
    target = message.get_attr("RTA_DST")
    network = ip_network((target, message["dst_len"])) if target else None
    hops = message.get_attr("RTA_MULTIPATH") or ()
    for link in {message.get_attr("RTA_OIF"), *(hop["oif"] for hop in hops)}:
        if link:
            yield Route(version, network, link)


# ---- changes ----


def _link_message(name: str = "", *, index: int = 0, up: bool | None = None, **attributes: Any) -> Any:
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    message = ifinfmsg()
    message["index"] = index
    if up is not None:
        message["flags"], message["change"] = (IFF_UP if up else 0), IFF_UP
    named = [("IFLA_IFNAME", name)] if name else []
    message["attrs"] = named + [(f"IFLA_{key.upper()}", value) for key, value in attributes.items()]
    return message


def _kind(kind: str, data: Sequence[tuple[str, Any]] = ()) -> dict[str, Any]:
    info: list[tuple[str, Any]] = [("IFLA_INFO_KIND", kind)]
    if data:
        info.append(("IFLA_INFO_DATA", {"attrs": list(data)}))
    return {"attrs": info}


def new_bridge(name: str, *, mac: str, mtu: int) -> Change:
    """A bridge that is up.  Its own address, or it would take, and change with, that of a port."""
    message = _link_message(name, up=True, address=mac, mtu=mtu, linkinfo=_kind("bridge"))
    return Change(f"make bridge {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, message)


def new_veth(name: str, *, bridge: int, peer: str, netns: int, mac: str, mtu: int) -> Change:
    """A veth: our end a port of the bridge, its peer born in the network namespace behind the fd `netns`.

    Both are down: the kernel opens a veth only when both ends are there.
    """
    other = [("IFLA_IFNAME", peer), ("IFLA_ADDRESS", mac), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", netns)]
    info = _kind("veth", [("VETH_INFO_PEER", {"attrs": other})])
    message = _link_message(name, mtu=mtu, master=bridge, linkinfo=info)
    return Change(f"make link {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, message)


def join_bridge(name: str, bridge: int) -> Change:
    """Make a link a port of the bridge."""
    return Change(f"make link {name} a port", RTM_SETLINK, 0, _link_message(name, master=bridge))


def settle_port(name: str, alias: str, *, hairpin: bool) -> Change:
    """Bring a port of a bridge up, with an alias that `ip link` shows, and without an IPv6 address of its own.

    With `hairpin` the bridge may send back by the port what came in by it.
    """
    slave = [("IFLA_INFO_SLAVE_KIND", "bridge")]
    mode = ("IFLA_INFO_SLAVE_DATA", {"attrs": [("IFLA_BRPORT_MODE", int(hairpin))]})
    quiet = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", IN6_ADDR_GEN_MODE_NONE)]})]}
    message = _link_message(name, up=True, ifalias=alias, linkinfo={"attrs": [*slave, mode]}, af_spec=quiet)
    return Change(f"bring up link {name}", RTM_NEWLINK, 0, message)  # RTM_SETLINK would pass over the mode


def set_up(index: int) -> Change:
    """Bring a link up."""
    message = _link_message(index=index, up=True)
    return Change(f"bring up link {index}", RTM_SETLINK, 0, message)


def delete_link(name: str) -> Change:
    """Delete a link; one that is not there is fine."""
    return Change(f"delete link {name}", RTM_DELLINK, 0, _link_message(name), fine=frozenset({errno.ENODEV}))


def new_address(index: int, address: Interface) -> Change:
    """Give a link an address, which can be used at once: IPv6 would first look for others that have it."""
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

    message = ifaddrmsg()
    message["family"], message["prefixlen"] = FAMILY[address.version], address.network.prefixlen
    message["index"], message["flags"] = index, IFA_F_NODAD if address.version == 6 else 0
    attributes = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    if isinstance(address, IPv4Interface):
        attributes.append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    message["attrs"] = attributes
    step = f"give link {index} the address {address}"
    return Change(step, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, message, fine=frozenset({errno.EEXIST}))


def new_default_route(gateway: Address) -> Change:
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    message = rtmsg()
    message["family"], message["table"] = FAMILY[gateway.version], RT_TABLE_MAIN
    message["proto"], message["type"], message["scope"] = RTPROT_STATIC, RTN_UNICAST, 0
    message["attrs"] = [("RTA_GATEWAY", str(gateway))]
    step = f"make the default route by {gateway}"
    return Change(step, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, message, fine=frozenset({errno.EEXIST}))


def network_namespace() -> int:
    """An fd of the network namespace that the calling thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
