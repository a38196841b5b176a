"""The addresses of a root's pods: the prefixes, who has which number in them, and what is made of a number.

A pod's lease is one number, counted from the start of each prefix: 10.200.4.5 and fd5e::5 are one pod's.  `Book` is
what stands in `<root>/network.json`.  Pure; sandbox.pod.root_network writes it down and does it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from itertools import chain

from sandbox.errors import SandboxError
from sandbox.linux.network import Interface, Network, PodLink

BRIDGE = 1  # its number; 0 is the network's own address, in IPv6 that of any router
FIRST, LAST = 2, 65535
PREFIX_LENGTH = {4: 22, 6: 64}  # 1,021 pods: a bridge of Linux has 1,023 ports
POOLS = ("10.128.0.0/9", "172.16.0.0/12", "192.168.0.0/16")


@dataclass(frozen=True)
class HostPort:
    """A port of the host that leads to a port of a pod.

    `host_ip` is "" for all addresses of the host, "0.0.0.0" or "::" for those of a family.
    """

    protocol: str  # TCP or UDP
    host_port: int
    container_port: int
    host_ip: str = ""


@dataclass(frozen=True)
class Lease:
    """A pod's number, and the host's ports that it has; they lead to it unless `closed`: it comes to its end."""

    number: int
    ports: tuple[HostPort, ...] = ()
    closed: bool = False


@dataclass(frozen=True)
class Book:
    """What is known of a root's network.

    `leaving` are numbers given back whose links were not yet seen to be gone.  `up`: something of the network may stand
    in the kernel.  `opened` are the host's parameters that were changed, with their value before; `accepted` the chains
    of other firewalls that got rules which let the pods through.
    """

    prefixes: tuple[str, ...] = ()
    leases: Mapping[str, Lease] = field(default_factory=dict)  # by UID
    leaving: tuple[int, ...] = ()
    last: int = BRIDGE  # the number given last: the next is looked for behind it, so that none comes back soon
    up: bool = False
    opened: Mapping[str, str] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(ip_network(prefix) for prefix in self.prefixes)

    @property
    def ports(self) -> tuple[tuple[int, HostPort], ...]:
        """The host's ports that lead to pods, with the number of the pod that each leads to."""
        return tuple((lease.number, port) for lease in self.leases.values() if not lease.closed for port in lease.ports)

    @property
    def closed_ports(self) -> tuple[tuple[int, HostPort], ...]:
        """Those that pods have until their ends, and that lead nowhere any more."""
        return tuple((lease.number, port) for lease in self.leases.values() if lease.closed for port in lease.ports)

    def with_lease(self, uid: str, ports: tuple[HostPort, ...]) -> Book:
        """With a lease for the pod; one that it has keeps its number.  Raises SandboxError where none is left."""
        known = self.leases.get(uid)
        number = known.number if known else self._free()
        leases = {**self.leases, uid: Lease(number, ports)}
        return replace(self, leases=leases, last=self.last if known else number)

    def with_closed_ports(self, uid: str) -> Book:
        """With the pod's ports leading nowhere any more."""
        return replace(self, leases={**self.leases, uid: replace(self.leases[uid], closed=True)})

    def _free(self) -> int:
        end = capacity(self.networks)
        taken = {lease.number for lease in self.leases.values()} | set(self.leaving)
        for number in chain(range(self.last + 1, end + 1), range(FIRST, min(self.last, end) + 1)):
            if number not in taken:
                return number
        raise SandboxError(
            f"no address is left in {', '.join(self.prefixes)}: {len(taken)} pods have one",
            hint="delete pods, or set a larger podCIDR in config.toml, which counts once no pod is left",
        )

    def without_lease(self, uid: str) -> Book:
        """With the pod's lease given back; its number is free once the link was seen to be gone."""
        lease = self.leases.get(uid)
        if lease is None:
            return self
        leases = {known: each for known, each in self.leases.items() if known != uid}
        return replace(self, leases=leases, leaving=(*self.leaving, lease.number))

    def gone(self, numbers: Collection[int]) -> Book:
        """With these numbers, whose links are gone, free again."""
        return replace(self, leaving=tuple(each for each in self.leaving if each not in numbers))


def capacity(networks: Sequence[Network]) -> int:
    """The highest number that is an address for a pod in each of the networks."""
    ends = (each.num_addresses - (2 if each.version == 4 else 1) for each in networks)
    return min([*ends, LAST])


# ---- what a number stands for ----


def address(network: Network, number: int) -> Interface:
    return ip_interface((network[number], network.prefixlen))


def mac(networks: Sequence[Network], number: int) -> str:
    """A locally administered address that belongs to the number as its IP does: no neighbour's cache goes stale."""
    packed = networks[0][number].packed[-4:]
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x5D, *packed))


ALIAS = "seedpod pod "


def uid_of(alias: str) -> str:
    """The pod that a link belongs to, by its alias."""
    return alias.removeprefix(ALIAS)


def link_name(root_name: str, number: int | str) -> str:
    """The name of a pod's link on the host, 15 bytes at most; without a number, what all those of a root begin with."""
    tag = root_name.removeprefix("seedpod")
    return f"sp{tag[:7]}-{number}" if tag else f"{root_name}-{number}"


def is_link_name(name: str) -> bool:
    """Whether a pod's link, of whatever root, has such a name."""
    return re.fullmatch(r"(sp[0-9a-f]{7}|seedpod)-[0-9]+", name) is not None


def is_of_other(root_name: str, name: str) -> bool:
    """Whether a link or a table of this name is another root's."""
    if is_link_name(name):
        return not name.startswith(link_name(root_name, ""))
    return name != root_name and re.fullmatch(r"seedpod([0-9a-f]{8})?", name) is not None


def pod_link(root_name: str, uid: str, lease: Lease, networks: Sequence[Network]) -> PodLink:
    """The pod's link, with addresses in these networks."""
    return PodLink(
        name=link_name(root_name, lease.number),
        alias=f"{ALIAS}{uid}",
        mac=mac(networks, lease.number),
        addresses=tuple(address(network, lease.number) for network in networks),
        gateways=tuple(network[BRIDGE] for network in networks),
        # By a port of the host a pod may call itself; where netfilter sees what is bridged, the bridge leads it back.
        hairpin=bool(lease.ports),
    )


# ---- prefixes ----


def candidates(version: int, seed: bytes) -> Iterator[Network]:
    """Private prefixes to choose from, in an order that depends on `seed`: two roots hardly ever want the same."""
    number = int.from_bytes(hashlib.sha256(seed).digest()[:8])
    if version == 4:
        for pool in POOLS:
            whole, size = IPv4Network(pool), 1 << (32 - PREFIX_LENGTH[4])
            count = whole.num_addresses // size
            for index in range(count):
                yield IPv4Network((int(whole[0]) + (number + index) % count * size, PREFIX_LENGTH[4]))
    else:
        for index in range(256):  # RFC 4193: fd, and 40 bits that nobody else chose
            identity = hashlib.sha256(seed + bytes([index])).digest()[:5]
            yield IPv6Network((b"\xfd" + identity + bytes(10), PREFIX_LENGTH[6]))


def is_chosen(network: Network, version: int) -> bool:
    """Whether it may be one that `choose` gave."""
    return network.version == version and network.prefixlen == PREFIX_LENGTH[version] and network.is_private


def choose(version: int, seed: bytes, used: Collection[Network]) -> Network | None:
    """The first candidate that has no address in common with any network in use."""
    return next((each for each in candidates(version, seed) if overlapping(each, used) is None), None)


def overlapping(network: Network, used: Collection[Network]) -> Network | None:
    """One of the networks in use that has an address in common with `network`; default routes are none."""
    for each in used:
        if each.prefixlen and _overlap(network, each):
            return each
    return None


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)
