"""What a pod is: plain values with Kubernetes' defaults."""

from __future__ import annotations

import dataclasses

import pytest

from sandbox.model import Container, Pod, RestartPolicy


def test_a_pod_has_the_defaults_of_kubernetes() -> None:
    pod = Pod("web")
    assert pod.namespace == "default"
    assert pod.termination_grace_period_seconds == 30
    assert pod.hostname is None
    assert pod.labels == {} and pod.containers == () and pod.volumes == ()


def test_a_pod_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Pod("web").name = "other"  # type: ignore[misc]


def test_pods_with_equal_parts_are_equal() -> None:
    first, second = (Pod("web", containers=(Container("app", "busybox"),)) for _ in range(2))
    assert first == second != Pod("web", containers=(Container("app", "other"),))


def test_a_restart_policy_reads_as_in_the_manifest() -> None:
    assert str(RestartPolicy.ON_FAILURE) == "OnFailure"


# A10
@pytest.mark.parametrize(
    ("name", "hostname", "effective"),
    [
        ("web", None, "web"),
        ("web", "other", "other"),
        ("web.example.com", None, "web.example.com"),
        ("a" * 63, None, "a" * 63),
        ("a" * 64, None, "a" * 63),
        ("a" * 61 + "-.b", None, "a" * 61),
        ("a" * 62 + ".b", None, "a" * 62),
    ],
)
def test_the_hostname_is_the_one_asked_for_or_the_name_cut_to_63_characters(
    name: str, hostname: str | None, effective: str
) -> None:
    assert Pod(name, hostname=hostname).effective_hostname == effective
