"""From the `image:` of a manifest to a directory that can be a rootfs.

Two kinds so far: `localhost/NAME`, made here by a recipe of `rootfs/` when first used and kept, and
`rootfs:/PATH`, a directory as it is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from rootfs import RECIPES
from sandbox.effects import effect
from sandbox.errors import NotFound, quoted, shown
from sandbox.pod.container import DEFAULT_PATH

DIRECTORY_PREFIX = "rootfs:"


@dataclass(frozen=True)
class Image:
    """A rootfs directory, only read, and what its author set: default program, environment, directory."""

    rootfs: Path
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    cwd: str = "/"


def find(reference: str, store: Path) -> Image:
    """The image called `reference`; recipes are built below `store`.  Raises NotFound with the cure."""
    if reference.startswith(DIRECTORY_PREFIX):
        return _directory(reference)
    name, _, tag = reference.partition(":")
    recipe = RECIPES.get(name)
    if recipe is None or tag not in ("", "latest"):
        known = ", ".join(RECIPES)
        raise NotFound("image", reference, hint=f"there are {known}, and rootfs:/PATH for a directory of yours")
    return Image(_built(name, recipe, store), command=recipe.COMMAND)


def _directory(reference: str) -> Image:
    path = Path(reference.removeprefix(DIRECTORY_PREFIX))
    if not path.is_absolute():
        raise NotFound("image", reference, hint="write rootfs: and an absolute path, as in rootfs:/srv/debian")
    if not path.is_dir():
        raise NotFound(
            "image",
            reference,
            f"image {quoted(reference)}: {shown(str(path))} is not a directory",
            hint="create it, or correct the path",
        )
    return Image(path)


def _built(name: str, recipe: ModuleType, store: Path) -> Path:
    """The rootfs of a recipe, made anew where there is none of the present fingerprint.  It appears whole or not."""
    try:
        directory = store / name / str(recipe.fingerprint())
        if not directory.is_dir():
            _build(recipe, directory)
    except FileNotFoundError as missing:
        raise NotFound(
            "image", name, f'image "{name}": {missing.filename} is missing', hint=f"apt-get install {recipe.PACKAGE}"
        ) from missing
    return directory


@effect("build an image")
def _build(recipe: ModuleType, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held till the fd closes; another builder may have been first
        for left in directory.parent.glob(".new-*"):
            shutil.rmtree(left)  # of a builder that was killed: nobody else holds the lock
        if directory.is_dir():
            return
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=directory.parent))
        try:
            fresh.chmod(0o755)
            recipe.build(fresh)
            fresh.rename(directory)
        except BaseException:  # undo, then let it pass
            shutil.rmtree(fresh)
            raise
    finally:
        os.close(lock)
