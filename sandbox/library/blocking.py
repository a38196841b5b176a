"""The faces that block: pods and sandboxes for programs without asyncio.  What each does stands in its original."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from sandbox.library import boxes, containers, pods
from sandbox.library.faces import (
    ContextFace,
    Face,
    blocking,
    calling,
    found,
    giving,
    made,
    plain,
    reading,
    shared,
    waiting,
)

# ---- pods ----


class Container(Face[containers.Container]):
    """One container of a pod."""

    name = plain(containers.Container.name)
    status = waiting(containers.Container.status)
    exec = blocking(containers.Container.exec)
    logs = reading(containers.Container.logs)
    wait = blocking(containers.Container.wait)


class Pod(ContextFace[pods.Pod]):
    __doc__ = pods.Pod.__doc__

    def __init__(
        self,
        name: str,
        *,
        namespace: str = "default",
        grace: int = pods.DEFAULT_GRACE,
        spec: Mapping[str, Any] | None = None,
        root: pods.AnyPath | None = None,
    ) -> None:
        self._become(pods.Pod(name, namespace=namespace, grace=grace, spec=spec, root=root))

    __init__.__doc__ = pods.Pod.__init__.__doc__

    from_manifest = found(pods.Pod.from_manifest)
    get = made(pods.Pod.get, pods.Pod.close)

    name = plain(pods.Pod.name)
    namespace = plain(pods.Pod.namespace)
    uid = plain(pods.Pod.uid)
    root = plain(pods.Pod.root)
    status = waiting(pods.Pod.status)
    ips = waiting(pods.Pod.ips)
    events = waiting(pods.Pod.events)

    create = blocking(pods.Pod.create)
    run = giving(pods.Pod.run, Container._of)
    wait_ready = blocking(pods.Pod.wait_ready)
    set_condition = blocking(pods.Pod.set_condition)
    wait = blocking(pods.Pod.wait)
    delete = blocking(pods.Pod.delete)
    close = blocking(pods.Pod.close)

    def __getitem__(self, container: str) -> Container:
        """Its container of this name; whether there is one is looked up when something is asked of it."""
        return Container._of(self._ours()[container])


# ---- sandboxes without an engine ----


class SandboxContainer(Face[boxes.SandboxContainer]):
    """One container of a sandbox: created, then running, then ended."""

    name = plain(boxes.SandboxContainer.name)
    id = plain(boxes.SandboxContainer.id)
    pid = plain(boxes.SandboxContainer.pid)

    start = blocking(boxes.SandboxContainer.start)
    poll = calling(boxes.SandboxContainer.poll)
    wait = blocking(boxes.SandboxContainer.wait)
    signal = calling(boxes.SandboxContainer.signal)
    kill = calling(boxes.SandboxContainer.kill)
    exec = blocking(boxes.SandboxContainer.exec)
    remove = blocking(boxes.SandboxContainer.remove)

    @property
    def stdin(self) -> io.BufferedWriter | None:
        """What it reads, a file, where PIPE was asked for."""
        given = self._ours().stdin
        return given.blocking if given else None

    @property
    def stdout(self) -> io.BufferedReader | None:
        """What it writes, a file, where PIPE was asked for."""
        given = self._ours().stdout
        return given.blocking if given else None

    @property
    def stderr(self) -> io.BufferedReader | None:
        """What it writes there, a file, where PIPE was asked for."""
        given = self._ours().stderr
        return given.blocking if given else None


class PodSandbox(ContextFace[boxes.PodSandbox]):
    __doc__ = boxes.PodSandbox.__doc__

    create = made(boxes.PodSandbox.create, boxes.PodSandbox.remove)
    connect = made(boxes.PodSandbox.connect, boxes.PodSandbox.detach)

    list = shared(boxes.PodSandbox.list)

    name = plain(boxes.PodSandbox.name)
    directory = plain(boxes.PodSandbox.directory)
    pid = plain(boxes.PodSandbox.pid)
    namespaces = plain(boxes.PodSandbox.namespaces)

    create_container = giving(boxes.PodSandbox.create_container, SandboxContainer._of, boxes.SandboxContainer.remove)
    stop = blocking(boxes.PodSandbox.stop)
    remove = blocking(boxes.PodSandbox.remove)
    detach = blocking(boxes.PodSandbox.detach)

    @property
    def containers(self) -> Mapping[str, SandboxContainer]:
        """Its containers by name, those included that have ended and are not removed."""
        return {name: SandboxContainer._of(each) for name, each in self._ours().containers.items()}
