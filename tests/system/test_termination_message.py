"""Last words of containers, from their file to `get -o json` (SEMANTICS, terminationMessage)."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

from tests.runner import Seedpod
from tests.staying import detached, kill_engine, pod_json, podmon_of, restarted, until, wait_and_close

pytestmark = pytest.mark.root

SAY = "echo -n '{}' > /dev/termination-log"


def ended(seedpod: Seedpod, name: str = "web") -> list[dict[str, Any]]:
    until(seedpod, name, lambda status: status.over)
    return [each["state"]["terminated"] for each in pod_json(seedpod, name)["status"]["containerStatuses"]]


def test_what_a_container_wrote_is_in_its_status(seedpod: Seedpod) -> None:
    good = seedpod.shell("good", f"stat -c %a /dev/termination-log; {SAY.format('all sold')}")
    bad = seedpod.shell("bad", f"{SAY.format('out of beans')}; exit 3")
    quiet = seedpod.shell("quiet", "exit 1")
    detached(seedpod, seedpod.pod(good, bad, quiet), wait=False)
    said = [(end["exitCode"], end.get("message")) for end in ended(seedpod)]
    assert said == [(3, "out of beans"), (0, "all sold"), (1, None)]
    assert seedpod.command("logs", "web", "-c", "good").stdout == "666\n"
    assert "      Message:      out of beans\n" in seedpod.command("describe", "pod", "web").stdout


def test_it_can_be_written_with_a_read_only_root_and_without_privileges(seedpod: Seedpod) -> None:
    context = {"readOnlyRootFilesystem": True, "runAsUser": 12345, "capabilities": {"drop": ["ALL"]}}
    detached(seedpod, seedpod.pod(seedpod.shell("app", SAY.format("sealed"), securityContext=context)), wait=False)
    assert ended(seedpod)[0]["message"] == "sealed"


def test_a_privileged_container_has_it_among_the_hosts_devices(seedpod: Seedpod) -> None:
    privileged = seedpod.shell("app", SAY.format("strong"), securityContext={"privileged": True})
    detached(seedpod, seedpod.pod(privileged), wait=False)
    assert ended(seedpod)[0]["message"] == "strong"
    assert not os.path.lexists("/dev/termination-log"), "on the host there is none"


def test_its_file_cannot_be_replaced_from_within(seedpod: Seedpod) -> None:
    tries = """
        echo -n kept > /dev/termination-log
        rm -f /dev/termination-log; mv /dev/termination-log /dev/x; ln -sf /etc/passwd /dev/termination-log
        exit 1
    """
    detached(seedpod, seedpod.pod(seedpod.shell("app", tries)), wait=False)
    assert ended(seedpod)[0]["message"] == "kept"


def test_each_instance_has_a_file_of_its_own(seedpod: Seedpod) -> None:
    script = """
        test -s /dev/termination-log && echo -n 'not mine: ' > /data/first
        echo -n "$(cat /data/first 2> /dev/null)run" > /dev/termination-log
        test -e /data/again && exec sleep 1000
        touch /data/again; exit 1
    """
    volume = {"name": "data", "emptyDir": {}}
    app = seedpod.shell("app", script, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    detached(seedpod, seedpod.pod(app, volumes=(volume,), restartPolicy="Always"))
    until(seedpod, "web", restarted(1))
    (status,) = pod_json(seedpod, "web")["status"]["containerStatuses"]
    assert status["lastState"]["terminated"]["message"] == "run"


def test_it_is_read_where_podmon_was_killed_and_no_engine_was_there(seedpod: Seedpod) -> None:
    """The message is what the program wrote before, as the file does not go with podmon."""
    app = seedpod.shell("app", f"{SAY.format('about to die')}; echo ready; exec sleep 1000")
    detached(seedpod, seedpod.pod(app))
    follow = [seedpod.program, "--root", seedpod.root, "logs", "web", "-f"]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "ready\n"
        follower.kill()
    podmon = os.pidfd_open(podmon_of(seedpod, pod_json(seedpod, "web")["metadata"]["uid"]))
    kill_engine(seedpod)
    signal.pidfd_send_signal(podmon, signal.SIGKILL)
    wait_and_close(podmon)
    end = ended(seedpod)[0]
    assert (end["exitCode"], end["reason"]) == (137, "ContainerStatusUnknown")
    assert end["message"] == "The container could not be located when its engine came back: about to die"


def test_without_words_of_its_own_a_container_that_failed_has_the_end_of_its_log(seedpod: Seedpod) -> None:
    """# A17, A24: the last 80 lines, or 2,048 bytes."""
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    pod = seedpod.pod(
        seedpod.shell("a-lines", "seq 100; exit 3", **policy),
        seedpod.shell("b-wide", "yes 123456789 | head -n 79; printf %02000d 7; exit 3", **policy),
        seedpod.shell("c-wrote", f"seq 100; {SAY.format('its own')}; exit 3", **policy),
        seedpod.shell("d-good", "seq 100", **policy),
        seedpod.shell("e-file", "seq 100; exit 3"),
    )
    detached(seedpod, pod, wait=False)
    lines, wide, *others = [each.get("message") for each in ended(seedpod)]
    assert lines == "".join(f"{number}\n" for number in range(21, 101))
    assert wide == ("123456789\n" * 5)[-48:] + "7".zfill(2000)
    assert others == ["its own", None, None]


def test_a_message_file_of_another_name_is_there_and_none_of_the_usual_one(seedpod: Seedpod) -> None:
    usual = "test -e /dev/termination-log && echo usual"
    path = {"terminationMessagePath": "/var/last/words"}
    app = seedpod.shell("app", f"{usual}; stat -c %a /var/last/words; echo -n found > /var/last/words; exit 3", **path)
    detached(seedpod, seedpod.pod(app), wait=False)
    assert ended(seedpod)[0]["message"] == "found"
    assert seedpod.command("logs", "web").stdout == "666\n"
