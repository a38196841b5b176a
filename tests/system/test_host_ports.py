"""Ports of the host that lead to pods: from the world, the host and pods; who may have them; what goes with the pod."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.pod.slices import root_name
from tests.network import EVERYWHERE, HOST4, HOST6, WORLD4, WORLD6, Host, ask, client, ips, serving, up
from tests.runner import Manifest, Seedpod
from tests.staying import detached, kill_engine, pod_json, podmon_of, until

pytestmark = pytest.mark.root

BOTH = ({"containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "hostPort": 8080, "protocol": "UDP"})


def port(number: int, **more: object) -> Manifest:
    return {"containerPort": 80, "hostPort": number, **more}


def refused(seedpod: Seedpod, *pods: Manifest) -> str:
    """Why these pods are refused, before anything of them is made."""
    result = seedpod.command("run", "-d", "-", input="\n---\n".join(map(json.dumps, pods)))
    assert result.returncode == 1
    return result.stderr.splitlines()[0].removeprefix("error: ")


def test_a_port_is_reached_from_everywhere_in_both_families_and_protocols(on_host: Seedpod, host: Host) -> None:
    host.is_ready()
    up(on_host, serving(on_host, "web", *EVERYWHERE, ports=BOTH), client(on_host, "client"))
    four, six = ips(on_host, "client")
    for protocol in ("tcp", "udp"):
        # The world and the host are seen by their own addresses: nothing but the target is changed.
        assert host.ask_from_world(protocol, HOST4, "8080") == f"{WORLD4} web"
        assert host.ask(protocol, HOST4, "8080") == f"{HOST4} web"
        assert host.ask(protocol, "127.0.0.1", "8080").endswith(" web")
        # From a pod through the host: the answer has to come back through it, so the host is seen, and never the pod.
        seen, name = ask(on_host, "client", protocol, HOST4, "8080").split()
        assert name == "web"
        assert seen not in (four, six)
        assert ask(on_host, "web", protocol, HOST4, "8080").endswith(" web"), "and the pod itself"
        assert host.ask(protocol, HOST6, "8080") == f"{HOST6} web"
        if Path("/proc/sys/net/ipv6/conf/lo/force_forwarding").exists():
            assert ask(on_host, "client", protocol, HOST6, "8080").endswith(" web")
            assert host.ask_from_world(protocol, HOST6, "8080") == f"{WORLD6} web"


def test_pods_cannot_reach_what_listens_on_the_hosts_loopback(on_host: Seedpod, host: Host) -> None:
    """A port that leads from 127.0.0.1 to a pod opens no way back (as CVE-2020-8558)."""
    host.serve("udp", "127.0.0.1", "7000")
    host.is_ready()
    up(on_host, serving(on_host, "web", "tcp 0.0.0.0 80", ports=[port(8080)]))
    assert host.ask("tcp", "127.0.0.1", "8080").endswith(" web")
    bridge = root_name(on_host.root)
    gateway = host.shell(f"ip -o -4 addr show dev {bridge} | sed 's/.*inet //; s,/.*,,'").strip()
    namespace = f"--net=/proc/{podmon_of(on_host, pod_json(on_host, 'web')['metadata']['uid'])}/ns/net"
    # As a program could that makes its own packets: one for 127.0.0.1 goes to the bridge.
    script = f"""
        echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
        ip route del local 127.0.0.1 dev lo table local
        ip route del local 127.0.0.0/8 dev lo table local
        ip route add 127.0.0.1 via {gateway} dev eth0
    """
    host.run("nsenter", namespace, "sh", "-ec", script)

    def received() -> int:
        """How many datagrams programs on the host get when the pod sends one there."""
        before = datagrams(host)
        host.run("nsenter", namespace, "sh", "-c", f"{host.probe} ask udp 127.0.0.1 7000; true")
        return datagrams(host) - before

    assert received() == 0
    kill_engine(on_host)  # it would mend the table at once
    host.run("nft", "flush", "chain", "inet", bridge, "loopback")
    assert received() == 1, "it is that rule that keeps it out"


def datagrams(host: Host) -> int:
    names, values = (line.split() for line in host.run("grep", "^Udp:", "/proc/net/snmp").splitlines())
    return int(values[names.index("InDatagrams")])


def test_a_host_ip_is_the_only_address_that_leads_to_the_pod(on_host: Seedpod, host: Host) -> None:
    host.is_ready()
    up(
        on_host,
        serving(on_host, "four", "tcp 0.0.0.0 80", ports=[port(8080, hostIP=HOST4)]),
        serving(on_host, "local", "tcp 0.0.0.0 80", ports=[port(8080, hostIP="127.0.0.1")]),
        serving(on_host, "six", "tcp :: 80", ports=[port(8080, hostIP="::")]),
    )
    assert host.ask_from_world("tcp", HOST4, "8080") == f"{WORLD4} four"
    assert host.ask("tcp", "127.0.0.1", "8080").endswith(" local")
    assert host.ask("tcp", HOST6, "8080") == f"{HOST6} six"


def test_a_port_that_somebody_has_is_refused_before_anything_is_made(
    on_host: Seedpod, host: Host, tmp_path: Path, images: Path
) -> None:
    for address in ("0.0.0.0", "::"):
        host.serve("tcp", address, "7000")
    host.serve("udp", "127.0.0.1", "7001")
    host.is_ready()
    up(on_host, serving(on_host, "web", *EVERYWHERE, ports=BOTH))
    pods = sorted(on_host.root.glob("pods/*"))

    def pod(*ports: Manifest, **spec: object) -> Manifest:
        return on_host.pod(on_host.container("c", "true", ports=list(ports)), name="late", **spec)

    assert refused(on_host, pod(port(8080))) == "hostPort 8080/TCP is taken by pod default/web"
    assert refused(on_host, pod(port(8080, hostIP="127.0.0.9"))) == (
        "hostPort 8080/TCP of 127.0.0.9 is taken by pod default/web"
    )
    assert refused(on_host, pod({"containerPort": 8080}, hostNetwork=True)) == (
        "hostPort 8080/TCP is taken by pod default/web"
    )
    assert refused(on_host, pod(port(7000))).startswith("hostPort 7000/TCP is taken by process ")
    assert refused(on_host, pod(port(7000))).endswith(" (probe)")
    assert refused(on_host, pod(port(7001, protocol="UDP"))).startswith("hostPort 7001/UDP is taken by process ")
    twins = [{**pod(port(9000)), "metadata": {"name": name}} for name in ("one", "two")]
    assert refused(on_host, *twins) == "hostPort 9000/TCP is taken by pod default/one"
    other = replace(on_host, root=tmp_path / "other", _processes=[])
    other.root.mkdir()
    (other.root / "images").symlink_to(images)
    assert "is taken by a pod of another root (nft table seedpod" in refused(other, pod(port(8080)))
    other.end_all()
    assert sorted(on_host.root.glob("pods/*")) == pods


def test_a_port_is_free_when_its_pod_has_gone_or_has_ended(on_host: Seedpod, host: Host) -> None:
    host.is_ready()
    once = on_host.pod(on_host.container("c", "true", ports=[port(8080)]), name="once")
    detached(on_host, once, wait=False)
    until(on_host, "once", lambda status: status.over)
    for _ in range(2):
        up(on_host, serving(on_host, "web", *EVERYWHERE, ports=BOTH))
        assert host.ask("tcp", HOST4, "8080") == f"{HOST4} web"
        assert on_host.command("delete", "web", "--now").returncode == 0
        assert host.ask("tcp", HOST4, "8080") == "ECONNREFUSED"
    assert pod_json(on_host, "once")["status"]["podIP"], "as kubelet, it is still shown"


def test_a_client_that_goes_on_sending_reaches_the_next_pod_of_the_port(on_host: Seedpod, host: Host) -> None:
    """What the kernel tracks of a pod that is gone leads nowhere any more: a UDP client keeps its entry alive."""
    host.is_ready()
    up(on_host, serving(on_host, "one", *EVERYWHERE, ports=BOTH))
    sender = host.world.start(host.probe, "keep-asking", HOST4, "8080")
    assert sender.stdout is not None
    assert sender.stdout.readline() == f"{WORLD4} one\n"
    assert on_host.command("delete", "one", "--now").returncode == 0
    up(on_host, serving(on_host, "two", *EVERYWHERE, ports=BOTH))
    for line in sender.stdout:
        if line == f"{WORLD4} two\n":
            break
    else:
        raise AssertionError("the entry of the first pod still holds")


def test_a_port_goes_on_leading_to_its_pod_without_an_engine_and_under_the_next(on_host: Seedpod, host: Host) -> None:
    host.is_ready()
    up(on_host, serving(on_host, "web", *EVERYWHERE, ports=BOTH))
    kill_engine(on_host)
    assert host.ask("tcp", HOST4, "8080") == f"{HOST4} web"
    host.run("nft", "flush", "ruleset")
    assert host.ask("tcp", HOST4, "8080") == "ECONNREFUSED"
    on_host.command("get")
    assert host.ask("tcp", HOST4, "8080") == f"{HOST4} web"


def test_with_host_network_a_port_is_the_hosts_and_shown_so(on_host: Seedpod, host: Host) -> None:
    host.is_ready()
    pod = serving(on_host, "web", "tcp 0.0.0.0 8080", ports=[{"containerPort": 8080, "name": "http"}], hostNetwork=True)
    up(on_host, pod)
    assert host.ask_from_world("tcp", HOST4, "8080") == f"{WORLD4} web"
    assert pod_json(on_host, "web")["spec"]["containers"][0]["ports"] == [
        {"containerPort": 8080, "hostPort": 8080, "name": "http", "protocol": "TCP"}
    ]


def test_sctp_is_declared_alone(seedpod: Seedpod) -> None:
    declared = [{"containerPort": 80, "protocol": "SCTP"}]
    detached(seedpod, seedpod.pod(seedpod.container("c", "true", ports=declared), name="sctp"), wait=False)
    message = refused(seedpod, seedpod.pod(seedpod.container("c", "true", ports=[port(80, protocol="SCTP")])))
    assert 'protocol: Unsupported value: "SCTP": known but not implemented yet' in message
