"""`seedpod volume`: its tables are those of `kubectl get pvc`, its words kubectl's where kubectl has any."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import manifest
from sandbox.claim import AccessMode, PersistentVolumeClaim
from sandbox.front.volume import Request, volume
from sandbox.quantity import parse
from sandbox.status import ClaimPhase, ClaimStatus
from tests.sandbox.front.engine import CommandLine, FakeClient, request
from tests.sandbox.front.pods import NOW

UID = "b7c8c5a4-0000-4000-8000-000000000002"


def claim(
    name: str, *modes: str, namespace: str = "default", used_by: tuple[str, ...] = (), **more: Any
) -> ClaimStatus:
    wanted = PersistentVolumeClaim(
        name,
        tuple(AccessMode(mode) for mode in modes or ("ReadWriteOnce",)),
        parse(more.pop("size", "1024Mi")),
        namespace=namespace,
        storage_class_name="local",
        volume_name=f"pvc-{name}",
        **more,
    )
    return ClaimStatus(wanted, UID, NOW - timedelta(minutes=5), ClaimPhase.BOUND, Path("/r/data"), used_by)


CLAIMS = (
    claim("cache", "ReadWriteOncePod", size="500M", used_by=("web",)),
    claim("data"),
    claim("shared", "ReadWriteMany", "ReadOnlyMany", namespace="prod", labels={"a": "b"}, annotations={"c": "d"}),
)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = volume(FakeClient(known_claims=CLAIMS), request(Request, "volume", *words), now=NOW)
    return code, *capsys.readouterr()


def test_ls_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "ls") == (
        0,
        "NAME    STATUS   VOLUME      CAPACITY   ACCESS MODES   STORAGECLASS   AGE\n"
        "cache   Bound    pvc-cache   500M       RWOP           local          5m\n"
        "data    Bound    pvc-data    1Gi        RWO            local          5m\n",
        "",
    )


def test_ls_of_all_namespaces_wide_and_without_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = shown(capsys, "ls", "-A", "-o", "wide")
    assert code == 0
    assert out.splitlines()[0].split() == (
        ["NAMESPACE", "NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS", "MODES", "STORAGECLASS", "AGE", "VOLUMEMODE"]
    )
    code, out, _ = shown(capsys, "ls", "-n", "prod", "--no-headers")
    assert out == "shared   Bound   pvc-shared   1Gi   ROX,RWX   local   5m\n"


def test_no_claims_are_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "ls", "-n", "none") == (0, "", "No resources found in none namespace.\n")


def test_ls_as_objects(capsys: pytest.CaptureFixture[str]) -> None:
    names = "persistentvolumeclaim/cache\npersistentvolumeclaim/data\n"
    assert shown(capsys, "ls", "-o", "name") == (0, names, "")
    for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        _, out, _ = shown(capsys, "ls", "-o", output)
        assert [each["metadata"]["name"] for each in read(out)["items"]] == ["cache", "data"]
    assert shown(capsys, "ls", "-o", "jsonpath={.items[*].spec.volumeName}")[1] == "pvc-cache pvc-data"


def test_what_ls_and_inspect_print_can_be_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = shown(capsys, "ls", "-A", "-o", "yaml")
    assert manifest.load(out) == tuple(each.claim for each in CLAIMS)


def test_inspect_prints_the_claim_with_its_place_and_its_users(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(capsys, "inspect", "pvc/cache")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "cache",
            "namespace": "default",
            "uid": UID,
            "creationTimestamp": "2026-03-04T05:01:07Z",
        },
        "spec": {
            "accessModes": ["ReadWriteOncePod"],
            "resources": {"requests": {"storage": "500M"}},
            "storageClassName": "local",
            "volumeMode": "Filesystem",
            "volumeName": "pvc-cache",
        },
        "status": {
            "phase": "Bound",
            "accessModes": ["ReadWriteOncePod"],
            "capacity": {"storage": "500M"},
            "path": "/r/data",
            "usedBy": ["web"],
        },
    }


def test_inspect_of_several_is_a_list_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(capsys, "inspect", "data", "nope", "cache", "data", "shared")
    assert code == 1
    assert [each["metadata"]["name"] for each in json.loads(out)["items"]] == ["data", "cache"]
    assert err == "".join(
        f'Error from server (NotFound): persistentvolumeclaims "{name}" not found\n' for name in ("nope", "shared")
    )
    assert shown(capsys, "inspect", "nope")[:2] == (1, "")


def test_create_asks_for_a_gibibyte_unless_told_otherwise(command: CommandLine) -> None:
    client = FakeClient()
    assert command(client, "volume", "create", "data") == (0, "persistentvolumeclaim/data created\n", "")
    assert command(client, "volume", "create", "b", "--size", "5Ti", "-n", "prod")[0] == 0
    made = [manifest.object_from_dict(each, PersistentVolumeClaim) for _, each in client.calls]
    assert made == [
        PersistentVolumeClaim("data", (AccessMode.READ_WRITE_ONCE,), parse("1Gi")),
        PersistentVolumeClaim("b", (AccessMode.READ_WRITE_ONCE,), parse("5Ti"), namespace="prod"),
    ]


def test_create_of_one_that_is_there_is_an_error(command: CommandLine) -> None:
    assert command(FakeClient(known_claims=CLAIMS), "volume", "create", "data") == (
        1,
        "",
        'Error from server (AlreadyExists): persistentvolumeclaims "data" already exists\n',
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("..",), 'metadata.name: Invalid value: "..": a lowercase RFC 1123 subdomain must'),
        (("A",), 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must'),
        (("a", "--size", "big"), 'spec.resources.requests.storage: Invalid value: "big": quantities must match'),
        (("a", "--size", "0"), 'spec.resources.requests.storage: Invalid value: "0": must be greater than zero'),
        (("a", "-n", "../x"), 'metadata.namespace: Invalid value: "../x": a lowercase RFC 1123 label must'),
    ],
)
def test_create_refuses_what_is_no_claim(command: CommandLine, words: tuple[str, ...], reason: str) -> None:
    client = FakeClient()
    code, out, err = command(client, "volume", "create", *words)
    assert (code, out, client.calls) == (1, "", [])
    assert err.startswith(f'error: The PersistentVolumeClaim "{words[0]}" is invalid: {reason}')


def test_rm_removes_what_it_can_and_says_what_it_cannot(command: CommandLine) -> None:
    client = FakeClient(known_claims=CLAIMS)
    assert command(client, "volume", "rm", "cache", "nope", "persistentvolumeclaim/data", "data") == (
        1,
        'persistentvolumeclaim "data" deleted\n',
        'error: it is in use\nhint: delete it\nError from server (NotFound): persistentvolumeclaims "nope" not found\n',
    )
    assert client.calls == [("remove_claim", "default", "data")]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("frob",),
        ("ls", "data"),
        ("ls", "-o", "table"),
        ("ls", "--size", "1Gi"),
        ("create",),
        ("create", "a", "b"),
        ("create", "a", "-A"),
        ("rm",),
        ("rm", "a", "-o", "name"),
        ("rm", "pod/a"),
        ("rm", "a/b/c"),
        ("inspect",),
        ("inspect", "a", "--no-headers"),
    ],
)
def test_wrong_usage_reaches_no_engine(command: CommandLine, words: tuple[str, ...]) -> None:
    client = FakeClient(known_claims=CLAIMS)
    code, out, err = command(client, "volume", *words)
    assert (code, out, client.closed) == (2, "", False)
    assert err.startswith("error: ")
