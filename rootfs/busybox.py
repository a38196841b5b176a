"""localhost/busybox: Debian's static busybox and nothing else, about 2 MB; the default image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PACKAGE = "busybox-static"
COMMAND = ("sh",)

BUSYBOX = Path("/bin/busybox")
RECIPE = 1  # raise it when build() makes something else of the same busybox

# Directories with their modes; everything belongs to root.
DIRECTORIES = {
    "bin": 0o755,
    "sbin": 0o755,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "root": 0o700,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
    "var/www": 0o755,
}

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def fingerprint() -> str:
    """Tells this busybox and this recipe from others, without reading the 2 MB."""
    binary = BUSYBOX.stat()
    return f"{RECIPE}-{binary.st_size:x}-{binary.st_mtime_ns:x}"


def build(target: Path) -> None:
    """Fill `target`: the binary, a symbolic link for each of its applets, and the least of /etc."""
    for name, mode in DIRECTORIES.items():
        directory = target / name
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(mode)
    for name, text in FILES.items():
        (target / name).write_text(text)
        (target / name).chmod(0o644)
    shutil.copyfile(BUSYBOX, target / "bin" / "busybox")
    (target / "bin" / "busybox").chmod(0o755)
    for applet in _applets():
        link = target / applet
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to("/bin/busybox")


def _applets() -> list[str]:
    """The paths that busybox can be called by, relative to the root: "bin/sh", "usr/bin/wc", …"""
    listed = subprocess.run([BUSYBOX, "--list-full"], check=True, capture_output=True, text=True)
    return listed.stdout.split()
