"""nftables through the nft command, and iptables' rules through those of iptables.

Blocking; in the network namespace of the calling thread.  Why commands, and not netlink: docs/decisions/0009.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.effects import effect
from sandbox.errors import SandboxError, Unsupported, shown

Listing = list[dict[str, dict[str, Any]]]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))


def require_nft() -> str:
    """The path of the nft command.  Raises Unsupported."""
    program = _program("nft")
    if program is None:
        raise Unsupported(
            "a pod's network",
            needs="the nft command",
            hint="install nftables (apt-get install nftables), or give the pod hostNetwork: true",
        )
    return program


@effect("change the nftables ruleset")
def nft(script: str) -> None:
    """Carry out a script, all of it or nothing.  Raises SandboxError with what nft said."""
    _run([require_nft(), "-f", "-"], stdin=script)


def listing(*what: str) -> Listing:
    """What `nft list` lists ("ruleset" or "table inet seedpod", as words), as its JSON has it."""
    objects: Listing = json.loads(_run([require_nft(), "--json", "list", *what]))["nftables"]
    return objects


def nft_version() -> str | None:
    """The version of the nft command where it is there and the kernel answers it, else None."""
    program = _program("nft")
    if program is None:
        return None
    asked = subprocess.run([program, "list", "tables"], check=False, capture_output=True, text=True)
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
    return said.stdout.split()[1] if asked.returncode == 0 and said.returncode == 0 else None


# ---- iptables ----

# The command for each kind of rules and family of addresses.
IPTABLES = {
    ("nft", 4): "iptables-nft",
    ("nft", 6): "ip6tables-nft",
    ("legacy", 4): "iptables-legacy",
    ("legacy", 6): "ip6tables-legacy",
}


def has_iptables(kind: str, version: int) -> bool:
    """Whether the command for these rules is there."""
    return _program(IPTABLES[kind, version]) is not None


def uses_legacy(version: int) -> bool:
    """Whether this network namespace has a legacy filter table; asking iptables-legacy would make one."""
    names = Path("/proc/thread-self/net") / {4: "ip_tables_names", 6: "ip6_tables_names"}[version]
    return names.exists() and "filter" in names.read_text().split()


def iptables(kind: str, version: int, *words: str) -> str:
    """Run iptables with the lock that other users of it take, too.  Raises SandboxError with what it said."""
    return _run(_iptables(kind, version, *words))


def has_rule(kind: str, version: int, rule: Sequence[str]) -> bool:
    """Whether the rule is there: chain, then matches and target."""
    command = _iptables(kind, version, "-C", *rule)
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _iptables(kind: str, version: int, *words: str) -> list[str]:
    name = IPTABLES[kind, version]
    return [_program(name) or name, "-w", "10", *words]


def _run(command: Sequence[str], *, stdin: str = "") -> str:
    try:
        done = subprocess.run(command, input=stdin, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        name = Path(command[0]).name
        raise Unsupported("a pod's network", needs=f"the {name} command", hint="install iptables") from None
    if done.returncode:
        words = shown(next(iter(done.stderr.splitlines()), f"exit code {done.returncode}"))
        raise SandboxError(f"{Path(command[0]).name}: {words}")
    return done.stdout
