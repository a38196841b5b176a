"""Which ports of the host meet, and who is told to have one."""

from __future__ import annotations

import socket

import pytest

from sandbox.errors import SandboxError
from sandbox.model import Container, ContainerPort, Pod, RestartPolicy
from sandbox.pod import hostports
from sandbox.pod.leases import HostPort


def tcp(port: int, host_ip: str = "") -> HostPort:
    return HostPort("TCP", port, 80, host_ip)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (tcp(80), tcp(80), True),
        (tcp(80), tcp(81), False),
        (tcp(80), HostPort("UDP", 80, 80), False),
        (tcp(80), tcp(80, "192.0.2.2"), True),
        (tcp(80, "192.0.2.2"), tcp(80, "192.0.2.3"), False),
        (tcp(80, "192.0.2.2"), tcp(80, "192.0.2.2"), True),
        (tcp(80, "0.0.0.0"), tcp(80, "192.0.2.2"), True),
        (tcp(80, "0.0.0.0"), tcp(80, "::"), False),
        (tcp(80, "::"), tcp(80, "fd00:0::1"), True),
        (tcp(80, "fd00::1"), tcp(80, "fd00:0:0::1"), True),
    ],
)
def test_ports_meet_where_a_packet_would_be_for_both(one: HostPort, other: HostPort, meet: bool) -> None:
    assert hostports.clash(one, other) is meet
    assert hostports.clash(other, one) is meet


def test_a_pod_asks_for_the_ports_of_all_its_containers_that_are_the_hosts() -> None:
    ports = (ContainerPort(80, 8080), ContainerPort(81), ContainerPort(53, 53, "UDP", "dns", "192.0.2.2"))
    pod = Pod("web", containers=(Container("a", "i", ports=ports[:2]), Container("b", "i", ports=ports[2:])))
    assert hostports.asked(pod) == (tcp(8080), HostPort("UDP", 53, 53, "192.0.2.2"))


def test_and_for_those_of_its_sidecars_but_not_of_what_ends_before_them() -> None:
    first = Container("first", "i", ports=(ContainerPort(80, 8080),))
    proxy = Container("proxy", "i", ports=(ContainerPort(80, 8081),), restart_policy=RestartPolicy.ALWAYS)
    pod = Pod("web", init_containers=(first, proxy), containers=(Container("a", "i"),))
    assert hostports.asked(pod) == (tcp(8081),)


def test_who_has_a_port_is_named() -> None:
    with pytest.raises(SandboxError, match=r"^hostPort 80/TCP of 192\.0\.2\.2 is taken by pod default/a$") as caught:
        hostports.refuse_taken([tcp(79), tcp(80, "192.0.2.2")], [("pod default/b", ()), ("pod default/a", (tcp(80),))])
    assert caught.value.hint == "choose another hostPort, or end what has it"


@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")])
def test_a_port_that_a_program_has_is_taken_until_it_lets_go(kind: int, protocol: str) -> None:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        port = HostPort(protocol, holder.getsockname()[1], 80)
        with pytest.raises(SandboxError, match=r"is taken by process \d+ \(\S+\)$"):
            hostports.refuse_bound([port])
        hostports.refuse_bound([HostPort(protocol, port.host_port, 80, "::1"), HostPort(protocol, 0, 80, "192.0.2.77")])
    hostports.refuse_bound([port])


def test_the_ports_of_another_root_are_read_from_its_table() -> None:
    elements = {
        "ports4": [[{"concat": ["tcp", 8080]}, {"concat": ["10.0.0.2", 80]}]],
        "ports6_at": [[{"concat": ["fd77::2", "udp", 53]}, {"concat": ["fd00::2", 5353]}]],
    }
    listing = [{"map": {"table": "seedpodx", "name": name, "elem": held}} for name, held in elements.items()]
    listing.append({"map": {"table": "seedpodx", "name": "ports6"}})
    closed = [[{"concat": ["tcp", 81]}, {"concat": ["fd00::2", 80]}]]
    listing.append({"map": {"table": "seedpodx", "name": "closed6", "elem": closed}})
    listing.append({"map": {"table": "other", "name": "ports4", "elem": elements["ports4"]}})
    assert list(hostports.held_in(listing, "seedpodx")) == [
        HostPort("TCP", 8080, 80, "0.0.0.0"),
        HostPort("UDP", 53, 5353, "fd77::2"),
        HostPort("TCP", 81, 80, "::"),
    ]
