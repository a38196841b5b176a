"""The way of a root's packets through its host: what has to be changed there so that pods are not cut off.

The host's forwarding where it is off, and chains of other firewalls that may drop what is forwarded.  First a survey,
which changes nothing and can be noted; then `open_`; `close` takes back what was noted.  Blocking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sandbox.effects import effect
from sandbox.linux import netfilter
from sandbox.linux.netfilter import Listing
from sandbox.linux.network import Links
from sandbox.pod import firewall, forwarding
from sandbox.pod.forwarding import Opened
from sandbox.pod.leases import Book
from sandbox.pod.slices import NAME

Command = tuple[str, int]  # a kind of iptables and a version of IP, see netfilter.IPTABLES


@dataclass(frozen=True)
class Note:
    """What was changed on the host for the pods; with `warning`, what may keep them from working as they should."""

    text: str
    warning: bool = False
    reason: str = "NetworkSetup"  # of the event that tells it


@dataclass(frozen=True)
class Passage:
    """What has to be open: parameters with their value before, chains with rules of ours, and what nft has to read."""

    opened: Opened
    accepted: tuple[str, ...]
    script: str
    commands: tuple[Command, ...]  # those of iptables whose FORWARD chain gets rules
    notes: tuple[Note, ...]


@dataclass
class Surveyor:
    """Looks at what the root called `name` needs.  `listing` is nft's of the whole ruleset."""

    name: str
    versions: Sequence[int]
    listing: Listing
    book: Book
    notes: list[Note] = field(default_factory=list)

    def survey(self, links: Links) -> Passage:
        opened = self._opened(links)
        script, accepted = "", []
        commands = [("legacy", version) for version in self.versions if self._legacy_blocks(version)]
        for chain in firewall.blocking(self.listing, self.versions, NAME):
            if chain.is_of_iptables and netfilter.has_iptables("nft", chain.version):
                commands.append(("nft", chain.version))
                if not _has_rules(commands[-1], self.name):
                    self._let_through(str(chain), chain.why)
                continue
            accepted.append(str(chain))
            if text := firewall.acceptance(chain, self.name, self.listing):
                script += text
                self._let_through(str(chain), chain.why)
        accepted += [netfilter.IPTABLES[command] for command in commands]
        return Passage(opened, tuple(accepted), script, tuple(commands), tuple(self.notes))

    def _let_through(self, chain: str, why: str) -> None:
        text = f"firewall: {chain} may drop what pods send or get ({why}): it got rules that let {self.name} through"
        self.notes.append(Note(text))

    def _opened(self, links: Links) -> dict[str, str]:
        others = forwarding.opened_by_others(self.listing, NAME, self.name)
        routes, present = links.routes(), links.all()
        opened: dict[str, str] = {}
        for version in self.versions:
            ways = forwarding.ways_out(routes, present, version, ours=NAME)
            if ways and (reason := forwarding.cannot_open(version, self.name)):
                self.notes.append(Note(f"forwarding: {reason}"))
                continue
            needed = forwarding.to_open(version, ways, self.book.opened, others)
            fresh = sorted(forwarding.of_parameter(each)[1] for each in needed.keys() - self.book.opened.keys())
            if fresh:
                text = f"is off on this host: it was turned on for {', '.join(fresh)}, to and from pods alone"
                self.notes.append(Note(f"forwarding: of IPv{version} {text}"))
            opened.update(needed)
        return opened

    def _legacy_blocks(self, version: int) -> bool:
        """Whether the legacy FORWARD chain, which nft does not list, has or needs rules of ours."""
        if not netfilter.uses_legacy(version):
            return False
        command = netfilter.IPTABLES["legacy", version]
        if not netfilter.has_iptables("legacy", version):
            text = f"firewall: it is not known whether legacy iptables drops what pods send: install {command}"
            self.notes.append(Note(text, warning=True))
            return False
        why = firewall.legacy_why(netfilter.iptables("legacy", version, "-S", "FORWARD"))
        if why and not _has_rules(("legacy", version), self.name):
            self._let_through(f"{command} FORWARD", why)
        return bool(why)


@effect("have other firewalls let pods through")
def open_(passage: Passage, name: str) -> None:
    """Open what the survey found, after nft has read the root's table and `passage.script`."""
    forwarding.set_open(passage.opened)
    for command in passage.commands:
        for rule in firewall.iptables_rules(name):
            if not netfilter.has_rule(*command, rule):
                netfilter.iptables(*command, "-I", *rule)


def _has_rules(command: Command, name: str) -> bool:
    return all(netfilter.has_rule(*command, rule) for rule in firewall.iptables_rules(name))


@effect("have other firewalls be as they were")
def close(listing: Listing, name: str, book: Book) -> None:
    """Take back what was opened, as it was noted; `nft` takes back its own by `firewall.withdrawal`.  Idempotent."""
    for command, program in netfilter.IPTABLES.items():
        if program in book.accepted and _is_there(*command):
            for rule in firewall.iptables_rules(name):
                while netfilter.has_rule(*command, rule):
                    netfilter.iptables(*command, "-D", *rule)
    forwarding.close(book.opened, forwarding.opened_by_others(listing, NAME, name))


def _is_there(kind: str, version: int) -> bool:
    """Whether there are rules for the command to look at: to look makes legacy ones."""
    return netfilter.has_iptables(kind, version) and (kind == "nft" or netfilter.uses_legacy(version))
