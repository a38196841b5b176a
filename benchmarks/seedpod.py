"""seedpod as it is used: as a library in a long-living program, and as a command line."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cgroups
from benchmarks.contender import COMMAND, CONTAINERS, Commands, Contender, Program

SEEDPOD = Path(sys.executable).parent / "seedpod"
IMAGE = "localhost/busybox"


def manifest(name: str, image: str = IMAGE) -> dict[str, Any]:
    """The pod that is measured, as all read it who read manifests."""
    containers = [{"name": each, "image": image, "imagePullPolicy": "Never", "command": COMMAND} for each in CONTAINERS]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 10, "containers": containers},
    }


class _Ours(Contender):
    """On a root of its own, whose pods have a seccomp filter as those of the peers do, and are in its cgroup."""

    def start(self, stack: ExitStack) -> None:
        self.root = self.directory / "root"
        self.root.mkdir()
        mount_point = cgroups.detect().mount_point
        assert mount_point is not None
        parent = self.cgroup.path.relative_to(mount_point)
        (self.root / "config.toml").write_text(f'cgroupParent = "{parent}"\nseccompDefault = true\n')
        (self.root / "images").symlink_to(self.place.directory / "images")
        self.begin(stack)

    def begin(self, stack: ExitStack) -> None:
        raise NotImplementedError


class _Library(_Ours):
    kind = "pod"
    beside: tuple[str, ...] = ()

    def begin(self, stack: ExitStack) -> None:
        words: list[str | Path] = [self.kind, self.root, self.place.rootfs, *self.beside]
        self._program = Program([sys.executable, "-m", "benchmarks.library", *words], self.programs, stack)
        self._program.hear()
        self.standing = len(self.beside) * len(CONTAINERS)

    def do(self, operation: str) -> float:
        return float(self._program.ask(do=operation)["wall_ms"])


class LibrarySandbox(_Library):
    name = "library sandbox"
    says = "`sandbox.PodSandbox`: no network, no logs, no seccomp filter; delete kills at once"
    kind = "sandbox"


class LibraryPod(_Library):
    name = "library pod"
    says = "`sandbox.Pod.from_manifest` in a program that hosts the engine; another pod stands beside"
    beside = ("beside",)


class LibraryOnly(_Library):
    name = "library only pod"
    says = "the same, and no other pod stands: the root's network is made and removed each time"


class Cli(_Ours):
    """Each operation is one command; a pod stands beside, and so its engine is up."""

    name = "cli"
    says = "`seedpod run -d`, `exec POD -- /bin/true`, `delete`, with a warm engine; another pod stands beside"
    beside: tuple[str, ...] = ("beside",)

    def begin(self, stack: ExitStack) -> None:
        self._commands = Commands(Program([sys.executable, "-m", "benchmarks.loop"], self.programs, stack))
        self._file = self._written("web")
        stack.callback(self._remove_all)
        for name in self.beside:
            self._seedpod("run", "-d", self._written(name))
        self.standing = len(self.beside) * len(CONTAINERS)

    def _written(self, name: str) -> Path:
        file = self.directory / f"{name}.json"
        file.write_text(json.dumps(self.manifest(name)))
        return file

    def manifest(self, name: str) -> dict[str, Any]:
        return manifest(name)

    def _seedpod(self, *words: str | Path, **options: Any) -> float:
        return self._commands.run(SEEDPOD, "--root", self.root, *words, **options)

    def do(self, operation: str) -> float:
        words: dict[str, tuple[str | Path, ...]] = {
            "create": ("run", "-d", self._file),
            "exec": ("exec", "web", "-c", "a", "--", "/bin/true"),
            "delete": ("delete", "web"),
        }
        return self._seedpod(*words[operation])

    def _remove_all(self) -> None:
        self._seedpod("delete", "--all", "--now")
        self._seedpod("agent", "stop", fine=(0, 1))  # 1: there is none


class CliCold(Cli):
    """The same where there is nothing: the engine is stopped after each round."""

    name = "cli cold"
    says = "`seedpod run -d` with no engine and no other pod: it starts one, which makes the root's network"
    beside = ()
    operations = ("create",)

    def between(self) -> None:
        self._remove_all()
