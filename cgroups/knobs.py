"""What the files of the controllers have in common: knobs, which say what is to be written where, and statistics.

A controller's file holds a frozen dataclass of its knobs, whose `values` are pure, and one of its statistics.
`Cgroup.apply` is the one who writes, `Cgroup.stat` who reads; what a knob may be is the kernel's to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from cgroups.files import parse_keyed

# A limit, or none: the kernel's own word for it.
Bound = int | Literal["max"]


class Knobs(ABC):
    """Settings of one controller; what is None is left as it is."""

    controller: ClassVar[str]

    @abstractmethod
    def values(self) -> dict[str, str]:
        """What is to be written, by file, in this order.  Pure."""


def written(knobs: Mapping[str, Bound | bool | None]) -> dict[str, str]:
    """The texts of those that are not None, by file; a boolean is 1 or 0."""
    return {
        file: str(int(knob) if isinstance(knob, bool) else knob) for file, knob in knobs.items() if knob is not None
    }


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


T = TypeVar("T", bound=_Dataclass)


def keyed(kind: type[T], text: str, **others: Any) -> T:
    """Statistics from the text of a flat keyed file: the fields that have its keys' names, and `others`.

    A key without a field is ignored, a field without a key keeps its default: kernels differ.
    """
    known = parse_keyed(text)
    return kind(**{each.name: known[each.name] for each in fields(kind) if each.name in known}, **others)
