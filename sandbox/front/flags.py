"""The arguments that more than one verb takes."""

from __future__ import annotations

from sandbox.front.arguments import Argument, argument, number, switch


def namespace(text: str) -> str:
    return text or "default"


WORDS = argument("words", nargs="*", metavar="NAME", help='a pod; "pod" may stand before names, as in pod web, pod/web')
NAMESPACE = argument(
    "-n", "--namespace", default="default", type=namespace, metavar="NS", help="the pods' namespace [default]"
)
ALL_NAMESPACES = switch("-A", "--all-namespaces", help="the pods of all namespaces")
SELECTOR = argument(
    "-l", "--selector", metavar="SELECTOR", help="those with these labels: app=web,tier notin (db, cache)"
)
CONTAINER = argument(
    "-c", "--container", metavar="NAME", help="the container [what the pod's annotation says, else the first]"
)
STDIN = switch("-i", "--stdin", help="pass our stdin on")
TTY = switch("-t", "--tty", help="our stdin is a terminal, and the container's shall be one")
WHOLE = number(least=-(2**31), most=2**31 - 1)

FILES = argument(
    "-f", "--filename", dest="file", action="append", default=[], metavar="FILE", help='a manifest; "-" is stdin'
)

SELECTING: tuple[Argument, ...] = (WORDS, NAMESPACE, ALL_NAMESPACES, SELECTOR)
