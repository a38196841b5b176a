"""`logs`, `exec` and `attach` of init containers and sidecars, which `-c` names."""

from __future__ import annotations

import json
import select
import subprocess

import pytest

from tests.runner import TIMEOUT, Seedpod
from tests.staying import detached, until

pytestmark = pytest.mark.root

STAYS = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
# Says how often it was started, in a volume; the second instance stays, and says more where it is told to.
TICKS = "trap 'exit 0' TERM; while :; do [ ! -e /seen/tick ] || echo tick; sleep 0.1; done"
TWICE = f"echo x >> /seen/n; echo up $(wc -l < /seen/n); [ $(wc -l < /seen/n) = 2 ] || exit 4; {TICKS}"


@pytest.fixture
def web(seedpod: Seedpod) -> Seedpod:
    seen = [{"name": "seen", "mountPath": "/seen"}]
    pod = seedpod.pod(
        seedpod.shell("app", f"echo app; {STAYS}"),
        initContainers=[
            seedpod.shell("setup", "echo ready"),
            seedpod.shell("side", TWICE, restartPolicy="Always", volumeMounts=seen),
        ],
        volumes=({"name": "seen", "emptyDir": {}},),
    )
    detached(seedpod, pod, wait=False)
    until(seedpod, "web", lambda status: status.ready and status.init_containers[1].restart_count == 1)
    return seedpod


def said(web: Seedpod, *words: str) -> tuple[int, str, str]:
    result = web.command(*words)
    return result.returncode, result.stdout, result.stderr


def test_init_containers_have_logs_by_their_names(web: Seedpod) -> None:
    assert said(web, "logs", "web", "-c", "setup") == (0, "ready\n", "")
    assert said(web, "logs", "web", "-c", "side") == (0, "up 2\n", "")
    assert said(web, "logs", "web", "-c", "side", "--previous") == (0, "up 1\n", "")
    assert said(web, "logs", "web", "--all-containers", "--prefix") == (
        0,
        "[pod/web/setup] ready\n[pod/web/side] up 2\n[pod/web/app] app\n",
        "",
    )
    code, out, err = said(web, "logs", "web", "-c", "setup", "-p")
    assert (code, out) == (1, "")
    assert 'previous terminated container "setup" in pod "web" not found' in err
    assert said(web, "logs", "web") == (
        0,
        "app\n",
        'Defaulted container "app" out of: app, setup (init), side (init)\n',
    )


def test_a_sidecar_can_be_joined_and_what_has_ended_cannot(web: Seedpod) -> None:
    assert said(web, "exec", "web", "-c", "side", "--", "wc", "-l", "/seen/n") == (0, "2 /seen/n\n", "")
    assert web.command("exec", "web", "--", "ls", "/seen").returncode != 0, "the app container has no such volume"
    for verb in (("exec", "web", "-c", "setup", "--", "true"), ("attach", "web", "-c", "setup")):
        code, out, err = said(web, *verb)
        assert (code, out) == (1, "")
        assert err.startswith('error: container "setup" is not running')


def test_a_sidecar_can_be_attached_to_until_its_end(web: Seedpod) -> None:
    assert web.command("exec", "web", "-c", "side", "--", "touch", "/seen/tick").returncode == 0
    command = [web.program, "--root", web.root, "attach", "web", "-c", "side"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as attached:
        assert attached.stdout is not None
        assert select.select([attached.stdout], [], [], TIMEOUT)[0], "nothing is heard of it"
        assert attached.stdout.readline() == b"tick\n"
        assert web.command("delete", "web", "--now").returncode == 0
        rest, _ = attached.communicate(timeout=TIMEOUT)
        assert set(rest.splitlines()) <= {b"tick"}


def test_describe_tells_of_a_sidecars_restart(web: Seedpod) -> None:
    lines = [" ".join(line.split()) for line in web.command("describe", "web").stdout.splitlines()]
    side = lines[lines.index("side:") :]
    assert "Last State: Terminated" in side[:16]
    assert "Restart Count: 1" in side[:20]
    shown = json.loads(web.command("get", "web", "-o", "json").stdout)["status"]["initContainerStatuses"]
    assert [(each["name"], each["ready"], each["restartCount"]) for each in shown] == [
        ("setup", True, 0),
        ("side", True, 1),
    ]
    assert web.command("get", "web", "--no-headers").stdout.split()[:4] == ["web", "2/2", "Running", "1"]
