"""What instances of containers leave when they end: processes, a cgroup, a layer, podmon's memory of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from cgroups import CgroupError
from sandbox.effects import effect
from sandbox.errors import SandboxError, WrongState
from sandbox.pod.notebook import Notebook
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.state import Instance
from sandbox.pod.store import Store
from sandbox.pod.tasks import Tasks, in_thread


class Leavings:
    """Removes it in the background; the next instance of a container waits for that."""

    def __init__(self, book: Notebook, store: Store, tasks: Tasks, warn: Callable[[str], None]) -> None:
        self._book = book
        self._store = store
        self._tasks = tasks
        self._warn = warn
        self._removals: dict[str, asyncio.Task[None]] = {}  # by container, of its newest that ended

    def remove(self, container: str, instance: Instance, made: SandboxContainer | None = None) -> None:
        """Begin to remove what the instance left; `made` is it, where a podmon knows of it."""
        self._removals[container] = self._tasks.start(self._remove(container, instance, made))

    async def removed(self, container: str) -> None:
        """Wait until nothing of the container's last instance is left."""
        removal = self._removals.pop(container, None)
        if removal is not None:
            await removal

    async def all_removed(self) -> None:
        await asyncio.gather(*self._removals.values())

    @effect("remove what a container left")
    async def _remove(self, container: str, instance: Instance, made: SandboxContainer | None) -> None:
        """Only once its end stands on disk does podmon forget it."""
        uid = self._book.record.uid
        try:
            await in_thread(self._store.slices.handle(uid).child(f"{instance.id}.scope").remove_tree)
            if self._book.saved:
                if made is not None:
                    with contextlib.suppress(WrongState):  # podmon has ended: it has forgotten all
                        await made.forget()
                await in_thread(self._store.remove_layer, uid, instance.id)
        except (SandboxError, CgroupError, OSError) as error:
            self._warn(f"{self._book.called}: what container {container} left cannot be removed: {error}")
