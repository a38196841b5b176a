"""Words and exit codes were compared with those of kubectl 1.32 where it has the same verb and flag."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from sandbox.front.get import Request, get
from sandbox.status import PodStatus
from tests.sandbox.front.engine import CommandLine, FakeClient, request
from tests.sandbox.front.pods import NOW, running, status, terminated, waiting

PODS = [
    status(running(), name="db", labels={"app": "db"}),
    status(running("a"), terminated(0, "Completed", "b"), name="web", labels={"app": "web"}),
    status(waiting("CrashLoopBackOff", restart_count=3), name="bad", namespace="prod"),
]

HEADING = "NAME   READY   STATUS     RESTARTS   AGE\n"
DB = "db     1/1     Running    0          5m\n"
WEB = "web    1/2     NotReady   0          5m\n"


def shown(capsys: pytest.CaptureFixture[str], *words: str, pods: list[PodStatus] = PODS) -> tuple[int, str, str]:
    code = get(FakeClient(pods), request(Request, "get", *words), now=NOW)
    return code, *capsys.readouterr()


@pytest.mark.parametrize("words", [(), ("pod",), ("pods", "db", "web"), ("db", "web"), ("po/db", "pod/web")])
def test_pods_are_a_table(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, *words) == (0, HEADING + DB + WEB, "")


def test_names_give_the_order_and_may_repeat(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "web", "db", "web") == (0, HEADING + WEB + DB + WEB, "")


def test_all_namespaces(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "-A", "--no-headers") == (
        0,
        "default   db    1/1   Running            0     5m\n"
        "default   web   1/2   NotReady           0     5m\n"
        "prod      bad   0/1   CrashLoopBackOff   3     5m\n",
        "",
    )


def test_wide(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "db", "-o", "wide") == (
        0,
        "NAME   READY   STATUS    RESTARTS   AGE   IP         NODE   NOMINATED NODE   READINESS GATES\n"
        "db     1/1     Running   0          5m    10.0.0.2   here   <none>           <none>\n",
        "",
    )


def test_a_selector_selects(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "-l", "app in (web,x)", "--no-headers") == (0, "web   1/2   NotReady   0     5m\n", "")


@pytest.mark.parametrize("output", ["", "name", "json", "yaml", "wide"])
def test_names_that_are_missing_come_after_those_that_are_not(output: str, command: CommandLine) -> None:
    code, out, err = command(PODS, "get", "nope", "web", "nix", "-o", output)
    assert (code, err) == (
        1,
        'Error from server (NotFound): pods "nope" not found\nError from server (NotFound): pods "nix" not found\n',
    )
    assert "web" in out


@pytest.mark.parametrize("output", ["", "name", "json", "jsonpath={}"])
def test_one_name_that_is_missing_prints_nothing_else(output: str, command: CommandLine) -> None:
    assert command(PODS, "get", "pod", "nope", "-o", output) == (
        1,
        "",
        'Error from server (NotFound): pods "nope" not found\n',
    )


def test_several_names_that_are_all_missing(command: CommandLine) -> None:
    said = "".join(f'Error from server (NotFound): pods "{name}" not found\n' for name in ("nope", "nix"))
    assert command(PODS, "get", "nope", "nix") == (1, "", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "No resources found in default namespace.\n"),
        (("-n", "x", "--no-headers"), "No resources found in x namespace.\n"),
        (("-n", ""), "No resources found in default namespace.\n"),
        (("-A", "-o", "wide"), "No resources found\n"),
        (("-o", "name"), ""),
    ],
)
def test_no_pods_are_no_error(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    assert command([], "get", *words) == (0, "", said)


# ---- objects ----


def test_one_that_is_named_is_a_pod_and_others_are_a_list(command: CommandLine) -> None:
    pod = json.loads(command(PODS, "get", "web", "-o", "json")[1])
    assert (pod["kind"], pod["metadata"]["name"], pod["spec"]["nodeName"]) == ("Pod", "web", "here")
    for words, names in [(("-l", "app=web"), ["web"]), ((), ["db", "web"]), (("-n", "x"), [])]:
        listed = json.loads(command(PODS, "get", *words, "-o", "json")[1])
        assert listed["kind"] == "List"
        assert [item["metadata"]["name"] for item in listed["items"]] == names


def test_no_pods_are_an_empty_list(command: CommandLine) -> None:
    assert command([], "get", "-o", "yaml") == (
        0,
        'apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: ""\n',
        "",
    )


def test_json_is_indented_as_kubectls(command: CommandLine) -> None:
    out = command(PODS, "get", "web", "-o", "json")[1]
    assert out.startswith('{\n    "apiVersion": "v1",\n    "kind": "Pod",\n    "metadata": {\n        "creationTi')
    assert out.endswith("\n}\n")


def test_yaml_and_json_say_the_same(command: CommandLine) -> None:
    as_json, as_yaml = (command(PODS, "get", "-A", "-o", output)[1] for output in ("json", "yaml"))
    assert yaml.safe_load(as_yaml) == json.loads(as_json)
    assert 'creationTimestamp: "2026-03-04T05:01:07Z"\n' in as_yaml


def test_names_alone(command: CommandLine) -> None:
    assert command(PODS, "get", "-o", "name") == (0, "pod/db\npod/web\n", "")


def test_a_template_ends_no_line(command: CommandLine) -> None:
    assert command(PODS, "get", "web", "-o", "jsonpath={.status.podIP}") == (0, "10.0.0.2", "")
    assert command(PODS, "get", "-o", "jsonpath={.items[*].metadata.name}") == (0, "db web", "")


# ---- what is refused ----

FORMATS = "allowed formats are: json,jsonpath,name,wide,yaml\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "bad"), f'unable to match a printer suitable for the output format "bad", {FORMATS}'),
        (("-o", "json=x"), f'unable to match a printer suitable for the output format "json=x", {FORMATS}'),
        (("-o", "wide=x"), f'unable to match a printer suitable for the output format "wide=x", {FORMATS}'),
        (("-o", "jsonpath"), "template format specified but no template given\nhint: -o jsonpath='{.status.podIP}'\n"),
        (("-o", "jsonpath={"), "error parsing jsonpath {, unclosed action\n"),
        (("web", "-A"), "a resource cannot be retrieved by name across all namespaces\n"),
        (("web", "-l", "a=b"), "name cannot be provided when a selector is specified\n"),
        (("-l", "a=b=c"), 'unable to parse selector "a=b=c": found "="\nhint: as in app=web,tier notin (db, cache)\n'),
        (("svc/web",), 'there is no resource type "svc"\n'),
        (("--bogus",), "unrecognized arguments: --bogus\nhint: seedpod get --help\n"),
        (("-o",), "argument -o/--output: expected one argument\nhint: seedpod get --help\n"),
    ],
)
def test_wrong_usage_asks_no_engine(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    client = FakeClient(PODS)
    assert command(client, "get", *words) == (2, "", f"error: {said}")
    assert client.calls == []


def test_a_template_that_fits_no_object_is_an_error(command: CommandLine) -> None:
    code, out, err = command(PODS, "get", "-o", "jsonpath={.items[7]}")
    assert (code, out) == (1, "")
    assert err.startswith('error: error executing jsonpath "{.items[7]}"')


# ---- many, and for nobody ----


def test_a_hundred_pods_are_a_hundred_lines(capsys: pytest.CaptureFixture[str]) -> None:
    pods = [status(running(), name=f"web-{n:03}") for n in range(100)]
    code, out, err = shown(capsys, pods=pods)
    assert (code, len(out.splitlines()), err) == (0, 101, "")


def test_get_imports_no_more_than_it_needs() -> None:
    script = (
        "import sys, sandbox.front.cli, sandbox.front.get\n"
        "print(*(name for name in sys.modules if name.split('.')[0] in ('asyncio', 'yaml', 'pyroute2', 'email')"
        " or name.startswith(('sandbox.manifest', 'sandbox.linux', 'sandbox.pod'))))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["sandbox.pod", "sandbox.pod.forks", "sandbox.pod.paths"]  # where its root is
