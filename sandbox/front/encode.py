"""`v1` objects as text: JSON and YAML as kubectl prints them.

Keys are sorted, as Go's maps are.  Pure; YAML is read into memory only when somebody wants it.
"""

from __future__ import annotations

import json
import re
from typing import Any

# What Go's encoder escapes although JSON need not, and what would steer a terminal or has no place in UTF-8.
_ESCAPED = re.compile("[<>&\u2028\u2029\x7f-\x9f\ud800-\udfff]")

# Strings that some reader of YAML takes for something else, and PyYAML writes plain: booleans of YAML 1.1 that it does
# not know, and numbers of YAML 1.2 or of Go.
_MISREAD = re.compile(r"y|Y|n|N|0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

# Line ends that only YAML 1.1 knows; PyYAML loses them unless they are escaped.
_ODD_LINE_END = re.compile("[\x85\u2028\u2029]")


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON in one line, or indented; without a line end."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, indent=indent, separators=separators, sort_keys=True, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def yaml_text(value: Any) -> str:
    """YAML in block style, with quotes around every string that could be read as something else."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True  # a value that stands in two places is written twice

    def string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        tag = "tag:yaml.org,2002:str"
        read = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        plain = read == tag and not _MISREAD.fullmatch(text) and not _ODD_LINE_END.search(text)
        style = ("|" if "\n" in text else None) if plain else '"'
        return dumper.represent_scalar(tag, text, style=style)

    Dumper.add_representer(str, string)
    return yaml.dump(value, Dumper=Dumper, default_flow_style=False, allow_unicode=True, width=float("inf"))
