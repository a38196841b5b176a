"""A small manifest, and the same with a line more: what tests of the manifest's text are made of."""

from __future__ import annotations

import pytest

from sandbox import manifest
from sandbox.errors import ManifestError
from sandbox.model import Pod

GOOD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  restartPolicy: Never
  containers:
  - name: app
    image: busybox
"""


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def in_container(text: str) -> str:
    """GOOD with a line more in its container, which is line 10 and is indented by 4."""
    return GOOD + f"    {text}\n"


def in_spec(text: str) -> str:
    """GOOD with a line more in its spec, which is line 6 and is indented by 2."""
    return changed("spec:\n", f"spec:\n  {text}\n")


def in_metadata(text: str) -> str:
    """GOOD with a line more in its metadata, which is line 4 and is indented by 2."""
    return changed("metadata:\n", f"metadata:\n  {text}\n")


def pod(text: str) -> Pod:
    (one,) = manifest.load(text)
    return one


def refusals(text: str | bytes) -> list[str]:
    with pytest.raises(ManifestError) as refused:
        manifest.load(text, file="p")
    return [str(finding).removeprefix("p:") for finding in refused.value.findings]


def in_pod_with_init_container(text: str) -> str:
    """GOOD with an init container before its containers: `text` is the rest of it, line 8, which is indented by 4."""
    return changed("  containers:\n", f"  initContainers:\n  - {{name: init, image: busybox, {text}}}\n  containers:\n")
