"""A pod for programs that use asyncio: made, looked at, joined, ended.  Its engine is whichever owns the root."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox import manifest
from sandbox.errors import Finding, KernelError, SandboxError, TimedOut, WrongState
from sandbox.library.containers import Container, Identity, words
from sandbox.library.engine import Engine
from sandbox.model import RestartPolicy
from sandbox.pod import requests
from sandbox.pod.paths import root_of
from sandbox.pod.tasks import whole
from sandbox.status import Event, PodStatus, Terminated, Waiting

Manifest = Mapping[str, Any]
AnyPath = str | os.PathLike[str]

_log = logging.getLogger("sandbox")

HINT_PATIENCE = 1.0  # seconds in which an engine is to say why a pod is not ready, once that was waited for in vain
DEFAULT_GRACE = 2  # seconds, of an ad-hoc pod: what kubelet grants at least


class Pod:
    """A pod.  `Pod("name")` is an ad-hoc one, without a container until `run` adds some; `from_manifest` makes an
    ordinary one, `get` finds one that is there.

    As a context manager it makes the pod, and at the end of the block removes it and waits for that; one that `get` has
    found is left as it is.  The pod belongs to the root's engine, not to this object: where this program is killed it
    runs on, `seedpod get` shows it and `seedpod delete` removes it.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: str = "default",
        grace: int = DEFAULT_GRACE,
        spec: Manifest | None = None,
        root: AnyPath | None = None,
    ) -> None:
        """An ad-hoc pod; nothing is made yet.

        `grace` is its terminationGracePeriodSeconds, `spec` has further fields of a `v1` PodSpec (volumes, say).
        Raises ManifestError.
        """
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "restartPolicy": str(RestartPolicy.NEVER),
                "terminationGracePeriodSeconds": grace,
                "containers": [],
                **(spec or {}),
            },
        }
        manifest.from_dict(document, file=f"Pod({name!r})", open=True, warn=_warn)
        self._begin(name, namespace, root, document, open=True)

    def _begin(
        self, name: str, namespace: str, root: AnyPath | None, document: Manifest | None, *, open: bool = False
    ) -> None:
        self._engine = Engine(root_of(root))
        self._pod = Identity(self._engine, namespace, name, str(uuid.uuid4()))
        self._document = document  # None: it is there already, and not ours to remove
        self._open = open

    @classmethod
    def from_manifest(cls, source: Manifest | AnyPath, *, root: AnyPath | None = None) -> Self:
        """The pod of a manifest: a path, a dict, or YAML or JSON text (a string with more than one line, or that begins
        with `{`).  Nothing is made yet; what has no effect here is told to the logger `sandbox`.  Raises ManifestError,
        and KernelError where the file cannot be read."""
        document = dict(source) if isinstance(source, Mapping) else _document(source)
        pod = manifest.from_dict(document, warn=_warn)
        self = cls.__new__(cls)
        self._begin(pod.name, pod.namespace, root, document)
        return self

    @classmethod
    async def get(cls, name: str, *, namespace: str = "default", root: AnyPath | None = None) -> Self:
        """The pod of this name that is there.  Raises NotFound."""
        self = cls.__new__(cls)
        self._begin(name, namespace, root, None)
        await self._engine.join()
        try:
            self._pod = replace(self._pod, uid=await self._engine.ask(requests.find(namespace, name)))
        except BaseException:  # undo, then let it pass
            await self.close()
            raise
        return self

    # ---- what it is ----

    @property
    def name(self) -> str:
        """Its name, which is its hostname too unless the manifest says otherwise."""
        return self._pod.name

    @property
    def namespace(self) -> str:
        """The namespace that its name stands in."""
        return self._pod.namespace

    @property
    def uid(self) -> str:
        """Its UID, chosen before it is made."""
        return self._pod.uid

    @property
    def root(self) -> Path:
        """The root directory that it lives in."""
        return self._engine.root

    @property
    def status(self) -> Coroutine[Any, Any, PodStatus]:
        """Its status now.  Raises NotFound where it is gone."""
        return self._pod.status()

    @property
    def ips(self) -> Coroutine[Any, Any, tuple[str, ...]]:
        """Its addresses, that of the first family first."""
        return self._ips()

    async def _ips(self) -> tuple[str, ...]:
        return (await self._pod.status()).pod_ips

    @property
    def events(self) -> Coroutine[Any, Any, tuple[Event, ...]]:
        """What happened to it, the oldest first."""
        return self._events()

    async def _events(self) -> tuple[Event, ...]:
        return (await self._pod.status()).events

    def __getitem__(self, container: str) -> Container:
        """Its container of this name; whether there is one is looked up when something is asked of it."""
        if not isinstance(container, str):
            raise TypeError(f"the name of a container is a string, not {container!r}")
        return Container(self._pod, container)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.namespace}/{self.name} {self.uid}>"

    # ---- its life ----

    async def create(self) -> None:
        """Make it: returns once it has its namespaces and its address; its containers are still to start.  Idempotent.

        So it does where it waits for a claim that is not there: `status.unschedulable` says so.

        Raises ManifestError, AlreadyExists, NotFound (an image, a host path) and whatever else the engine refuses;
        nothing is left then, nor where this is cancelled.
        """
        await self._engine.join()
        try:
            if self._document is not None:
                await self._create(self._document)
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            await self._undo()
            raise

    async def _create(self, document: Manifest) -> None:
        asked = requests.create([(self.uid, document)], open=self._open)
        await self._engine.until(self.uid, self._is_made, requests.MADE, asked)

    def _is_made(self, status: PodStatus | None) -> bool | None:
        there = self._pod.there(status)
        if there.start_time is None:
            for event in there.events:
                if event.reason == requests.SANDBOX_FAILED:
                    raise SandboxError(f"pod {self.name}: {event.message}")
        return requests.is_made(there) or None

    async def _undo(self) -> None:
        try:
            with suppress(SandboxError, OSError):  # what matters is why it is undone
                await self._remove(requests.delete(self.uid, grace=0, force=True, at_once=True))
        finally:
            await self.close()

    async def delete(self, *, grace: int | None = None, timeout: float | None = None) -> None:
        """End it and wait until nothing of it is left.  Idempotent.

        `grace` is in seconds, None is the pod's own, 0 kills at once.  Raises TimedOut after `timeout` seconds: then it
        goes on ending.
        """
        await self._engine.join()
        try:
            async with asyncio.timeout(timeout):
                await self._remove(requests.delete(self.uid, grace=grace, at_once=grace == 0))
        except TimeoutError:
            raise TimedOut(f"pod {self.name} has not ended after {timeout:g} s") from None
        finally:
            await self.close()

    async def _remove(self, request: requests.Request[None]) -> None:
        await self._engine.until(self.uid, lambda status: status is None or None, requests.GONE, request)

    async def close(self) -> None:
        """Let go of it: it goes on as it is.  Idempotent.

        An engine that this program hosts ends with the last pod that is let go of; for pods that are left one in the
        background takes over.
        """
        await self._engine.leave()

    async def __aenter__(self) -> Self:
        await self.create()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._document is None:
            await self.close()
        else:
            await self.delete()

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until all its containers are ready.

        Raises TimedOut after `timeout` seconds, and WrongState once it has ended and never will be.
        """

        def is_ready(status: PodStatus | None) -> bool | None:
            there = self._pod.there(status)
            if there.over:
                what = f"pod {self.name} has ended and will not be ready"
                raise WrongState(what, current=str(there.phase), wanted="Ready", hint=_why_not(there))
            return there.ready or None

        try:
            async with asyncio.timeout(timeout):
                await self._engine.until(self.uid, is_ready, requests.READY)
        except TimeoutError:
            hint = await self._hint()
            raise TimedOut(f"pod {self.name} is not ready after {timeout:g} s", hint=hint) from None

    async def _hint(self) -> str | None:
        """What keeps it from being ready, where its engine says so in time."""
        with suppress(TimeoutError, SandboxError):
            async with asyncio.timeout(HINT_PATIENCE):
                return _why_not(await self._pod.status())
        return None

    async def set_condition(self, type: str, status: str | bool = True, *, reason: str = "", message: str = "") -> None:
        """Set a condition of the pod ("True", "False" or "Unknown"), for its readiness gates: it is ready with those.

        Raises NotFound, and SandboxError for the pod's own conditions (Ready, say), which nobody sets.
        """
        await self._engine.ask(requests.set_condition(self.uid, type, str(status), reason, message))

    async def wait(self, timeout: float | None = None) -> PodStatus:
        """Wait until it has ended by itself, and return its last status.  Raises TimedOut, and NotFound if it is gone.

        A pod with restartPolicy Always never does, nor an ad-hoc one.
        """

        def is_over(status: PodStatus | None) -> PodStatus | None:
            there = self._pod.there(status)
            return there if there.over else None

        try:
            async with asyncio.timeout(timeout):
                return await self._engine.until(self.uid, is_over)
        except TimeoutError:
            raise TimedOut(f"pod {self.name} has not ended after {timeout:g} s") from None

    # ---- ad hoc ----

    async def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        image: str,
        env: Mapping[str, str] | None = None,
        memory: str | None = None,
        volumes: Mapping[str, str] | None = None,
        fields: Manifest | None = None,
    ) -> Container:
        """Add a container to an ad-hoc pod; returns once it runs, or has run already.

        `memory` is its limit ("64Mi"); `volumes` says where volumes of the pod are mounted (name to path); `fields` are
        further ones of a `v1` Container.  It is listed in the pod like any other, and not restarted.  Raises
        AlreadyExists, ManifestError, what else the engine refuses, and SandboxError where its program cannot be
        started: it is listed all the same.
        """
        wanted: dict[str, Any] = {"name": name, "image": image, "command": words(argv)}
        if env:
            wanted["env"] = [{"name": key, "value": value} for key, value in env.items()]
        if memory is not None:
            wanted["resources"] = {"limits": {"memory": memory}}
        if volumes:
            wanted["volumeMounts"] = [{"name": volume, "mountPath": path} for volume, path in volumes.items()]
        await whole(self._engine.ask(requests.add(self.uid, str(uuid.uuid4()), {**wanted, **(fields or {})})))
        container = self[name]
        await container._begun()
        return container


# ---- reading ----


def _document(source: AnyPath) -> dict[str, Any]:
    """The one pod that a file, or a text, has."""
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        text: str | bytes = source
        name = "<text>"
    else:
        name = os.fspath(source)
        try:
            with Path(name).open("rb") as file:
                text = file.read(manifest.MAX_BYTES + 1)  # more is refused anyway, and a device has no end
        except OSError as error:
            raise KernelError(error.errno or 0, step="read", filename=name) from error
    documents = manifest.documents(text, file=name)
    if len(documents) != 1:
        names = ", ".join(pod.name for pod, _ in documents)
        raise SandboxError(f"{name}: one pod is wanted, and it has {len(documents)}: {names}", hint="a Pod for each")
    return documents[0][1]


def _warn(finding: Finding) -> None:
    """What is accepted and has no effect here."""
    _log.warning("%s", finding)


def _why_not(status: PodStatus) -> str | None:
    """What keeps a pod from being ready, for a hint."""
    said = []
    unfinished = (each for each in status.init_containers if not each.ready)
    for each in (*unfinished, *status.containers):
        match each.state:
            case Waiting(reason, message):
                said.append(f"{each.name}: {reason} {message}".rstrip())
            case Terminated(code, reason, message=message):
                said.append(f"{each.name}: {reason}, exit code {code} {message}".rstrip())
    return "; ".join(said) or None
