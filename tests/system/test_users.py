"""runAsUser, runAsGroup, supplementalGroups, runAsNonRoot: who a container's programs are, as `id` has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runner import Manifest, Seedpod, lines_of
from tests.system.contained import SHARING, STAYS, both, executed, standing
from tests.terminal import terminal

pytestmark = pytest.mark.root

IDS = "echo $(id -u) $(id -g) $(id -G) $HOME"

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:Web:/home/web:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:1001:\ndisk:x:6:root\naudio:x:29:web\n"


def context(**fields: Any) -> dict[str, Any]:
    return {"securityContext": fields}


@pytest.fixture
def image(copied_rootfs: Path) -> dict[str, Any]:
    """Fields of a container whose image knows the user web."""
    (copied_rootfs / "etc" / "passwd").write_text(PASSWD)
    (copied_rootfs / "etc" / "group").write_text(GROUP)
    return {"image": f"rootfs:{copied_rootfs}"}


# The pod's, the container's, and what its programs are: user, group, all groups, home.
MATRIX = [
    ({}, {}, "0 0 0 6 /root"),
    ({}, {"runAsUser": 1000}, "1000 1001 1001 29 /home/web"),
    ({"runAsUser": 1000}, {}, "1000 1001 1001 29 /home/web"),
    ({"runAsUser": 1000}, {"runAsUser": 0}, "0 0 0 6 /root"),
    ({"runAsUser": 1000}, {"runAsGroup": 7}, "1000 7 7 29 /home/web"),
    ({"runAsGroup": 7}, {"runAsUser": 1000, "runAsGroup": 8}, "1000 8 8 29 /home/web"),
    ({}, {"runAsUser": 4711}, "4711 0 0 /"),
    ({}, {"runAsUser": 4711, "runAsGroup": 7}, "4711 7 7 /"),
    ({"supplementalGroups": [30, 29, 30]}, {"runAsUser": 1000}, "1000 1001 1001 29 30 /home/web"),
    ({"supplementalGroups": [30], "fsGroup": 40}, {}, "0 0 0 6 30 40 /root"),
    (
        {"runAsUser": 2**31 - 1, "runAsGroup": 2**31 - 1, "fsGroup": 2**31 - 1},
        {},
        f"{2**31 - 1} {2**31 - 1} {2**31 - 1} /",
    ),
    ({"runAsNonRoot": True}, {"runAsUser": 1000}, "1000 1001 1001 29 /home/web"),
]


def test_a_program_and_what_joins_it_are_who_is_asked_for(seedpod: Seedpod, image: dict[str, Any]) -> None:
    """# A5"""
    pods = []
    for number, (of_pod, own, _) in enumerate(MATRIX):
        container = {**seedpod.shell("c", f"{IDS}; {STAYS}", **context(**own)), **image}
        pods.append(seedpod.pod(container, name=f"p{number}", **context(**of_pod)))
    standing(seedpod, *pods)
    for number, (of_pod, own, wanted) in enumerate(MATRIX):
        assert both(seedpod, IDS, pod=f"p{number}") == (f"{wanted}\n",) * 2, (of_pod, own)


@pytest.mark.parametrize("sharing", SHARING)
def test_it_is_the_same_in_every_pid_namespace(seedpod: Seedpod, image: dict[str, Any], sharing: str) -> None:
    """# A5"""
    container = {**seedpod.shell("c", f"{IDS}; {STAYS}", **context(runAsUser=1000)), **image}
    standing(seedpod, seedpod.pod(container, **SHARING[sharing]))
    assert seedpod.command("logs", "web").stdout == "1000 1001 1001 29 /home/web\n"
    assert executed(seedpod, IDS) == "1000 1001 1001 29 /home/web\n"


def test_containers_of_one_pod_are_different_users(seedpod: Seedpod) -> None:
    """# A5"""
    containers = [seedpod.shell(f"c{uid}", "id -u", **context(runAsUser=uid)) for uid in (0, 1000, 2000)]
    result = seedpod.run(seedpod.pod(*containers))
    assert [lines_of(result.stdout, f"c{uid}") for uid in (0, 1000, 2000)] == [["0"], ["1000"], ["2000"]]


def test_a_home_of_the_manifests_own_holds(seedpod: Seedpod) -> None:
    env = [{"name": "HOME", "value": "/mine"}]
    result = seedpod.run(seedpod.pod(seedpod.shell("c", "echo $HOME", env=env, **context(runAsUser=1000))))
    assert result.stdout == "/mine\n"


def test_what_joins_is_who_the_container_was_made_as_whatever_has_become_of_its_image(
    seedpod: Seedpod, image: dict[str, Any], copied_rootfs: Path
) -> None:
    container = {**seedpod.shell("c", STAYS, **context(runAsUser=1000)), **image}
    standing(seedpod, seedpod.pod(container))
    (copied_rootfs / "etc" / "passwd").write_text("web:x:1000:0::/root:/bin/sh\n")
    (copied_rootfs / "etc" / "group").write_text("disk:x:6:web\n")
    assert executed(seedpod, IDS) == "1000 1001 1001 29 /home/web\n"


def test_and_after_a_change_of_engines_too(seedpod: Seedpod, image: dict[str, Any]) -> None:
    container = {**seedpod.shell("c", STAYS, **context(runAsUser=1000, capabilities={"drop": ["ALL"]})), **image}
    standing(seedpod, seedpod.pod(container))
    assert seedpod.command("agent", "stop").returncode == 0
    assert executed(seedpod, f"{IDS}; grep CapBnd /proc/self/status") == (
        f"1000 1001 1001 29 /home/web\nCapBnd:\t{'0' * 16}\n"
    )


# ---- its streams are its own ----


@pytest.mark.parametrize("sharing", SHARING)
def test_another_user_than_root_may_open_its_own_output_by_name(seedpod: Seedpod, sharing: str) -> None:
    script = "echo out > /dev/stdout; echo err > /proc/self/fd/2"
    container = seedpod.shell("c", f"{script}; {STAYS}", **context(runAsUser=1000))
    standing(seedpod, seedpod.pod(container, **SHARING[sharing]))
    logged = seedpod.command("logs", "web")
    assert sorted(logged.stdout.split()) == ["err", "out"]
    result = seedpod.command("exec", "web", "--", "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_its_terminal_is_its_own_too_and_what_is_typed_reaches_it(seedpod: Seedpod) -> None:
    script = "echo $(stat -c %u $(tty)); echo there > $(tty); read line; echo got $line; " + STAYS
    container = seedpod.shell("c", script, stdin=True, tty=True, **context(runAsUser=1000))
    standing(seedpod, seedpod.pod(container))
    attach = [seedpod.program, "--root", seedpod.root, "attach", "-i", "-t", "web"]
    with terminal(attach) as screen:
        screen.type(b"typed\n")
        screen.until(b"got typed")
    assert seedpod.command("logs", "web").stdout.split()[:2] == ["1000", "there"]
    run = "stat -c %u $(tty); echo again > $(tty)"
    with terminal([*attach[:3], "exec", "-i", "-t", "web", "--", "sh", "-c", run]) as screen:
        screen.until(b"1000\r\nagain\r\n")


# ---- runAsNonRoot ----


def waiting(seedpod: Seedpod) -> Manifest:
    (container,) = json.loads(seedpod.command("get", "web", "-o", "json").stdout)["status"]["containerStatuses"]
    return container


def test_a_container_that_must_not_be_root_and_would_be_waits_and_says_why(seedpod: Seedpod) -> None:
    """kubelet: CreateContainerConfigError, retried, no restart counted."""
    container = seedpod.shell("app", "echo started")
    pod = seedpod.pod(container, restartPolicy="Always", **context(runAsNonRoot=True))
    result = seedpod.command("run", "-d", "-", input=json.dumps(pod))
    assert result.stdout == "pod/web created\n"
    uid = seedpod.command("get", "web", "-o", "jsonpath={.metadata.uid}").stdout
    message = f'container has runAsNonRoot and image will run as root (pod: "web_default({uid})", container: app)'
    assert result.stderr.splitlines() == [
        f'error: pod "web", container "app": CreateContainerConfigError: {message}',
        "hint: set runAsUser to another user than 0, or runAsNonRoot to false",
    ]
    known = waiting(seedpod)
    assert known["state"] == {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    assert (known["restartCount"], known["lastState"], known["ready"]) == (0, {}, False)
    assert seedpod.command("get", "web", "--no-headers").stdout.split()[1:4] == [
        "0/1",
        "CreateContainerConfigError",
        "0",
    ]
    described = seedpod.command("describe", "web").stdout
    assert f"spec.containers{{app}}: Error: {message}" in described
    assert "Warning  Failed" in described
    assert seedpod.command("get", "web", "-o", "jsonpath={.status.phase}").stdout == "Pending"


def test_run_in_the_foreground_says_why_nothing_starts_and_runs_what_may(seedpod: Seedpod) -> None:
    no = seedpod.shell("no", "echo started", **context(runAsNonRoot=True, runAsUser=0))
    process = seedpod.start(seedpod.pod(no, seedpod.shell("yes", "echo started")))
    assert process.stdout is not None and process.stderr is not None
    assert process.stderr.readline().startswith(
        'error: pod "web", container "no": CreateContainerConfigError: container\'s runAsUser breaks non-root policy '
    )
    assert process.stdout.readline() == "yes | started\n"
    process.terminate()
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == 143
