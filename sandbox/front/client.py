"""What the verbs need of the engine: an interface that sandbox.pod.client.Client has, and so have the tests' fakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from sandbox.status import ClaimStatus, PodChange, PodStatus

if TYPE_CHECKING:
    from sandbox.pod.joining import Target
    from sandbox.pod.requests import Applied


class Ended(Protocol):
    """Tells when one instance of a container has ended: then `fileno()` is readable and `finished()` true."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    def fileno(self) -> int: ...

    def finished(self) -> bool: ...


class PodsWatch(Protocol):
    """What becomes of pods; see sandbox.pod.client.PodsWatch."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    def until(self, deadline: float | None = None) -> Iterator[list[PodChange]]: ...


class Client(Protocol):
    """A connection to the engine.  Every method raises SandboxError."""

    @property
    def node_name(self) -> str: ...

    def pods(self) -> tuple[PodStatus, ...]:
        """All pods, by namespace and name."""

    def watch_pods(self, namespace: str | None = None, name: str | None = None) -> PodsWatch:
        """What becomes of the pods of a namespace (None: of all), or of those of one name in it."""

    def apply(
        self, pods: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]], *, dry_run: bool = False
    ) -> Applied:
        """Have there be what these v1 manifests say, or say what would be done; see sandbox.pod.client.Client."""

    def create_pod(self, uid: str, manifest: Mapping[str, Any]) -> None:
        """Make one pod, with this UID.  Raises AlreadyExists."""

    def delete(self, namespace: str, name: str, *, grace: int | None, force: bool) -> str:
        """Begin to delete a pod, in `grace` seconds (None: its own).  Its UID.  Raises NotFound."""

    def wait_removed(self, uid: str, timeout: float | None) -> bool:
        """Wait until the pod is gone; False after `timeout` seconds."""

    def ended(self, uid: str, container: str, instance: int) -> Ended:
        """Watch for the end of an instance (its restart count)."""

    def target(self, namespace: str, name: str, container: str) -> Target:
        """A container to join, for sandbox.front.joining."""

    def claims(self) -> tuple[ClaimStatus, ...]:
        """All claims, by namespace and name."""

    def create_claim(self, manifest: Mapping[str, Any]) -> None:
        """Make a claim of this v1 manifest.  Raises AlreadyExists."""

    def remove_claim(self, namespace: str, name: str) -> None:
        """Remove a claim and its data.  Raises NotFound, and WrongState where a pod uses it."""

    def stop(self, *, now: bool) -> None:
        """Ask the engine to end, `now` or once it has finished the deletions under way."""
