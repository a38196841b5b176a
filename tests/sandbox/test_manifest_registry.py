"""The registry of Kubernetes' fields beside Kubernetes, the tables that read them, and the page about them."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import kubernetes.client
import pytest

from sandbox.manifest.cursor import Cursor, Report
from sandbox.manifest.fields import Never, Refused
from sandbox.manifest.records import Record
from sandbox.manifest.registry import FIELDS, KINDS, LISTS, WHY
from sandbox.manifest.tree import from_python
from scripts import manifest_page
from tests.sandbox.manifests import in_container, in_spec, refusals

# What the API server sets itself: nobody writes it into a manifest.
OF_THE_SERVER = {"status", "managedFields"}
ROOTS = ("Pod", "PersistentVolumeClaim", *KINDS)
TABLES = manifest_page.tables(lambda kind: kind.parts())
EVERY_FIELD = [(table, name) for table in TABLES.values() for name in FIELDS[table.of]]


def kubernetes_types() -> tuple[dict[str, dict[str, str]], set[str]]:
    """What the registry says of types and of lists, by Kubernetes' own client."""
    found: dict[str, dict[str, str]] = {}
    lists: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        client = getattr(kubernetes.client, f"V1{name}", None) or getattr(kubernetes.client, f"CoreV1{name}")
        found[name] = {}
        for attribute, field in client.attribute_map.items():
            inner = re.search(r"V1(\w+)", client.openapi_types[attribute])
            found[name][field] = inner[1] if inner and field not in OF_THE_SERVER else ""
            if client.openapi_types[attribute].startswith("List["):
                lists.add(f"{name}.{field}")
        waiting.extend(filter(None, found[name].values()))
    return found, lists


def test_the_registry_has_every_type_and_field_of_kubernetes_1_37() -> None:
    ours = {of: dict(fields) for of, fields in FIELDS.items() if of != "VolumeResourceList"}
    assert (ours, LISTS) == kubernetes_types()
    assert len(ours["PodSpec"]) == 43  # as the end of SEMANTICS counts them
    assert len(ours["Container"]) == 25
    assert len(ours["Volume"]) == 1 + 30


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.of)
def test_no_field_is_two_things_at_once_and_each_is_kubernetes(table: Record[Any]) -> None:
    read = [field.name for field in (*table.fields, *table.settled, *table.ignored)] + [*table.moot]
    assert sorted([*read, *table.known]) == sorted(FIELDS[table.of])


def told(table: Record[Any], name: str, value: object) -> list[str]:
    """What the parser says of one field with this value."""
    report = Report("f")
    node = from_python({name: value}, report.add)
    with contextlib.suppress(Refused):
        table.read(Cursor(node, report))
    at_it = (found for found in report.findings() if found.field == name or found.field.startswith(f"{name}["))
    return [found.message for found in at_it]


@pytest.mark.parametrize(("table", "name"), EVERY_FIELD, ids=lambda each: getattr(each, "of", each))
def test_the_parser_reads_the_fields_that_the_page_says_and_no_other(table: Record[Any], name: str) -> None:
    """No field takes a list of lists: whoever reads one says so, whoever does not says that it is not implemented."""
    said = dict(manifest_page._said(table.of, table))[name]
    messages = told(table, name, [[True]])
    if said.startswith("refused: "):
        assert len(messages) == 1
        why = WHY.get(f"{table.of}.{name}")
        assert messages[0] == f'field "{name}" is known but not implemented' + (f": {why}" if why else " yet")
    else:
        assert messages
        assert all("Invalid value" in each or "Forbidden" in each for each in messages)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.of)
def test_a_field_that_kubernetes_does_not_have_is_unknown(table: Record[Any]) -> None:
    near = next(iter(FIELDS[table.of]))
    misspelled = f"{near[:-1]}{near[-1] * 2}"
    assert told(table, misspelled, 1) == [f'unknown field "{misspelled}", did you mean "{near}"?']
    assert told(table, "zzzzzzzz", None) == ['unknown field "zzzzzzzz"']


def test_a_reason_is_given_for_fields_that_are_not_implemented_and_for_no_other() -> None:
    for key in WHY:
        of, _, name = key.partition(".")
        assert name in FIELDS[of]
        assert of in TABLES, f"{key} is in nothing that is read"
        assert name in TABLES[of].known, f"{key} is read"


def test_notes_are_of_fields_that_are_read() -> None:
    for key in manifest_page.NOTES:
        of, _, name = key.partition(".")
        fields = [field for field in (*TABLES[of].fields, *TABLES[of].settled) if not isinstance(field.type, Never)]
        assert name in {field.name for field in fields}, key


def test_the_page_is_what_the_tables_say() -> None:
    text = manifest_page.PAGE.read_text()
    assert text == manifest_page.page(text), "make docs"


# ---- what is in something that is not implemented ----


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            in_spec("dnsConfig: {nameserver: [1.1.1.1], options: [{nam: a}]}"),
            [
                '6:3: spec.dnsConfig: field "dnsConfig" is known but not implemented yet',
                '6:15: spec.dnsConfig.nameserver: unknown field "nameserver", did you mean "nameservers"?',
                '6:49: spec.dnsConfig.options[0].nam: unknown field "nam", did you mean "name"?',
            ],
        ),
        (
            in_container("envFrom: [{configMapRef: {name: a, optinal: true}}]"),
            [
                '10:5: spec.containers[0].envFrom: field "envFrom" is known but not implemented yet',
                "10:40: spec.containers[0].envFrom[0].configMapRef.optinal: "
                'unknown field "optinal", did you mean "optional"?',
            ],
        ),
        (
            in_spec("overhead: {cpu: 1, anything: {at: all}}"),
            [
                '6:3: spec.overhead: field "overhead" is known but not implemented: there is one runtime, '
                "which needs none; leave it out"
            ],
        ),
    ],
)
def test_a_slip_in_a_field_that_is_not_implemented_is_found_too(text: str, found: list[str]) -> None:
    assert refusals(text) == found


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.of)
def test_an_empty_list_of_what_is_not_implemented_says_nothing_where_a_list_belongs(table: Record[Any]) -> None:
    for name in table.known:
        assert (told(table, name, []) == []) is (f"{table.of}.{name}" in LISTS)
        assert told(table, name, None) == []


def test_a_kind_that_pods_refer_to_is_known_and_read_for_slips() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstrngData: {a: b}\n"
    assert refusals(text) == [
        '2:7: kind: Unsupported value: "Secret": known but not implemented yet; supported values: "Pod", '
        '"PersistentVolumeClaim"',
        '4:1: strngData: unknown field "strngData", did you mean "stringData"?',
    ]
