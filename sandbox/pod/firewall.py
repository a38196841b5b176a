"""Other firewalls on the way of pods: which chains may drop what pods send or get, and what lets it through.  Pure.

Rules of ours in a chain of somebody else's are narrow, and tagged with the root's name so that they can be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.linux.netfilter import Listing

_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_PASSES_ALL = {
    "match",
    "counter",
    "accept",
    "log",
    "limit",
    "mangle",
    "comment",
    "continue",
    "return",
    "notrack",
    "meta",
}


# What pods send, and what they get as an answer or by a port of the host.  The last comes to stand first.
_MATCHES = ('oifname "{}" ct status dnat', 'oifname "{}" ct state established,related', 'iifname "{}"')


@dataclass(frozen=True)
class Chain:
    """A chain that forwarded packets pass and that may drop them; `why` says how."""

    family: str
    table: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"

    @property
    def is_of_iptables(self) -> bool:
        """Whether iptables-nft shows it as its own: it must find only what it can read there."""
        return self.family in ("ip", "ip6") and self.table == "filter" and self.name == "FORWARD"

    @property
    def version(self) -> int:
        """Of IP, where it is one alone."""
        return _FAMILIES[self.family][0]


def _objects(listing: Listing, kind: str) -> Iterator[dict[str, Any]]:
    return (each[kind] for each in listing if kind in each)


def blocking(listing: Listing, versions: Sequence[int], prefix: str) -> list[Chain]:
    """The chains that may drop what pods forward, but those in tables of ours."""
    found = []
    for chain in _objects(listing, "chain"):
        family, table, name = chain["family"], chain["table"], chain["name"]
        if chain.get("hook") != "forward" or not set(_FAMILIES.get(family, ())) & set(versions):
            continue
        if (family == "inet" and table.startswith(prefix)) or not all(map(_is_plain, (table, name))):
            continue
        why = _why(chain, [rule for rule in _objects(listing, "rule") if _place(rule) == (family, table, name)])
        if why:
            found.append(Chain(family, table, name, why))
    return found


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./\\-]*", name) is not None


def _place(rule: dict[str, Any]) -> tuple[str, str, str]:
    return rule["family"], rule["table"], rule["chain"]


def _why(chain: dict[str, Any], rules: list[dict[str, Any]]) -> str:
    if chain.get("policy") == "drop":
        return "policy drop"
    for rule in rules:
        if any(set(expression) - _PASSES_ALL for expression in rule["expr"] if isinstance(expression, dict)):
            return "it has rules that may drop"
    return ""


def tagged(listing: Listing, tag: str) -> list[dict[str, Any]]:
    """The rules that carry our tag."""
    return [rule for rule in _objects(listing, "rule") if rule.get("comment") == tag]


def acceptance(chain: Chain, bridge: str, listing: Listing) -> str:
    """What nft has to read so that the chain lets pods through; nothing where it does already."""
    place = (chain.family, chain.table, chain.name)
    if sum(_place(rule) == place for rule in tagged(listing, bridge)) == len(_MATCHES):
        return ""
    matches = (match.format(bridge) for match in _MATCHES)
    return "".join(f'insert rule {chain} {match} counter accept comment "{bridge}"\n' for match in matches)


def withdrawal(listing: Listing, tag: str) -> str:
    """What nft has to read so that no rule with our tag is left."""
    return "".join(
        f"delete rule {rule['family']} {rule['table']} {rule['chain']} handle {rule['handle']}\n"
        for rule in tagged(listing, tag)
    )


def iptables_rules(bridge: str) -> tuple[tuple[str, ...], ...]:
    """The same for iptables: rules of its FORWARD, without the command."""
    tag = ("-m", "comment", "--comment", bridge)
    return (
        ("FORWARD", "-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT", *tag, "-j", "ACCEPT"),
        ("FORWARD", "-i", bridge, *tag, "-j", "ACCEPT"),
    )


def legacy_why(rules: str) -> str:
    """As for a chain of nft, from what `iptables-legacy -S FORWARD` prints."""
    lines = rules.splitlines()
    if "-P FORWARD DROP" in lines:
        return "policy DROP"
    return "it has rules that may drop" if any(not line.endswith("-j ACCEPT") for line in lines[1:]) else ""
