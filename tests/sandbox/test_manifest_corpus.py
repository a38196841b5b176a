"""Manifests in the forms that users of Kubernetes write: what `check` says of each, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.manifest import check

HERE = Path(__file__).parent.parent / "manifests"
EXAMPLES = sorted((HERE.parent.parent / "examples").glob("*.yaml"))
ACCEPTED = [*EXAMPLES, *sorted(path for path in HERE.iterdir() if path.is_file())]
REFUSED = sorted((HERE / "refused").iterdir())

# All else is accepted without a word.
WARNINGS = {
    "controller.yaml": [
        "spec.priorityClassName",
        "spec.tolerations",
        "spec.serviceAccountName",
        "spec.automountServiceAccountToken",
    ],
    "exported.yaml": ["spec.tolerations"],
    "exported-of-a-set.yaml": ["metadata.ownerReferences", "spec.automountServiceAccountToken"],
    "guaranteed.yaml": ["spec.containers[0].resources.requests.ephemeral-storage"],
    "hardened.yaml": ["spec.automountServiceAccountToken"],
    "scheduled.yaml": ["spec.nodeSelector", "spec.affinity", "spec.topologySpreadConstraints", "spec.schedulerName"],
}

# What needs something that is not implemented, by what that is.  Each moves up once it is.
MISSING = {
    # ConfigMaps and Secrets: documents, volumes and variables
    "config-and-secret.yaml": [
        "3: kind",
        "8: kind",
        "19: spec.containers[0].envFrom",
        "21: spec.containers[0].env[0].valueFrom",
        "22: spec.containers[0].env[1].valueFrom",
        "25: spec.volumes[0].configMap",
        "26: spec.volumes[1].secret",
    ],
    # volumes of what a pod is, and projected ones
    "downward-and-projected.yaml": ["9: spec.volumes[0].downwardAPI", "11: spec.volumes[1].projected"],
    # images that are fetched
    "images-from-registries.yaml": ["6: spec.imagePullSecrets", "8: spec.volumes[0].image"],
    # DNS and further names
    "names.yaml": [
        "6: spec.subdomain",
        "7: spec.setHostnameAsFQDN",
        "8: spec.dnsPolicy",
        "9: spec.dnsConfig",
        "10: spec.hostAliases",
    ],
    # limits of a pod, resizing in place, devices
    "pod-resources.yaml": [
        "6: spec.resources",
        "10: spec.containers[0].resizePolicy",
        '11: spec.containers[0].resources.limits["example.com/gpu"]',
    ],
    # storage of a cluster: never, each with its cure
    "storage-of-clusters.yaml": [
        "8: spec.volumes[0].nfs",
        "9: spec.volumes[1].csi",
        "10: spec.volumes[2].gitRepo",
        "11: spec.volumes[3].cephfs",
    ],
    # a part of a volume
    "sub-path.yaml": [
        "9: spec.containers[0].volumeMounts[0].subPath",
        "12: spec.containers[1].volumeMounts[0].subPath",
    ],
    # user namespaces, sysctls and security modules
    "user-namespace.yaml": [
        "6: spec.hostUsers",
        "8: spec.securityContext.sysctls",
        "9: spec.securityContext.fsGroupChangePolicy",
        "13: spec.containers[0].securityContext.procMount",
        "13: spec.containers[0].securityContext.appArmorProfile.type",
        "13: spec.containers[0].securityContext.seLinuxOptions",
    ],
}


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.name)
def test_what_users_write_is_accepted_with_no_finding_but_the_warnings_that_are_due(path: Path) -> None:
    findings, objects = check(path.read_bytes(), file=path.name)
    assert [finding.field for finding in findings] == WARNINGS.get(path.name, [])
    assert all(finding.warning for finding in findings)
    assert objects


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.name)
def test_what_is_not_implemented_is_refused_by_name_and_nothing_else_is(path: Path) -> None:
    findings, objects = check(path.read_bytes(), file=path.name)
    assert [f"{finding.line}: {finding.field}" for finding in findings] == MISSING[path.name]
    assert all("known but not implemented" in finding.message for finding in findings)
    assert objects == ()


def test_there_are_many_and_the_tables_are_about_them() -> None:
    assert len(ACCEPTED) >= 55
    assert WARNINGS.keys() <= {path.name for path in ACCEPTED}
    assert MISSING.keys() == {path.name for path in REFUSED}


@pytest.mark.parametrize("path", [*ACCEPTED, *REFUSED], ids=lambda path: path.name)
def test_each_says_what_it_is(path: Path) -> None:
    """A manifest in JSON has no place for it."""
    assert path.suffix == ".json" or path.read_text("utf-8-sig").removeprefix("---\n").startswith("# ")
