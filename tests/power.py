"""A disk whose power can be cut: what was not synced is gone, as after a power cut of the machine."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN of include/uapi/linux/fs.h (ext4, xfs, f2fs)
_WITHOUT_THE_LOG = 2  # FS_SHUTDOWN_FLAGS_NOLOGFLUSH: not even its journal is written


class Disk:
    """An ext4 in the file `image`, mounted at `at`; not one that mends what programs forgot to sync."""

    def __init__(self, at: Path, image: Path) -> None:
        self._at = at
        self._image = image
        at.mkdir(exist_ok=True)
        with image.open("wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        self.mount()

    def mount(self) -> None:
        # With auto_da_alloc ext4 would write a file that replaces another before it renames it.
        options = "loop,noauto_da_alloc,commit=300"
        subprocess.run(["mount", "-o", options, self._image, self._at], check=True)

    def cut_the_power(self) -> None:
        """Nothing is written any more, from now on, and what is to be written is forgotten."""
        fd = os.open(self._at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_THE_LOG))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        subprocess.run(["umount", self._at], check=True)
