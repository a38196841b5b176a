"""The configuration of an engine: `<root>/config.toml`, else `/etc/seedpod/config.toml`; docs/cli.md lists the keys."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError, quoted
from sandbox.linux.network import Network

MAX_PIDS = 4194304  # the kernel's PID_MAX_LIMIT
SYSTEM_FILE = Path("/etc/seedpod/config.toml")


def _node_name() -> str:
    return os.uname().nodename.lower()


@dataclass(frozen=True)
class Config:
    """`max_container_restart_period` is in seconds, `container_log_max_size` in bytes.

    `pod_pids_limit` is how many processes and threads a pod may have, -1 is any number.  `cgroup_parent` is the slice
    below which those of the root are made; "" is the top of the cgroup2 tree.  With `seccomp_default` a container that
    names no seccomp profile has RuntimeDefault, otherwise none.  With `container_log_block` a container waits for room
    where the disk of its log is full, otherwise its output is lost and counted.
    """

    node_name: str = field(default_factory=_node_name)
    max_container_restart_period: float = 300.0
    container_log_max_size: int = 10 << 20
    container_log_max_files: int = 5
    pod_pids_limit: int = -1
    cgroup_parent: str = ""
    pod_cidr: tuple[Network, ...] = ()  # IPv4 first; none: they are chosen
    seccomp_default: bool = False
    container_log_block: bool = False


# Keys of the contract that come with what they configure.
_LATER = ("clusterDomain", "cgroupDriver")


def load(root: Path) -> Config:
    """The configuration of a root.  Raises SandboxError for a file that cannot be read as one, whatever is wrong."""
    for path in (root / "config.toml", SYSTEM_FILE):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise SandboxError(f"{path}: cannot be read: {error}") from None
        return parse(text, str(path))
    return Config()


def parse(text: str, file: str) -> Config:
    """The configuration in `text`; `file` is its name in messages."""
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number too long, arrays too deep: not all are its own
        raise SandboxError(f"{file}: {error}") from None
    values: dict[str, Any] = {}
    for key, value in said.items():
        if key in _LATER:
            raise SandboxError(f"{file}: key {quoted(key)} is known but not implemented yet")
        if key not in _KEYS:
            raise SandboxError(f"{file}: unknown key {quoted(key)}", hint=f"the keys are {', '.join(sorted(_KEYS))}")
        attribute, read = _KEYS[key]
        try:
            values[attribute] = read(value)
        except ValueError as error:
            raise SandboxError(f"{file}: {key}: {error}") from None
    return Config(**values)


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", value):
        raise ValueError('must be a name such as "node-1"')
    return value


def _period(value: object) -> float:
    """kubelet takes 1 s to 300 s (SEMANTICS A21)."""
    found = re.fullmatch(r"(?:(\d{1,3})m)?(?:(\d{1,3})s)?", value) if isinstance(value, str) and value else None
    seconds = int(found[1] or 0) * 60 + int(found[2] or 0) if found else 0
    if not 1 <= seconds <= 300:
        raise ValueError('must be a duration from "1s" to "300s"')
    return float(seconds)


_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def _size(value: object) -> int:
    found = re.fullmatch(r"(\d{1,12})(|k|M|G|Ki|Mi|Gi)", str(value)) if isinstance(value, str | int) else None
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 65536 <= size < 1 << 62:
        raise ValueError('must be a size such as "10Mi", 64Ki at least')
    return size


def _files(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 2 <= value <= 1000:
        raise ValueError("must be a number from 2 to 1000")
    return value


def _full_disk(value: object) -> bool:
    if value not in ("block", "drop"):
        raise ValueError('must be "block" or "drop"')
    return value == "block"


def _pids(value: object) -> int:
    """A pod's podmon, its reaper and what joining a container takes for a moment are counted too: it needs a few."""
    if type(value) is not int or not (value == -1 or 8 <= value <= MAX_PIDS):
        raise ValueError(f"must be -1 or a number from 8 to {MAX_PIDS}")
    return value


def _parent(value: object) -> str:
    if (
        not isinstance(value, str)
        or not re.fullmatch(r"/?([A-Za-z0-9_.@:-]+(/[A-Za-z0-9_.@:-]+)*)?", value)
        or ".." in value
    ):
        raise ValueError('must be a path below the cgroup2 mount, such as "machine.slice"')
    return value.strip("/")


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _pod_cidr(value: object) -> tuple[Network, ...]:
    """One prefix, or one of each family: "10.9.0.0/16, fd09::/64"."""
    try:
        networks = [ip_network(each.strip()) for each in value.split(",")] if isinstance(value, str) else []
    except ValueError as error:
        raise ValueError(f'must be prefixes such as "10.9.0.0/16, fd09::/64": {error}') from None
    if [each.version for each in networks] not in ([4], [6], [4, 6], [6, 4]):
        raise ValueError('must be a prefix, or one of IPv4 and one of IPv6: "10.9.0.0/16, fd09::/64"')
    for each in networks:
        if each.is_multicast or each.is_loopback or each.is_link_local or each.is_unspecified:
            raise ValueError(f"must be of addresses that a pod may have, not {each}")
        if not 8 <= each.prefixlen <= each.max_prefixlen - 2:
            raise ValueError(f"must be of 8 to {each.max_prefixlen - 2} bits, not {each}")
    return tuple(sorted(networks, key=lambda each: each.version))


_KEYS: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    "nodeName": ("node_name", _name),
    "maxContainerRestartPeriod": ("max_container_restart_period", _period),
    "containerLogMaxSize": ("container_log_max_size", _size),
    "containerLogMaxFiles": ("container_log_max_files", _files),
    "containerLogFullDisk": ("container_log_block", _full_disk),
    "podPidsLimit": ("pod_pids_limit", _pids),
    "cgroupParent": ("cgroup_parent", _parent),
    "seccompDefault": ("seccomp_default", _flag),
    "podCIDR": ("pod_cidr", _pod_cidr),
}
