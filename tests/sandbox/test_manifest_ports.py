"""Ports of containers: what the API server takes, and its words for what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import ManifestError
from sandbox.manifest import from_dict
from sandbox.model import ContainerPort


def manifest(*ports: Any, second: tuple[Any, ...] = (), **spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "i", "ports": list(ports)}, {"name": "b", "image": "i", "ports": list(second)}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


def findings(*ports: Any, second: tuple[Any, ...] = (), **spec: Any) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        from_dict(manifest(*ports, second=second, **spec))
    return [f"{finding.field.removeprefix('spec.containers')}: {finding.message}" for finding in caught.value.findings]


def test_ports_are_read_with_their_defaults() -> None:
    full = {"name": "dns-udp", "containerPort": 53, "hostPort": 5353, "hostIP": "fd00::1", "protocol": "UDP"}
    pod = from_dict(manifest({"containerPort": 80}, {"containerPort": 81, "hostPort": 0, "name": ""}, full))
    assert pod.containers[0].ports == (
        ContainerPort(80),
        ContainerPort(81),
        ContainerPort(53, 5353, "UDP", "dns-udp", "fd00::1"),
    )


def test_with_host_network_the_port_of_the_host_is_filled_in() -> None:
    pod = from_dict(manifest({"containerPort": 80}, {"containerPort": 81, "hostPort": 81}, hostNetwork=True))
    assert [port.host_port for port in pod.containers[0].ports] == [80, 81]


RANGE = "must be between 1 and 65535, inclusive"


@pytest.mark.parametrize(
    ("port", "found"),
    [
        ({}, ["[0].ports[0].containerPort: Required value"]),
        ({"containerPort": 0}, ["[0].ports[0].containerPort: Required value"]),
        ({"containerPort": 65536}, [f"[0].ports[0].containerPort: Invalid value: 65536: {RANGE}"]),
        ({"containerPort": -1}, [f"[0].ports[0].containerPort: Invalid value: -1: {RANGE}"]),
        ({"containerPort": 1, "hostPort": 70000}, [f"[0].ports[0].hostPort: Invalid value: 70000: {RANGE}"]),
        (
            {"containerPort": 1, "protocol": "tcp"},
            ['[0].ports[0].protocol: Unsupported value: "tcp": supported values: "TCP", "UDP", "SCTP"'],
        ),
        (
            {"containerPort": 1, "hostIP": "host"},
            [
                '[0].ports[0].hostIP: Invalid value: "host": '
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ],
        ),
        ({"containerPort": 1, "port": 2}, ['[0].ports[0].port: unknown field "port"']),
        (
            {"containerPort": 1, "name": "a-very-long-port-name"},
            ['[0].ports[0].name: Invalid value: "a-very-long-port-name": must be no more than 15 characters'],
        ),
        (
            {"containerPort": 1, "name": "-0--_"},
            [
                f'[0].ports[0].name: Invalid value: "-0--_": {reason}'
                for reason in (
                    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                    "must contain at least one letter (a-z)",
                    "must not contain consecutive hyphens",
                    "must not begin or end with a hyphen",
                )
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_port_is_said_in_the_api_servers_words(port: dict[str, Any], found: list[str]) -> None:
    said = findings(port)
    assert [message.split(", did you mean")[0] for message in said] == found


def test_a_name_is_one_ports_of_the_container() -> None:
    assert findings({"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}) == [
        '[0].ports[1].name: Duplicate value: "a"'
    ]
    from_dict(manifest({"containerPort": 1, "name": "a"}, second=({"containerPort": 2, "name": "a"},)))


def test_a_port_of_the_host_is_one_containers_of_the_pod() -> None:
    port = {"containerPort": 80, "hostPort": 8080}
    (message,) = findings(port, second=({**port, "containerPort": 81},))
    assert message == '[1].ports[0].hostPort: Duplicate value: "TCP//8080"'
    others = ({**port, "protocol": "UDP"}, {**port, "hostIP": "192.0.2.1"})
    from_dict(manifest(port, *others, second=({"containerPort": 80},)))


def test_with_host_network_the_ports_have_to_be_the_same() -> None:
    assert findings({"containerPort": 80, "hostPort": 8080}, hostNetwork=True) == [
        "[0].ports[0].hostPort: Invalid value: 8080: must match `containerPort` when `hostNetwork` is true"
    ]


def test_sctp_is_declared_and_not_led() -> None:
    from_dict(manifest({"containerPort": 80, "protocol": "SCTP"}))
    (message,) = findings({"containerPort": 80, "hostPort": 8080, "protocol": "SCTP"})
    assert message.startswith('[0].ports[0].protocol: Unsupported value: "SCTP": known but not implemented yet')
