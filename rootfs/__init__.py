"""Recipes for images that need no registry: each makes a root file system from what Debian has installed here.

A recipe is a module with `fingerprint()`, which changes when its result would, and `build(target)`, which fills
the empty directory `target`.  Both raise FileNotFoundError, with the missing file, where a Debian package is not
there; `PACKAGE` names it.
"""

from __future__ import annotations

from types import ModuleType

from rootfs import busybox

RECIPES: dict[str, ModuleType] = {"localhost/busybox": busybox}

__all__ = ["RECIPES"]
