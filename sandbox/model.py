"""What a pod is, for the whole program: plain frozen values, equal when their parts are.

The names are those of the `v1` Pod manifest in Python's spelling, the values are valid (sandbox.manifest saw to
that) and defaults are filled in.  Nothing here reads, writes, or knows YAML, Linux or an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

HOSTNAME_MAX = 63  # a DNS label, RFC 1123; the kernel would take 64


class RestartPolicy(StrEnum):
    """When a container that ended is started again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True)
class EnvVar:
    """One environment variable; `value` may hold `$(VAR)` references, see sandbox.expand."""

    name: str
    value: str = ""


@dataclass(frozen=True)
class VolumeMount:
    """Where the pod's volume called `name` appears in one container; a relative `mount_path` is relative to `/`."""

    name: str
    mount_path: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerPort:
    """A port that a container listens on, and the port of the host that leads to it; `host_port` 0 is none.

    `host_ip` is the address of the host that it is a port of, "" for all.
    """

    container_port: int
    host_port: int = 0
    protocol: str = "TCP"
    name: str = ""
    host_ip: str = ""


@dataclass(frozen=True)
class Container:
    """One container of a pod: an image, and how to run it.

    An empty `command` or `args` and a `working_dir` of None leave the image's own; `command` and `args` are as
    written, `$(VAR)` not yet expanded.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str | None = None
    env: tuple[EnvVar, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    stdin: bool = False  # its stdin can be attached to; otherwise it is at its end from the start
    stdin_once: bool = False  # the first client's end is the end of stdin
    tty: bool = False  # stdin, stdout and stderr are one terminal
    ports: tuple[ContainerPort, ...] = ()


@dataclass(frozen=True)
class EmptyDir:
    """A directory that is empty when the pod starts and gone when it ends."""


@dataclass(frozen=True)
class HostPath:
    """What stands at the absolute `path` on the host."""

    path: str


VolumeSource = EmptyDir | HostPath


@dataclass(frozen=True)
class Volume:
    """A directory or file that the pod's containers can mount by its `name`."""

    name: str
    source: VolumeSource


@dataclass(frozen=True)
class Pod:
    """A pod as its manifest describes it: identity, and what shall run together."""

    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    hostname: str | None = None
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    termination_grace_period_seconds: int = 30
    share_process_namespace: bool = False
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False  # with the host's /dev/shm
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()

    @property
    def effective_hostname(self) -> str:
        """What `hostname` prints inside: the hostname asked for, else the pod's name, cut to a DNS label as kubelet
        cuts it (SEMANTICS A10): 63 characters, and none of `-.` left at the end."""
        asked = self.hostname or self.name
        return asked if len(asked) <= HOSTNAME_MAX else asked[:HOSTNAME_MAX].rstrip("-.")
