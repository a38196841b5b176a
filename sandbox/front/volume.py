"""`seedpod volume ls|create|rm|inspect`: persistent volumes, each by the claim that it is bound to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.errors import ManifestError, NotFound, SandboxError, quoted
from sandbox.front import encode
from sandbox.front.client import Client
from sandbox.front.errors import Usage, say
from sandbox.front.naming import report
from sandbox.front.printers import printer
from sandbox.front.table import human_duration, nothing_found, set_out
from sandbox.front.v1 import V1, pod_list
from sandbox.front.v1_claim import claim_to_v1
from sandbox.status import ClaimStatus

KINDS = ("persistentvolumeclaim", "persistentvolumeclaims", "pvc")
DEFAULT_SIZE = "1Gi"

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


@dataclass(frozen=True)
class Request:
    """The command line of `volume`."""

    what: str
    words: Sequence[str] = ()
    namespace: str = "default"
    all_namespaces: bool = False
    output: str | None = None
    no_headers: bool = False
    size: str | None = None

    def __post_init__(self) -> None:
        """Raises Usage."""
        for flag, given, verbs in (
            ("-A", self.all_namespaces, ("ls",)),
            ("-o", self.output, ("ls",)),
            ("--no-headers", self.no_headers, ("ls",)),
            ("--size", self.size is not None, ("create",)),
        ):
            if given and self.what not in verbs:
                raise _usage(f"{flag} goes with {verbs[0]}")
        if self.what == "ls" and self.words:
            raise _usage("ls takes no names")
        if self.what != "ls" and not self.words:
            raise _usage("the name of a claim is missing")
        names = self.names
        if self.what == "create" and len(names) > 1:
            raise _usage(f"one claim at a time, not {len(names)}")
        printer(self.output)

    @property
    def names(self) -> list[str]:
        """The claims that are named, each once.  Raises Usage."""
        return list(dict.fromkeys(_name(word) for word in self.words))


def _usage(message: str) -> Usage:
    return Usage(message, hint="seedpod volume --help")


def _name(word: str) -> str:
    kind, slash, name = word.rpartition("/")
    if slash and kind.lower() not in KINDS:
        raise Usage(f"there is no resource type {quoted(kind)}")
    return name


def volume(client: Client, request: Request, *, now: datetime | None = None) -> int:
    """Do what is asked for.  The exit code of the verb."""
    if request.what == "ls":
        return _ls(client, request, now or datetime.now(UTC))
    acts: Mapping[str, Callable[[Client, Request], int]] = {"create": _create, "rm": _rm, "inspect": _inspect}
    return acts[request.what](client, request)


# ---- ls ----


def _ls(client: Client, request: Request, now: datetime) -> int:
    claims = [each for each in client.claims() if request.all_namespaces or each.claim.namespace == request.namespace]
    objects = [claim_to_v1(each) for each in claims]
    if as_objects := printer(request.output):
        print(as_objects(objects, pod_list(objects)), end="")
    elif objects:
        print(_table(objects, request, now), end="")
    else:
        say(nothing_found(None if request.all_namespaces else request.namespace))
    return 0


def _table(claims: Sequence[V1], request: Request, now: datetime) -> str:
    """Column for column what kubectl's `get pvc` prints, but for one of a feature that is not here."""
    columns = ["NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS MODES", "STORAGECLASS", "AGE"]
    wide, everywhere = request.output == "wide", request.all_namespaces
    columns = (["NAMESPACE"] if everywhere else []) + columns + (["VOLUMEMODE"] if wide else [])
    rows = [_row(each, now, wide=wide, everywhere=everywhere) for each in claims]
    return set_out(rows if request.no_headers else [columns, *rows])


def _row(claim: V1, now: datetime, *, wide: bool, everywhere: bool) -> list[str]:
    metadata, spec, status = claim["metadata"], claim["spec"], claim["status"]
    return [
        *([metadata["namespace"]] if everywhere else []),
        metadata["name"],
        status["phase"],
        spec["volumeName"],
        status["capacity"]["storage"],
        ",".join(short for mode, short in _MODES.items() if mode in status["accessModes"]),
        spec["storageClassName"],
        human_duration(now - datetime.fromisoformat(metadata["creationTimestamp"])),
        *([spec["volumeMode"]] if wide else []),
    ]


# ---- create ----


def _create(client: Client, request: Request) -> int:
    (name,) = request.names
    client.create_claim(_checked(_manifest(name, request.namespace, request.size or DEFAULT_SIZE)))
    print(f"persistentvolumeclaim/{name} created")
    return 0


def _manifest(name: str, namespace: str, size: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def _checked(claim: dict[str, Any]) -> dict[str, Any]:
    """Raises SandboxError for names and sizes that are none: of a command line nobody wants to know the line."""
    from sandbox import manifest  # with its tables, which only this needs
    from sandbox.claim import PersistentVolumeClaim

    try:
        manifest.object_from_dict(claim, PersistentVolumeClaim)
    except ManifestError as error:
        reasons = ", ".join(f"{finding.field}: {finding.message}" for finding in error.findings)
        called = quoted(claim["metadata"]["name"])
        raise SandboxError(f"The PersistentVolumeClaim {called} is invalid: {reasons}") from None
    return claim


# ---- rm, inspect ----


def _rm(client: Client, request: Request) -> int:
    errors: list[SandboxError] = []
    for name in request.names:
        try:
            client.remove_claim(request.namespace, name)
        except SandboxError as error:  # the others are dealt with all the same
            errors.append(error)
        else:
            print(f'persistentvolumeclaim "{name}" deleted', flush=True)
    return report(errors)


def _inspect(client: Client, request: Request) -> int:
    known = {each.claim.name: each for each in client.claims() if each.claim.namespace == request.namespace}
    found: list[ClaimStatus] = [known[name] for name in request.names if name in known]
    objects = [claim_to_v1(each) for each in found]
    if objects:
        print(encode.json_text(objects[0] if len(request.names) == 1 else pod_list(objects), indent=4))
    return report([NotFound("persistentvolumeclaims", name) for name in request.names if name not in known])
