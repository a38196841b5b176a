"""The annotations of a Pod that the API server looks into.

The rules and the words are the API server's (validation.go, ValidatePodSpecificAnnotations).  What an annotation for
AppArmor asks for is what `appArmorProfile` does, and is refused as that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sandbox.errors import quoted
from sandbox.manifest import wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.rules import no_backsteps

_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_MIRROR = "kubernetes.io/config.mirror"
_SECCOMP_OF_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_OF_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"

_SECCOMP_PROFILES = ("runtime/default", "docker/default", "unconfined")
_LOCALHOST = "localhost/"


def check_annotations(document: Cursor) -> None:
    """Refuse what is wrong with the annotations of a Pod."""
    metadata = document.field("metadata")
    annotations = metadata.field("annotations") if metadata else None
    for name, field in annotations.fields() if annotations else ():
        if isinstance(field.node.value, str | None):
            for reason in _reasons(name, field.node.value or "", document):
                field.refuse(wording.invalid(quoted(field.node.value or ""), reason))
            if name.startswith(_APP_ARMOR) and field.node.value not in (None, "", "unconfined"):
                field.refuse(wording.not_implemented(name), at=field.named)


def _reasons(name: str, value: str, document: Cursor) -> Iterator[str]:
    spec = document.field("spec")
    if name == _DELETION_COST and not _is_cost(value):
        yield "must be a 32bit integer"
    elif name == _MIRROR and not (spec and spec.text("nodeName")):
        yield "must set spec.nodeName if mirror pod annotation is set"
    elif name == _SECCOMP_OF_POD or name.startswith(_SECCOMP_OF_CONTAINER):
        yield from _of_seccomp(value)
    elif name.startswith(_APP_ARMOR):
        yield from _of_app_armor(name.removeprefix(_APP_ARMOR), value, spec)


def _is_cost(value: str) -> bool:
    """A plus sign or a zero before other digits is no way to write one."""
    return bool(re.fullmatch("0|-?[1-9][0-9]{0,9}", value)) and -(2**31) <= int(value) < 2**31


def _of_seccomp(value: str) -> Iterator[str]:
    if value.startswith(_LOCALHOST):
        path = value.removeprefix(_LOCALHOST)
        if path.startswith("/"):
            yield "must be a relative path"
        yield from no_backsteps(path)
    elif value not in _SECCOMP_PROFILES:
        yield "must be a valid seccomp profile"


def _of_app_armor(container: str, value: str, spec: Cursor | None) -> Iterator[str]:
    both = (*spec.each("initContainers"), *spec.each("containers")) if spec else ()
    if container not in {each.text("name") for each in both}:
        yield "container not found"
    if value not in ("", "runtime/default", "unconfined") and not value.startswith(_LOCALHOST):
        yield f"invalid AppArmor profile name: {quoted(value)}"
