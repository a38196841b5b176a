"""Pods on one Linux machine, for other programs: see docs/library.md.

    with sandbox.Pod.from_manifest("pod.yaml") as pod: ...      # a pod, whole
    with sandbox.Pod("scratch") as pod: pod.run(...)            # ad hoc, as one would use subprocess
    box = sandbox.PodSandbox.create(name="web")                 # only the sandbox and its containers

`sandbox.aio` has the same for asyncio.  Each name is imported when it is first used: the command line, which is below
`sandbox` too, must not pay for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox import aio as aio
    from sandbox.errors import AlreadyExists as AlreadyExists
    from sandbox.errors import Finding as Finding
    from sandbox.errors import KernelError as KernelError
    from sandbox.errors import ManifestError as ManifestError
    from sandbox.errors import NotFound as NotFound
    from sandbox.errors import SandboxError as SandboxError
    from sandbox.errors import SpawnError as SpawnError
    from sandbox.errors import TimedOut as TimedOut
    from sandbox.errors import Unsupported as Unsupported
    from sandbox.errors import WrongState as WrongState
    from sandbox.library.blocking import Container as Container
    from sandbox.library.blocking import Pod as Pod
    from sandbox.library.blocking import PodSandbox as PodSandbox
    from sandbox.library.blocking import SandboxContainer as SandboxContainer
    from sandbox.pod.container import BindMount as BindMount
    from sandbox.pod.container import ContainerSpec as ContainerSpec
    from sandbox.pod.programs import Completed as Completed
    from sandbox.status import ExitStatus as ExitStatus

_NAMES = {
    "sandbox.errors": (
        "AlreadyExists",
        "Finding",
        "KernelError",
        "ManifestError",
        "NotFound",
        "SandboxError",
        "SpawnError",
        "TimedOut",
        "Unsupported",
        "WrongState",
    ),
    "sandbox.library.blocking": ("Container", "Pod", "PodSandbox", "SandboxContainer"),
    "sandbox.pod.container": ("BindMount", "ContainerSpec"),
    "sandbox.pod.programs": ("Completed",),
    "sandbox.status": ("ExitStatus",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["aio", *sorted(_MODULES)]  # noqa: PLE0604 - they are strings


def __getattr__(name: str) -> Any:
    if name == "aio":
        return importlib.import_module("sandbox.aio")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
