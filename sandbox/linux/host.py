"""What this host can do, asked of the kernel itself, and the cure for what it cannot.

Reads and asks only; nothing is changed.
"""

from __future__ import annotations

import errno
import functools
import os
import platform
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import cgroups
from sandbox import capabilities
from sandbox.errors import KernelError, Unsupported
from sandbox.linux import netfilter, privileges

MINIMUM_FILES = 64  # a pod of two containers being made, two clients, Python's own
MINIMUM_KERNEL = (5, 14)  # cgroup.kill; mount_setattr is from 5.12, close_range's CLOEXEC from 5.11

# What the engine and podmon use themselves, beside what they can only hand on if they have it.
NEEDED_CAPABILITIES = (*capabilities.DEFAULT, "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE")
FIRST_USER_NAMESPACE = 0xEFFFFFFD  # the inode of its /proc/PID/ns/user, linux/proc_ns.h
USEFUL_CAPABILITIES = {"SYS_RESOURCE": "rlimits cannot be raised and oom_score_adj not lowered"}


@dataclass(frozen=True)
class Ability:
    """One thing about the host: `value` as it is, and, where `missing`, what it means and the cure in `remedy`."""

    name: str
    value: str
    missing: bool = False
    remedy: str | None = None


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id(path: Path = BOOT_ID) -> str:
    """Which boot of the machine this is: another after each."""
    return path.read_text().strip()


def in_first_user_namespace() -> bool:
    """Whether root is root of the machine, and not of a user namespace that somebody made."""
    return Path("/proc/self/ns/user").stat().st_ino == FIRST_USER_NAMESPACE


def require_privileges() -> None:
    """Raises Unsupported where this process cannot make pods at all (SEMANTICS A44)."""
    if os.geteuid() != 0:
        raise Unsupported("running a pod", needs="root", message="only root can run pods", hint="run it with sudo")
    if not in_first_user_namespace():
        raise Unsupported(
            "running a pod",
            needs="the first user namespace",
            hint="run it outside of containers and of unshare --user: what it is root of here is not the machine",
        )
    missing = privileges.missing(NEEDED_CAPABILITIES)
    if missing:
        raise Unsupported(
            "running a pod",
            needs=", ".join(f"CAP_{name}" for name in missing),
            hint="run it outside of a container, or in one that has these capabilities",
        )


def require_open_files() -> None:
    """Raises KernelError (EMFILE) where this process may open too few files to be an engine: it would fail anywhere."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < MINIMUM_FILES:
        hint = f"it may open {limit} and needs {MINIMUM_FILES} at least, and about ten for each pod: ulimit -n"
        raise KernelError(errno.EMFILE, step="be an engine", hint=hint)


def allow_open_files() -> None:
    """Let this process open as many files as it may allow itself."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


@functools.cache
def memory() -> int:
    """How many bytes of memory this machine has."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemTotal"].split()[0]) << 10


@functools.cache
def lowest_oom_score_adj() -> int:
    """The lowest oom_score_adj that a process which this one makes can give itself (proc_pid_oom_score_adj(5))."""
    return own_oom_score_adj() if privileges.missing(("SYS_RESOURCE",)) else -1000


@functools.cache
def own_oom_score_adj() -> int:
    """This process's own, as it was when first asked for."""
    return int(Path("/proc/self/oom_score_adj").read_text())


def abilities() -> list[Ability]:
    """All that `seedpod info` shows, in its order."""
    return [
        _kernel(),
        _python(),
        *_cgroups(),
        _namespaces(),
        _capabilities(),
        _overlay(),
        _seccomp(),
        _nftables(),
    ]


def _kernel() -> Ability:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    old = numbers < MINIMUM_KERNEL
    return Ability("kernel", release, old, "Linux 5.14 or newer is needed" if old else None)


def _python() -> Ability:
    return Ability("python", f"{platform.python_version()} ({sys.executable})")


def _cgroups() -> list[Ability]:
    layout = cgroups.detect()
    if layout.mount_point is None:
        remedy = "no pod can run: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        return [Ability("cgroups", layout.name, True, remedy)]
    rows = [Ability("cgroups", f"{layout.name}, cgroup2 at {layout.mount_point}")]
    for controller in ("cpu", "memory", "pids", "io", "cpuset", "hugetlb"):
        reason = layout.why_not(controller)
        value = "available" if reason is None else "not available"
        rows.append(Ability(f"  {controller}", value, reason is not None, reason))
    return rows


def _namespaces() -> Ability:
    wanted = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    here = [name for name in wanted if Path(f"/proc/self/ns/{name}").exists()]
    lacking = [name for name in wanted if name not in here]
    remedy = f"the kernel is built without: {', '.join(lacking)}" if lacking else None
    return Ability("namespaces", " ".join(here), bool(lacking), remedy)


def _capabilities() -> Ability:
    if os.geteuid() != 0:
        return Ability("privileges", f"uid {os.geteuid()}", True, "pods need root: run it with sudo")
    lost = privileges.missing(NEEDED_CAPABILITIES)
    if lost:
        return Ability("privileges", "root without " + " ".join(lost), True, "no pod can run without them")
    if not in_first_user_namespace():
        return Ability("privileges", "root of a user namespace", True, "no pod can run: it is not root of the machine")
    lacking = capabilities.names(capabilities.bits(capabilities.CAPABILITIES) & ~privileges.held())
    if lacking:
        meanings = [USEFUL_CAPABILITIES[name] for name in lacking if name in USEFUL_CAPABILITIES]
        remedy = "; ".join([*meanings, "no container can be given what seedpod does not have"])
        return Ability("privileges", "root without " + " ".join(lacking), True, remedy)
    return Ability("privileges", "root, all capabilities")


def _overlay() -> Ability:
    known = any(line.split()[-1] == "overlay" for line in Path("/proc/filesystems").read_text().splitlines())
    return Ability(
        "overlayfs", "available" if known else "not loaded", not known, None if known else "modprobe overlay"
    )


def _seccomp() -> Ability:
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if not actions.exists():
        return Ability("seccomp", "not available", True, "the kernel is built without CONFIG_SECCOMP_FILTER")
    from sandbox.linux import seccomp

    try:
        return Ability("seccomp", f"available, libseccomp {seccomp.library_version()}")
    except Unsupported as missing:
        return Ability("seccomp", "no profile but Unconfined", True, missing.hint)


def _nftables() -> Ability:
    if os.geteuid() != 0:
        return Ability("nftables", "only root can tell")
    version = netfilter.nft_version()
    if version is None:
        remedy = "no pod can have a network of its own: apt-get install nftables; modprobe nf_tables"
        return Ability("nftables", "not available", True, remedy)
    return Ability("nftables", f"nft {version}")
