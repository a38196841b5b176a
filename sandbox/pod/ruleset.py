"""The nftables table of a root, as the text that nft reads.  Pure.

One table holds all: the masquerade of what leaves, the host's ports that lead to pods, and what keeps both narrow.  It
is replaced whole, in one transaction, whenever something of it changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from sandbox.linux.network import Network
from sandbox.pod.forwarding import GUARD
from sandbox.pod.leases import HostPort
from sandbox.pod.slices import NAME

# Interfaces whose forwarding we turned on forward to no one but pods, of whatever root.
BRIDGES = f"{NAME}*"

PORTS, CLOSED = "ports", "closed"  # what the names of maps of ports begin with

_FAMILY = {4: "ip", 6: "ip6"}
_LOOPBACK = "127.0.0.0/8"


def table(
    name: str,
    *,
    root: str,
    networks: Sequence[Network],
    ports: Iterable[tuple[int, HostPort]] = (),
    closed: Iterable[tuple[int, HostPort]] = (),
    opened: Iterable[tuple[int, str]] = (),
) -> str:
    """The table `name`, which is also the bridge's name.

    `ports` come with the number of the pod that each leads to; those `closed` are its still, for other roots to see,
    and no rule looks at them: who has a connection by one keeps it, as the kernel tracks that by itself.  `opened` are
    the interfaces that forward only because of us, by version of IP.
    """
    listed, held, forwarders = list(ports), list(closed), list(opened)
    lines = [
        f'comment "pods of {_quotable(root)}"',
        *(line for network in networks for line in _maps(PORTS, network, listed)),
        *(line for network in networks if held for line in _maps(CLOSED, network, held)),
        *_chain("loopback", "filter", "prerouting", "raw", _loopback(name)),
        *_chain("to_ports", "", "", "", [rule for network in networks for rule in _to_ports(network.version)]),
        *_chain("prerouting", "nat", "prerouting", "dstnat", ["fib daddr type local goto to_ports"]),
        *_chain("output", "nat", "output", "-100", ["fib daddr type local goto to_ports"]),
        *_chain("postrouting", "nat", "postrouting", "srcnat", _postrouting(name, networks)),
        *_chain("forward", "filter", "forward", "filter", _forward(forwarders)),
    ]
    body = "\n".join(f"\t{line}" for line in lines)
    return f"{removal(name)}table inet {name} {{\n{body}\n}}\n"


def _quotable(text: str) -> str:
    """As much of a path as nft's strings take."""
    return "".join(char for char in text if char.isascii() and char.isprintable() and char not in '"\\')[:100]


def removal(name: str) -> str:
    """What removes the table, whether it is there or not."""
    return f"table inet {name}\ndelete table inet {name}\n"


def _chain(name: str, kind: str, hook: str, priority: str, rules: Sequence[str]) -> list[str]:
    if not rules:
        return []
    head = [f"\ttype {kind} hook {hook} priority {priority}; policy accept;"] if hook else []
    return [f"chain {name} {{", *head, *(f"\t{rule}" for rule in rules), "}"]


def _loopback(name: str) -> list[str]:
    """With route_localnet the bridge takes packets for 127.0.0.1: answers alone, whose way back goes by our own NAT,
    and those are not addressed to it yet (as CVE-2020-8558)."""
    return [f'iifname "{name}" ip daddr {_LOOPBACK} counter drop']


def _maps(name: str, network: Network, ports: Sequence[tuple[int, HostPort]]) -> list[str]:
    version, family = network.version, f"ipv{network.version}_addr"
    anywhere, somewhere = [], []
    for number, port in ports:
        if port.host_ip and ip_address(port.host_ip).version != version:
            continue
        to = f"{network[number]} . {port.container_port}"
        key = f"{port.protocol.lower()} . {port.host_port}"
        if not port.host_ip or ip_address(port.host_ip).is_unspecified:
            anywhere.append(f"{key} : {to}")
        else:
            somewhere.append(f"{port.host_ip} . {key} : {to}")
    return [
        _map(f"{name}{version}", f"inet_proto . inet_service : {family} . inet_service", anywhere),
        _map(f"{name}{version}_at", f"{family} . inet_proto . inet_service : {family} . inet_service", somewhere),
    ]


def _map(name: str, kind: str, elements: Sequence[str]) -> str:
    held = f" elements = {{ {', '.join(elements)} }};" if elements else ""
    return f"map {name} {{ type {kind};{held} }}"


def _to_ports(version: int) -> list[str]:
    family = _FAMILY[version]
    # IPv6 has no route_localnet: what is sent to ::1 stays there, and is refused as by any host.
    stay = ["ip6 daddr ::1 return"] if version == 6 else []
    return [
        *stay,
        f"dnat {family} to {family} daddr . meta l4proto . th dport map @{PORTS}{version}_at",
        f"dnat {family} to meta l4proto . th dport map @{PORTS}{version}",
    ]


def _postrouting(name: str, networks: Sequence[Network]) -> list[str]:
    rules = []
    for network in networks:
        source = f"{_FAMILY[network.version]} saddr {network}"
        rules.append(f'{source} oifname != "{name}" masquerade')
        # From a pod by a port of the host to a pod: that one would answer directly, from an address nobody asked.
        rules.append(f'{source} oifname "{name}" ct status dnat masquerade')
        if network.version == 4:
            rules.append(f'ip saddr {_LOOPBACK} oifname "{name}" masquerade')
    return rules


def _forward(opened: Sequence[tuple[int, str]]) -> list[str]:
    return [
        f'meta nfproto ipv{version} iifname "{link}" oifname != "{BRIDGES}" counter drop comment "{GUARD}"'
        for version, link in opened
    ]
