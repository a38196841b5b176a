"""Who has a port of this host: asked of /proc, for messages."""

from __future__ import annotations

from pathlib import Path

_FILES = {"TCP": ("tcp", "tcp6"), "UDP": ("udp", "udp6"), "SCTP": ()}
_LISTEN = "0A"


def holder(protocol: str, port: int) -> str | None:
    """The program that listens on the port, as messages name it; None where it is not to be found."""
    inodes = _inodes(protocol, port)
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
        except OSError:  # it has ended, or is not ours to look at
            continue
    return None


def _inodes(protocol: str, port: int) -> set[str]:
    """What /proc/<pid>/fd says of the sockets that have the port."""
    found = set()
    for name in _FILES[protocol]:
        file = Path("/proc/net") / name
        for line in file.read_text().splitlines()[1:] if file.exists() else ():
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and (protocol != "TCP" or fields[3] == _LISTEN):
                found.add(f"socket:[{fields[9]}]")
    return found
