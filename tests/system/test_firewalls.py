"""Pods beside firewalls that drop what is forwarded: they get through, it is told how, and nothing of it stays.

# finding 18: where netfilter sees what is bridged, such a firewall cuts even pod from pod
"""

from __future__ import annotations

import pytest

from tests.network import EVERYWHERE, HOST4, WORLD4, WORLD6, Host, ask, client, ips, serving, up
from tests.runner import Seedpod
from tests.staying import detached, kill_engine, pod_json, podmon_of

pytestmark = pytest.mark.root

# The firewall, how it is made, and how its chain is called where it is told.
NFT = """nft -f - <<-'END'
	table inet wall {
		chain through {
			type filter hook forward priority 0; policy drop;
			iifname "docker0" accept
		}
	}
	END
"""
REJECTING = """nft -f - <<-'END'
	table inet firewalld {
		chain zones { iifname "docker0" accept; }
		chain filter_FORWARD {
			type filter hook forward priority filter + 10; policy accept;
			ct state established,related accept
			jump zones
			reject with icmpx type admin-prohibited
		}
	}
	END
"""
IPTABLES = (
    "for each in ip ip6; do ${each}tables-%s -P FORWARD DROP; ${each}tables-%s -A FORWARD -i docker0 -j ACCEPT; done"
)
FIREWALLS = {
    "nft": (NFT, "inet wall through"),
    "rejecting": (REJECTING, "inet firewalld filter_FORWARD"),
    "iptables-nft": (IPTABLES % ("nft", "nft"), "ip filter FORWARD"),
    "iptables-legacy": (IPTABLES % ("legacy", "legacy"), "iptables-legacy FORWARD"),
}


def has_bridge_netfilter(host: Host) -> bool:
    return host.shell("cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true") == "1\n"


def all_goes_through(seedpod: Seedpod, host: Host) -> None:
    """Pod to pod, pod to world, and by a port of the host, in both families."""
    one = ips(seedpod, "web")
    two = ips(seedpod, "client")
    for server, seen in zip(one, two, strict=True):
        assert ask(seedpod, "client", "tcp", server, "80") == f"{seen} web"
    assert ask(seedpod, "client", "tcp", WORLD4, "7000") == f"{HOST4} world"
    assert ask(seedpod, "client", "tcp", WORLD6, "7000").endswith(" world")
    assert host.ask_from_world("tcp", HOST4, "8080") == f"{WORLD4} web"
    assert ask(seedpod, "client", "tcp", HOST4, "8080").endswith(" web")


@pytest.mark.parametrize("firewall", FIREWALLS)
def test_pods_get_through_a_firewall_that_drops_what_is_forwarded(firewall: str, on_host: Seedpod, host: Host) -> None:
    """# A8, A9, finding 18"""
    script, chain = FIREWALLS[firewall]
    host.shell(script)
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        host.sysctl(name, "1")
    for address in ("0.0.0.0", "::"):
        host.serve_in_world("tcp", address, "7000", "world")
    host.is_ready()
    ports = [{"containerPort": 80, "hostPort": 8080}]
    up(on_host, serving(on_host, "web", *EVERYWHERE, ports=ports), client(on_host, "client"))
    all_goes_through(on_host, host)
    assert f"firewall: {chain} may drop what pods send or get" in on_host.command("describe", "pod").stdout
    assert "rules that let pods through are in " in on_host.command("info").stdout
    # It lets through answers and ports of the host alone: nobody outside begins anything with a pod.
    (four, _) = ips(on_host, "web")
    host.world.shell(f"ip route add {four} via {HOST4}")
    assert host.ask_from_world("tcp", four, "80") in ("EINPROGRESS", "EHOSTUNREACH", "ECONNREFUSED")


def test_without_its_rules_a_firewall_cuts_pod_from_pod(on_host: Seedpod, host: Host) -> None:
    """# finding 18: what all the others would prove nothing without"""
    if not has_bridge_netfilter(host):
        pytest.skip("this kernel has no br_netfilter, or does not use it")
    host.shell(NFT)
    up(on_host, serving(on_host, "web", *EVERYWHERE), client(on_host, "client"))
    (four, _) = ips(on_host, "web")
    assert ask(on_host, "client", "tcp", four, "80").endswith(" web")
    namespace = f"--net=/proc/{podmon_pid(on_host, 'client')}/ns/net"
    kill_engine(on_host)  # it would put them back at once
    host.shell("nft flush chain inet wall through")
    assert host.run("nsenter", namespace, "sh", "-c", f"{host.probe} ask tcp {four} 80; true") == "EINPROGRESS\n"


def podmon_pid(seedpod: Seedpod, name: str) -> int:
    return podmon_of(seedpod, pod_json(seedpod, name)["metadata"]["uid"])


@pytest.mark.parametrize("firewall", ["nft", "iptables-nft"])
def test_a_firewall_that_comes_later_or_is_loaded_anew_is_seen(firewall: str, on_host: Seedpod, host: Host) -> None:
    """As Docker or ufw may be started beside pods that run; the engine hears of it."""
    host.sysctl("ipv4/ip_forward", "1")
    host.serve_in_world("tcp", "0.0.0.0", "7000", "world")
    detached(on_host, client(on_host, "web"))
    assert ask(on_host, "web", "tcp", WORLD4, "7000") == f"{HOST4} world"
    script, chain = FIREWALLS[firewall]
    for _ in range(2):
        host.shell("nft flush ruleset")
        host.shell(script)
        host.until(lambda: ask(on_host, "web", "tcp", WORLD4, "7000") == f"{HOST4} world")
    assert f"network: firewall: {chain} may drop" in (on_host.root / "agent.log").read_text()
    assert on_host.command("delete", "web", "--now").returncode == 0
    assert "seedpod" not in host.run("nft", "list", "ruleset")


def test_what_is_flushed_or_deleted_by_hand_is_made_whole(on_host: Seedpod, host: Host) -> None:
    host.serve_in_world("tcp", "0.0.0.0", "7000", "world")
    host.is_ready()
    up(on_host, serving(on_host, "web", *EVERYWHERE), client(on_host, "client"))
    (four, six) = ips(on_host, "web")
    before = host.traces()
    bridge = host.shell("ip -o link show type bridge | sed 's/.*: \\(seedpod[^:]*\\):.*/\\1/'").strip()
    link = host.shell(f"ip -o link show master {bridge} | sed -n '1s/[0-9]*: \\([^@]*\\)@.*/\\1/p'").strip()

    def reached() -> bool:
        return ask(on_host, "client", "tcp", six, "80").endswith(" web") and ask(
            on_host, "client", "tcp", WORLD4, "7000"
        ).endswith(" world")

    for damage in (
        "nft flush ruleset",
        f"ip link delete {link}",
        f"ip link delete {bridge}",
        f"ip link set {link} nomaster",
        f"ip link set {bridge} down",
    ):
        host.shell(damage)
        host.until(reached)
        assert ips(on_host, "web") == [four, six]
        after = host.traces()
        assert (after["nft"], after["parameters"]) == (before["nft"], before["parameters"]), damage


def test_what_was_broken_without_an_engine_is_made_whole_by_the_next(on_host: Seedpod, host: Host) -> None:
    host.is_ready()
    up(on_host, serving(on_host, "web", *EVERYWHERE), client(on_host, "client"))
    (four, _) = ips(on_host, "web")
    kill_engine(on_host)
    host.shell(
        "nft flush ruleset; for each in $(ip -o link show type bridge | cut -d: -f2); do ip link del $each; done"
    )
    assert ask(on_host, "client", "tcp", four, "80").endswith(" web")
    kill_engine(on_host)
    host.shell(
        "for each in $(ip -o link show type veth | sed -n 's/.*: \\(sp[^@]*\\)@.*/\\1/p'); do ip link del $each; done"
    )
    on_host.command("get")
    assert ask(on_host, "client", "tcp", four, "80").endswith(" web")


def test_forwarding_that_is_turned_on_for_pods_forwards_for_nobody_else(on_host: Seedpod, host: Host) -> None:
    """The world cannot use the host as a router, though the uplink forwards now."""
    host.shell("ip link add beyond type veth peer name end; ip link set end up; ip link set beyond up")
    host.shell("ip addr add 198.51.100.1/24 dev beyond")
    host.shell("ip route add 203.0.113.0/24 dev beyond")
    host.is_ready()
    up(on_host, serving(on_host, "web", *EVERYWHERE))
    (four, _) = ips(on_host, "web")
    assert host.shell("cat /proc/sys/net/ipv4/conf/uplink/forwarding") == "1\n"
    host.world.shell(f"ip route add 203.0.113.0/24 via {HOST4}; ip route add {four} via {HOST4}")
    assert host.ask_from_world("tcp", four, "80") == f"{WORLD4} web", "A9: pods are reached by who has a route"
    host.ask_from_world("udp", "203.0.113.9", "7000")
    rule = host.shell("nft list ruleset | grep 'ipv4 iifname .uplink. .* drop'")
    assert "packets 0" not in rule
    # Whoever turns forwarding on for the whole host means it: then nothing is dropped any more, nor turned off.
    host.sysctl("ipv4/ip_forward", "1")
    host.until(lambda: "nfproto ipv4" not in host.run("nft", "list", "ruleset"))
    assert on_host.command("delete", "web", "--now").returncode == 0
    assert host.shell("cat /proc/sys/net/ipv4/conf/uplink/forwarding") == "1\n"
    host.before = None
