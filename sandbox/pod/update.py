"""What a pod's new manifest changes of it: nothing, what can change while it lives, or the pod as a whole.  Pure.

The API server lets few fields of a live pod change: those are changed in place here.  Where it would refuse the rest
the pod is replaced, by another of its name.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from sandbox.model import Container, Pod
from sandbox.pod.state import ContainerState, PodState


class Change(Enum):
    NONE = auto()
    IN_PLACE = auto()
    REPLACEMENT = auto()


def between(before: Pod, after: Pod) -> Change:
    """What it takes to have `after` where `before` is, both of the same name.

    Pods are compared and not manifests: in those the order of keys, a default that is spelled out and another notation
    of a quantity are differences, and change nothing.
    """
    if before == after:
        return Change.NONE
    return Change.IN_PLACE if _with_what_may_change(before, after) == after else Change.REPLACEMENT


def _with_what_may_change(before: Pod, after: Pod) -> Pod:
    """`before` with what the API server lets change of a live pod (its ValidatePodUpdate) as it is in `after`."""
    return replace(
        before,
        labels=after.labels,
        annotations=after.annotations,
        active_deadline_seconds=_deadline(before.active_deadline_seconds, after.active_deadline_seconds),
        init_containers=_with_images(before.init_containers, after.init_containers),
        containers=_with_images(before.containers, after.containers),
    )


def _deadline(before: int | None, after: int | None) -> int | None:
    """It may be set, or come nearer."""
    return after if after is not None and (before is None or after <= before) else before


def _with_images(before: tuple[Container, ...], after: tuple[Container, ...]) -> tuple[Container, ...]:
    if len(before) != len(after):
        return before
    return tuple(replace(old, image=new.image) for old, new in zip(before, after, strict=True))


def new_images(before: Pod, after: Pod) -> tuple[Container, ...]:
    """The containers of `after` whose image is another than that of their name in `before`, or that are new."""
    known = {each.name: each.image for each in before.all_containers}
    return tuple(each for each in after.all_containers if known.get(each.name) != each.image)


def changed(state: PodState, before: Pod, after: Pod) -> PodState:
    """The state of a pod that has become `after` in place: with what is new, and with another image what could not be
    made is tried again at once."""
    names = {each.name for each in new_images(before, after)}
    containers = tuple(replace(each, waiting=None) if each.name in names else each for each in state.containers)
    known = {each.name for each in containers}
    return replace(state, containers=containers).with_new([each for each in _names(after) if each not in known])


def _names(pod: Pod) -> list[str]:
    return [each.name for each in pod.all_containers]


def with_images(state: PodState, pod: Pod) -> PodState:
    """The state with the image of each instance, where the engine that began it did not write that down: it was the
    pod's, as no such engine changed any."""
    images = {each.name: each.image for each in pod.all_containers}
    return replace(state, containers=tuple(_with_image(each, images[each.name]) for each in state.containers))


def _with_image(known: ContainerState, image: str) -> ContainerState:
    return known.changed(image=image) if known.instance and not known.instance.image else known


def is_outdated(asked: Container, known: ContainerState) -> bool:
    """Whether its newest instance was begun with another image than it has now: the text counts, as for kubelet, and
    not what the image holds."""
    return known.instance is not None and known.instance.image not in ("", asked.image)
