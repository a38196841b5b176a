"""An engine killed at any moment leaves nothing of the network that the next one does not complete or remove."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time

import pytest

from sandbox.pod.root_network import read_book
from tests.network import HOST4, WORLD4, Host, ask, client, ips, serving, up
from tests.runner import Seedpod
from tests.staying import all_running, engine_pid, kill_engine, until

pytestmark = pytest.mark.root

ROUNDS = 10
PORTS = [{"containerPort": 80, "hostPort": 8080}]


def killed_after(seedpod: Seedpod, seconds: float) -> None:
    """SIGKILL for the engine, so many seconds after it was seen."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pidfd = os.pidfd_open(engine_pid(seedpod))
            time.sleep(seconds)  # the moment is what is tried, not a wait for something
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
            return


def test_killed_at_any_moment_of_making_and_removing_a_network(on_host: Seedpod, host: Host) -> None:
    """No lease, link, address, rule, parameter stays, and what came to run is reached."""
    host.serve_in_world("tcp", "0.0.0.0", "7000", "world")
    host.is_ready()
    generator = random.Random(4)
    words = [on_host.program, "--root", on_host.root]
    for _ in range(ROUNDS):
        pods = (serving(on_host, "web", "tcp 0.0.0.0 80", ports=PORTS), client(on_host, "client"))
        text = "\n---\n".join(map(json.dumps, pods))
        with subprocess.Popen(
            [*words, "run", "-d", "-"], stdin=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        ) as run:
            assert run.stdin is not None
            run.stdin.write(text)
            run.stdin.close()
            killed_after(on_host, generator.uniform(0, 0.4))
        names = on_host.command("get", "-o", "name").stdout.split()
        if len(names) == 2:
            for name in ("web", "client"):
                until(on_host, name, all_running)
            four = ips(on_host, "web")[0]
            assert ask(on_host, "client", "tcp", four, "80") == f"{ips(on_host, 'client')[0]} web"
            assert host.ask_from_world("tcp", HOST4, "8080") == f"{WORLD4} web"
            assert ask(on_host, "client", "tcp", WORLD4, "7000") == f"{HOST4} world"
        with subprocess.Popen(
            [*words, "delete", "--all", "--now"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ):
            killed_after(on_host, generator.uniform(1.5, 2.5))
        on_host.command("delete", "--all", "--now")
        assert on_host.command("get", "-o", "name").stdout == ""
        on_host.command("agent", "stop")
        assert host.traces() == host.before
        book = read_book(on_host.root)
        assert (book.leases, book.leaving, book.up) == ({}, (), False)


def test_leases_survive_an_engine_that_is_killed(on_host: Seedpod, host: Host) -> None:
    host.is_ready()
    names = ("one", "two", "three")
    before = up(on_host, *(client(on_host, name) for name in names))
    for _ in range(2):
        kill_engine(on_host)
        assert [ips(on_host, name) for name in names] == before
    up(on_host, client(on_host, "four"))
    assert len({ip for each in (*names, "four") for ip in ips(on_host, each)}) == 8


@pytest.mark.parametrize("damage", ["{", '{"leases": 5}', None])
def test_a_file_of_leases_that_is_lost_is_made_anew_from_the_links(
    damage: str | None, on_host: Seedpod, host: Host
) -> None:
    host.is_ready()
    before = up(on_host, serving(on_host, "web", "tcp 0.0.0.0 80", ports=PORTS), client(on_host, "two"))
    kill_engine(on_host)
    if damage is None:
        (on_host.root / "network.json").unlink()
    else:
        (on_host.root / "network.json").write_text(damage)
    assert [ips(on_host, name) for name in ("web", "two")] == before
    up(on_host, client(on_host, "three"))
    assert len({ip for name in ("web", "two", "three") for ip in ips(on_host, name)}) == 6
    assert ask(on_host, "three", "tcp", before[0][0], "80") == f"{ips(on_host, 'three')[0]} web"
    assert host.ask_from_world("tcp", HOST4, "8080") == f"{WORLD4} web"
