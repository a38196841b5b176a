"""Limits and requests of a manifest: what is accepted, what it becomes, and every refusal in the API server's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ManifestError
from sandbox.manifest import check, from_dict
from sandbox.model import QosClass, Resources
from sandbox.quantity import Quantity, parse


def manifest(*resources: object) -> dict[str, Any]:
    containers = [
        {"name": f"c{index}", "image": "localhost/busybox", "resources": each} for index, each in enumerate(resources)
    ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": containers}}


def read(resources: object) -> Resources:
    return from_dict(manifest(resources)).containers[0].resources


def refusals(resources: object) -> list[str]:
    """The findings, without the file and the path of the container."""
    with pytest.raises(ManifestError) as caught:
        read(resources)
    path = "spec.containers[0].resources"
    return [f"{each.field.removeprefix(path)}: {each.message}" for each in caught.value.findings]


def amounts(**texts: str) -> dict[str, Quantity]:
    return {name.replace("_", "-"): parse(text) for name, text in texts.items()}


# ---- what is accepted ----


@pytest.mark.parametrize("nothing", [None, {}, {"limits": {}}, {"limits": None, "requests": {}}, {"claims": []}])
def test_what_says_nothing_is_nothing(nothing: object) -> None:
    assert read(nothing) == Resources()


def test_amounts_are_exact_whether_written_as_text_or_number() -> None:
    asked = read({"limits": {"cpu": 1.5, "memory": 1048576}, "requests": {"cpu": "100m", "memory": "1Ki"}})
    assert asked.limits == amounts(cpu="1500m", memory="1Mi")
    assert asked.requests == amounts(cpu="0.1", memory="1024")


def test_what_has_a_limit_alone_requests_that_much() -> None:
    asked = read({"limits": {"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "4Mi"}, "requests": {"cpu": "0"}})
    assert asked.requests == {**amounts(cpu="0", memory="1Gi"), "hugepages-2Mi": parse("4Mi")}


def test_null_is_none_of_it() -> None:
    assert read({"limits": {"cpu": None}}).limits == amounts(cpu="0")


def test_a_request_may_be_as_much_as_the_limit() -> None:
    read({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}})


def test_requests_of_disk_are_accepted_with_a_warning() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: c
    image: localhost/busybox
    resources: {requests: {ephemeral-storage: 1Gi}}
"""
    (warning,), (pod,) = check(text)
    assert warning.warning
    assert str(warning) == (
        "<text>:9:28: spec.containers[0].resources.requests.ephemeral-storage: warning: has no effect here: "
        "nothing is reserved on a disk"
    )
    assert pod.containers[0].resources.requests == amounts(ephemeral_storage="1Gi")


# ---- what is refused ----

NOT_A_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (
            {"limits": {"disk": 1}},
            [
                '.limits.disk: Invalid value: "disk": must be a standard resource type or fully qualified',
                '.limits.disk: Invalid value: "disk": must be a standard resource for containers',
            ],
        ),
        (
            {"requests": {"storage": "1Gi"}},
            ['.requests.storage: Invalid value: "storage": must be a standard resource for containers'],
        ),
        (
            {"limits": {"example.com/gpu": 1}},
            ['.limits["example.com/gpu"]: field "example.com/gpu" is known but not implemented yet'],
        ),
        (
            {"claims": [{"name": "gpu"}]},
            ['.claims: field "claims" is known but not implemented: there are no drivers of devices'],
        ),
        (
            {"limit": {}},
            ['.limit: unknown field "limit", did you mean "limits"?'],
        ),
        ({"limits": {"cpu": "one"}}, [f'.limits.cpu: Invalid value: "one": {NOT_A_QUANTITY}']),
        ({"limits": {"cpu": "1x"}}, [f'.limits.cpu: Invalid value: "1x": {NOT_A_QUANTITY}']),
        ({"limits": {"cpu": True}}, [".limits.cpu: Invalid value: true: must be a quantity, not a boolean"]),
        ({"limits": {"cpu": []}}, [".limits.cpu: Invalid value: […]: must be a quantity, not a list"]),
        ({"limits": ["cpu"]}, [".limits: Invalid value: […]: must be an object, not a list"]),
        ({"limits": {"cpu": -1}}, ['.limits.cpu: Invalid value: "-1": must be greater than or equal to 0']),
        (
            {"limits": {"cpu": 1}, "requests": {"cpu": 2}},
            ['.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
        ),
        (
            {"limits": {"memory": "1024Mi"}, "requests": {"memory": "1025Mi"}},
            ['.requests: Invalid value: "1025Mi": must be less than or equal to memory limit of 1Gi'],
        ),
        (
            {"limits": {"cpu": 0}, "requests": {"cpu": "1m"}},
            ['.requests: Invalid value: "1m": must be less than or equal to cpu limit of 0'],
        ),
        (
            {"limits": {"cpu": 1, "hugepages-2Mi": "3Mi"}},
            ['.limits.hugepages-2Mi: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi'],
        ),
        (
            {"limits": {"cpu": 1, "hugepages-big": "4Mi"}},
            ['.limits.hugepages-big: Invalid value: "4Mi": 4Mi is not positive integer multiple of hugepages-big'],
        ),
        (
            {"limits": {"cpu": 1, "hugepages-0": "4Mi"}},
            ['.limits.hugepages-0: Invalid value: "4Mi": 4Mi is not positive integer multiple of hugepages-0'],
        ),
        (
            {"limits": {"cpu": 1, "hugepages-2Mi": "4Mi"}, "requests": {"hugepages-2Mi": "2Mi"}},
            ['.requests: Invalid value: "2Mi": must be equal to hugepages-2Mi limit of 4Mi'],
        ),
        (
            {"requests": {"cpu": 1, "hugepages-2Mi": "2Mi"}},
            [".limits: Required value: Limit must be set for non overcommitable resources"],
        ),
        (
            {"limits": {"hugepages-2Mi": "2Mi"}},
            [": Forbidden: HugePages require cpu or memory"],
        ),
    ],
)
def test_a_refusal_is_in_the_words_of_the_api_server(resources: object, expected: list[str]) -> None:
    assert refusals(resources) == expected


def test_the_resources_of_a_whole_pod_are_refused_by_name() -> None:
    asked = manifest({})
    asked["spec"]["resources"] = {"limits": {"cpu": 1}}
    with pytest.raises(ManifestError, match='field "resources" is known but not implemented yet'):
        from_dict(asked)


def test_every_finding_is_there_at_once() -> None:
    said = refusals({"limits": {"disk": "x", "cpu": "y", "memory": -1}, "requests": {"nope": 1, "memory": "2x"}})
    assert len(said) == 8, said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["limits", "requests", "cpu", "memory", "hugepages-2Mi", "x"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_whatever_stands_there_is_accepted_or_refused(resources: object) -> None:
    try:
        read(resources)
    except ManifestError as error:
        assert error.findings


# ---- the class that follows from them ----

FULL = {"cpu": "1", "memory": "1Gi"}
G, B, N = QosClass.GUARANTEED, QosClass.BURSTABLE, QosClass.BEST_EFFORT


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ([None], N),
        ([{}, {"limits": {}}], N),
        ([{"requests": {"ephemeral-storage": "1Gi"}}], N),
        ([{"limits": {"cpu": 0, "memory": "0"}}], N),
        ([{"limits": FULL}], G),
        ([{"limits": FULL, "requests": FULL}, {"limits": {"cpu": "2m", "memory": 1}}], G),
        ([{"limits": FULL, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], G),
        ([{"limits": {**FULL, "hugepages-2Mi": "2Mi"}}], G),
        ([{"limits": FULL}, {}], B),
        ([{"limits": {"cpu": 1}}], B),
        ([{"limits": {"cpu": 1}}, {"limits": {"memory": 1}}], B),
        ([{"limits": FULL, "requests": {"cpu": "999m"}}], B),
        ([{"limits": FULL, "requests": {"memory": 0}}], B),
        ([{"requests": FULL}], B),
        ([{"requests": {"cpu": "1m"}}], B),
    ],
)
def test_the_class_of_a_pod_is_kubelets(resources: list[object], qos: QosClass) -> None:
    assert from_dict(manifest(*resources)).qos_class is qos
