"""Pods that take more of the disk than they may end as kubelet ends them (SEMANTICS A17)."""

from __future__ import annotations

import pytest

from tests.runner import Manifest, Seedpod
from tests.staying import detached, pod_json, until

pytestmark = pytest.mark.root

WRITE = "dd if=/dev/urandom of={} bs=64k count=32 2> /dev/null; exec sleep 1000"  # 2 MiB
DATA = {"name": "data", "mountPath": "/data"}
LIMITED = {"limits": {"ephemeral-storage": "1Mi"}}


def writes(seedpod: Seedpod, path: str, name: str, size: str | None = None, **fields: object) -> Manifest:
    volume = {"name": "data", "emptyDir": {"sizeLimit": size} if size else {}}
    app = seedpod.shell("app", WRITE.format(path), volumeMounts=[DATA], **fields)
    return seedpod.pod(app, name=name, volumes=(volume,), restartPolicy="Always")


def test_a_pod_that_takes_too_much_is_evicted_and_none_that_keeps_to_its_limits(seedpod: Seedpod) -> None:  # A17
    """All at once, as the engine looks every 10 s."""
    detached(
        seedpod,
        writes(seedpod, "/data/file", "volume", "1Mi"),
        writes(seedpod, "/file", "layer", resources=LIMITED),
        writes(seedpod, "/data/file", "both", resources=LIMITED),
        writes(seedpod, "/data/file", "modest", "4Mi", resources={"limits": {"ephemeral-storage": "8Mi"}}),
    )
    messages = {
        "volume": 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". ',
        "layer": "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
        "both": "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
    }
    for name, message in messages.items():
        until(seedpod, name, lambda status: status.over)
        status = pod_json(seedpod, name)["status"]
        assert (status["phase"], status["reason"], status["message"]) == ("Failed", "Evicted", message)
        assert status["containerStatuses"][0]["restartCount"] == 0, "it is not started again"
    modest = pod_json(seedpod, "modest")["status"]
    assert (modest["phase"], modest.get("reason")) == ("Running", None)


def test_a_container_may_have_no_more_than_its_own_limit(seedpod: Seedpod) -> None:  # A17
    """What another of its pod leaves over is not its own.  Output counts, too."""
    loud = seedpod.shell("loud", "dd if=/dev/zero bs=64k count=32 2> /dev/null | tr '\\0' 'x' | fold -w 999; sleep 999")
    quiet = seedpod.shell("quiet", "exec sleep 999", resources={"limits": {"ephemeral-storage": "99Mi"}})
    detached(seedpod, seedpod.pod({**loud, "resources": LIMITED}, quiet))
    status = until(seedpod, "web", lambda status: status.over)
    assert status.reason == "Evicted"
    assert status.message == 'Container loud exceeded its local ephemeral storage limit "1Mi". '
