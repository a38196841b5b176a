"""The table of a container's ports, and the rules that look at all ports of a pod."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sandbox import model
from sandbox.manifest import rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import PORT, Choice, Text
from sandbox.manifest.handlers import is_sidecar
from sandbox.manifest.records import Field, Record

# TCP and UDP are led from the host to pods; a port of SCTP is only declared.
LED = ("TCP", "UDP")


def _ip(text: str) -> Iterator[str]:
    import ipaddress  # few pods name an address of the host

    try:
        plain = "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        plain = False
    if not plain:
        yield "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def _led_protocol(port: Cursor) -> None:
    protocol, host_port = port.field("protocol"), port.field("hostPort")
    if protocol and protocol.node.value == "SCTP" and host_port and host_port.node.value != 0:
        protocol.refuse(f"{wording.unsupported('SCTP', LED, known=True)} for a hostPort")


CONTAINER_PORT = Record(
    "ContainerPort",
    model.ContainerPort,
    Field("containerPort", PORT, required=True),
    Field("hostPort", PORT),
    Field("protocol", Choice(*LED, "SCTP")),
    Field("name", Text(rules.port_name)),
    Field("hostIP", Text(_ip)),
    rules=(_led_protocol,),
)


def unique_host_ports(spec: Cursor) -> None:
    """No two containers that run at the same time have the same port of the host.

    An init container that is no sidecar runs while no other of its kind does; the API server looks at each alone, and
    leaves sidecars to the scheduler, which counts them with the pod's containers.
    """
    at_once = []
    for container in spec.each("initContainers"):
        if is_sidecar(container):
            at_once.append(container)
        else:
            _refuse_repeated_host_ports([container])
    _refuse_repeated_host_ports([*at_once, *spec.each("containers")])


def _refuse_repeated_host_ports(containers: Iterable[Cursor]) -> None:
    seen = set()
    for container in containers:
        for port in container.each("ports"):
            host_port = port.field("hostPort")
            if host_port and host_port.node.value:
                key = f"{port.text('protocol') or 'TCP'}/{port.text('hostIP')}/{host_port.node.value}"
                if key in seen:
                    host_port.refuse(wording.duplicate(key))
                seen.add(key)


def host_network_ports(spec: Cursor) -> None:
    """With hostNetwork a container's port is the host's."""
    host_network = spec.field("hostNetwork")
    if host_network is None or host_network.node.value is not True:
        return
    for container in spec.each("containers"):
        for port in container.each("ports"):
            host_port, own = port.field("hostPort"), port.field("containerPort")
            if host_port and own and host_port.node.value not in (0, own.node.value):
                reason = "must match `containerPort` when `hostNetwork` is true"
                host_port.refuse(wording.invalid(host_port.node.written, reason))


def on_host_network(containers: Iterable[model.Container]) -> tuple[model.Container, ...]:
    """The containers with the host's ports filled in, as the API server does with hostNetwork."""
    return tuple(
        replace(
            each, ports=tuple(replace(port, host_port=port.host_port or port.container_port) for port in each.ports)
        )
        for each in containers
    )
