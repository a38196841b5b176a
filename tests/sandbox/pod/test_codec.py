"""What is written can be read, and what cannot be read is a ValueError and nothing else."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cgroups
from sandbox.claim import PersistentVolumeClaim
from sandbox.errors import (
    AlreadyExists,
    Finding,
    KernelError,
    ManifestError,
    NotFound,
    SandboxError,
    SpawnError,
    Unsupported,
    WrongState,
)
from sandbox.model import Pod
from sandbox.pod import codec
from sandbox.pod.state import BackOff, ContainerState, Deletion, Instance, PodRecord, PodState
from sandbox.quantity import Format, Quantity
from sandbox.status import ClaimStatus, ContainerStatus, Event, Phase, PodStatus, Running, Terminated, Waiting
from tests.sandbox.pod.values import MOMENTS, NOON, a_pod, a_record, a_state, ended, running

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["is", "containers", "state"]), inner),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()))
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def drawn(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.from_type(kind)


@pytest.fixture(scope="module", autouse=True)
def _strategies() -> None:
    st.register_type_strategy(datetime, MOMENTS)
    numbers = st.decimals(allow_nan=False, allow_infinity=False)
    st.register_type_strategy(Quantity, st.builds(Quantity, numbers, st.sampled_from(Format)))
    st.register_type_strategy(BackOff, st.builds(BackOff, seconds=FINITE, decided=MOMENTS))
    st.register_type_strategy(
        PodStatus,
        st.builds(PodStatus, pod=drawn(Pod), containers=st.tuples(drawn(ContainerStatus)), manifest=DOCUMENTS),
    )
    st.register_type_strategy(PodRecord, st.builds(PodRecord, manifest=DOCUMENTS))


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(codec.encode(value)))


@given(st.data())
def test_any_status_of_a_pod_comes_back_as_it_was(data: st.DataObject) -> None:
    status = data.draw(drawn(PodStatus))
    assert codec.decode(PodStatus, through_json(status)) == status


@given(st.data())
def test_any_status_of_a_claim_comes_back_as_it_was(data: st.DataObject) -> None:
    status = data.draw(st.builds(ClaimStatus, claim=drawn(PersistentVolumeClaim), path=st.just(Path("/r/ü/data"))))
    again = codec.decode(ClaimStatus, through_json(status))
    assert again == status
    assert str(again.claim.storage) == str(status.claim.storage), "and written as it was"


@given(st.data())
def test_any_state_of_a_pod_comes_back_as_it_was(data: st.DataObject) -> None:
    state = data.draw(drawn(PodState))
    assert codec.decode(PodState, through_json(state)) == state


@given(st.data())
def test_any_record_of_a_pod_comes_back_as_it_was(data: st.DataObject) -> None:
    record = data.draw(drawn(PodRecord))
    assert codec.decode(PodRecord, through_json(record)) == record


@pytest.mark.parametrize("kind", [PodState, PodRecord, PodStatus, Event, ContainerStatus, tuple[PodStatus, ...]])
@given(data=JSON)
def test_hostile_json_is_one_of_ours_or_a_value_error_and_nothing_else(kind: type[Any], data: Any) -> None:
    try:
        value = codec.decode(kind, data)
    except ValueError:
        return
    assert codec.decode(kind, through_json(value)) == value, "it is one of ours"


SOUND = through_json(replace(a_state(ended(), running("b")), deletion=Deletion(NOON, 5)))


def with_value(path: tuple[str | int, ...], value: object) -> Any:
    changed = json.loads(json.dumps(SOUND))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("containers",), "ab"),
        (("containers",), {"0": {"is": "ContainerState", "name": "x"}}),
        (("containers",), None),
        (("containers", 0), []),
        (("containers", 0, "name"), 5),
        (("containers", 0, "name"), {"a": "b"}),
        (("containers", 0, "attempts"), "5"),
        (("containers", 0, "attempts"), 1.5),
        (("containers", 0, "attempts"), True),
        (("containers", 0, "instance"), {"is": "Elsewhere"}),
        (("containers", 0, "instance"), {"is": ["Instance"]}),
        (("containers", 0, "instance", "ended", "finished_at"), "yesterday"),
        (("containers", 0, "instance", "ended", "finished_at"), "2026-01-01T12:00:00"),
        (("deletion", "grace"), float("inf")),
        (("deletion", "grace"), "30"),
        (("sandbox",), "false"),
        (("sandbox",), 0),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_bent(path: tuple[str | int, ...], value: object) -> None:
    codec.decode(PodState, SOUND)
    with pytest.raises(ValueError, match=r"."):
        codec.decode(PodState, with_value(path, value))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), True, "10"])
def test_a_back_off_is_a_finite_number(seconds: object) -> None:
    with pytest.raises(ValueError, match="not a number"):
        codec.decode(BackOff, {"seconds": seconds, "decided": NOON.isoformat()})
    assert codec.decode(BackOff, {"seconds": 10, "decided": NOON.isoformat()}) == BackOff(10.0, NOON)


def test_a_field_that_only_a_newer_engine_knows_is_ignored() -> None:
    assert codec.decode(PodState, {**SOUND, "mood": {"is": "Mood"}}) == codec.decode(PodState, SOUND)


def test_a_field_that_an_older_engine_did_not_write_has_its_default() -> None:
    written = {"is": "ContainerState", "name": "app"}
    assert codec.decode(ContainerState, written) == ContainerState("app")


def test_a_missing_field_without_a_default_names_itself() -> None:
    with pytest.raises(ValueError, match=r"not a Instance: .*number"):
        codec.decode(Instance, {"id": "a" * 64, "attempt": 0})


def test_fields_at_their_default_take_no_room() -> None:
    assert codec.encode(ContainerState("app")) == {"is": "ContainerState", "name": "app"}
    assert codec.encode(a_pod())["containers"] == [
        {"is": "Container", "name": "app", "image": "localhost/busybox", "command": ["app"]}
    ]


@pytest.mark.parametrize("state", [Waiting("CrashLoopBackOff", "…"), Running(NOON), Terminated(3, "Error")])
def test_of_a_union_the_class_goes_along(state: Waiting | Running | Terminated) -> None:
    status = ContainerStatus("app", "image", state)
    assert codec.decode(ContainerStatus, through_json(status)).state == state


def test_paths_enums_and_times_are_text_on_the_wire() -> None:
    assert codec.encode([Path("/a"), Phase.FAILED, NOON]) == ["/a", "Failed", "2026-01-01T12:00:00+00:00"]


def test_a_manifest_is_carried_as_it_was_written() -> None:
    manifest = {"is": "Pod", "spec": {"containers": [None, 1, 1.5, True, "ü"]}}
    record = replace(a_record(), manifest=manifest)
    assert codec.decode(PodRecord, through_json(record)).manifest == manifest


# ---- errors ----

ERRORS = [
    SandboxError("no", hint="do this"),
    NotFound("pods", "web"),
    NotFound("image", "x", "image x is not there", hint="build it"),
    AlreadyExists("pods", "web", hint="another name"),
    WrongState("it waits", current="waiting", wanted="running"),
    Unsupported("a limit", needs="cgroup v2", hint="boot with it"),
    Unsupported("running a pod", needs="root", message="only root can run pods", hint="run it with sudo"),
    ManifestError((Finding("f", 1, 2, "spec", "Required value"), Finding("f", 0, 1, "", "empty"))),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_what_it_was(error: SandboxError) -> None:
    arrived = codec.decode_error(json.loads(json.dumps(codec.encode_error(error))))
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KernelError(errno.ENOSPC, step="write", filename="/x"), "write /x: No space left on device (ENOSPC)"),
        (SpawnError(errno.ENOENT, op="run app", call="execve", step="x"), "run app: execve: No such file or dir"),
        (FileExistsError(errno.EEXIST, "File exists", "/x"), "/x: File exists"),
        (OSError("strange"), "strange"),
        (cgroups.CgroupError(errno.EBUSY, None, "/c"), "/c: Device or resource busy"),
        (cgroups.Unsupported(errno.ENOENT, "no such cgroup file", "/c", needs="kernel >= 9"), "/c: no such cgroup"),
    ],
)
def test_any_other_error_arrives_with_its_words(error: SandboxError | OSError, message: str) -> None:
    arrived = codec.decode_error(json.loads(json.dumps(codec.encode_error(error))))
    assert type(arrived) is SandboxError
    assert arrived.message.startswith(message)
    assert arrived.hint == getattr(error, "hint", None)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN", "1Gi", "", 5, 0.5, True, None, []])
def test_an_amount_is_a_finite_number_in_a_string(value: object) -> None:
    with pytest.raises(ValueError, match="not a Quantity"):
        codec.decode(Quantity, {"value": value})
