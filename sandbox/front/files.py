"""Manifest files as verbs take them: read, accepted whole or refused whole, and what has no effect is told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox import manifest
from sandbox.claim import PersistentVolumeClaim
from sandbox.errors import Finding, KernelError, SandboxError, printable, quoted
from sandbox.front.errors import print_warning
from sandbox.model import Pod


@dataclass(frozen=True)
class Contents:
    """What a manifest file holds, each object with its document."""

    pods: Sequence[tuple[Pod, Mapping[str, Any]]]
    claims: Sequence[tuple[PersistentVolumeClaim, Mapping[str, Any]]]


def pods(file: str) -> tuple[Pod, ...]:
    """The pods of a manifest file; "-" is stdin.  Raises ManifestError, or KernelError where it cannot be read."""
    return tuple(made for made in manifest.load(_text(file), file=_name(file)) if isinstance(made, Pod))


def contents(file: str) -> Contents:
    """All that is in a manifest file; warnings are printed."""
    found = manifest.documents(_text(file), file=_name(file), warn=_warn)
    return Contents(
        [(made, document) for made, document in found if isinstance(made, Pod)],
        [(made, document) for made, document in found if isinstance(made, PersistentVolumeClaim)],
    )


def contents_of(files: Sequence[str]) -> Contents:
    """All that is in several manifest files, none of it twice.  Raises SandboxError."""
    found = [contents(file) for file in files]
    whole = Contents(
        [each for one in found for each in one.pods],
        [each for one in found for each in one.claims],
    )
    seen: set[tuple[type, str, str]] = set()
    objects: list[manifest.Object] = [*(made for made, _ in whole.claims), *(made for made, _ in whole.pods)]
    for made in objects:
        if (key := (type(made), made.namespace, made.name)) in seen:
            raise SandboxError(f"{type(made).__name__} {quoted(f'{made.namespace}/{made.name}')} is in two files")
        seen.add(key)
    return whole


def check(file: str) -> tuple[tuple[Finding, ...], tuple[manifest.Object, ...]]:
    """All that can be said of a manifest file, and its objects if it is accepted.  Raises KernelError."""
    return manifest.check(_text(file), file=_name(file))


def _name(file: str) -> str:
    return "<stdin>" if file == "-" else file


def _text(file: str) -> bytes:
    try:
        with os.fdopen(0, "rb", closefd=False) if file == "-" else Path(file).open("rb") as stream:
            return stream.read(manifest.MAX_BYTES + 1)  # more is refused anyway, and a device has no end
    except OSError as error:
        raise KernelError(error.errno or 0, step="read", filename=file) from error


def _warn(finding: Finding) -> None:
    print_warning(printable(str(replace(finding, warning=False))))
