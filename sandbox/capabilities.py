"""The kernel's capabilities, by name and as bits; what a container has of them where its manifest says nothing.

Names are without `CAP_`, in capitals, as manifests have them.  Pure, and of no layer.
"""

from __future__ import annotations

from collections.abc import Iterable

# linux/capability.h, in the order of their numbers.
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip

ALL = "ALL"  # in a manifest: every capability there is

# SEMANTICS A43: what containerd grants where a manifest says nothing.
DEFAULT = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip


def bits(names: Iterable[str]) -> int:
    """The bits of capabilities, as in /proc/PID/status.  Raises ValueError for an unknown name."""
    return sum(1 << CAPABILITIES.index(name) for name in set(names))


def names(mask: int) -> tuple[str, ...]:
    """The capabilities whose bits are set; one that is newer than this list goes by its number."""
    known = dict(enumerate(CAPABILITIES))
    return tuple(known.get(bit, str(bit)) for bit in range(mask.bit_length()) if mask >> bit & 1)


def canonical(written: str) -> str | None:
    """The name of a capability as a manifest may write it, in any case, with `CAP_` or without; None for no such."""
    name = written.upper()
    if name == ALL:
        return ALL
    name = name.removeprefix("CAP_")
    return name if name in CAPABILITIES else None


def granted(add: Iterable[str], drop: Iterable[str], every: int) -> int:
    """The bits that a container has: of the default ones, with `add` and without `drop`.

    `every` is what ALL means, the capabilities that can be had.  ALL counts first, so that single ones can be taken
    from it or given beside it; of a capability that is both added and dropped the latter holds.  As in containerd.
    """
    added, dropped = set(add), set(drop)
    start = every if ALL in added else bits(DEFAULT)
    if ALL in dropped:
        start = 0
    return (start | bits(added - {ALL})) & ~bits(dropped - {ALL})
