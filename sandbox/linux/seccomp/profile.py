"""A seccomp profile as values: which system calls it lets pass, when, and what becomes of others.

Pure: it knows neither where profiles come from (default.toml, OCI's JSON) nor libseccomp, which makes filters of them.
"""

from __future__ import annotations

import errno
import functools
import os
import platform
from dataclasses import dataclass
from typing import Literal

from sandbox.errors import ProfileError

ActionKind = Literal["KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "LOG", "ALLOW"]
Comparison = Literal["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
Flag = Literal["LOG", "SPEC_ALLOW"]

# The architectures whose programs a machine (as `uname -m` has it) may run, its own first, by libseccomp's names.
ARCHITECTURES = {"x86_64": ("x86_64", "x86", "x32"), "aarch64": ("aarch64", "arm")}

# linux/seccomp.h, SECCOMP_FILTER_FLAG_*
FLAGS: dict[Flag, int] = {"LOG": 1 << 1, "SPEC_ALLOW": 1 << 2}

MAX_ERRNO = 4094  # what libseccomp lets a system call fail with: linux/err.h's 4095 is not among them
MAX_ARGUMENTS = 6


@dataclass(frozen=True)
class Action:
    """What becomes of a system call; `number` is the errno of ERRNO and the message of TRACE."""

    kind: ActionKind
    number: int = 0


ALLOW = Action("ALLOW")
REFUSE = Action("ERRNO", errno.EPERM)


@dataclass(frozen=True)
class Argument:
    """A condition on argument `index` of a system call: it compares so to `value`.

    With MASKED_EQ `value` is a mask, and what it leaves of the argument is `value_two`.
    """

    index: int
    comparison: Comparison
    value: int
    value_two: int = 0

    def admits(self, value: int) -> bool:
        """Whether the condition holds for this value."""
        if self.comparison == "MASKED_EQ":
            return value & self.value == self.value_two
        if self.comparison == "NE":
            return value != self.value
        low, high = self._range()
        return low <= value <= high

    def excludes(self, other: Argument) -> bool:
        """Whether no value can fulfil this and `other` both, as far as can be told."""
        for one, two in ((self, other), (other, self)):
            if one.comparison == "EQ":
                return not two.admits(one.value)
        if {"NE", "MASKED_EQ"} & {self.comparison, other.comparison}:
            return False
        (low, high), (others_low, others_high) = self._range(), other._range()
        return high < others_low or others_high < low

    def _range(self) -> tuple[int, int]:
        value, most = self.value, 2**64 - 1
        return {
            "LT": (0, value - 1),
            "LE": (0, value),
            "EQ": (value, value),
            "GE": (value, most),
            "GT": (value + 1, most),
        }[self.comparison]


@dataclass(frozen=True)
class Host:
    """What of a machine a profile may depend on: `uname -m`, and the first two numbers of its kernel's version."""

    machine: str
    kernel: tuple[int, int]


@functools.cache
def this_host() -> Host:
    major, minor = platform.release().split("-")[0].split(".")[:2]
    return Host(os.uname().machine, (int(major), int(minor)))


@dataclass(frozen=True)
class Included:
    """A rule holds only for containers that have all of `capabilities` in their bounding set, on one of `machines`
    (none: on any), with a kernel that is not older than `kernel`.  Capabilities are named without CAP_."""

    capabilities: frozenset[str] = frozenset()
    machines: frozenset[str] | None = None
    kernel: tuple[int, int] | None = None

    def holds(self, capabilities: frozenset[str], host: Host) -> bool:
        return (
            self.capabilities <= capabilities
            and (self.machines is None or host.machine in self.machines)
            and (self.kernel is None or host.kernel >= self.kernel)
        )


@dataclass(frozen=True)
class Excluded:
    """A rule does not hold for containers that have one of `capabilities`, nor on `machines`, nor from `kernel` on."""

    capabilities: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()
    kernel: tuple[int, int] | None = None

    def holds(self, capabilities: frozenset[str], host: Host) -> bool:
        return (
            bool(self.capabilities & capabilities)
            or host.machine in self.machines
            or (self.kernel is not None and host.kernel >= self.kernel)
        )


@dataclass(frozen=True)
class Rule:
    """What becomes of these system calls where all `arguments` are as said, if the rule holds at all."""

    names: tuple[str, ...]
    action: Action = ALLOW
    arguments: tuple[Argument, ...] = ()
    included: Included = Included()
    excluded: Excluded = Excluded()

    @property
    def alternatives(self) -> list[tuple[Argument, ...]]:
        """What may hold of the arguments: all together, or, where two conditions are on the same one, each by itself.

        So runc has it.
        """
        if len({argument.index for argument in self.arguments}) == len(self.arguments):
            return [self.arguments]
        return [(argument,) for argument in self.arguments]

    def excludes(self, other: Rule) -> bool:
        """Whether no call can be both rules', as far as can be told."""
        return all(
            any(a.index == b.index and a.excludes(b) for a in mine for b in others)
            for mine in self.alternatives
            for others in other.alternatives
        )


@dataclass(frozen=True)
class Profile:
    """A profile: what no rule speaks of becomes `default`.

    Beside the machine's own architecture the filter sees calls of `architectures` and, by machine, of `siblings`; those
    of any other kill.  `flags` are for seccomp(2).
    """

    default: Action
    rules: tuple[Rule, ...]
    architectures: tuple[str, ...] = ()
    siblings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    flags: tuple[Flag, ...] = ()

    @property
    def flag_bits(self) -> int:
        """What seccomp(2) takes for its flags."""
        return sum(FLAGS[flag] for flag in self.flags)

    def rules_for(self, capabilities: frozenset[str], host: Host) -> tuple[Rule, ...]:
        """The rules that hold for a container with these capabilities in its bounding set."""
        return tuple(
            rule
            for rule in self.rules
            if rule.included.holds(capabilities, host) and not rule.excluded.holds(capabilities, host)
        )

    def check(self, rules: tuple[Rule, ...]) -> None:
        """Raises ProfileError where two of the rules say different things of one call.

        libseccomp would choose, and not always the stricter one: of ALLOW and a conditional ERRNO it drops the latter.
        """
        of_call: dict[str, list[Rule]] = {}
        for rule in rules:
            for name in rule.names:
                for other in of_call.setdefault(name, []):
                    if other.action != rule.action and not rule.excludes(other):
                        raise ProfileError(
                            "seccomp profile",
                            "",
                            f"of {name} one rule says {other.action.kind} and another {rule.action.kind}",
                            hint="let their args exclude each other, or leave one of them to defaultAction",
                        )
                of_call[name].append(rule)

    def architectures_on(self, machine: str) -> tuple[str, ...]:
        """The architectures that the filter sees, the machine's own first; one that it cannot run is not among them."""
        wanted = {*self.architectures, *dict(self.siblings).get(machine, ())}
        own, *others = ARCHITECTURES[machine]
        return (own, *(name for name in others if name in wanted))
