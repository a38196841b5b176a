"""Pods reach each other, the host and the world, in both families, and are seen by their own address (A6, A8, A9)."""

from __future__ import annotations

import pytest

from tests.network import EVERYWHERE, HOST4, HOST6, WORLD4, WORLD6, Host, ask, client, ips, serving, up
from tests.runner import Seedpod

pytestmark = pytest.mark.root


def test_pods_reach_each_other_and_are_seen_by_their_own_address(seedpod: Seedpod) -> None:
    """# A8, A9: both families, TCP and UDP"""
    (one, _) = up(seedpod, serving(seedpod, "one", *EVERYWHERE), client(seedpod, "two"))
    two = ips(seedpod, "two")
    for server, seen in zip(one, two, strict=True):
        for protocol in ("tcp", "udp"):
            assert ask(seedpod, "two", protocol, server, "80") == f"{seen} one"


def test_pod_and_host_reach_each_other_without_nat(on_host: Seedpod, host: Host) -> None:
    """# A9: the host is seen by its address on the bridge, the pod by its own"""
    for address in ("0.0.0.0", "::"):
        host.serve("tcp", address, "7000", "host")
    host.is_ready()
    ((four, six),) = up(on_host, serving(on_host, "web", *EVERYWHERE))
    assert [ask(on_host, "web", "tcp", address, "7000") for address in (HOST4, HOST6)] == [
        f"{four} host",
        f"{six} host",
    ]
    for address in (four, six):
        seen, name = host.ask("tcp", address, "80").split()
        assert name == "web"
        assert seen in host.run("ip", "-o", "addr", "show", "type", "bridge")


def test_the_world_is_reached_by_the_hosts_address_though_the_host_does_not_forward(
    on_host: Seedpod, host: Host
) -> None:
    """Masquerade to the outside alone; forwarding is turned on for the way out, told of, and off again at the end."""
    for address in ("0.0.0.0", "::"):
        host.serve_in_world("tcp", address, "7000", "world")
    host.is_ready()
    up(on_host, client(on_host, "web"))
    assert ask(on_host, "web", "tcp", WORLD4, "7000") == f"{HOST4} world"
    assert host.shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding") == "0\n0\n"
    told = on_host.command("describe", "pod", "web").stdout
    assert "forwarding: of IPv4 is off on this host: it was turned on for uplink" in told
    if "before Linux 6.17" in told:
        assert "net.ipv6.conf.all.forwarding=1" in told, "the cure"
        host.sysctl("ipv6/conf/all/forwarding", "1")
    assert ask(on_host, "web", "tcp", WORLD6, "7000") == f"{HOST6} world"


def test_an_address_can_be_bound_at_once(seedpod: Seedpod) -> None:
    """# finding 14: IPv6 would first look for another that has it"""
    own = "ip -o -6 addr show dev eth0 scope global | sed 's/.*inet6 //; s,/.*,,'"
    script = f"exec /probe/probe serve tcp $({own}) 80"
    result = seedpod.command("run", "-d", "-", input=json.dumps(seedpod.pod(seedpod.shell("c", script))))
    assert result.returncode == 0, result.stderr
    listening(seedpod, "web", "c")


def test_the_address_stays_when_containers_and_the_sandbox_are_made_anew(seedpod: Seedpod) -> None:
    """# A9"""
    pod = seedpod.pod(seedpod.shell("c", "cat /etc/hosts; exec sleep infinity"), restartPolicy="Always")
    (before,) = up(seedpod, pod)
    for kill in (seedpod.kill_container, seedpod.kill_podmon):
        kill("web")
        seedpod.until_restarted("web")
        assert ips(seedpod, "web") == before
        assert f"{before[0]}\tweb\n{before[1]}\tweb\n" in seedpod.command("logs", "web").stdout
        assert before[0] in seedpod.command("exec", "web", "--", "ip", "addr").stdout
