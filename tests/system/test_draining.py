"""Ports of the host of a pod that is to end: nobody new is led to it, who is there stays (SEMANTICS A36)."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.pod.slices import root_name
from tests.network import HOST4, HOST6, Host, listening, serving, up
from tests.runner import Manifest, Seedpod
from tests.staying import detached, kill_engine, pod_json

pytestmark = pytest.mark.root

PORTS = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]
TARGETS = (HOST4, "127.0.0.1", HOST6)


def echoing(seedpod: Seedpod) -> Manifest:
    """A pod whose port sends back what connections send, and answers UDP; its end takes long."""
    lasts = {"lifecycle": {"preStop": {"sleep": {"seconds": 500}}}}
    return seedpod.pod(
        seedpod.container("four", "/probe/probe", "echo", "tcp", "0.0.0.0", "80", ports=PORTS, **lasts),
        seedpod.container("six", "/probe/probe", "echo", "tcp", "::", "80"),
        seedpod.container("udp", "/probe/probe", "serve", "udp", "0.0.0.0", "80", "web"),
        terminationGracePeriodSeconds=1000,
        restartPolicy="Always",
    )


def echoes(connection: socket.socket) -> bool:
    connection.sendall(b"still here?")
    return connection.recv(100) == b"still here?"


def answers(udp: socket.socket) -> bool:
    udp.send(b"?")
    return udp.recv(100).endswith(b" web")


def is_closed(host: Host) -> bool:
    return all(host.ask("tcp", target, "8080") == "ECONNREFUSED" for target in TARGETS)


def refused(seedpod: Seedpod, name: str) -> str:
    """Why another pod does not get the port."""
    late = serving(seedpod, name, "tcp 0.0.0.0 80", ports=PORTS)
    result = seedpod.command("run", "-d", "-", input=json.dumps(late))
    assert result.returncode == 1
    return result.stderr.splitlines()[0].removeprefix("error: ")


def test_a_pod_that_is_being_deleted_gets_no_new_connections_and_keeps_those_it_has(  # A36
    on_host: Seedpod, host: Host, tmp_path: Path, images: Path
) -> None:
    host.is_ready()
    detached(on_host, echoing(on_host))
    for name in ("four", "six", "udp"):
        listening(on_host, "web", name)
    connections = [host.world.connect(HOST4, 8080), *(host.connect(target, 8080) for target in TARGETS)]
    assert all(map(echoes, connections))
    udp = host.world.connect(HOST4, 8080, socket.SOCK_DGRAM)
    assert answers(udp)

    on_host.command("delete", "web", "--wait=false")
    host.until(lambda: is_closed(host))
    assert host.ask_from_world("tcp", HOST4, "8080") == "ECONNREFUSED"
    assert host.ask_from_world("udp", HOST4, "8080") == "ECONNREFUSED"
    assert all(map(echoes, connections))
    assert answers(udp), "who goes on sending by UDP has a connection, too"

    # It is the pod's still: for its root, for another, and under the next engine.
    other = replace(on_host, root=tmp_path / "other", _processes=[])
    other.root.mkdir()
    (other.root / "images").symlink_to(images)
    of_root = f"hostPort 8080/TCP is taken by a pod of another root (nft table {root_name(on_host.root)})"
    assert refused(other, "late") == of_root
    other.end_all()
    assert refused(on_host, "late") == "hostPort 8080/TCP is taken by pod default/web"
    kill_engine(on_host)
    assert pod_json(on_host, "web")["metadata"]["deletionTimestamp"]
    assert refused(on_host, "late") == "hostPort 8080/TCP is taken by pod default/web"
    assert is_closed(host)
    assert all(map(echoes, connections))
    assert answers(udp)

    for each in (*connections, udp):
        each.close()
    assert on_host.command("delete", "web", "--now").returncode == 0
    up(on_host, serving(on_host, "late", "tcp 0.0.0.0 80", ports=PORTS))
    assert host.ask("tcp", HOST4, "8080") == f"{HOST4} late"


def test_the_next_engine_closes_what_one_that_was_killed_did_not(on_host: Seedpod, host: Host) -> None:  # A36, A41
    host.is_ready()
    detached(on_host, echoing(on_host))
    for name in ("four", "six"):
        listening(on_host, "web", name)
    connection = host.connect("127.0.0.1", 8080)
    on_host.command("delete", "web", "--wait=false")
    host.until(lambda: is_closed(host))
    kill_engine(on_host)
    book = on_host.root / "network.json"  # as if it was killed before it came to the ports
    text = book.read_text()
    assert '"closed": true' in text
    book.write_text(text.replace('"closed": true', '"closed": false'))
    on_host.command("get")
    host.until(lambda: is_closed(host))
    assert echoes(connection)
    connection.close()
    assert on_host.command("delete", "web", "--now").returncode == 0
