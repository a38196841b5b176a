"""Other programs that make pods or containers, where they are installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cgroups
from benchmarks.contender import COMMAND, CONTAINERS, Commands, Contender, Failed, Missing, Program
from benchmarks.private import enter
from benchmarks.seedpod import manifest


def require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Missing(f"{', '.join(missing)} not installed")


def version(*command: str) -> str:
    """The first line that a program says of its version."""
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0]


class Podman(Contender):
    """A pod stands beside, as one does beside seedpod's; there is no daemon to be warm."""

    name = "podman"
    says = "`podman kube play`, `podman exec`, `podman kube down`; another pod stands beside"
    _IMAGE = "localhost/busybox:latest"

    def start(self, stack: ExitStack) -> None:
        require("podman", "crun")
        # In a cgroup that offers no controller it fails: it turns on all there are, which then is one called "".
        controllers = cgroups.detect().controllers
        if not controllers:
            raise Missing("podman needs a controller of cgroup v2, and all of this host's are bound to v1")
        self.place.cgroup.enable(*controllers)
        files = {"containers.conf": _CONTAINERS_CONF, "storage.conf": _STORAGE_CONF}
        for name, text in files.items():
            (self.directory / name).write_text(text.replace("@", str(self.directory)))
        self._environment = {
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
        }
        self._commands = enter(self, stack)
        layer = self.directory / "image.tar"
        subprocess.run(["tar", "-C", self.place.rootfs, "-cf", layer, "."], check=True)
        self._podman("import", "-q", layer, self._IMAGE)
        stack.callback(self._remove_all)
        self._file = self._written("web")
        self._podman("kube", "play", self._written("beside"))
        self.standing = len(CONTAINERS)

    def _written(self, name: str) -> Path:
        file = self.directory / f"{name}.json"
        file.write_text(json.dumps(manifest(name, self._IMAGE)))
        return file

    def _podman(self, *words: str | Path) -> float:
        return self._commands.run("podman", *words, env=self._environment)

    def do(self, operation: str) -> float:
        words: dict[str, tuple[str | Path, ...]] = {
            "create": ("kube", "play", self._file),
            "exec": ("exec", "web-a", "/bin/true"),
            "delete": ("kube", "down", self._file),
        }
        return self._podman(*words[operation])

    def _remove_all(self) -> None:
        self._podman("pod", "rm", "--all", "--force", "--time", "0")


# Debian's podman assumes a journal, and limits that a machine without CAP_SYS_RESOURCE cannot raise.
_CONTAINERS_CONF = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
tmp_dir = "@/tmp"
volume_path = "@/volumes"
infra_image = ""
[network]
network_backend = "netavark"
network_config_dir = "@/networks"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024","nproc=1024:1024"]
"""
_STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "@/graph"
runroot = "@/run"
"""


class _Oci(Contender):
    """`run -d` of two bundles, the second in the first one's network, IPC and UTS namespaces, by path.

    There is no pause process, no network but a loopback that is down, no image (the rootfs is read-only), no log.
    """

    program: str

    def start(self, stack: ExitStack) -> None:
        require(self.program)
        self._commands = enter(self, stack)
        stack.callback(self._delete, (0, 1))
        self._configs = {name: self._bundle(name) for name in CONTAINERS}

    def _run(self, *words: str | Path, fine: Sequence[int] = (0,)) -> float:
        return self._commands.run(self.program, "--root", self.directory / "state", *words, fine=fine)

    def _bundle(self, name: str) -> dict[str, Any]:
        """What `spec` proposes, with our program and rootfs."""
        bundle = self.directory / name
        bundle.mkdir()
        subprocess.run([self.program, "spec"], cwd=bundle, check=True)
        config: dict[str, Any] = json.loads((bundle / "config.json").read_text())
        config["process"].update(terminal=False, args=COMMAND)
        config["process"].pop("rlimits", None)  # one that is above our own hard limit
        config["root"] = {"path": str(self.place.rootfs), "readonly": True}
        config["linux"]["cgroupsPath"] = f"/{self.program}-{name}"
        self._write(name, config)
        return config

    def _write(self, name: str, config: dict[str, Any]) -> None:
        (self.directory / name / "config.json").write_text(json.dumps(config))

    def do(self, operation: str) -> float:
        if operation == "create":
            return self._create()
        if operation == "exec":
            return self._run("exec", "a", "/bin/true")
        return self._delete()

    def _create(self) -> float:
        took = self._start("a")
        pid = (self.directory / "a.pid").read_text()
        shared = {"network": "net", "ipc": "ipc", "uts": "uts"}
        config = self._configs["b"]
        for each in config["linux"]["namespaces"]:
            if each["type"] in shared:
                each["path"] = f"/proc/{pid}/ns/{shared[each['type']]}"
        self._write("b", config)
        return took + self._start("b")

    def _start(self, name: str) -> float:
        bundle, pid = self.directory / name, self.directory / f"{name}.pid"
        return self._run("run", "-d", "--bundle", bundle, "--pid-file", pid, name)

    def _delete(self, fine: Sequence[int] = (0,)) -> float:
        return sum(self._run("delete", "--force", name, fine=fine) for name in CONTAINERS)


class Runc(_Oci):
    name = program = "runc"
    says = "`runc run -d` twice, sharing namespaces by path, `exec`, `delete --force` twice: no network, no filter"


class Crun(_Oci):
    name = program = "crun"
    says = "the same with crun"


class Bubblewrap(Contender):
    name = "bwrap"
    says = "`bwrap --unshare-all … /bin/true`: a sandbox of one process, no cgroup, no filter"
    operations = ("exec",)

    def start(self, stack: ExitStack) -> None:
        require("bwrap")
        self._commands = Commands(Program([sys.executable, "-m", "benchmarks.loop"], self.programs, stack))

    def do(self, operation: str) -> float:
        if operation != "exec":
            raise Failed(f"bwrap has no {operation}")
        words = ("--unshare-all", "--ro-bind", self.place.rootfs / "bin", "/bin", "--proc", "/proc", "--dev", "/dev")
        return self._commands.run("bwrap", *words, "/bin/true")
