"""`seedpod describe`: which pods, and one after the other on stdout; how one looks is in sandbox.front.describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from sandbox.front.client import Client
from sandbox.front.describe import describe
from sandbox.front.errors import say
from sandbox.front.naming import Chosen, Wanted, report
from sandbox.front.table import nothing_found
from sandbox.front.v1 import events_of
from sandbox.status import PodStatus


@dataclass(frozen=True)
class Request:
    """The command line of `describe`."""

    words: Sequence[str]
    namespace: str = "default"
    all_namespaces: bool = False
    selector: str | None = None

    def __post_init__(self) -> None:
        """Raises Usage."""
        self.wanted.check()

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.words, self.namespace, self.all_namespaces, self.selector)


def describe_pods(client: Client, request: Request, *, now: datetime | None = None, zone: tzinfo | None = None) -> int:
    """Print the descriptions, two empty lines apart.  The exit code: 1 where a pod that was named is not there."""
    wanted, statuses = request.wanted, client.pods()
    chosen = wanted.of(statuses)
    if wanted.name and chosen.missing:
        chosen = _beginning_with(wanted.name, request.namespace, statuses) or chosen
    at = now or datetime.now(UTC)
    texts = [
        describe(status, events_of(status), now=at, node_name=client.node_name, zone=zone) for status in chosen.pods
    ]
    print("\n\n".join(texts), end="")
    if not chosen.pods and not chosen.missing:
        say(nothing_found(None if request.all_namespaces else request.namespace))
    return report(chosen.missing)


def _beginning_with(prefix: str, namespace: str, statuses: Sequence[PodStatus]) -> Chosen | None:
    """A name that no pod has may be the beginning of several, as with kubectl."""
    pods = [each for each in statuses if each.pod.namespace == namespace and each.pod.name.startswith(prefix)]
    return Chosen(pods, []) if pods else None
