"""The resolv.conf of pods: the host's, without what only the host can reach."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from sandbox.linux.network import Network

HOST = Path("/etc/resolv.conf")
UPSTREAM = Path("/run/systemd/resolve/resolv.conf")  # where systemd-resolved says whom it asks itself


@dataclass(frozen=True)
class Resolv:
    """A resolv.conf in parts: addresses as written, and the other lines."""

    nameservers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def reachable(self) -> tuple[str, ...]:
        """Those that a pod can reach: not on the host's loopback, not on a link of the host's."""
        return tuple(each for each in self.nameservers if _is_reachable(each))

    def text(self) -> str:
        return "".join(f"{line}\n" for line in (*(f"nameserver {each}" for each in self.nameservers), *self.others))


def parse(text: str) -> Resolv:
    """As resolv.conf(5): comments and unknown lines are passed over."""
    nameservers, others = [], []
    for line in text.splitlines():
        key, _, value = line.partition("#")[0].partition(";")[0].strip().replace("\t", " ").partition(" ")
        if key == "nameserver" and value.strip():
            nameservers.append(value.split()[0])
        elif key in ("search", "domain", "options", "sortlist") and value.strip():
            others.append(f"{key} {' '.join(value.split())}")
    return Resolv(tuple(nameservers), tuple(others))


def _is_reachable(nameserver: str) -> bool:
    try:
        address = ip_address(nameserver)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or (address.is_link_local and address.version == 6))


def for_pods(host: str, upstream: str | None) -> tuple[Resolv, str]:
    """What pods get, from the text of the host's file and of systemd-resolved's, and what is wrong with it, or ""."""
    own = parse(host)
    if own.reachable:
        return Resolv(own.reachable, own.others), ""
    if upstream is not None and (behind := parse(upstream)).reachable:
        return Resolv(behind.reachable, behind.others or own.others), ""
    if not own.nameservers:  # the host has none either
        return own, ""
    named = ", ".join(own.nameservers)
    return Resolv((), own.others), (
        f"no nameserver for the pod: those of the host's {HOST} ({named}) can be reached from the host alone, and "
        f"{UPSTREAM} names no other; name one there that pods can reach"
    )


def of_host() -> tuple[Resolv, str]:
    """`for_pods`, of this host."""
    return for_pods(_text(HOST) or "", _text(UPSTREAM))


def nameservers() -> list[Network]:
    """The host's nameservers, as networks that no pod may have."""
    resolv, _ = of_host()
    return [ip_network(each) for each in resolv.nameservers]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:  # a link to nowhere, too
        return None
