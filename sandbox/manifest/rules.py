"""What a string in a manifest must look like: pure functions from a string to the reasons against it.

The rules and their words are those of the API server (k8s.io/apimachinery, util/validation).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator

Rule = Callable[[str], Iterator[str]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED_NAME})?"
_HTTP_HEADER_NAME = "[-A-Za-z0-9]+"


def no_longer_than(limit: int) -> Rule:
    """A rule for the length alone."""

    def rule(text: str) -> Iterator[str]:
        if len(text) > limit:
            yield f"must be no more than {limit} characters"

    return rule


def dns_label(text: str) -> Iterator[str]:
    """RFC 1123 label: names of containers, volumes and namespaces, and hostnames."""
    yield from no_longer_than(63)(text)
    if not re.fullmatch(_LABEL, text):
        yield (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            f"'{_LABEL}')"
        )


def dns_subdomain(text: str) -> Iterator[str]:
    """RFC 1123 subdomain: names of pods."""
    yield from no_longer_than(253)(text)
    if not re.fullmatch(_SUBDOMAIN, text):
        yield (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            f"'{_SUBDOMAIN}')"
        )


def qualified_name(text: str) -> Iterator[str]:
    """Keys of labels and annotations: `name` or `prefix/name`."""
    prefix, slash, name = text.rpartition("/")
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        yield from (f"prefix part {reason}" for reason in dns_subdomain(prefix))
    if not name:
        yield "name part must be non-empty"
        return
    yield from (f"name part {reason}" for reason in no_longer_than(63)(name))
    if not re.fullmatch(_QUALIFIED_NAME, name):
        yield (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_QUALIFIED_NAME}')"
        )


def annotation_key(text: str) -> Iterator[str]:
    """A qualified name in any case."""
    return qualified_name(text.lower())


def label_value(text: str) -> Iterator[str]:
    """Values of labels; empty is allowed."""
    yield from no_longer_than(63)(text)
    if not re.fullmatch(_LABEL_VALUE, text):
        yield (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            f"validation is '{_LABEL_VALUE}')"
        )


def env_name(text: str) -> Iterator[str]:
    """Names of environment variables by the relaxed rule, general since Kubernetes 1.34."""
    if not re.fullmatch("[ -<>-~]+", text):
        yield "a valid environment variable name must consist only of printable ASCII characters other than '='"


def port_name(text: str) -> Iterator[str]:
    """Names of ports: IANA service names, RFC 6335."""
    yield from no_longer_than(15)(text)
    if not re.fullmatch("[-a-z0-9]+", text):
        yield "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", text):
        yield "must contain at least one letter (a-z)"
    if "--" in text:
        yield "must not contain consecutive hyphens"
    if text.startswith("-") or text.endswith("-"):
        yield "must not begin or end with a hyphen"


def http_header_name(text: str) -> Iterator[str]:
    """Names of headers of HTTP; narrower than RFC 9110 has them."""
    if not re.fullmatch(_HTTP_HEADER_NAME, text):
        yield (
            "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
            f"validation is '{_HTTP_HEADER_NAME}')"
        )


def no_outer_space(text: str) -> Iterator[str]:
    """References to images."""
    if text.strip() != text:
        yield "must not have leading or trailing whitespace"


def no_colon(text: str) -> Iterator[str]:
    """Paths inside a container: a colon separates the parts of a mount in other runtimes."""
    if ":" in text:
        yield "must not contain ':'"


def not_the_root(text: str) -> Iterator[str]:
    """Paths inside a container: over its root directory a mount could never be seen."""
    if posixpath.normpath(f"/{text.lstrip('/')}") == "/":
        yield "must not be the root directory"


def absolute_path(text: str) -> Iterator[str]:
    """Paths on the host."""
    if not text.startswith("/"):
        yield "must be an absolute path"


def no_backsteps(text: str) -> Iterator[str]:
    """Paths that must not climb."""
    if ".." in text.split("/"):
        yield "must not contain '..'"


def storable(text: str) -> Iterator[str]:
    """Every string: it ends up in files and in execve, which take UTF-8 and end at a NUL."""
    if "\0" in text:
        yield "must not contain a NUL character"
    if re.search("[\ud800-\udfff]", text):
        yield "must be valid UTF-8: it has half of a surrogate pair"
