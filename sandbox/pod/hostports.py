"""Ports of the host that lead to pods: which pod asks for which, and who has them already."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

from sandbox.errors import SandboxError
from sandbox.linux import sockets
from sandbox.linux.netfilter import Listing
from sandbox.model import Pod
from sandbox.pod import ruleset
from sandbox.pod.leases import HostPort

Held = tuple[str, tuple[HostPort, ...]]  # by whom, and what


def asked(pod: Pod) -> tuple[HostPort, ...]:
    """The host's ports that a pod wants; with hostNetwork they are its own.

    None leads to an init container that is no sidecar, as kubelet has it.
    """
    return tuple(
        HostPort(port.protocol, port.host_port, port.container_port, port.host_ip)
        for container in (*pod.sidecars, *pod.containers)
        for port in container.ports
        if port.host_port
    )


def clash(one: HostPort, other: HostPort) -> bool:
    """Whether some packet would be for both."""
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    return not (one.host_ip and other.host_ip) or _meet(one.host_ip, other.host_ip)


def _meet(one: str, other: str) -> bool:
    first, second = ip_address(one), ip_address(other)
    return first.version == second.version and (first == second or first.is_unspecified or second.is_unspecified)


def refuse_taken(wanted: Iterable[HostPort], held: Iterable[Held]) -> None:
    """Raises SandboxError for a port that another has."""
    holders = list(held)
    for port in wanted:
        for holder, ports in holders:
            if any(clash(port, other) for other in ports):
                raise taken(port, holder)


def refuse_bound(wanted: Iterable[HostPort]) -> None:
    """Raises SandboxError for a port that a program on the host listens on."""
    for port in wanted:
        for host_ip in (port.host_ip,) if port.host_ip else ("0.0.0.0", "::"):
            if not _is_free(port, host_ip):
                holder = sockets.holder(port.protocol, port.host_port) or "a program on the host"
                raise taken(port, holder)


def taken(port: HostPort, holder: str) -> SandboxError:
    where = f" of {port.host_ip}" if port.host_ip else ""
    return SandboxError(
        f"hostPort {port.host_port}/{port.protocol}{where} is taken by {holder}",
        hint="choose another hostPort, or end what has it",
    )


def _is_free(port: HostPort, host_ip: str) -> bool:
    if port.protocol not in ("TCP", "UDP"):  # only declared: with hostNetwork every port is the host's
        return True
    family = socket.AF_INET6 if ip_address(host_ip).version == 6 else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "UDP" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_STREAM:  # what lingers of closed connections holds no port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host_ip, port.host_port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # no IPv6, or an address that the host may get yet
    return True


def held_in(listing: Listing, table: str) -> Iterator[HostPort]:
    """The ports that pods of another root have, from nft's listing of its table."""
    for each in listing:
        found = each.get("map", {})
        name = str(found.get("name", ""))
        if found.get("table") == table and name.startswith((ruleset.PORTS, ruleset.CLOSED)):
            for key, value in found.get("elem", ()):
                yield _held(name, key["concat"], value["concat"])


def _held(name: str, key: list[Any], value: list[Any]) -> HostPort:
    anywhere = {"4": "0.0.0.0", "6": "::"}.get(name.removeprefix(ruleset.PORTS).removeprefix(ruleset.CLOSED))
    *host_ip, protocol, port = key
    return HostPort(str(protocol).upper(), int(port), int(value[1]), anywhere or str(host_ip[0]))
