"""What `cgroup.events` says (cgroup-v2.rst "Core Interface Files"), parsed and nothing more."""

from __future__ import annotations

from dataclasses import dataclass

from cgroups.files import parse_keyed


@dataclass(frozen=True)
class Events:
    """`populated`: the cgroup or one below it holds a live process.  `frozen`: all of its processes are stopped."""

    populated: bool
    frozen: bool

    @classmethod
    def parse(cls, text: str) -> Events:
        """From the file's text.  Keys it does not know are ignored; a kernel before 5.2 has no `frozen`: False."""
        fields = parse_keyed(text)
        return cls(populated=fields["populated"] == 1, frozen=fields.get("frozen") == 1)
