"""What the resources of a manifest mean for cgroups and the OOM killer, as kubelet has it.  Pure.

A pod's slice has what its containers use together, a container's scope its own.  Sources: kubelet's
ResourceConfigForPod (with PodRequests and PodLimits), GetContainerOOMScoreAdjust and generateLinuxContainerResources;
for the weight KEP-2254 as of Kubernetes 1.35.  Memory QoS (memory.high from requests) is beta there, and left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from cgroups import Cpu, Hugetlb, Knobs, Memory, Pids
from sandbox import quantity
from sandbox.errors import Unsupported
from sandbox.model import HUGE_PAGES, Container, Pod, QosClass, RestartPolicy
from sandbox.quantity import Quantity

UNLIMITED = -1  # podPidsLimit

PERIOD = 100_000  # microseconds
MIN_QUOTA = 1000  # microseconds: the kernel takes no less
MAX_QUOTA = 2**44 - 1  # microseconds: the kernel takes no more, and no machine has so many processors
MIN_SHARES, MAX_SHARES = 2, 262144

OOM_GUARANTEED = -997
OOM_BEST_EFFORT = 1000

Why = Callable[[str], str | None]  # why a controller cannot be had here, and the cure; None where it can


@dataclass(frozen=True)
class Means:
    """What this host has to hold resources with: its controllers, the sizes of huge pages of which some are reserved,
    and whether its kernel can swap."""

    controllers: frozenset[str] = frozenset()
    huge_pages: tuple[int, ...] = ()
    swap: bool = False


@dataclass(frozen=True)
class Placement:
    """Where a pod's slice stands in the tree, and what is set in it.

    `cpu` are the thousandths of a CPU that it requests; `controllers` are to be on for its containers.
    """

    qos: QosClass = QosClass.BEST_EFFORT
    cpu: int = 0
    knobs: tuple[Knobs, ...] = ()
    controllers: tuple[str, ...] = ()


NOTHING_ASKED = Placement()

# ---- amounts ----


def _amount(amounts: Mapping[str, Quantity], name: str, scale: int = 0) -> int:
    """0 where it is not named, which is what kubelet takes it for too."""
    return amounts[name].to_int(scale) if name in amounts else 0


def _cpu(amounts: Mapping[str, Quantity]) -> int:
    return _amount(amounts, "cpu", -3)


def _memory(amounts: Mapping[str, Quantity]) -> int:
    return _amount(amounts, "memory")


def _huge_pages(amounts: Mapping[str, Quantity]) -> dict[int, int]:
    names = [name for name in amounts if name.startswith(HUGE_PAGES)]
    return {quantity.parse(name.removeprefix(HUGE_PAGES)).to_int(): amounts[name].to_int() for name in names}


def _at_starts(pod: Pod, amount: Callable[[Container], int]) -> Iterator[int]:
    """What is in use as each init container runs: its own, and that of the sidecars before it."""
    beside = 0
    for each in pod.init_containers:
        yield beside + amount(each)
        if each.restart_policy is RestartPolicy.ALWAYS:
            beside += amount(each)


def most_at_a_time(pod: Pod, amount: Callable[[Container], int]) -> int:
    """The most that is in use at a time: by containers and sidecars, or as an init container runs (SEMANTICS A23)."""
    together = sum(map(amount, (*pod.sidecars, *pod.containers)))
    return max(together, *_at_starts(pod, amount), 0)


def _most_if_all(pod: Pod, limit: Callable[[Container], int]) -> int:
    """The same, or 0, which is none, where one has no limit.

    An init container without one, after a sidecar that has, is not missed, as kubelet looks at them together.
    """
    bounded = all(map(limit, pod.containers)) and all(_at_starts(pod, limit))
    return most_at_a_time(pod, limit) if bounded else 0


# ---- the kernel's numbers ----


def shares(milli: int) -> int:
    """The shares, as cgroup v1 counted them, of so many thousandths of a CPU."""
    return min(max(MIN_SHARES, milli * 1024 // 1000), MAX_SHARES)


def weight(milli: int) -> int:
    """cpu.weight for a request: 1 CPU is 100, the kernel's default."""
    length = math.log2(shares(milli))
    # Rounded, as what should be a whole number may miss it by the last bit, and would then be the next one.
    return math.ceil(round(10 ** ((length**2 + 125 * length) / 612 - 7 / 34), 9))


def quota(milli: int) -> int | None:
    """Microseconds of each PERIOD for a limit; None where there is none."""
    return min(max(MIN_QUOTA, milli * PERIOD // 1000), MAX_QUOTA) if milli else None


def _cpu_knobs(request: int, limit: int) -> Cpu:
    bound = quota(limit)
    return Cpu(weight=weight(request), quota=bound, period=None if bound is None else PERIOD)


# ---- a pod and its containers ----


def placement(pod: Pod, means: Means, pids_limit: int = UNLIMITED) -> Placement:
    """The pod's slice.  A pod that asks for nothing is given nothing, so that it costs nothing."""
    requested = most_at_a_time(pod, lambda each: _cpu(each.resources.requests))
    qos = pod.qos_class
    pages = _pages(pod, means)
    knobs: list[Knobs] = []
    if qos is not QosClass.BEST_EFFORT:
        knobs.append(_cpu_knobs(requested, _most_if_all(pod, lambda each: _cpu(each.resources.limits))))
        knobs.append(Memory(max=_most_if_all(pod, lambda each: _memory(each.resources.limits)) or None))
    if pages:
        knobs.append(Hugetlb({size: most_at_a_time(pod, partial(_huge_pages_of, size)) for size in pages}))
    if pids_limit != UNLIMITED:
        knobs.append(Pids(pids_limit))
    had = tuple(each for each in knobs if each.controller in means.controllers)
    inner = {each.controller for container in pod.all_containers for each in container_knobs(pod, container, means)}
    return Placement(qos, requested, had, tuple(sorted(inner)))


def container_knobs(pod: Pod, container: Container, means: Means) -> tuple[Knobs, ...]:
    """The container's scope: nothing in a pod that asks for nothing.

    memory.oom.group is set for every container, and no swap may be used: kubelet's defaults.
    """
    limits, requests = container.resources.limits, container.resources.requests
    knobs: list[Knobs] = []
    if pod.qos_class is not QosClass.BEST_EFFORT:
        knobs.append(_cpu_knobs(_cpu(requests), _cpu(limits)))
        knobs.append(Memory(max=_memory(limits) or None, swap_max=0 if means.swap else None, oom_group=True))
    if asked := _asked_pages(pod):
        knobs.append(Hugetlb({size: _huge_pages(limits).get(size, 0) for size in asked}))
    return tuple(each for each in knobs if each.controller in means.controllers)


def _asked_pages(pod: Pod) -> set[int]:
    return {size for each in pod.all_containers for size in _huge_pages(each.resources.limits)}


def _huge_pages_of(size: int, container: Container) -> int:
    return _huge_pages(container.resources.limits).get(size, 0)


def _pages(pod: Pod, means: Means) -> list[int]:
    """The sizes of huge pages to be limited: what a pod does not ask for it may not use, where there are any."""
    return sorted(_asked_pages(pod).union(means.huge_pages))


def oom_score_adj(pod: Pod, container: Container, memory: int) -> int:
    """The container's place in the OOM killer's queue, on a machine with so many bytes of memory.

    A sidecar is not killed before the containers that it serves.
    """
    match pod.qos_class:
        case QosClass.GUARANTEED:
            return OOM_GUARANTEED
        case QosClass.BEST_EFFORT:
            return OOM_BEST_EFFORT
    requested = _memory(container.resources.requests)
    if container in pod.sidecars:
        requested = max(requested, min((_memory(each.resources.requests) for each in pod.containers), default=0))
    adjusted = 1000 - 1000 * requested // memory
    return min(max(1000 + OOM_GUARANTEED, adjusted), OOM_BEST_EFFORT - 1)


# ---- what a host cannot do ----

_HELD_BY = {"cpu": "cpu", "memory": "memory"}  # and huge pages by hugetlb


def _controllers(amounts: Mapping[str, Quantity]) -> Iterator[tuple[str, str]]:
    """The resources of which some is asked for, each with the controller that holds it."""
    for name, amount in amounts.items():
        controller = "hugetlb" if name.startswith(HUGE_PAGES) else _HELD_BY.get(name)
        if controller and amount.value:
            yield name, controller


def check(pod: Pod, why_not: Why, *, pids_limit: int, page_sizes: Callable[[], Iterable[int]]) -> None:
    """Refuse a limit that cannot be held here, before anything of the pod is made.  Raises Unsupported."""
    for container in pod.all_containers:
        what = f'pod "{pod.name}", container "{container.name}": a limit of'
        for name, controller in _controllers(container.resources.limits):
            _require(f"{what} {name}", controller, why_not)
        asked = _huge_pages(container.resources.limits)
        for size in sorted(asked.keys() - set(page_sizes() if asked else ())):
            hint = "see /sys/kernel/mm/hugepages for the sizes that there are"
            raise Unsupported(f"{what} huge pages", needs=f"such of {size} bytes", hint=hint)
    if pids_limit != UNLIMITED:
        _require(f'pod "{pod.name}": podPidsLimit', "pids", why_not)


def _require(feature: str, controller: str, why_not: Why) -> None:
    reason = why_not(controller)
    if reason is not None:
        raise Unsupported(feature, needs=f"the cgroup v2 controller {controller}", hint=reason)


def unheld_requests(pod: Pod, why_not: Why) -> str | None:
    """What to tell where the pod requests something that cannot be held here; None where all can."""
    asked = {pair for each in pod.all_containers for pair in _controllers(each.resources.requests)}
    reasons = {name: why_not(controller) for name, controller in sorted(asked)}
    unheld = {name: reason for name, reason in reasons.items() if reason is not None}
    if not unheld:
        return None
    return f"Requests of {' and '.join(unheld)} have no effect here: {'; '.join(dict.fromkeys(unheld.values()))}"
