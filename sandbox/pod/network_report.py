"""The network of a root, in words, for `seedpod info`: what there is, and what was changed on the host for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.linux.host import Ability
from sandbox.pod import forwarding
from sandbox.pod.leases import Book
from sandbox.pod.root_network import has_ipv6, read_book
from sandbox.pod.slices import root_name


def abilities(root: Path) -> Iterator[Ability]:
    """A line each; what keeps pods from something has its cure."""
    try:
        book = read_book(root)
    except SandboxError as error:
        yield Ability("pod network", str(error), True, error.hint)
        return
    yield Ability("pod network", _network(book, root_name(root)))
    if book.opened:
        opened = (f"{link} (IPv{version})" for version, link in sorted(map(forwarding.of_parameter, book.opened)))
        yield Ability("  forwarding", f"turned on, for pods alone, for {', '.join(opened)}")
    if book.accepted:
        yield Ability("  firewalls", f"rules that let pods through are in {', '.join(book.accepted)}")
    if has_ipv6() and (reason := forwarding.cannot_open(6, "lo")):
        yield Ability("  forwarding", "IPv6 is off on this host", True, reason)
    elif not has_ipv6():
        yield Ability("  IPv6", "disabled on this host: pods have IPv4 alone")


def _network(book: Book, name: str) -> str:
    if not book.prefixes:
        return f"bridge {name}, made with the first pod; its prefixes are chosen then"
    prefixes = " and ".join(book.prefixes)
    if not book.up:
        return f"bridge {name}, made with the first pod; {prefixes}"
    return f"bridge {name}, {prefixes}, pods: {len(book.leases)}"
