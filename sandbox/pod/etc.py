"""The files of /etc that are the pod's: hosts, hostname, resolv.conf (SEMANTICS A10)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sandbox.model import Pod
from sandbox.pod import resolv
from sandbox.pod.container import BindMount
from sandbox.pod.files import make_directory, remove_file, write_file

# The lines that kubelet writes.
HOSTS_HEAD = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
FILES = ("hosts", "hostname", "resolv.conf")
HOST_NETWORK_HEAD = "# Kubernetes-managed hosts file (host network).\n"


def create(pod: Pod, hostname: str, ips: Sequence[str], directory: Path) -> tuple[BindMount, ...]:
    """Write the pod's files, where they are missing, and say where they go.

    On the host's network names are looked up as on the host.
    """
    etc = directory / "etc"
    make_directory(etc, 0o755, exist_ok=True)
    texts = {
        "hosts": HOST_NETWORK_HEAD + _of_host("hosts") if pod.host_network else hosts(hostname, ips),
        "hostname": f"{hostname}\n",
        "resolv.conf": _of_host("resolv.conf") if pod.host_network else resolv.of_host()[0].text(),
    }
    for name, text in texts.items():
        if not (etc / name).exists():
            write_file(etc / name, text, mode=0o644)
    return tuple(BindMount(etc / name, f"/etc/{name}", f"the pod's {name} file") for name in texts)


def forget(directory: Path) -> None:
    """The pod has other addresses than its files say, or nobody knows what they say: they are written anew."""
    for name in FILES:
        remove_file(directory / "etc" / name)


def hosts(hostname: str, ips: Sequence[str]) -> str:
    """The hosts file of a pod with these addresses; one that has none finds itself on its loopback."""
    return HOSTS_HEAD + "".join(f"{ip}\t{hostname}\n" for ip in ips or ("127.0.0.1",))


def _of_host(name: str) -> str:
    """The text of the host's own file in /etc; empty where it has none."""
    file = Path("/etc") / name
    return file.read_text(errors="replace") if file.exists() else ""
