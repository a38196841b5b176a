"""The tables of a container's probes and of its lifecycle: the handlers that both have, and their rules.

The rules and the words are the API server's (validation.go, validateProbe, validateHandler and validateLifecycle).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sandbox import model
from sandbox.manifest import rules, wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import PORT, Choice, ListOf, Never, Text, Type, Whole
from sandbox.manifest.records import Field, Record
from sandbox.signals import STOP_SIGNALS

DEFAULT_GRACE = model.Pod.termination_grace_period_seconds


class _PortOrName(Type[int | str]):
    """The number of a port, or the name that the container gives it."""

    called = "the number or the name of a port"

    def __init__(self) -> None:
        self._name = Text(rules.port_name)

    def read(self, at: Cursor) -> int | str:
        match at.node.value:
            case bool():
                raise self.refuse_type(at)
            case int() | float():
                return PORT.read(at)
            case str():
                return self._name.read(at)
        raise self.refuse_type(at)


# ---- handlers ----

EXEC = Record("ExecAction", model.ExecAction, Field("command", ListOf(Text()), required=True))

HTTP_HEADER = Record(
    "HTTPHeader",
    model.HttpHeader,
    Field("name", Text(rules.http_header_name), absent=""),
    Field("value", Text()),
)

HTTP_GET = Record(
    "HTTPGetAction",
    model.HttpGetAction,
    Field("path", Text()),
    Field("port", _PortOrName(), absent=0),
    Field("host", Text()),
    Field("scheme", Choice("HTTP", "HTTPS")),
    Field("httpHeaders", ListOf(HTTP_HEADER)),
)

TCP_SOCKET = Record(
    "TCPSocketAction",
    model.TcpSocketAction,
    Field("port", _PortOrName(), absent=0),
    Field("host", Text()),
)

GRPC = Record(
    "GRPCAction",
    model.GrpcAction,
    Field("port", PORT, absent=0),
    Field("service", Text()),
)


def _sleep(seconds: int = 0) -> model.SleepAction:
    return model.SleepAction(seconds)


# Its bounds are the pod's: `sleeps_end_in_time`.
SLEEP = Record("SleepAction", _sleep, Field("seconds", Whole()))

_COMMON = (Field("exec", EXEC), Field("httpGet", HTTP_GET), Field("tcpSocket", TCP_SOCKET))
_OF_PROBES = (*_COMMON, Field("grpc", GRPC))
_OF_HOOKS = (*_COMMON, Field("sleep", SLEEP))


def _exactly_one(handlers: tuple[Field, ...]) -> Callable[[Cursor], None]:
    """A rule: of these fields there is one."""

    def rule(parent: Cursor) -> None:
        there = [found for field in handlers if (found := parent.field(field.name))]
        for extra in there[1:]:
            extra.refuse(wording.forbidden("may not specify more than 1 handler type"), at=extra.named)
        if not there:
            parent.refuse(wording.required("must specify a handler type"), at=parent.named)

    return rule


# ---- probes ----


def _one_success(probe: Cursor) -> None:
    """One success is enough for what only ends or holds back a container."""
    field = probe.field("successThreshold")
    if field and _number(field) not in (None, 0, 1):
        field.refuse(wording.invalid(field.node.written, "must be 1"))


class _Grace(Whole):
    """More than no time."""

    def read(self, at: Cursor) -> int:
        seconds = super().read(at)
        if seconds <= 0:
            at.refuse(wording.invalid(at.node.written, "must be greater than 0"))
        return seconds


class _NoGrace(Whole):
    """Nothing is ended by a readiness probe."""

    def read(self, at: Cursor) -> int:
        seconds = super().read(at)
        at.refuse(wording.invalid(at.node.written, "must not be set for readinessProbes"))
        return seconds


def _probe(
    exec: model.ProbeAction | None = None,
    http_get: model.ProbeAction | None = None,
    tcp_socket: model.ProbeAction | None = None,
    grpc: model.ProbeAction | None = None,
    **times: int,
) -> model.Probe:
    action = exec or http_get or tcp_socket or grpc
    assert action is not None
    return model.Probe(action, **times)


# For each but the first 0 is an absent one, and the default holds.
_COUNT = Whole(minimum=0, bits=32, zero=0)

READINESS_PROBE = Record(
    "Probe",
    _probe,
    *_OF_PROBES,
    Field("initialDelaySeconds", _COUNT),
    Field("periodSeconds", _COUNT),
    Field("timeoutSeconds", _COUNT),
    Field("successThreshold", _COUNT),
    Field("failureThreshold", _COUNT),
    Field("terminationGracePeriodSeconds", _NoGrace()),
    rules=(_exactly_one(_OF_PROBES),),
)

# Of startup and liveness.
PROBE = READINESS_PROBE.with_fields(Field("terminationGracePeriodSeconds", _Grace())).with_rules(_one_success)

# ---- hooks ----


def _hook(
    exec: model.HookAction | None = None,
    http_get: model.HookAction | None = None,
    tcp_socket: model.HookAction | None = None,
    sleep: model.HookAction | None = None,
) -> model.HookAction:
    action = exec or http_get or tcp_socket or sleep
    assert action is not None
    return action


HOOK: Record[model.HookAction] = Record("LifecycleHandler", _hook, *_OF_HOOKS, rules=(_exactly_one(_OF_HOOKS),))

LIFECYCLE = Record(
    "Lifecycle",
    model.Lifecycle,
    Field("postStart", HOOK),
    Field("preStop", HOOK),
    Field("stopSignal", Choice(*sorted(STOP_SIGNALS)), pointer=True),
)

# ---- init containers ----


def is_sidecar(init_container: Cursor) -> bool:
    return init_container.text("restartPolicy") == model.RestartPolicy.ALWAYS


_FOR_SIDECARS = Never("may not be set for init containers without restartPolicy=Always")

# What an init container that is no sidecar cannot have.
NOT_OF_INIT_CONTAINERS = tuple(
    Field(name, _FOR_SIDECARS) for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
)

# ---- rules that look at the pod ----


def _lifecycles(spec: Cursor) -> Iterator[Cursor]:
    """Those that may be there."""
    sidecars = (each for each in spec.each("initContainers") if is_sidecar(each))
    for container in (*spec.each("containers"), *sidecars):
        if lifecycle := container.field("lifecycle"):
            yield lifecycle


def stop_signals_need_an_os(spec: Cursor) -> None:
    """Which signals there are is a matter of the operating system."""
    for lifecycle in () if spec.field("os") else _lifecycles(spec):
        if signal := lifecycle.field("stopSignal"):
            signal.refuse(wording.forbidden("may not be set for containers with empty `spec.os.name`"))


def sleeps_end_in_time(spec: Cursor) -> None:
    """A hook sleeps no longer than the pod may take to end."""
    field = spec.field("terminationGracePeriodSeconds")
    grace = _number(field) if field else DEFAULT_GRACE
    if grace is None:
        return
    for lifecycle in _lifecycles(spec):
        for name in ("postStart", "preStop"):
            hook = lifecycle.field(name)
            sleep = hook.field("sleep") if hook else None
            seconds = sleep.field("seconds") if sleep else None
            if sleep and seconds and not 0 <= (_number(seconds) or 0) <= grace:
                reason = f"must be non-negative and less than terminationGracePeriodSeconds ({grace:.0f})"
                seconds.refuse(wording.invalid(seconds.node.written, reason), path=sleep.path)


def _number(field: Cursor) -> int | float | None:
    """Where it is none the field has a finding of its own."""
    value = field.node.value
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
