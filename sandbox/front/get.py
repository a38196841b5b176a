"""`seedpod get`: the pods there are, as a table, as `v1` objects, or what a template picks out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.errors import SandboxError, quoted
from sandbox.front import encode
from sandbox.front.client import Client
from sandbox.front.errors import Usage, say
from sandbox.front.naming import Chosen, Wanted, report
from sandbox.front.table import nothing_found, table
from sandbox.front.v1 import V1, pod_list, to_v1

_TABLES = (None, "", "wide")
_FORMATS = ("json", "jsonpath", "name", "wide", "yaml")


@dataclass(frozen=True)
class Request:
    """The command line of `get`."""

    words: Sequence[str]
    namespace: str = "default"
    all_namespaces: bool = False
    selector: str | None = None
    output: str | None = None
    no_headers: bool = False

    def __post_init__(self) -> None:
        """Raises Usage."""
        self.wanted.check()
        printer(self.output)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.words, self.namespace, self.all_namespaces, self.selector)


def get(client: Client, request: Request, *, now: datetime | None = None) -> int:
    """Print the pods.  The exit code: 1 where one of those named is not there."""
    wanted, as_objects = request.wanted, printer(request.output)
    chosen = wanted.of(client.pods())
    if wanted.name and chosen.missing:
        return report(chosen.missing)
    if as_objects:
        pods = [to_v1(status, node_name=client.node_name) for status in chosen.pods]
        print(as_objects(pods, pods[0] if wanted.name else pod_list(pods)), end="")
    else:
        _print_table(client, request, chosen, now or datetime.now(UTC))
    return report(chosen.missing)


def _print_table(client: Client, request: Request, chosen: Chosen, now: datetime) -> None:
    text = table(
        chosen.pods,
        now=now,
        node_name=client.node_name,
        wide=request.output == "wide",
        all_namespaces=request.all_namespaces,
        headers=not request.no_headers,
    )
    print(text, end="")
    if not chosen.pods and not chosen.missing:
        say(nothing_found(None if request.all_namespaces else request.namespace))


# ---- formats ----

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


_PRINTERS: Mapping[str, Printer] = {
    "json": lambda pods, together: encode.json_text(together, indent=4) + "\n",
    "yaml": lambda pods, together: encode.yaml_text(together),
    "name": lambda objects, together: "".join(
        f"{each['kind'].lower()}/{each['metadata']['name']}\n" for each in objects
    ),
}
