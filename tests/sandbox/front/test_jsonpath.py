"""The expectations are what kubectl prints for the same object and template."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.front.jsonpath import parse
from sandbox.front.v1 import to_v1
from tests.sandbox.front.pods import running, status

POD: dict[str, Any] = {
    "kind": "Pod",
    "metadata": {"name": "web", "uid": "u", "labels": {"app": "x", "a.b/c": "d"}},
    "spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]},
    "status": {
        "phase": "Running",
        "n": 1.5,
        "big": 12345678,
        "yes": True,
        "nothing": None,
        "html": "<a&b>",
        "end": "z",
    },
}

RENDERED = [
    # text and fields
    ("plain", "plain"),
    ("", ""),
    (".status.phase", ".status.phase"),
    ("{.status.phase}", "Running"),
    ("{ .status.phase }", "Running"),
    ("{$.status.phase}{@.kind}", "RunningPod"),
    ("{.status.end}", "z"),
    ("a{'b'}c {.kind}}", "abc Pod}"),
    ('{.kind}{"\\n"}', "Pod\n"),
    ('{"é\\u00e9\\x41\\t\\""}', 'ééA\t"'),
    ("{'\"'}", '"'),
    ("{1}{-1.5}{true}{false}", "1-1.5truefalse"),
    ('{.metadata.name "x"}', "x"),
    (r"{.metadata.labels.a\.b/c}", "d"),
    (r"{.metadata.labels['a\.b/c']}", "d"),
    ("{.metadata.labels['app']}", "x"),
    # values
    ("{.status.n} {.status.big} {.status.yes} {.status.nothing}", "1.5 12345678 true null"),
    ("{.status.html}", "<a&b>"),
    ("{@.metadata}", '{"labels":{"a.b/c":"d","app":"x"},"name":"web","uid":"u"}'),
    ("{.spec.containers[0]}", '{"image":"i:1","name":"a"}'),
    (
        "{['status']}",
        '{"big":12345678,"end":"z","html":"\\u003ca\\u0026b\\u003e","n":1.5,"nothing":null,"phase":"Running","yes":true}',
    ),
    # what is absent
    ("{.nothing}", ""),
    ("{.status.nothing.x}", ""),
    ("{.status.nothing[0]}", ""),
    ("{.status.phase.x}", ""),
    ("{.spec.containers.name}", ""),
    ("{.metadata.labels['a.b/c']}", ""),
    ("{.}", ""),
    # lists
    ("{.spec.containers[*].name}", "a b"),
    ("{.metadata.labels.*}", "x d"),
    ("{.spec.containers[1].name}", "b"),
    ("{.spec.containers[-1].name}", "b"),
    ("{.spec.containers[-1:].name}", "b"),
    ("{.spec.containers[:1].name}", "a"),
    ("{.spec.containers[0:-1].name}", "a"),
    ("{.spec.containers[::2].name}", "a"),
    ("{.spec.containers[2:].name}", ""),
    ("{.spec.containers[0,1].name}", "a b"),
    ("{.metadata['name', 'uid']}", "web u"),
    ("{['metadata.name','status.phase']}", "web Running"),
    ("{..image}", "i:1 j"),
    ("{..containers[0].name}", "a"),
    # filters
    ('{.spec.containers[?(@.name=="b")].image}', "j"),
    ("{.spec.containers[?(@.name=='b')].image}", "j"),
    ('{.spec.containers[?(@.name != "b")].name}', "a"),
    ('{.spec.containers[?(@.name>="b")].name}{.spec.containers[?(@.name<"b")].name}', "ba"),
    ('{.spec.containers[?(@.name=="a)b]")].name}', ""),
    ("{.spec.containers[?(@.image)].name}", "a b"),
    ("{.spec.containers[?(@.command)].name}", ""),
    ('{.spec.containers[?(@.command=="b")].name}', ""),
    ("{.spec.containers[?(@.name==.image)].name}", ""),
    # ranges
    ('{range .spec.containers[*]}{.name}{"\\t"}{.image}{"\\n"}{end}', "a\ti:1\nb\tj\n"),
    ("{range .spec.containers[*].name}{@},{end}", "a,b,"),
    ("{range .spec.containers[*]}[{range .name}{@}{end}]{end}.", "[a][b]."),
    ("{range .spec.containers[*]}[{range .none[*]}{@}{end}]{end}", "[][]"),
    ("{range .spec.none[*]}x{end}y", "y"),
    ("{range .spec.containers[*]}{.name}", "ab"),
]


@pytest.mark.parametrize(("template", "text"), RENDERED)
def test_a_template_prints_what_kubectl_prints(template: str, text: str) -> None:
    assert parse(template).render(POD) == text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{.a", "unclosed action"),
        ("{.a\n}", "unclosed action"),
        ("{.a[", "unterminated array"),
        ('{"a}', "unterminated quoted string"),
        ('{.a[?(@.b=="c"}', "unterminated filter"),
        ("{#}", "unrecognized character in action: U+0023 '#'"),
        ('{.a[?(@.b=="c"||@.b=="d")]}', "unrecognized character in action: U+007C '|'"),
        ("{.a[b]}", "invalid array index b"),
        ("{1.2.3}", "cannot parse number 1.2.3"),
        ('{"\\q"}', 'unquote string "\\q" error invalid syntax'),
        ("{.a[?(@.b=!1)]}", "unrecognized filter operator =!"),
        ("{foo}", "unrecognized identifier foo"),
        ("{end}", "not in range, nothing to end"),
        ("{range .a}{end}{end}", "not in range, nothing to end"),
    ],
)
def test_a_template_that_cannot_be_read_is_refused_before_use(template: str, reason: str) -> None:
    with pytest.raises(SandboxError) as refused:
        parse(template)
    assert str(refused.value) == f"error parsing jsonpath {template}, {reason}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{.spec.containers[5]}", "array index out of bounds: index 5, length 2"),
        ("{.spec.containers[-3]}", "array index out of bounds: index -1, length 2"),
        ("{.spec.containers[0:3]}", "array index out of bounds: index 2, length 2"),
        ("{.spec.containers[1:0]}", "starting index 1 is greater than ending index 0"),
        ("{.spec.containers[::0]}", "step must be > 0"),
        ("{.metadata.name[0]}", "string is not array or slice"),
        ("{.metadata[0]}", "map is not array or slice"),
        ("{.status.phase[?(@.a)]}", "string is not array or slice and cannot be filtered"),
        ("{.spec.containers[?(@.name==1)]}", "incompatible types for comparison"),
        ('{.spec.containers[?(@.*=="a")]}', "can only compare one element at a time"),
    ],
)
def test_a_template_that_does_not_fit_the_object_says_why(template: str, reason: str) -> None:
    with pytest.raises(SandboxError) as failed:
        parse(template).render(POD)
    assert str(failed.value) == f'error executing jsonpath "{template}": Error executing template: {reason}'


def test_a_template_can_be_used_again() -> None:
    template = parse("{range .items[*]}{.name} {end}")
    assert template.render({"items": [{"name": "a"}, {"name": "b"}]}) == "a b "
    assert template.render({"items": [{"name": "c"}]}) == "c "


def test_the_questions_that_people_ask_of_a_pod() -> None:
    pod = to_v1(status(running()), node_name="here")
    assert parse("{.status.podIP}").render(pod) == "10.0.0.2"
    assert parse('{.status.conditions[?(@.type=="Ready")].status}').render(pod) == "True"
    assert parse("{.status.containerStatuses[0].restartCount}").render(pod) == "0"
