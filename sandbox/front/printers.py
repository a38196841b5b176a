"""The formats of `-o`: `v1` objects as JSON, YAML, names, or what a template picks out of them.

All at once, or, as a watch has them, one after the other.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sandbox.errors import SandboxError, quoted
from sandbox.front import encode
from sandbox.front.errors import Usage
from sandbox.front.v1 import V1
from sandbox.status import ChangeType

_TABLES = (None, "", "wide")
_FORMATS = ("json", "jsonpath", "name", "wide", "yaml")

# From objects, and the one object that they are together: the object itself where one was named, else a List.
Printer = Callable[[Sequence[V1], V1], str]


def printer(output: str | None) -> Printer | None:
    """The printer of a format; None for a table.  Raises Usage."""
    if output in _TABLES:
        return None
    kind, given, template = str(output).partition("=")
    if kind == "jsonpath":
        return _template(template)
    if given or kind not in _PRINTERS:
        formats = ",".join(_FORMATS)
        raise Usage(
            f"unable to match a printer suitable for the output format {quoted(str(output))}, "
            f"allowed formats are: {formats}"
        )
    return _PRINTERS[kind]


def _template(text: str) -> Printer:
    if not text:
        raise Usage("template format specified but no template given", hint="-o jsonpath='{.status.podIP}'")
    from sandbox.front import jsonpath  # its grammar takes as long to compile as all the rest to import

    try:
        template = jsonpath.parse(text)
    except SandboxError as error:
        raise Usage(str(error)) from None
    return lambda pods, together: template.render(together)


def _name(item: V1) -> str:
    group, slash, _ = item["apiVersion"].partition("/")
    return f"{item['kind'].lower()}{'.' + group if slash else ''}/{item['metadata']['name']}\n"


_PRINTERS: Mapping[str, Printer] = {
    "json": lambda pods, together: encode.json_text(together, indent=4) + "\n",
    "yaml": lambda pods, together: encode.yaml_text(together),
    "name": lambda objects, together: "".join(map(_name, objects)),
}


class OneByOne:
    """Objects one after the other; with `events` each inside of one that says what has happened to it.

    kubectl writes an event of JSON in one line, and `---` between documents of YAML.
    """

    def __init__(self, output: str | None, *, events: bool = False) -> None:
        """Raises Usage."""
        self._output = output
        self._print = printer(output)
        self._events = events
        self._begun = False

    @property
    def is_table(self) -> bool:
        return self._print is None

    def text(self, kind: ChangeType, item: V1) -> str:
        """The next object, as it is printed; not for a table."""
        assert self._print is not None
        between = "---\n" if self._output == "yaml" and self._begun else ""
        self._begun = True
        if self._events and self._output == "json":
            return f'{{"type":"{kind}","object":{encode.json_text(item)}}}\n'
        shown = {"type": str(kind), "object": item} if self._events else item
        return between + self._print([item], shown)
