"""The network of one root, made and unmade: bridge, table, forwarding, other firewalls, and each pod's link.

Every step looks before it does, and what it changes is noted in `<root>/network.json` before: an engine may be killed
between any two lines, and the next one completes or removes what it left.  Blocking, for one thread alone.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError, Unsupported
from sandbox.linux import netfilter, network, network_conntrack, sysctl
from sandbox.linux.netfilter import Listing
from sandbox.linux.network import Bridge, Links, Network, PodLink
from sandbox.pod import codec, firewall, forwarding, hostports, leases, passage, resolv, ruleset
from sandbox.pod.files import write_file
from sandbox.pod.leases import Book, HostPort, Lease
from sandbox.pod.passage import Note
from sandbox.pod.slices import NAME, root_name

BOOK = "network.json"
MACHINE_ID = Path("/etc/machine-id")

_IPV6_CURE = "sysctl net.ipv6.conf.{all,default}.disable_ipv6=0, or name an IPv4 prefix in podCIDR, too"


@dataclass(frozen=True)
class Attached:
    """A pod's addresses, IPv4 first, and what was changed on the host for them."""

    ips: tuple[str, ...]
    notes: tuple[Note, ...] = ()


def read_book(root: Path) -> Book:
    """What stands in the root's network.json; an empty book where there is none.  Raises SandboxError."""
    path = root / BOOK
    try:
        return codec.read(Book, path.read_bytes())
    except FileNotFoundError:
        return Book()
    except (OSError, ValueError) as error:
        raise SandboxError(f"{path} cannot be read: {error}", hint="the next engine of this root mends it") from None


def _encoded(book: Book) -> dict[str, Any]:
    """The book as JSON.  It is written for every pod that comes or goes, so each lease is encoded once."""
    leases_ = {uid: _encoded_lease(lease) for uid, lease in book.leases.items()}
    return {**codec.encode(replace(book, leases={})), "leases": leases_}


@functools.lru_cache(maxsize=4096)
def _encoded_lease(lease: Lease) -> Any:
    return codec.encode(lease)


class RootNetwork:
    """The network of the pods of one root.  `wanted` are the prefixes of its configuration; none: it chooses."""

    def __init__(self, root: Path, wanted: tuple[Network, ...]) -> None:
        self.name = root_name(root)
        self._root = root
        self._wanted = wanted
        self._known: Book | None = None
        self._lost: Note | None = None  # why the book had to be written anew
        self._links_: Links | None = None
        self._bridge: Bridge | None = None  # None: it has to be looked at
        self._networks: tuple[Network, ...] = ()  # those whose family the host has
        self._applied: list[Any] | None = None  # the table as nft showed it when it was made

    # ---- what is known ----

    @property
    def book(self) -> Book:
        if self._known is None:
            try:
                self._known = read_book(self._root)
                if self._known == Book() and network.link_index(self.name) is not None:
                    raise SandboxError(f"{self._root / BOOK} is missing")
            except SandboxError as error:
                self._known = self._recovered()
                self._lost = Note(f"{error}; what the links of the pods tell took its place", warning=True)
        return self._known

    def _recovered(self) -> Book:
        """What was in a book that cannot be read, as far as the kernel knows it."""
        name, bridge = self.name, self._links.find(self.name)
        own = [link for link in self._links.all() if link.name.startswith(leases.link_name(name, ""))]
        numbers = {leases.uid_of(link.alias): int(link.name.rpartition("-")[2]) for link in own}
        found = self._links.addresses(bridge.index) if bridge else []
        prefixes = sorted({each.network for each in found if not each.is_link_local}, key=lambda each: each.version)
        opened = forwarding.opened_in(netfilter.listing("ruleset"), lambda table: table == name)
        return Book(
            prefixes=tuple(map(str, prefixes)),
            leases={uid: Lease(number) for uid, number in numbers.items() if prefixes},
            last=max([leases.BRIDGE, *numbers.values()]),
            up=True,
            opened={forwarding.parameter(version, link): "0" for version, link in opened},
            accepted=tuple(netfilter.IPTABLES.values()),
        )

    def _note(self, book: Book) -> None:
        if book != self.book:
            write_file(self._root / BOOK, json.dumps(_encoded(book)))
            self._known = book

    @property
    def _links(self) -> Links:
        if self._links_ is None:
            self._links_ = Links()
        return self._links_

    def close(self) -> None:
        if self._links_ is not None:
            self._links_.close()
            self._links_ = None

    def look_again(self) -> tuple[Note, ...]:
        """Make whole what was changed of the root's part, while there are pods."""
        if not self.book.leases:
            return ()
        self._bridge = None
        return self._up()

    # ---- a pod's part ----

    def attach(self, uid: str, ports: tuple[HostPort, ...], pidfd: int) -> Attached:
        """Give the pod whose podmon is behind `pidfd` its link, addresses and ports.

        A pod that has a lease keeps its number.  Raises SandboxError; `detach` removes what was made.
        """
        notes = self._up()
        before = self.book
        self._note(before.with_lease(uid, ports))
        if self.book.ports != before.ports:
            self._lead_ports(ports)
        link = self._link(uid)
        self._links.add(link, bridge=self._as_it_is(), pidfd=pidfd)
        return Attached(_ips(link), notes)

    def repair(self, uid: str, ports: tuple[HostPort, ...], pidfd: int) -> Attached:
        """As `attach`, for a pod that runs: what is whole is left alone."""
        notes = self._up()
        lease = self.book.leases.get(uid)
        if lease is None or lease.ports != ports:  # it ran before there was a network, or before its file was lost
            return self.attach(uid, ports, pidfd)
        link = self._link(uid)
        if self._links.repair(link, bridge=self._as_it_is(), pidfd=pidfd):
            notes = (*notes, Note("the pod's link was broken, and was made whole"))
        return Attached(_ips(link), notes)

    def detach(self, uid: str) -> str | None:
        """Take back what the pod, whose sandbox is gone, had.  Idempotent.

        The name of its link, which dies with its namespace some time later; `forget` is told when it has.  With the
        last pod the network goes.
        """
        book, lease = self.book, self.book.leases.get(uid)
        if lease:
            self._note(book.without_lease(uid))
            if lease.ports:
                self._lead_ports()
                for each in self._networks:
                    network_conntrack.forget_answers(each[lease.number])
        if not self.book.leases:
            self.remove()
        return leases.link_name(self.name, lease.number) if lease else None

    def forget(self, link: str, *, stays: bool = False) -> None:
        """A link of a pod that was detached is gone; or `stays`, as somebody holds its namespace, and is deleted."""
        if stays:
            self._links.delete(link)
        numbers = {number for number in self.book.leaving if leases.link_name(self.name, number) == link}
        book = self.book.gone(numbers)
        if book.leases:  # it is written down with the next pod that comes or goes: till then a next engine looks itself
            self._known = book
        else:
            self._note(book)

    def adopt(self, uids: Collection[str], rebooted: bool = False) -> tuple[Note, ...]:
        """Go on where another engine was ended: what is of none of these pods goes, the rest is made whole.

        Of what was changed in another boot of the machine nothing is left to be taken back; what the host has set since
        is its own.
        """
        book = self.book
        if rebooted:
            book = replace(book, up=False, opened={}, accepted=(), leaving=())
        lost = (self._lost,) if self._lost else ()
        for uid in set(book.leases) - set(uids):
            book = book.without_lease(uid)
        self._note(book)
        if book.leaving:
            self._links.delete(*(leases.link_name(self.name, number) for number in book.leaving))
            self._note(self.book.gone(book.leaving))
        if book.leases:
            return (*lost, *self._up())
        self.remove()
        return lost

    def _link(self, uid: str) -> PodLink:
        return leases.pod_link(self.name, uid, self.book.leases[uid], self._networks)

    # ---- the root's part ----

    def _as_it_is(self) -> Bridge:
        assert self._bridge is not None, "_up was called"
        return self._bridge

    def _up(self) -> tuple[Note, ...]:
        """Make all of it that is missing, and say what was changed on the host for it."""
        if self._bridge is not None and network.link_index(self.name) == self._bridge.index:
            return ()
        netfilter.require_nft()
        with network.exclusive():
            self._choose()
            self._networks = self._active()
            self._note(replace(self.book, up=True))
            self._bridge = self._make_bridge()
            try:
                return self._open()
            except SandboxError:
                self._bridge = None  # half open: the next one looks at all of it again
                raise

    def _active(self) -> tuple[Network, ...]:
        """The root's networks whose family this host has."""
        found = tuple(each for each in self.book.networks if each.version == 4 or has_ipv6())
        if not found:
            raise Unsupported(f"the podCIDR {', '.join(self.book.prefixes)}", needs="IPv6", hint=_IPV6_CURE)
        return found

    def _choose(self) -> None:
        """Keep the prefixes while a pod has an address in them, else see that they are free, or take others."""
        book = self.book
        if book.leases:
            return
        used = self._links.networks(but=self.name)
        networks = self._wanted or tuple(self._free(version, used + resolv.nameservers()) for version in (4, 6))
        for each in networks:
            if (other := leases.overlapping(each, used)) is not None:
                hint = "choose another podCIDR in config.toml, or leave it out: then one is chosen"
                raise SandboxError(f"podCIDR {each} overlaps {other}, which this host uses", hint=hint)
        prefixes = tuple(map(str, networks))
        if prefixes != book.prefixes:
            self._links.delete(self.name)  # an engine that was killed may have left it, with the former addresses
            self._note(replace(book, prefixes=prefixes, last=leases.BRIDGE))

    def _free(self, version: int, used: Sequence[Network]) -> Network:
        """A prefix that nothing on this host uses: the one that the root had before, if that is one."""
        kept = next((each for each in self.book.networks if leases.is_chosen(each, version)), None)
        if kept is not None and leases.overlapping(kept, used) is None:
            return kept
        machine = MACHINE_ID.read_bytes() if MACHINE_ID.exists() else b""
        chosen = leases.choose(version, machine + os.fsencode(self._root), used)
        if chosen is None:
            hint = "set podCIDR in config.toml to one that may be used"
            raise SandboxError(f"no private IPv{version} prefix is free on this host", hint=hint)
        return chosen

    def _make_bridge(self) -> Bridge:
        addresses = [leases.address(each, leases.BRIDGE) for each in self._networks]
        bridge = self._links.bridge(self.name, mac=leases.mac(self._networks, leases.BRIDGE), addresses=addresses)
        for version in (4, 6):  # the bridge's own parameters go with it: nothing to note
            sysctl.write_where_known(forwarding.parameter(version, self.name), "1")
        return bridge

    def _open(self) -> tuple[Note, ...]:
        """Table, forwarding, other firewalls.  The table is first: what it forbids is at no time open."""
        listing = netfilter.listing("ruleset")
        versions = [each.version for each in self._networks]
        found = passage.Surveyor(self.name, versions, listing, self.book).survey(self._links)
        accepted = tuple(dict.fromkeys((*self.book.accepted, *found.accepted)))
        changed = found.opened != self.book.opened
        self._note(replace(self.book, opened=found.opened, accepted=accepted))
        if changed or self._applied is None or _table_in(listing, self.name) != self._applied:
            self._apply(found.script)
        elif found.script:
            netfilter.nft(found.script)
        passage.open_(found, self.name)
        return found.notes

    def _apply(self, more: str = "") -> None:
        """Have nft replace the root's table, and with it, in one transaction, carry out `more`."""
        table = ruleset.table(
            self.name,
            root=str(self._root),
            networks=self._networks,
            ports=self.book.ports,
            opened=sorted(map(forwarding.of_parameter, self.book.opened)),
        )
        leads = "1" if self.book.ports else "0"
        sysctl.write_where_known(f"net/ipv4/conf/{self.name}/route_localnet", leads)  # 127.0.0.1 leads to pods, too
        netfilter.nft(table + more)
        self._applied = _table_in(netfilter.listing("table", "inet", self.name), self.name)

    def _lead_ports(self, wanted: tuple[HostPort, ...] = ()) -> None:
        """Lead the host's ports to those pods that have them now; for `wanted` look once more that they are free."""
        self._up()
        with network.exclusive():
            hostports.refuse_taken(wanted, held_by_others(self.name) if wanted else ())
            self._apply()
        for port in wanted:
            for each in self._networks if port.protocol == "UDP" else ():
                network_conntrack.forget_udp_port(port.host_port, each.version)  # led to nobody until now

    def remove(self) -> None:
        """Remove all of it; no pod has a lease.  Idempotent."""
        if not self.book.up:
            return
        with network.exclusive():
            listing = netfilter.listing("ruleset")
            netfilter.nft(ruleset.removal(self.name) + firewall.withdrawal(listing, self.name))
            passage.close(listing, self.name, self.book)
            self._links.delete(self.name)
            self._bridge = self._applied = None
            self._note(replace(self.book, up=False, opened={}, accepted=()))


def _ips(link: PodLink) -> tuple[str, ...]:
    return tuple(str(address.ip) for address in link.addresses)


def has_ipv6() -> bool:
    """Whether links of this host may have IPv6 addresses."""
    return all(sysctl.read(f"net/ipv6/conf/{which}/disable_ipv6") == "0" for which in ("all", "default"))


def held_by_others(own: str) -> list[hostports.Held]:
    """The host's ports that other roots lead to their pods, by their tables."""
    listing = netfilter.listing("ruleset", "inet")  # at once: a table may be gone when it is asked for by its name
    tables = [each["table"]["name"] for each in listing if "table" in each]
    others = [name for name in tables if name.startswith(NAME) and name != own]
    return [(f"a pod of another root (nft table {name})", tuple(hostports.held_in(listing, name))) for name in others]


def _table_in(listing: Listing, name: str) -> list[Any]:
    """What a listing says of the root's table, but for what the kernel counts: handles and packets."""
    said = []
    for each in listing:
        for kind, about in each.items():
            if kind != "metainfo" and about.get("family") == "inet" and about.get("table", about.get("name")) == name:
                shown = {key: value for key, value in about.items() if key != "handle"}
                if "expr" in shown:
                    shown["expr"] = [part for part in shown["expr"] if "counter" not in part]
                said.append((kind, shown))
    return said
