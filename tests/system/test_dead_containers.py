"""What is kept of containers that have ended: the last one and its log, as kubelet has it (SEMANTICS A16, A21)."""

from __future__ import annotations

import pytest

from sandbox.status import PodStatus, Running
from tests.runner import Seedpod
from tests.staying import detached, pod_json, until

pytestmark = pytest.mark.root


def test_of_all_instances_two_logs_and_one_end_are_kept_and_no_layer_of_a_dead_one(seedpod: Seedpod) -> None:
    (seedpod.root / "config.toml").write_text('maxContainerRestartPeriod = "1s"\ncontainerLogMaxSize = "64Ki"\n')
    script = """
        number=$(cat /data/number 2>/dev/null || echo 0)
        echo $((number + 1)) > /data/number
        echo layer > /own
        seq 20000
        echo run $number
        [ $number = 3 ] && exec sleep 1000
        exit $((number + 10))
    """
    app = seedpod.shell("app", script, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    pod = seedpod.pod(app, volumes=({"name": "data", "emptyDir": {}},), restartPolicy="Always")
    detached(seedpod, pod, wait=False)

    def is_last(status: PodStatus) -> bool:
        (container,) = status.containers
        return container.restart_count == 3 and isinstance(container.state, Running)

    until(seedpod, "web", is_last)
    found = pod_json(seedpod, "web")
    (status,) = found["status"]["containerStatuses"]
    assert status["lastState"]["terminated"]["exitCode"] == 12
    assert seedpod.command("logs", "web", "--previous", "--tail=1").stdout == "run 2\n"
    (logs,) = (seedpod.root / "logs").iterdir()
    kept = {path.name.partition(".")[0] for path in (logs / "app").iterdir()}
    assert kept == {"2", "3"}, "their rotated files went with those of the ones before"
    assert any(path.name.startswith("2.log.") for path in (logs / "app").iterdir()), "and there are such"
    layers = seedpod.root / "pods" / found["metadata"]["uid"] / "sandbox" / "containers"
    assert [each.name for each in layers.iterdir()] == [status["containerID"].removeprefix("seedpod://")]
