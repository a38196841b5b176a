"""Pods that take more of the disk than they may are evicted, as kubelet's eviction manager has it (SEMANTICS A17).

A directory on disk has no size that the kernel would hold a pod to, so it is looked at again and again: of the pods
that have such a limit, and of no others.  What is open and has no name any more is not seen.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import KernelError, SandboxError
from sandbox.model import EmptyDir, Medium, Pod, VolumeSource
from sandbox.pod.resources import most_at_a_time
from sandbox.pod.state import PodRecord, PodState
from sandbox.pod.store import Store
from sandbox.pod.tasks import in_thread
from sandbox.quantity import Quantity

REASON = "Evicted"
GRACE = 1  # seconds, whatever the pod's own: kubelet's immediateEvictionGracePeriodSeconds
PERIOD = 10.0  # seconds between two looks, at least
SHARE = 10  # of the time, looking takes at most one part in so many
PATIENCE = 60.0  # seconds that the look at one pod may take
STORAGE = "ephemeral-storage"


@dataclass(frozen=True)
class Places:
    """Where on the disk a pod keeps what counts: its emptyDirs by name, of each container the layer and the logs."""

    uid: str
    pod: Pod
    volumes: Mapping[str, Path]
    containers: Mapping[str, Sequence[Path]]


def places(record: PodRecord, pod: Pod, state: PodState, store: Store) -> Places:
    """Where those of a pod are."""
    volumes = store.directory(record.uid) / "volumes"
    layers, logs = store.sandbox_directory(record.uid) / "containers", store.logs(record)
    return Places(
        record.uid,
        pod,
        {each.name: volumes / each.name for each in pod.volumes if _is_on_disk(each.source)},
        {
            each.name: (logs / each.name, *([layers / each.instance.id] if each.instance else ()))
            for each in state.containers
        },
    )


def _is_on_disk(source: VolumeSource) -> bool:
    return isinstance(source, EmptyDir) and source.medium is Medium.DISK


@dataclass(frozen=True)
class Usage:
    """What is there, in bytes; a volume or a container of which nothing is known is not named."""

    volumes: Mapping[str, int]
    containers: Mapping[str, int]


# ---- what is asked for: pure ----


def volume_limits(pod: Pod) -> dict[str, Quantity]:
    """The sizes that emptyDirs on disk are to keep to; a limit of 0 is none.  One in memory cannot grow beyond its."""
    sources = [(volume.name, volume.source) for volume in pod.volumes]
    return {
        name: source.size_limit
        for name, source in sources
        if isinstance(source, EmptyDir)
        and source.medium is Medium.DISK
        and source.size_limit
        and source.size_limit.value
    }


def container_limits(pod: Pod) -> dict[str, Quantity]:
    """What containers may take together in their layers and logs."""
    limits = {each.name: each.resources.limits.get(STORAGE) for each in pod.all_containers}
    return {name: limit for name, limit in limits.items() if limit and limit.value}


def pod_limit(pod: Pod) -> Quantity | None:
    """What all of a pod may take, as kubelet's PodLimits sums it up: of those containers that have a limit."""
    limits = container_limits(pod)
    if not limits:
        return None
    most = most_at_a_time(pod, lambda each: limits[each.name].to_int() if each.name in limits else 0)
    first = next(iter(limits.values()))
    return Quantity(type(first.value)(most), first.format)


def has_limits(pod: Pod) -> bool:
    return bool(volume_limits(pod) or container_limits(pod))


def excess(pod: Pod, usage: Usage) -> str | None:
    """Why the pod is to be evicted, in kubelet's words and in its order; None where it keeps to its limits."""
    for name, limit in volume_limits(pod).items():
        if usage.volumes.get(name, 0) > limit.to_int():
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    total = pod_limit(pod)
    if total is not None and sum(usage.volumes.values()) + sum(usage.containers.values()) > total.to_int():
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
    for name, limit in container_limits(pod).items():
        if usage.containers.get(name, 0) > limit.to_int():
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return None


# ---- what is there ----


async def usage(places: Places) -> Usage:
    """How much of the disk a pod takes, as far as a limit of it is about that.  Raises SandboxError, TimeoutError."""
    all_of_it = bool(container_limits(places.pod))
    limited = volume_limits(places.pod)
    volumes = {name: path for name, path in places.volumes.items() if all_of_it or name in limited}
    containers = places.containers if all_of_it else {}
    sizes = await sizes_of([*volumes.values(), *(path for paths in containers.values() for path in paths)])
    return Usage(
        {name: sizes[path] for name, path in volumes.items() if path in sizes},
        {name: sum(sizes.get(path, 0) for path in paths) for name, paths in containers.items()},
    )


async def sizes_of(paths: Sequence[Path]) -> dict[Path, int]:
    """The bytes that each of these directories takes on its disk; one that is not there is left out.

    It is du(1) that looks, as it goes as deep as there are directories, follows no link, counts what has several names
    once, and leaves alone what is mounted there; and it can be killed, which a thread cannot.
    """
    there = [path for path in paths if path.is_dir()]
    if not there:
        return {}
    process = await in_thread(_begin, there, undo=_end)
    reading = asyncio.ensure_future(in_thread(process.communicate))
    try:
        async with asyncio.timeout(PATIENCE):
            out, _ = await asyncio.shield(reading)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await reading
        raise
    # What it says on stderr is of files that went while it looked, and that is no reason not to believe the rest.
    if not out:
        raise SandboxError("du says nothing", hint="it is GNU's that is needed, of coreutils")
    rows = (row.partition(b"\t") for row in out.split(b"\0") if row)
    return {Path(os.fsdecode(path)): int(size) for size, _, path in rows}


def _begin(paths: Sequence[Path]) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [
        "nice",
        "du",
        "--summarize",
        "--one-file-system",
        "--block-size=1",
        "--null",
        "--",
        *paths,
    ]
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise KernelError(error.errno or 0, step="run", filename="du") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


class Monitor:
    """Looks at pods until cancelled; `evict` is told of each that is to end, with the message of its end.

    `look` says what pods there are that have limits and run.  What a look cannot see is told to `warn` once.
    """

    def __init__(
        self,
        look: Callable[[], Iterable[Places]],
        evict: Callable[[str, str], None],
        warn: Callable[[str], None],
        period: float = PERIOD,
    ) -> None:
        self._look = look
        self._evict = evict
        self._warn = warn
        self._period = period
        self._blind: set[str] = set()  # UIDs of pods that could not be looked at

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            for places in list(self._look()):
                await self._judge(places)
            await asyncio.sleep(max(self._period, (loop.time() - began) * (SHARE - 1)))

    async def _judge(self, places: Places) -> None:
        try:
            message = excess(places.pod, await usage(places))
        except (SandboxError, OSError) as error:  # TimeoutError is one
            if places.uid not in self._blind:
                self._blind.add(places.uid)
                called = f"pod {places.pod.namespace}/{places.pod.name}"
                self._warn(f"{called}: how much it has on disk cannot be seen: {error or 'it takes too long'}")
            return
        self._blind.discard(places.uid)
        if message is not None:
            self._evict(places.uid, message)
