"""The endpoints of pods: where each can be reached, and whether it is to be (SEMANTICS A36).

As objects they are EndpointSlices of discovery.k8s.io/v1, one for each namespace, with what Kubernetes' controller
would write for a Service of the same selector.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sandbox.front.v1 import V1, to_v1
from sandbox.status import PodStatus

NAME = "seedpod"  # of every slice


def endpoint(status: PodStatus, *, node_name: str) -> V1 | None:
    """The endpoint of one pod; None where it has no address yet, or has ended.

    With the deletion of a pod it is not ready any more and terminating, at once; it is serving as long as it says so.
    """
    pod = to_v1(status, node_name=node_name)
    addresses = [each["ip"] for each in pod["status"].get("podIPs", [])]
    if status.over or not addresses:
        return None
    terminating = status.deletion_timestamp is not None
    return {
        "addresses": addresses,
        "conditions": {
            "ready": status.ready and not terminating,
            "serving": status.ready,
            "terminating": terminating,
        },
        "nodeName": node_name,
        "targetRef": {
            "kind": "Pod",
            "name": status.pod.name,
            "namespace": status.pod.namespace,
            "uid": status.uid,
        },
    }


def slices(endpoints: Iterable[V1], namespaces: Iterable[str]) -> list[V1]:
    """The endpoints of each of these namespaces as an object, in their order."""
    known = list(endpoints)
    return [_slice([each for each in known if _namespace(each) == name], name) for name in dict.fromkeys(namespaces)]


def _slice(endpoints: Sequence[V1], namespace: str) -> V1:
    """All addresses of a slice are of one family: that of the first address that there is, IPv4 where there is none.

    It has no ports: which one is asked for, a Service would say.
    """
    ipv6 = any(":" in each["addresses"][0] for each in endpoints[:1])
    shown = [{**each, "addresses": [ip for ip in each["addresses"] if (":" in ip) is ipv6]} for each in endpoints]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": namespace},
        "addressType": "IPv6" if ipv6 else "IPv4",
        "ports": [],
        "endpoints": [each for each in shown if each["addresses"]],
    }


def _namespace(endpoint: V1) -> str:
    return str(endpoint["targetRef"]["namespace"])


# ---- the table: a row for each pod ----


def headings(*, wide: bool, all_namespaces: bool) -> list[str]:
    columns = ["NAME", "ADDRESS", "READY", "SERVING", "TERMINATING", *(["NODE"] if wide else [])]
    return ["NAMESPACE", *columns] if all_namespaces else columns


def row(endpoint: V1, *, wide: bool, all_namespaces: bool) -> list[str]:
    """Its cells; all addresses where it is wide."""
    about, conditions = endpoint["targetRef"], endpoint["conditions"]
    addresses = endpoint["addresses"] if wide else endpoint["addresses"][:1]
    cells = [
        about["name"],
        ",".join(addresses) or "<none>",
        *(str(conditions[name]).lower() for name in ("ready", "serving", "terminating")),
        *([endpoint["nodeName"]] if wide else []),
    ]
    return [about["namespace"], *cells] if all_namespaces else cells


def gone(endpoint: Mapping[str, Any]) -> V1:
    """The endpoint of a pod that has none any more, as a watch shows it."""
    conditions = {**endpoint["conditions"], "ready": False, "serving": False}
    return {**endpoint, "addresses": [], "conditions": conditions}
