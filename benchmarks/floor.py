"""The kernel alone: floor.c, for a pod and for a sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contender import Contender, Missing, Place, Program
from sandbox import capabilities
from sandbox.linux.seccomp import compile_profile, default_profile

HERE = Path(__file__).parent
SOURCES = ("floor.c", "floor_monitor.c", "floor_link.c")
FLAGS = ("-static", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


def build(target: Path) -> Path:
    """The program, which both floors are."""
    if target.exists():
        return target
    if shutil.which("gcc") is None:
        raise Missing("gcc is not installed")
    subprocess.run(["gcc", *FLAGS, *(HERE / name for name in SOURCES), "-o", target], check=True)
    return target


class _Floor(Contender):
    operations = ("create", "delete")
    bridge: str | None = None

    def start(self, stack: ExitStack) -> None:
        # Static, as podmon is: its pages are all that the monitor's process has.
        program = build(self.place.directory / "floor")
        own = self.directory / "filter"
        own.write_bytes(compile_profile(default_profile(), frozenset(capabilities.DEFAULT)))
        words: list[str | Path] = [self.place.rootfs, self.directory / "pod", self.cgroup.path / "pod", own]
        if self.bridge:
            words.append(self.bridge)
            stack.callback(_delete_link, self.bridge)  # where the program could not: it was killed
        self._program = Program([program, *words], self.programs, stack)

    def do(self, operation: str) -> float:
        self._program.tell(operation)
        return int(self._program.hear()) / 1e6


def _delete_link(name: str) -> None:
    if Path("/sys/class/net", name).exists():
        subprocess.run(["ip", "link", "delete", name], check=True)


class FloorSandbox(_Floor):
    name = "floor sandbox"
    says = "C program: the system calls of `library sandbox` alone"


class FloorPod(_Floor):
    name = "floor pod"
    says = "C program: the system calls of `library pod` alone"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.bridge = f"floor{os.getpid()}"
