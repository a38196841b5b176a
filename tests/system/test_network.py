"""Pods reach each other, the host and the world, in both families, and are seen by their own address (A6, A8, A9)."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from sandbox.linux import network
from sandbox.linux.network_watch import Watch
from sandbox.pod import leases
from sandbox.pod.client import Client
from sandbox.pod.root_network import read_book
from sandbox.pod.slices import Slices, root_name
from tests.network import EVERYWHERE, HOST4, HOST6, WORLD4, WORLD6, Host, ask, client, ips, serving, up
from tests.runner import Seedpod
from tests.staying import all_running, detached, pod_json, podmon_of, restarted, until

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
    assert "turned on, for pods alone, for uplink (IPv4)" in on_host.command("info").stdout
    if "before Linux 6.17" in told:
        assert "net.ipv6.conf.all.forwarding=1" in told, "the cure"
        host.sysctl("ipv6/conf/all/forwarding", "1")
    assert ask(on_host, "web", "tcp", WORLD6, "7000") == f"{HOST6} world"
    host.sysctl("ipv6/conf/all/forwarding", "0")  # as the pod found it


def test_an_address_can_be_bound_at_once(seedpod: Seedpod) -> None:
    """# finding 14: IPv6 would first look for another that has it"""
    own = "ip -o -6 addr show dev eth0 scope global | sed 's/.*inet6 //; s,/.*,,'"
    result = seedpod.run(seedpod.pod(seedpod.shell("c", f"timeout 1 /probe/probe serve tcp $({own}) 80; true")))
    assert result.stdout == "ok\n"


def test_the_address_stays_when_containers_and_the_sandbox_are_made_anew(seedpod: Seedpod) -> None:
    """# A9"""
    pod = seedpod.pod(seedpod.shell("c", "ip addr; cat /etc/hosts; exec sleep infinity"), restartPolicy="Always")
    (before,) = up(seedpod, pod)
    uid = pod_json(seedpod, "web")["metadata"]["uid"]

    def is_as_before(times: int) -> None:
        until(seedpod, "web", lambda status: restarted(times)(status) and all_running(status))
        assert ips(seedpod, "web") == before
        log = seedpod.command("logs", "web").stdout
        assert f"{before[0]}\tweb\n{before[1]}\tweb\n" in log
        assert f"inet {before[0]}/22 " in log
        assert f"inet6 {before[1]}/64 " in log

    os.kill(container_pid(seedpod, uid), signal.SIGKILL)
    is_as_before(1)
    os.kill(podmon_of(seedpod, uid), signal.SIGKILL)
    is_as_before(2)


def container_pid(seedpod: Seedpod, uid: str) -> int:
    (scope,) = (path for path in Slices(seedpod.root).path(uid).glob("*.scope") if path.name != "podmon.scope")
    return int((scope / "cgroup.procs").read_text().split()[0])


def test_a_pod_on_the_hosts_network_has_its_addresses_and_no_link_of_its_own(on_host: Seedpod, host: Host) -> None:
    """# A9: hostNetwork"""
    host.is_ready()
    detached(on_host, client(on_host, "web", hostNetwork=True))
    assert ips(on_host, "web") == [HOST4]
    assert pod_json(on_host, "web")["status"]["hostIP"] == HOST4
    assert "uplink" in on_host.command("exec", "web", "--", "ip", "link").stdout
    assert host.traces() == host.before


def test_pods_of_two_roots_that_start_at_once_have_different_prefixes(
    on_host: Seedpod, host: Host, tmp_path: Path, images: Path
) -> None:
    host.is_ready()
    other = replace(on_host, root=tmp_path / "other", _processes=[])
    other.root.mkdir()
    (other.root / "images").symlink_to(images)
    processes = [each.start(each.pod(each.shell("c", "ip addr; sleep 1"))) for each in (on_host, other)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    found = [ip_interface(re.findall(r"inet ([0-9./]+) brd", output)[0]) for output in outputs]
    assert not found[0].network.overlaps(found[1].network)
    assert not (other.root / "pods").exists() or list((other.root / "pods").iterdir()) == []


def test_a_number_comes_back_when_all_others_were_used_and_its_link_has_died(on_host: Seedpod, host: Host) -> None:
    """# finding 15: a link dies with its pod's namespace; nothing of ours deletes it"""
    (on_host.root / "config.toml").write_text('podCIDR = "10.127.7.0/29"')
    host.is_ready()
    given = []
    detached(on_host, client(on_host, "stays"))
    for _ in range(5):
        given.append(up(on_host, client(on_host, "web"))[0][0])
        assert on_host.command("delete", "web", "--now").returncode == 0
    assert given == [f"10.127.7.{number}" for number in (3, 4, 5, 6, 3)], "2 is the pod's that stays"
    bridge = root_name(on_host.root)
    host.until(lambda: host.run("ip", "-o", "link", "show", "master", bridge).count("\n") == 1)
    assert f" {leases.link_name(bridge, 2)}@" in host.run("ip", "-o", "link", "show", "master", bridge)


def test_a_link_that_somebody_holds_is_deleted(seedpod: Seedpod) -> None:
    """# finding 15: a program that entered the pod's network keeps it alive"""
    detached(seedpod, client(seedpod, "stays"), client(seedpod, "web"))
    uid = pod_json(seedpod, "web")["metadata"]["uid"]
    words = ["nsenter", f"--net=/proc/{podmon_of(seedpod, uid)}/ns/net", "sh", "-c", "echo; exec sleep infinity"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder, Watch() as watch:
        assert holder.stdout is not None
        holder.stdout.readline()
        link = leases.link_name(root_name(seedpod.root), read_book(seedpod.root).leases[uid].number)
        assert link in network.link_names()
        assert seedpod.command("delete", "web", "--now").returncode == 0
        while link in network.link_names():
            assert select.select(watch.sockets, [], [], 20)[0], "the link stays"
            list(watch.news())
        holder.kill()


def test_without_a_free_address_a_pod_waits_for_one(on_host: Seedpod, host: Host) -> None:
    (on_host.root / "config.toml").write_text('podCIDR = "10.127.7.0/30"')
    host.is_ready()
    detached(on_host, client(on_host, "first"))
    with Client(on_host.root) as engine:
        engine.create([client(on_host, "second")])
    status = until(on_host, "second", lambda status: bool(status.events))
    assert status.events[0].reason == "FailedCreatePodSandBox"
    assert status.events[0].message.startswith("no address is left in 10.127.7.0/30: 1 pods have one: ")
    assert "podCIDR" in status.events[0].message, "the cure"
    assert on_host.command("delete", "first", "--now").returncode == 0
    until(on_host, "second", all_running)
    assert ips(on_host, "second") == ["10.127.7.2"]


def test_prefixes_are_chosen_free_of_routes_and_kept(on_host: Seedpod, host: Host) -> None:
    host.shell("ip route add 10.128.0.0/9 dev uplink; ip route add 172.16.0.0/13 via 192.0.2.1")
    host.is_ready()
    (first,) = up(on_host, client(on_host, "web"))
    assert ip_address(first[0]) in ip_network("172.24.0.0/13")
    assert ip_address(first[1]) in ip_network("fd00::/8")
    assert on_host.command("delete", "web", "--now").returncode == 0
    (second,) = up(on_host, client(on_host, "web"))
    assert [ip_interface(f"{ip}/22").network for ip in (first[0], second[0])].count(
        ip_interface(f"{first[0]}/22").network
    ) == 2


def test_a_prefix_that_is_in_use_is_refused_with_what_uses_it(on_host: Seedpod, host: Host) -> None:
    (on_host.root / "config.toml").write_text('podCIDR = "10.9.0.0/16"')
    host.shell("ip route add 10.9.128.0/24 dev uplink")
    host.is_ready()
    result = on_host.command("run", "-d", "-", input=json.dumps(client(on_host, "web")))
    assert result.returncode == 1
    assert "podCIDR 10.9.0.0/16 overlaps 10.9.128.0/24, which this host uses" in result.stderr


def test_a_host_without_ipv6_has_pods_without_it(on_host: Seedpod, host: Host) -> None:
    for which in ("all", "default"):
        host.sysctl(f"ipv6/conf/{which}/disable_ipv6", "1")
    host.serve_in_world("tcp", "0.0.0.0", "7000")
    host.is_ready()
    ((one,),) = up(on_host, serving(on_host, "web", "tcp 0.0.0.0 80"))
    detached(on_host, client(on_host, "client"))
    assert ask(on_host, "client", "tcp", one, "80").endswith(" web")
    assert ask(on_host, "client", "tcp", WORLD4, "7000") == HOST4


def test_a_host_without_a_default_route_has_pods_that_reach_each_other_and_it(on_host: Seedpod, host: Host) -> None:
    host.shell("ip route del default; ip -6 route del default")
    host.is_ready()
    (server, _) = up(on_host, serving(on_host, "web", *EVERYWHERE), client(on_host, "client"))
    seen = ips(on_host, "client")
    assert [ask(on_host, "client", "tcp", address, "80") for address in server] == [f"{ip} web" for ip in seen]
    assert host.ask("tcp", server[0], "80").endswith(" web")
    assert pod_json(on_host, "web")["status"]["hostIP"] == "127.0.0.1"
    assert ask(on_host, "client", "tcp", "203.0.113.9", "80") == "ENETUNREACH"
