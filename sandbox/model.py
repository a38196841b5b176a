"""What pods are, for the whole program: plain frozen values, equal when their parts are.

The names are those of the `v1` Pod manifest in Python's spelling, the values are valid (sandbox.manifest saw to
that) and defaults are filled in.  Nothing here reads, writes, or knows YAML, Linux or an engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from sandbox.quantity import Quantity

HOSTNAME_MAX = 63  # a DNS label, RFC 1123; the kernel would take 64
HUGE_PAGES = "hugepages-"  # how the name of such a resource begins; the size of a page follows
MAX_ID = 2**31 - 1  # of a user or group, as the API server has it; the kernel would take more


class RestartPolicy(StrEnum):
    """When a container that ended is started again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class RestartAction(StrEnum):
    """What a restart rule has done with a container that ended as it says."""

    RESTART = "Restart"
    RESTART_ALL_CONTAINERS = "RestartAllContainers"  # of the pod, its init containers first


class ExitCodesOperator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"


@dataclass(frozen=True)
class ExitCodes:
    """Exit codes: those in `values`, or all others."""

    operator: ExitCodesOperator
    values: tuple[int, ...] = ()

    def holds(self, code: int) -> bool:
        return (code in self.values) is (self.operator is ExitCodesOperator.IN)


@dataclass(frozen=True)
class RestartRule:
    """What happens to a container that ends with one of these exit codes, whatever its restart policy says."""

    action: RestartAction
    exit_codes: ExitCodes


@dataclass(frozen=True)
class ExecAction:
    """A program that is run in the container; its exit code 0 is success."""

    command: tuple[str, ...]


@dataclass(frozen=True)
class HttpHeader:
    name: str
    value: str = ""


@dataclass(frozen=True)
class HttpGetAction:
    """A GET to the pod from outside it; `port` is a number or a name that the container has, `host` "" is the pod."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"  # or HTTPS, whose certificate is not checked
    http_headers: tuple[HttpHeader, ...] = ()


@dataclass(frozen=True)
class TcpSocketAction:
    """A connection to the pod, from outside it."""

    port: int | str
    host: str = ""


@dataclass(frozen=True)
class GrpcAction:
    """A call of grpc.health.v1.Health/Check for `service`, from outside the pod."""

    port: int
    service: str = ""


@dataclass(frozen=True)
class SleepAction:
    seconds: int


ProbeAction = ExecAction | HttpGetAction | TcpSocketAction | GrpcAction
HookAction = ExecAction | HttpGetAction | TcpSocketAction | SleepAction


@dataclass(frozen=True)
class Probe:
    """What is asked of a container again and again, times in seconds.

    It has succeeded or failed once so many answers in a row say so.  A grace period of None is the pod's own.
    """

    action: ProbeAction
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


@dataclass(frozen=True)
class Lifecycle:
    """What is done right after a container's start and before its stop; `stop_signal` is a name, "" the image's."""

    post_start: HookAction | None = None
    pre_stop: HookAction | None = None
    stop_signal: str = ""


class MessagePolicy(StrEnum):
    """Where the message of a container that ended comes from."""

    FILE = "File"
    FALLBACK_TO_LOGS_ON_ERROR = "FallbackToLogsOnError"


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


class SeccompType(StrEnum):
    """Where the filter of a container's system calls comes from."""

    LOCALHOST = "Localhost"
    RUNTIME_DEFAULT = "RuntimeDefault"
    UNCONFINED = "Unconfined"  # there is none


@dataclass(frozen=True)
class SeccompProfile:
    """A filter of system calls; `localhost_profile` is the path of a Localhost one, relative and without `..`."""

    type: SeccompType
    localhost_profile: str = ""


@dataclass(frozen=True)
class Capabilities:
    """What is given and taken beside the default ones: names as sandbox.capabilities has them, or ALL."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecurityContext:
    """What one container may do.  Of a field that is None the pod's holds, and else the image's or the default."""

    privileged: bool = False
    capabilities: Capabilities = Capabilities()
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool = True
    seccomp_profile: SeccompProfile | None = None


@dataclass(frozen=True)
class PodSecurityContext:
    """What all containers of a pod are, unless their own SecurityContext says otherwise; and `fs_group`, the group that
    its volumes belong to."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    fs_group: int | None = None
    seccomp_profile: SeccompProfile | None = None


@dataclass(frozen=True)
class Resources:
    """What a container may use at most, and what it is to get at least, by the name of the resource: `cpu` in CPUs,
    `memory`, `ephemeral-storage` and `hugepages-<size of a page>` in bytes.

    What has a limit and was given no request has the limit as its request.
    """

    limits: Mapping[str, Quantity] = field(default_factory=dict)
    requests: Mapping[str, Quantity] = field(default_factory=dict)


class QosClass(StrEnum):
    """How much of what a pod may use is promised to it."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


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
    resources: Resources = Resources()
    security_context: SecurityContext = SecurityContext()
    stdin: bool = False  # its stdin can be attached to; otherwise it is at its end from the start
    stdin_once: bool = False  # the first client's end is the end of stdin
    tty: bool = False  # stdin, stdout and stderr are one terminal
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: RestartPolicy | None = None  # None: the pod's
    restart_policy_rules: tuple[RestartRule, ...] = ()  # the first that holds counts
    lifecycle: Lifecycle = Lifecycle()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: MessagePolicy = MessagePolicy.FILE

    @property
    def is_sidecar(self) -> bool:
        """Of an init container: whether it runs beside those that come after it, to the pod's end."""
        return self.restart_policy is RestartPolicy.ALWAYS


class Medium(StrEnum):
    """What an emptyDir is kept on."""

    DISK = ""
    MEMORY = "Memory"


@dataclass(frozen=True)
class EmptyDir:
    """A directory that is empty when the pod starts and gone when it ends; in memory it holds `size_limit` bytes."""

    medium: Medium = Medium.DISK
    size_limit: Quantity | None = None


class HostPathType(StrEnum):
    """What has to stand at a hostPath, and whether it is made where nothing does."""

    UNCHECKED = ""
    DIRECTORY_OR_CREATE = "DirectoryOrCreate"
    DIRECTORY = "Directory"
    FILE_OR_CREATE = "FileOrCreate"
    FILE = "File"
    SOCKET = "Socket"
    CHAR_DEVICE = "CharDevice"
    BLOCK_DEVICE = "BlockDevice"


@dataclass(frozen=True)
class HostPath:
    """What stands at the absolute `path` on the host."""

    path: str
    type: HostPathType = HostPathType.UNCHECKED


@dataclass(frozen=True)
class ClaimVolume:
    """The volume of the PersistentVolumeClaim `claim_name` of the pod's namespace."""

    claim_name: str
    read_only: bool = False


VolumeSource = EmptyDir | HostPath | ClaimVolume


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
    security_context: PodSecurityContext = PodSecurityContext()
    init_containers: tuple[Container, ...] = ()  # in the order of their start; one that restarts always is a sidecar
    containers: tuple[Container, ...] = ()
    active_deadline_seconds: int | None = None  # from its start; then it fails
    readiness_gates: tuple[str, ...] = ()  # types of conditions that others set, without which it is not ready
    volumes: tuple[Volume, ...] = ()

    @property
    def effective_hostname(self) -> str:
        """What `hostname` prints inside: the hostname asked for, else the pod's name, cut to a DNS label as kubelet
        cuts it (SEMANTICS A10): 63 characters, and none of `-.` left at the end."""
        asked = self.hostname or self.name
        return asked if len(asked) <= HOSTNAME_MAX else asked[:HOSTNAME_MAX].rstrip("-.")

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Init containers first; no two have the same name."""
        return (*self.init_containers, *self.containers)

    @property
    def sidecars(self) -> tuple[Container, ...]:
        """The init containers that run beside the others, to the pod's end, in the order of their start."""
        return tuple(each for each in self.init_containers if each.is_sidecar)

    @property
    def qos_class(self) -> QosClass:
        """By the CPU and memory of its containers, as kubelet has it (ComputePodQOS); a 0 says nothing."""
        limits = [_compute(each.resources.limits) for each in self.all_containers]
        requests = [_compute(each.resources.requests) for each in self.all_containers]
        if not any(limits) and not any(requests):
            return QosClass.BEST_EFFORT
        if all(len(limit) == 2 for limit in limits) and _totals(limits) == _totals(requests):
            return QosClass.GUARANTEED
        return QosClass.BURSTABLE

    @property
    def claims(self) -> tuple[str, ...]:
        """The claims that the pod's volumes name, each once."""
        sources = (volume.source for volume in self.volumes)
        return tuple(dict.fromkeys(each.claim_name for each in sources if isinstance(each, ClaimVolume)))


def _compute(amounts: Mapping[str, Quantity]) -> dict[str, Decimal]:
    return {name: amounts[name].value for name in ("cpu", "memory") if name in amounts and amounts[name].value}


def _totals(amounts: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for each in amounts:
        for name, amount in each.items():
            totals[name] = totals.get(name, Decimal(0)) + amount
    return totals
