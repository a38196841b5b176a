"""The links of pods: a bridge on the host, a veth for each pod, addresses and routes; and looking at links.

Blocking, for a thread of its own: to reach into a pod the thread enters its network namespace for a moment.  What is
a pod's, which names and addresses are whose, is decided in sandbox.pod.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.errors import KernelError, SandboxError
from sandbox.linux import native, sysctl
from sandbox.linux import network_rtnl as rtnl
from sandbox.linux.network_rtnl import Address, Interface, Link, Network, Route, Rtnl

__all__ = [
    "Address",
    "Bridge",
    "Interface",
    "Link",
    "Links",
    "Network",
    "PodLink",
    "Route",
    "exclusive",
    "inside",
    "link_index",
    "link_names",
    "source_address",
]

POD_LINK = "eth0"
MTU_MIN, MTU, MTU_MAX = 1280, 1500, 65535  # IPv6's least; Ethernet's, where there is no default route; a bridge's most


@dataclass(frozen=True)
class PodLink:
    """A pod's link: `name` on the host, eth0 inside, with its addresses and the bridge's as gateways.

    `hairpin`: the pod may be sent what it sent itself.
    """

    name: str
    alias: str
    mac: str
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    hairpin: bool = False


@contextmanager
def exclusive() -> Iterator[None]:
    """Be the only one on this machine who chooses prefixes and changes what all roots share.

    The lock is the network namespace itself: whoever sees other routes has another lock, and no file is left.
    """
    namespace = rtnl.network_namespace()
    try:
        fcntl.flock(namespace, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(namespace, fcntl.LOCK_UN)  # a child that the program forked meanwhile has a copy of the fd
        os.close(namespace)


@contextmanager
def inside(pidfd: int) -> Iterator[None]:
    """Be in the network namespace of a process.  Raises KernelError (ESRCH) where it has ended."""
    home = rtnl.network_namespace()
    try:
        native.setns(pidfd, native.CLONE_NEWNET)
        try:
            yield
        finally:
            native.setns(home, native.CLONE_NEWNET)
    finally:
        os.close(home)


@dataclass(frozen=True)
class Bridge:
    name: str
    index: int
    mtu: int


class Links:
    """The links of the network namespace that this is made in."""

    def __init__(self) -> None:
        self._rtnl = Rtnl()

    def close(self) -> None:
        self._rtnl.close()

    # ---- looking ----

    def all(self) -> list[Link]:
        return self._rtnl.links()

    def routes(self) -> list[Route]:
        return self._rtnl.routes()

    def addresses(self, index: int) -> list[Interface]:
        """Those of one link."""
        return self._rtnl.addresses(index)

    def networks(self, *, but: str) -> list[Network]:
        """Every network that is in use, by a route or an address, up or down, but those of the link called `but`."""
        index = link_index(but) or 0
        own = set(self._rtnl.addresses(index)) if index else set()
        by_route = [each.network for each in self.routes() if each.network is not None and each.link != index]
        return by_route + [each.network for each in self._rtnl.addresses() if each not in own]

    # ---- the bridge ----

    def bridge(self, name: str, *, mac: str, addresses: Sequence[Interface]) -> Bridge:
        """The bridge, made where it is missing, up and with its addresses."""
        found = self.find(name)
        if found is None:
            self._rtnl.change(rtnl.new_bridge(name, mac=mac, mtu=self._mtu()))
        elif found.kind != "bridge":
            raise SandboxError(f"link {name} is there and is no bridge", hint=f"ip link delete {name}")
        found = self.find(name)
        if found is None:
            raise KernelError(errno.ENODEV, step="make bridge", filename=name)
        # A router among the pods must not become the host's (as CVE-2020-10749).
        sysctl.write_where_known(f"net/ipv6/conf/{name}/accept_ra", "0")
        self._rtnl.change(rtnl.set_up(found.index), *(rtnl.new_address(found.index, each) for each in addresses))
        return Bridge(name, found.index, found.mtu)

    def find(self, name: str) -> Link | None:
        return self._rtnl.link(name)

    def _mtu(self) -> int:
        """That of the links with default routes: a pod's packets need no cutting on their way out."""
        links = {each.index: each for each in self.all()}
        ways = [links[each.link].mtu for each in self.routes() if each.network is None and each.link in links]
        return max(MTU_MIN, min([*ways, MTU_MAX])) if ways else MTU

    def delete(self, *names: str) -> None:
        """Delete links; those that are not there are fine."""
        if names:
            self._rtnl.change(*(rtnl.delete_link(name) for name in names))

    # ---- pods ----

    def add(self, link: PodLink, *, bridge: Bridge, pidfd: int) -> None:
        """Make the link of the pod whose podmon is behind `pidfd`; what has its name already goes first.

        Raises KernelError.  What it made then dies with the pod's network namespace.
        """
        with inside(pidfd):
            netns = rtnl.network_namespace()
            try:
                self._make(link, bridge, netns)
            except KernelError as error:
                if error.errno != errno.EEXIST:
                    raise
                self.delete(link.name)  # of a former sandbox, whose namespace still dies
                self._make(link, bridge, netns)
            finally:
                os.close(netns)
            _configure(link)

    def _make(self, link: PodLink, bridge: Bridge, netns: int) -> None:
        at = {"bridge": bridge.index, "netns": netns}
        made = rtnl.new_veth(link.name, **at, peer=POD_LINK, mac=link.mac, mtu=bridge.mtu)
        self._rtnl.change(made, _settled(link))

    def repair(self, link: PodLink, *, bridge: Bridge, pidfd: int) -> bool:
        """Make whole what is not of the pod's link; whether there was anything.

        Where its end on the host is there, so is eth0: a veth has two ends.  Then connections survive the repair.
        """
        port = self.find(link.name)
        if port is None:
            self.add(link, bridge=bridge, pidfd=pidfd)
            return True
        if port.master == bridge.index and port.up:
            return False
        self._rtnl.change(rtnl.join_bridge(link.name, bridge.index), _settled(link))
        return True


def _settled(link: PodLink) -> rtnl.Change:
    return rtnl.settle_port(link.name, link.alias, hairpin=link.hairpin)


def _configure(link: PodLink) -> None:
    """Bring up eth0 of the namespace that the thread is in, and give it addresses and routes."""
    sysctl.write_where_known(f"net/ipv6/conf/{POD_LINK}/accept_ra", "0")  # no pod becomes another's router
    index = socket.if_nametoindex(POD_LINK)
    with Rtnl() as own:
        own.change(
            rtnl.set_up(index),
            *(rtnl.new_address(index, each) for each in link.addresses),
            *(rtnl.new_default_route(each) for each in link.gateways),
        )


def link_index(name: str) -> int | None:
    """The index of a link of the thread's network namespace; None where there is none of this name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def link_names() -> list[str]:
    """The names of all links of the calling process's network namespace, sorted."""
    return sorted(name for _, name in socket.if_nameindex())


def source_address() -> str | None:
    """The address that packets of this host have which take the IPv4 default route; None where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # a datagram socket's connect sends nothing
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address
