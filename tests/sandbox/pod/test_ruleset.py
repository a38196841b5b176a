"""The table of a root: a text that nft takes, with each pod's ports in it."""

from __future__ import annotations

import subprocess
from ipaddress import ip_network

import pytest

from sandbox.pod import ruleset
from sandbox.pod.leases import HostPort

NETWORKS = (ip_network("10.200.4.0/22"), ip_network("fd5e::/64"))
PORTS = (
    (2, HostPort("TCP", 8080, 80)),
    (2, HostPort("UDP", 53, 53, "0.0.0.0")),
    (3, HostPort("TCP", 8080, 81, "192.0.2.2")),
    (3, HostPort("TCP", 8443, 443, "::")),
    (3, HostPort("TCP", 8443, 443, "fd77::2")),
)


def lines(**how: object) -> list[str]:
    text = ruleset.table("seedpod", root="/r", networks=NETWORKS, **how)  # type: ignore[arg-type]
    return [line.strip() for line in text.splitlines()]


def test_a_port_leads_to_the_pod_in_the_families_that_its_host_ip_has() -> None:
    (four,) = (line for line in lines(ports=PORTS) if line.startswith("map ports4 "))
    assert "elements = { tcp . 8080 : 10.200.4.2 . 80, udp . 53 : 10.200.4.2 . 53 }" in four
    (six,) = (line for line in lines(ports=PORTS) if line.startswith("map ports6 "))
    assert "elements = { tcp . 8080 : fd5e::2 . 80, tcp . 8443 : fd5e::3 . 443 }" in six
    (at,) = (line for line in lines(ports=PORTS) if line.startswith("map ports4_at "))
    assert "elements = { 192.0.2.2 . tcp . 8080 : 10.200.4.3 . 81 }" in at


def test_a_port_that_is_closed_stands_where_no_rule_looks() -> None:
    said = lines(closed=PORTS)
    (four,) = (line for line in said if line.startswith("map closed4 "))
    assert "elements = { tcp . 8080 : 10.200.4.2 . 80, udp . 53 : 10.200.4.2 . 53 }" in four
    assert [line for line in said if line.startswith("map ports4")] == [
        line for line in lines() if line.startswith("map ports4")
    ]
    assert not any("@closed" in line for line in said)


def test_an_interface_that_forwards_because_of_us_forwards_to_pods_alone() -> None:
    assert lines(opened=[(4, "eth0")])[-3] == (
        'meta nfproto ipv4 iifname "eth0" oifname != "seedpod*" counter drop comment "forwards for pods alone"'
    )
    assert not any("forward" in line for line in lines())


@pytest.mark.root
@pytest.mark.parametrize("networks", [NETWORKS, NETWORKS[:1], NETWORKS[1:]])
def test_nft_takes_it_twice_and_its_removal_twice(networks: tuple[object, ...]) -> None:
    text = ruleset.table(
        "seedpodx",
        root='/a "strange\\\n root/ü',
        networks=networks,  # type: ignore[arg-type]
        ports=PORTS,
        closed=PORTS,
        opened=[(4, "eth0"), (6, "eth0")],
    )
    script = text + text + ruleset.removal("seedpodx") * 2
    done = subprocess.run(["nft", "--check", "-f", "-"], check=False, input=script, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
