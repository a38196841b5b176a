"""Which pods and which container a command line means: `web`, `pod web db`, `pod/web`, `-l app=web`, `-c app`.

kubectl's rules and words, except that a kind may be left out: there is only one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.errors import NotFound, SandboxError, quoted
from sandbox.front import selector
from sandbox.front.errors import Usage, print_error, say
from sandbox.model import Container, Pod
from sandbox.status import PodStatus

KINDS = ("pod", "pods", "po")

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


# ---- names ----


def names(words: Sequence[str]) -> tuple[str, ...]:
    """The pods that the words name; none where there is no word, or only a kind.  Raises Usage."""
    if words and words[0].lower() in KINDS:
        words = words[1:]
        if any("/" in word for word in words):
            raise Usage("there is no need for a kind as a word of its own before names in the form kind/name")
    return tuple(_name(word) for word in words)


def single(words: Sequence[str]) -> str:
    """The one pod that the words name.  Raises Usage."""
    if not words:
        raise Usage("the name of a pod is missing")
    named = names(words) or (words[0],)  # a pod may be called "pod"
    if len(named) > 1:
        raise Usage(f"one pod at a time, not {len(named)}")
    return named[0]


def _name(word: str) -> str:
    kind, slash, name = word.rpartition("/")
    if not slash:
        return word
    if "/" in kind:
        raise Usage("arguments in resource/name form may not have more than one slash")
    if not kind or not name:
        raise Usage("arguments in resource/name form must have a single resource and name")
    if kind.lower() not in KINDS:
        raise Usage(f"there is no resource type {quoted(kind)}")
    return name


# ---- pods ----


@dataclass(frozen=True)
class Wanted:
    """The pods that a command line asks for."""

    words: Sequence[str]
    namespace: str
    all_namespaces: bool = False
    selector: str | None = None

    def of(self, pods: Sequence[PodStatus]) -> Chosen:
        """Those among `pods`."""
        return Chosen(*find(pods, self.namespace, self._names)) if self._names else Chosen(self._selected(pods), [])

    def check(self) -> None:
        """Refuse what makes no sense, before anybody is asked.  Raises Usage."""
        if self._names and self.all_namespaces:
            raise Usage("a resource cannot be retrieved by name across all namespaces")
        if self._names and self.selector:
            raise Usage("name cannot be provided when a selector is specified")
        selector.parse(self.selector or "")

    @property
    def name(self) -> str | None:
        """The name, where it is one."""
        return self._names[0] if len(self._names) == 1 else None

    @property
    def count(self) -> int:
        """How many names there are."""
        return len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once."""
        return tuple(dict.fromkeys(self._names))

    def selects(self, status: PodStatus) -> bool:
        """Whether it is one of those that are asked for."""
        return status in self.of([status]).pods

    @property
    def _names(self) -> tuple[str, ...]:
        return names(self.words)

    def _selected(self, pods: Sequence[PodStatus]) -> list[PodStatus]:
        selects = selector.parse(self.selector or "")
        here = [status for status in pods if self.all_namespaces or status.pod.namespace == self.namespace]
        return [status for status in here if selects(status.pod.labels)]


@dataclass(frozen=True)
class Chosen:
    """What there is of what was wanted, in the order of the names, and what there is not."""

    pods: Sequence[PodStatus]
    missing: Sequence[NotFound]


def find(pods: Sequence[PodStatus], namespace: str, names: Sequence[str]) -> tuple[list[PodStatus], list[NotFound]]:
    """The pods of these names, and an error for each name without one."""
    known = {status.pod.name: status for status in pods if status.pod.namespace == namespace}
    return [known[name] for name in names if name in known], [NotFound("pods", n) for n in names if n not in known]


def find_one(pods: Sequence[PodStatus], namespace: str, name: str) -> PodStatus:
    """Raises NotFound."""
    found, missing = find(pods, namespace, [name])
    if missing:
        raise missing[0]
    return found[0]


def report(errors: Sequence[SandboxError]) -> int:
    """Print what went wrong, below what was printed already.  The exit code."""
    if errors and sys.stdout is not None:
        sys.stdout.flush()
    for error in errors:
        print_error(error)
    return 1 if errors else 0


# ---- containers ----


def container(pod: Pod, asked: str | None) -> Container:
    """The container called `asked`, or else the one that the pod's annotation names, or else the first.

    Init containers are there by their names alone.  Says on stderr which one it took where that is not plain.  Raises
    SandboxError.
    """
    known = {each.name: each for each in (*pod.containers, *pod.init_containers)}
    if asked:
        if asked not in known:
            raise SandboxError(f"container {asked} is not valid for pod {pod.name}", hint=f"one of: {', '.join(known)}")
        return known[asked]
    annotated = pod.annotations.get(_DEFAULT_CONTAINER)
    if annotated in known:
        return known[annotated]
    if annotated:
        say(f"Default container name {quoted(annotated)} not found in pod {pod.name}")
    first = pod.containers[0]
    if len(known) > 1:
        inits = [f"{each.name} (init)" for each in pod.init_containers]
        every = ", ".join([each.name for each in pod.containers] + inits)
        say(f'Defaulted container "{first.name}" out of: {every}')
    return first
