"""A machine of a test's own to run seedpod on, made of a network and a mount namespace, and a world around it.

    world: 192.0.2.1, fd77::1, a route to nowhere else      --- uplink: 192.0.2.2, fd77::2, default routes: the host

So firewalls, forwarding, prefixes in use and /etc/resolv.conf are the test's, and the real machine's stay as they are.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.linux import network
from tests.runner import Manifest, Seedpod
from tests.staying import detached, pod_json

HOST4, HOST6 = "192.0.2.2", "fd77::2"
WORLD4, WORLD6 = "192.0.2.1", "fd77::1"

_WORLD = f"""
ip link set lo up
ip link set eth0 up
ip addr add {WORLD4}/24 dev eth0
ip addr add {WORLD6}/64 dev eth0 nodad
"""
_HOST = f"""
ip link set lo up
ip link set uplink up
ip addr add {HOST4}/24 dev uplink
ip addr add {HOST6}/64 dev uplink nodad
ip route add default via {WORLD4}
ip route add default via {WORLD6}
"""


class Space:
    """A network namespace and a mount namespace, held by a process that sleeps."""

    def __init__(self) -> None:
        words = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep infinity"]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.pid = self._holder.pid
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def entering(self) -> list[str]:
        """The words of a command that runs another in here."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt"]

    def run(self, *words: str | Path) -> str:
        """What a command prints in here; it succeeds."""
        done = subprocess.run([*self.entering, *words], check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shell(self, script: str) -> str:
        return self.run("sh", "-e", "-c", script)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """A program that runs in here until the end of the test, and has printed a line."""
        process = subprocess.Popen([*self.entering, *words], stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ok\n"
        return process

    def connect(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A connection of a client in here."""
        pidfd = os.pidfd_open(self.pid)
        try:
            with network.inside(pidfd):
                connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
                connection.settimeout(10)
                connection.connect((address, port))
                return connection
        finally:
            os.close(pidfd)

    def end(self) -> None:
        for process in (*self._processes, self._holder):
            process.kill()
            process.communicate()


class Host(Space):
    """The machine; `world` is the other end of its uplink."""

    def __init__(self, probe: Path, wrapper: Path, program: Path) -> None:
        super().__init__()
        self.world = Space()
        self.probe = probe / "probe"
        self.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", str(self.world.pid))
        self.world.shell(_WORLD)
        self.shell(_HOST)
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.sysctl(name, "0")
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(self.entering)} {program} "$@"\n')
        wrapper.chmod(0o755)
        self.program = wrapper
        self.before: dict[str, str] | None = None

    def is_ready(self) -> None:
        """From here on the machine is not changed by the test: what differs in the end was left by pods."""
        self.before = self.traces()

    def sysctl(self, name: str, value: str) -> None:
        """Set a parameter below net/ of this machine."""
        self.shell(f"echo {value} > /proc/sys/net/{name}")

    def file(self, path: str, text: str, tmp_path: Path) -> None:
        """Have the machine, and it alone, see this text in a file that is there on the real one."""
        own = tmp_path / path.replace("/", "-")
        own.write_text(text)
        self.run("mount", "--bind", own, path)

    def ask(self, *words: str) -> str:
        """What a server says to the machine: "tcp ADDRESS PORT"."""
        return asked(self, self.probe, words)

    def ask_from_world(self, *words: str) -> str:
        return asked(self.world, self.probe, words)

    def serve(self, *words: str) -> None:
        self.start(self.probe, "serve", *words)

    def serve_in_world(self, *words: str) -> None:
        self.world.start(self.probe, "serve", *words)

    def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        """Look again with every change of the machine's network until it holds."""
        watching = [self.start("sh", "-c", f"echo ok; exec {words}") for words in ("ip monitor all", "nft monitor")]
        told = [each.stdout.fileno() for each in watching if each.stdout]
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came to hold"
            for fd in select.select(told, [], [], 0.5)[0]:
                os.read(fd, 65536)

    def traces(self) -> dict[str, str]:
        """All that pods may change of a machine."""
        return {
            "links": self.run("ip", "-o", "link"),
            "addresses": self.shell("ip -o addr | sed 's/ valid_lft.*//; s/ tentative//'"),
            "routes": self.shell("ip route; ip -6 route"),
            "nft": self.run("nft", "list", "ruleset"),
            "parameters": self.shell("cd /proc/sys/net; grep -s . ipv4/ip_forward ipv?/conf/*/*forwarding"),
            "iptables": self.shell(
                "for each in ip ip6; do [ -s /proc/net/${each}_tables_names ] || continue;"
                " ${each}tables-legacy-save | grep -v '^#' | sed 's/\\[.*//'; done"
            ),
        }

    def end(self) -> None:
        super().end()
        self.world.end()


def asked(space: Space, probe: Path, words: tuple[str, ...]) -> str:
    """What a server says to a client in there, or the errno's name."""
    command = [*space.entering, probe, "ask", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout.strip()


# ---- pods ----


def serving(seedpod: Seedpod, name: str, *servers: str, ports: Sequence[Manifest] = (), **spec: object) -> Manifest:
    """A pod with a server for each of "tcp|udp ADDRESS PORT", in a container each; the first one has `ports`."""
    containers = [
        seedpod.container(f"server{number}", "/probe/probe", "serve", *words.split(), name)
        for number, words in enumerate(servers)
    ]
    containers[0]["ports"] = list(ports)
    return seedpod.pod(*containers, name=name, restartPolicy="Always", **spec)


EVERYWHERE = ("tcp 0.0.0.0 80", "tcp :: 80", "udp 0.0.0.0 80", "udp :: 80")


def ips(seedpod: Seedpod, name: str) -> list[str]:
    """The pod's addresses."""
    status = pod_json(seedpod, name)["status"]
    found = [each["ip"] for each in status["podIPs"]]
    assert status["podIP"] == found[0]
    return found


def up(seedpod: Seedpod, *pods: Manifest) -> list[list[str]]:
    """The addresses of these pods, which run; each of their servers has said that it listens."""
    detached(seedpod, *pods)
    for pod in pods:
        for container in pod["spec"]["containers"]:
            if "serve" in container["command"]:
                listening(seedpod, pod["metadata"]["name"], container["name"])
    return [ips(seedpod, pod["metadata"]["name"]) for pod in pods]


def listening(seedpod: Seedpod, pod: str, container: str) -> None:
    """Wait until the server says so."""
    words = [seedpod.program, "--root", seedpod.root, "logs", "-f", pod, "-c", container]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "ok\n"
        following.kill()


def ask(seedpod: Seedpod, pod: str, *words: str) -> str:
    """What a server says to a client in a pod's first container, or the errno's name."""
    return seedpod.command("exec", pod, "--", "/probe/probe", "ask", *words).stdout.strip()


def client(seedpod: Seedpod, name: str, **spec: object) -> Manifest:
    return seedpod.pod(seedpod.container("client", "sleep", "infinity"), name=name, restartPolicy="Always", **spec)
