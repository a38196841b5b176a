"""The command line as tests use it: manifests as dicts, seedpod as a process."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgroups import Cgroup, NoSuchCgroup
from sandbox.pod.slices import Slices

TIMEOUT = 120  # seconds: generous, for machines that emulate; a test that needs it has failed

Manifest = dict[str, Any]


@dataclass
class Seedpod:
    """Runs `seedpod --root ROOT …`.  `probe` is a directory with the probe, mounted by `container` at /probe."""

    root: Path
    probe: Path
    program: Path
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def container(self, name: str, *command: str, **fields: Any) -> Manifest:
        """A container of busybox with the probe at /probe."""
        mounts = [{"name": "probe", "mountPath": "/probe", "readOnly": True}, *fields.pop("volumeMounts", [])]
        return {
            "name": name,
            "image": "localhost/busybox",
            "command": list(command),
            "volumeMounts": mounts,
            **fields,
        }

    def shell(self, name: str, script: str, **fields: Any) -> Manifest:
        """A container that runs a shell script."""
        return self.container(name, "sh", "-c", script, **fields)

    def pod(
        self, *containers: Manifest, name: str = "web", volumes: tuple[Manifest, ...] = (), **spec: Any
    ) -> Manifest:
        """A pod of these containers; it has the volume `probe`, and any others given."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 2,
                "volumes": [{"name": "probe", "hostPath": {"path": str(self.probe)}}, *volumes],
                "containers": list(containers),
                **spec,
            },
        }

    def start(self, *manifests: Manifest | str, **options: Any) -> subprocess.Popen[str]:
        """`seedpod run -` of these pods, not waited for; its stdout and stderr are pipes."""
        texts = (text if isinstance(text, str) else json.dumps(text) for text in manifests)
        process = subprocess.Popen(
            [self.program, "--root", self.root, "run", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._processes.append(process)
        assert process.stdin is not None
        process.stdin.write("\n---\n".join(texts))
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, *manifests: Manifest | str) -> subprocess.CompletedProcess[str]:
        """`seedpod run -` of these pods to its end."""
        process = self.start(*manifests)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Any other call of seedpod."""
        environment = {name: value for name, value in os.environ.items() if name != "SEEDPOD_ROOT"}
        return subprocess.run(
            [self.program, "--root", self.root, *words],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env=environment,
            **options,
        )

    def end_all(self) -> None:
        """End what the test left running, its engine and its pods included.

        Their containers are killed, as many have no handler for TERM: each pod would take two seconds to end.
        """
        namespaces = {json.loads(file.read_text())["namespace"] for file in self.root.glob("pods/*/pod.json")}
        for namespace in namespaces:
            self.command("delete", "--all", "--now", "--wait=false", "-n", namespace)
        self._kill_containers()
        for namespace in namespaces:
            self.command("delete", "--all", "--now", "-n", namespace)
        if (self.root / "agent.pid").exists():
            self.command("agent", "stop")
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _kill_containers(self) -> None:
        slices = Slices(self.root)
        for directory in self.root.glob("pods/*/"):
            with suppress(NoSuchCgroup):
                for child in Cgroup.open(slices.path(directory.name)).children():
                    if child.name != "podmon.scope":
                        child.kill()


def lines_of(text: str, container: str) -> list[str]:
    """What one container printed, without the prefix."""
    prefix = f"{container} | "
    return [line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)]
