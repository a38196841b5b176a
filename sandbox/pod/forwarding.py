"""Forwarding between pods and the outside, where the host does not forward already: per interface, and taken back.

A packet is forwarded if the interface that it came in by forwards.  So the bridge has to, for what pods send, and each
of the host's ways out, for the answers.  Those forward to nobody but pods: sandbox.pod.ruleset drops the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sandbox.linux import sysctl
from sandbox.linux.netfilter import Listing
from sandbox.linux.network import Link, Route

_ALL = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
# IPv6 knows a switch per interface since Linux 6.17; what is called "forwarding" there does not forward.
_ONE = {4: "net/ipv4/conf/{}/forwarding", 6: "net/ipv6/conf/{}/force_forwarding"}

GUARD = "forwards for pods alone"  # the comment of the rule that keeps an opened interface narrow

Opened = Mapping[str, str]  # parameter: its value before


def parameter(version: int, link: str) -> str:
    return _ONE[version].format(link)


def of_parameter(name: str) -> tuple[int, str]:
    """The version of IP and the interface that a parameter is about."""
    parts = name.split("/")
    return (4 if parts[1] == "ipv4" else 6), parts[3]


def forwards_all(version: int) -> bool:
    """Whether the host forwards anyway."""
    return sysctl.read(_ALL[version]) == "1"


def ways_out(routes: Iterable[Route], links: Iterable[Link], version: int, *, ours: str) -> list[str]:
    """The interfaces by which the host sends anything anywhere, but the loopback and bridges of pods.  Pure."""
    names = {link.index: link.name for link in links if not link.master}
    ways = (route for route in routes if not (route.network and route.network.is_link_local))
    found = {names.get(route.link, "lo") for route in ways if route.version == version}
    return sorted(name for name in found if name != "lo" and not name.startswith(ours))


def cannot_open(version: int, bridge: str) -> str:
    """Why this host's forwarding cannot be turned on narrowly, or ""."""
    if forwards_all(version) or sysctl.read(parameter(version, bridge)) is not None:
        return ""
    return (
        "pods reach nothing outside by IPv6, and nothing outside a pod by a port of the host: it does not forward, and "
        "before Linux 6.17 that can only be turned on for all interfaces: sysctl net.ipv6.conf.all.forwarding=1 (and "
        "accept_ra=2 on an interface that gets its routes from a router)"
    )


def to_open(version: int, ways: Iterable[str], known: Opened, others: Collection[tuple[int, str]]) -> dict[str, str]:
    """The parameters that have to be 1 because of us, with their value before.

    `known` were opened by us before; `others` are the interfaces that other roots have opened.
    """
    if forwards_all(version):
        return {}
    opened = {}
    for link in ways:
        name = parameter(version, link)
        value = sysctl.read(name)
        if value == "0" or name in known:
            opened[name] = known.get(name, "0")
        elif value is not None and (version, link) in others:
            opened[name] = "0"
    return opened


def set_open(names: Iterable[str]) -> None:
    """Turn forwarding on.  An interface that has gone meanwhile is fine."""
    for name in names:
        sysctl.write_where_known(name, "1")


def close(opened: Opened, others: Collection[tuple[int, str]]) -> None:
    """Give the parameters back their value before, but where someone else needs them now."""
    for name, before in opened.items():
        version, link = of_parameter(name)
        if not forwards_all(version) and (version, link) not in others:
            sysctl.write_where_known(name, before)


def opened_in(listing: Listing, of: Callable[[str], bool]) -> set[tuple[int, str]]:
    """The interfaces that roots have opened, by the guards in those tables `of` which the name is given.  Pure."""
    found = set()
    for each in listing:
        rule = each.get("rule", {})
        if rule.get("comment") == GUARD and of(rule["table"]):
            parts = (part for part in rule["expr"] if "match" in part)
            matched = {_left(part): part["match"]["right"] for part in parts}
            found.add((4 if matched.get("nfproto") == "ipv4" else 6, str(matched.get("iifname"))))
    return found


def opened_by_others(listing: Listing, prefix: str, own: str) -> set[tuple[int, str]]:
    """The interfaces that other roots than `own` have opened.  Pure."""
    return opened_in(listing, lambda table: table.startswith(prefix) and table != own)


def _left(expression: Mapping[str, Any]) -> str:
    left = expression["match"]["left"]
    return str(left.get("meta", {}).get("key", ""))
