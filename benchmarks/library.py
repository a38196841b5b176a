"""The program that uses the library, as a long-living one does: a sandbox, or a pod whose engine it hosts.

library.py sandbox|pod ROOT ROOTFS [STANDING]: reads lines of JSON {"do": "create" | "exec" | "delete"}.  With STANDING
a pod of that name stands beside the one that is measured, and with it the network of the root.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import sandbox
from benchmarks.contender import COMMAND, CONTAINERS
from benchmarks.seedpod import manifest


class Subject(ABC):
    @abstractmethod
    def create(self) -> None: ...

    @abstractmethod
    def exec(self) -> None: ...

    @abstractmethod
    def delete(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class Sandbox(Subject):
    def __init__(self, root: str, rootfs: str) -> None:
        self._root = root
        self._spec = sandbox.ContainerSpec(COMMAND, rootfs)
        self._box: sandbox.PodSandbox | None = None

    def create(self) -> None:
        self._box = sandbox.PodSandbox.create(name="web", root=self._root)
        for name in CONTAINERS:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._box.create_container(name, self._spec, **quiet).start()

    def exec(self) -> None:
        assert self._box is not None
        done = self._box.containers["a"].exec(["/bin/true"])
        assert done.exit_code == 0, done

    def delete(self) -> None:
        if self._box is not None:
            self._box.remove()
            self._box = None

    def close(self) -> None:
        self.delete()


class Pod(Subject):
    def __init__(self, root: str, standing: Sequence[str]) -> None:
        self._root = root
        self._pod: sandbox.Pod | None = None
        self._standing = [self._made(name) for name in standing]

    def _made(self, name: str) -> sandbox.Pod:
        pod = sandbox.Pod.from_manifest(manifest(name), root=self._root)
        pod.create()
        pod.wait_ready(timeout=60)
        return pod

    def create(self) -> None:
        self._pod = self._made("web")

    def exec(self) -> None:
        assert self._pod is not None
        done = self._pod["a"].exec(["/bin/true"])
        assert done.exit_code == 0, done

    def delete(self) -> None:
        if self._pod is not None:
            self._pod.delete()
            self._pod = None

    def close(self) -> None:
        self.delete()
        for pod in self._standing:
            pod.delete(grace=0)


def main(kind: str, root: str, rootfs: str, *standing: str) -> None:
    subject = Sandbox(root, rootfs) if kind == "sandbox" else Pod(root, standing)
    try:
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            operation = json.loads(line)["do"]
            began = time.perf_counter_ns()
            getattr(subject, operation)()
            print(json.dumps({"wall_ms": (time.perf_counter_ns() - began) / 1e6}), flush=True)
    finally:
        subject.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
