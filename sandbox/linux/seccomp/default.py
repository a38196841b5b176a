"""The profile RuntimeDefault, from default.toml beside this file, where its form is explained."""

from __future__ import annotations

import errno
import functools
from pathlib import Path
from typing import Any

from sandbox.linux.seccomp.profile import ALLOW, Action, Argument, Comparison, Excluded, Included, Profile, Rule

_FILE = Path(__file__).parent / "default.toml"
_COMPARISONS: dict[str, Comparison] = {"<": "LT", "==": "EQ", ">": "GT"}


@functools.cache
def default_profile() -> Profile:
    """What `seccompProfile: {type: RuntimeDefault}` means, for any capabilities and machine."""
    import tomllib  # 5 ms that only who asks for it pays

    data = tomllib.loads(_FILE.read_text())
    rows = [(row, ALLOW) for row in data["allow"]]
    rows += [(row, Action("ERRNO", getattr(errno, row["errno"]))) for row in data["refuse"]]
    return Profile(
        default=Action("ERRNO", getattr(errno, data["default_errno"])),
        rules=tuple(rule for row, action in rows for rule in _rules(row, action)),
        siblings=tuple((machine, tuple(names)) for machine, names in data["architectures"].items()),
    )


def _rules(row: dict[str, Any], action: Action) -> list[Rule]:
    """A rule for each alternative of the row: capabilities and conditions on the first argument are such."""
    machines = frozenset(row["machines"]) if "machines" in row else None
    return [
        Rule(
            names=tuple(row["calls"].split()),
            action=action,
            arguments=arguments,
            included=Included(capabilities, machines),
            excluded=Excluded(frozenset(row.get("without", ()))),
        )
        for arguments in ([(_argument(text),) for text in row["argument_0"]] if "argument_0" in row else [()])
        for capabilities in (
            [frozenset({name}) for name in row["capabilities"]] if "capabilities" in row else [frozenset()]
        )
    ]


def _argument(text: str) -> Argument:
    """Of "< 38", or of "& 0x3 == 0": masked."""
    match text.split():
        case ["&", mask, "==", value]:
            return Argument(0, "MASKED_EQ", int(mask, 0), int(value, 0))
        case [sign, value]:
            return Argument(0, _COMPARISONS[sign], int(value, 0))
        case _:
            raise ValueError(f"{_FILE.name}: not a condition: {text!r}")
