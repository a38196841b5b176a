"""`seedpod diff`: what `apply` would change, as a unified diff of objects as `get -o yaml` prints them.

Whether there is a difference is the engine's to say, as for `apply`: a default that is spelled out is none.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.claim import PersistentVolumeClaim
from sandbox.front import encode
from sandbox.front.apply import documents, require_files
from sandbox.front.client import Client
from sandbox.front.files import contents_of
from sandbox.front.v1 import V1, to_v1
from sandbox.front.v1_claim import claim_to_v1
from sandbox.model import Pod
from sandbox.pod.requests import Word
from sandbox.status import ClaimPhase, ClaimStatus, Phase, PodStatus

# What is nobody's to write in a manifest, and differs although nobody asked for that.
_OF_THE_ENGINE = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True)
class Request:
    """The command line of `diff`."""

    file: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raises Usage."""
        require_files(self.file)


def diff(client: Client, request: Request) -> int:
    """Print what would change.  The exit code of the verb: 1 where anything would."""
    contents = contents_of(request.file)
    pods, claims = documents(contents)
    applied = client.apply(pods, claims, dry_run=True)
    texts: list[str] = []
    if any(word != "unchanged" for word in applied.claims):
        known_claims = {(each.claim.namespace, each.claim.name): each for each in client.claims()}
        for (claim, _), said in zip(contents.claims, applied.claims, strict=True):
            if said != "unchanged":
                texts.append(_claim_difference(claim, known_claims.get((claim.namespace, claim.name))))
    known = {(each.pod.namespace, each.pod.name): each for each in client.pods()}
    for (pod, document), each in zip(contents.pods, applied.pods, strict=True):
        if each.word is not Word.UNCHANGED:
            there = None if each.word is Word.CREATED else known.get((pod.namespace, pod.name))
            texts.append(_pod_difference(pod, document, there, client.node_name))
    print("".join(texts), end="")
    return 1 if texts else 0


def _pod_difference(pod: Pod, document: Mapping[str, Any], there: PodStatus | None, node_name: str) -> str:
    asked = PodStatus(pod, "", datetime.now(UTC), Phase.PENDING, (), manifest=document)
    before = to_v1(there, node_name=node_name) if there else None
    return _difference("Pod", pod.namespace, pod.name, before, to_v1(asked, node_name=node_name))


def _claim_difference(claim: PersistentVolumeClaim, there: ClaimStatus | None) -> str:
    if there is None:
        asked = ClaimStatus(claim, "", datetime.now(UTC), ClaimPhase.LOST, Path())
        return _difference("PersistentVolumeClaim", claim.namespace, claim.name, None, claim_to_v1(asked))
    filled = replace(  # what a manifest leaves out stays as it is
        claim,
        storage_class_name=claim.storage_class_name or there.claim.storage_class_name,
        volume_name=claim.volume_name or there.claim.volume_name,
    )
    after = claim_to_v1(replace(there, claim=filled))
    return _difference("PersistentVolumeClaim", claim.namespace, claim.name, claim_to_v1(there), after)


def _difference(kind: str, namespace: str, name: str, before: V1 | None, after: V1) -> str:
    """The files are called as kubectl calls those that it has compared."""
    called = f"v1.{kind}.{namespace}.{name}"
    lines = difflib.unified_diff(
        list(_lines(before)), list(_lines(after)), fromfile=f"LIVE/{called}", tofile=f"MERGED/{called}"
    )
    return f"diff -u -N LIVE/{called} MERGED/{called}\n" + "".join(lines)


def _lines(item: V1 | None) -> Iterator[str]:
    """What somebody has asked for of an object."""
    if item is not None:
        metadata = {name: value for name, value in item["metadata"].items() if name not in _OF_THE_ENGINE}
        shown = {**item, "metadata": metadata}
        del shown["status"]
        yield from encode.yaml_text(shown).splitlines(keepends=True)
