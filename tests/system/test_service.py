"""The engine as a service of systemd's: what it tells, how it ends, and the unit."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner import TIMEOUT, Seedpod
from tests.staying import detached, pod_json, podmon_of

pytestmark = pytest.mark.root

UNIT = Path(__file__).parents[2] / "examples" / "seedpod.service"


@contextlib.contextmanager
def ended(service: subprocess.Popen[bytes]) -> Iterator[None]:
    """However the block ends, the process ends, too."""
    try:
        yield
    finally:
        service.terminate()


def test_it_says_when_it_takes_requests_and_when_it_ends_and_leaves_the_pods(seedpod: Seedpod, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT / 4)
        command = [seedpod.program, "--root", seedpod.root, "agent"]
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as service, ended(service):
            assert manager.recv(100) == b"READY=1"
            assert int((seedpod.root / "agent.pid").read_text()) == service.pid, "it is the unit's main process"
            detached(seedpod, seedpod.pod(seedpod.shell("app", "exec sleep 1000")))
            podmon = podmon_of(seedpod, pod_json(seedpod, "web")["metadata"]["uid"])
            service.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert service.wait(TIMEOUT) == 0, "or Restart=on-failure would start it again"
    assert podmon_of(seedpod, pod_json(seedpod, "web")["metadata"]["uid"]) == podmon


def test_systemd_has_nothing_to_say_of_the_unit(seedpod: Seedpod, tmp_path: Path) -> None:
    """With the path corrected, as its first line says."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "seedpod.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/seedpod", str(seedpod.program)))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    own = [line for line in result.stderr.splitlines() if "seedpod" in line]
    assert (result.returncode, own) == (0, [])


def test_the_unit_lets_pods_live_and_waits_for_the_word() -> None:
    lines = UNIT.read_text().splitlines()
    for line in ("Type=notify", "KillMode=process", "Delegate=yes", "Restart=on-failure"):
        assert line in lines
