"""Pid namespaces shared within a pod, namespaces shared with the host, and what dies with what."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
import uuid
from pathlib import Path

import pytest

from cgroups import Cgroup
from sandbox.linux import native
from sandbox.pod.ground import PRIVATE, Sharing
from sandbox.pod.podmon import Stage, readable
from sandbox.pod.sandbox import REAPER, RECORDS, PodSandbox
from tests.sandbox.pod.test_sandbox import Lab, bounded, output_of

pytestmark = pytest.mark.root

SHARED, HOST_PID = Sharing(pid=True), Sharing(host_pid=True)
MODES = {"private pid": PRIVATE, "shared pid": SHARED, "host pid": HOST_PID}
each_mode = pytest.mark.parametrize("sharing", MODES.values(), ids=list(MODES))
TIMEOUT = 60


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def namespace_of(pid: int | str, name: str) -> int:
    return Path(f"/proc/{pid}/ns/{name}").stat().st_ino


def reaper_of(box: PodSandbox) -> int:
    pid = box._podmon.children[REAPER].pid
    assert pid is not None
    return pid


def is_over(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(TIMEOUT * 1000))


def reap(podmon: int) -> None:
    os.waitid(os.P_PIDFD, podmon, os.WEXITED | native.WALL)


# --- signals and exit codes


@each_mode
def test_a_program_that_handles_no_signal_ends_as_its_pid_namespace_has_it(lab: Lab, sharing: Sharing) -> None:
    """# A24: the first process of a pid namespace ignores what it has no handler for."""

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "exec sleep 600")
            container.signal(signal.SIGTERM)
            if sharing is PRIVATE:
                assert (await output_of(box, container, "true"))[0] == 0
                assert container.stage is Stage.RUNNING
                container.kill()
            status = await container.wait()
            number = signal.SIGKILL if sharing is PRIVATE else signal.SIGTERM
            assert (status.code, status.signal) == (128 + number, number)

    bounded(test)


@each_mode
@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_a_signal_from_inside_reaches_it_and_has_its_code(lab: Lab, sharing: Sharing, name: str) -> None:
    """# A24"""

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "echo $$; exec sleep 600")
            while not lab.log():
                await output_of(box, container, "true")
            await output_of(box, container, "kill", f"-{name}", lab.log()[0][2])
            if sharing is PRIVATE:
                assert (await output_of(box, container, "true"))[0] == 0, "the kernel spares a process 1"
                container.kill()
                name_that_ends = "KILL"
            else:
                name_that_ends = name
            assert (await container.wait()).signal == signal.Signals[f"SIG{name_that_ends}"]

    bounded(test)


@each_mode
def test_a_handled_signal_and_an_exit_code_come_back(lab: Lab, sharing: Sharing) -> None:
    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "trap 'exit 9' TERM; echo up; while :; do sleep 0.02; done")
            while not lab.log():
                await output_of(box, container, "true")
            container.signal(signal.SIGTERM)
            assert (await container.wait()).code == 9
            assert (await output_of_new(lab, box)) == 3

    async def output_of_new(lab: Lab, box: PodSandbox) -> int:
        other = await lab.run(box, "exit 3", "other")
        return (await other.wait()).code

    bounded(test)


@each_mode
def test_orphans_are_reaped_and_none_is_left_as_a_zombie(lab: Lab, sharing: Sharing) -> None:
    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            script = "n=0; while [ $n -lt 20 ]; do sh -c 'sleep 0.01 & exit 0'; n=$((n + 1)); done; echo done;"
            # A shell that waits reaps what becomes its own; elsewhere that is for reaper or podmon to do.
            container = await lab.run(box, script + "while :; do sleep 0.02; done")
            while not lab.log():
                await output_of(box, container, "true")
            parents = {box.pid, container.pid, *([reaper_of(box)] if sharing.pid else [])}
            while any(is_zombie(pid) for parent in parents for pid in children_of(parent)):
                await output_of(box, container, "true")
            while sharing.pid and children_of(reaper_of(box)):
                await output_of(box, container, "true")

    bounded(test)


def children_of(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # reaped while we looked
        return False


# --- what is left of a container


@pytest.mark.parametrize("sharing", [SHARED, HOST_PID], ids=["shared pid", "host pid"])
def test_what_a_first_process_leaves_behind_is_killed_when_asked_for(lab: Lab, sharing: Sharing) -> None:
    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            wait = "until [ -e /dev/shm/go ]; do sleep 0.02; done"
            container = await lab.run(box, f"setsid sleep 600 & sleep 600 & {wait}; exit 0")
            other = await lab.run(box, "exec sleep 600", "other")
            container.kill_rest()  # it runs still: nothing happens
            assert (await output_of(box, other, "touch", "/dev/shm/go"))[0] == 0
            assert (await container.wait()).code == 0
            assert container.scope.events().populated
            container.kill_rest()
            assert await asyncio.to_thread(container.scope.wait_empty, TIMEOUT)
            container.kill_rest()
            container.scope.remove()
            container.kill_rest()
            assert other.stage is Stage.RUNNING
            assert (await output_of(box, other, "true"))[0] == 0

    bounded(test)


@each_mode
def test_a_kill_reaches_every_process_of_the_container_and_no_other(lab: Lab, sharing: Sharing) -> None:
    """# A37"""

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "trap '' TERM; setsid sleep 600 & sleep 600 & wait")
            other = await lab.run(box, "exec sleep 600", "other")
            container.kill()
            assert (await container.wait()).code == 137
            assert await asyncio.to_thread(container.scope.wait_empty, TIMEOUT)
            assert (await output_of(box, other, "true"))[0] == 0

    bounded(test)


def test_in_the_hosts_pid_namespace_orphans_are_podmons(lab: Lab) -> None:
    """Or they would be the host's init's, which need not reap them, and nobody's in the eyes of the pod."""

    async def test() -> None:
        async with lab.box(sharing=HOST_PID) as box:
            container = await lab.run(box, "sleep 600 & exit 0")
            await container.wait()
            (orphan,) = container.scope.procs()
            assert status_of(orphan)["PPid"] == str(box.pid)

    bounded(test)


# --- the shared pid namespace


SEEN = {"private pid": {"sleep", "cat"}, "shared pid": {"podmon:reaper", "sleep", "tail", "cat"}}


@pytest.mark.parametrize("mode", SEEN)
def test_containers_see_each_other_only_where_they_share_a_pid_namespace(lab: Lab, mode: str) -> None:
    """# A3, A4"""

    async def test() -> None:
        async with lab.box(sharing=MODES[mode]) as box:
            first = await lab.run(box, "exec sleep 600", "first")
            second = await lab.run(box, "exec tail -f /dev/null", "second")
            names = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
            same = {n for n in names if namespace_of(first.pid or 0, n) == namespace_of(second.pid or 0, n)}
            assert same - {"pid"} == {"ipc", "net", "uts"}
            assert ("pid" in same) is MODES[mode].pid
            _, text = await output_of(box, first, "sh", "-c", "exec cat /proc/[0-9]*/comm")
            assert set(text.split()) == SEEN[mode]

    bounded(test)


def test_the_reaper_has_no_privileges_no_files_and_an_empty_root(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=SHARED) as box:
            pid = reaper_of(box)
            status = status_of(pid)
            assert status["Name"] == "podmon:reaper"
            assert status["NSpid"].split()[-1] == "1"
            for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
                assert int(status[name], 16) == 0, name
            assert list(Path(f"/proc/{pid}/fd").iterdir()) == []
            assert list(Path(f"/proc/{pid}/root").iterdir()) == []
            assert len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()) == 1
            container = await lab.run(box, "exec sleep 600")
            script = "cd /proc/1 && for f in exe root cwd fd mem ns/mnt; do ls $f/ 2>&1; cat $f 2>&1; done"
            _, text = await output_of(box, container, "sh", "-c", script)
            assert text.count("Permission denied") >= 6, text
            await output_of(box, container, "kill", "-9", "1")
            assert (await output_of(box, container, "true"))[0] == 0
            assert status_of(pid)["Name"] == "podmon:reaper"

    bounded(test)


def test_with_the_reaper_ends_the_pod_though_no_engine_is_there(lab: Lab) -> None:
    """# finding 4: the reaper's end is not reported before podmon has reaped those that joined its namespace."""

    async def test() -> None:
        async with lab.box(sharing=SHARED) as box:
            container = await lab.run(box, "trap '' TERM; sleep 600 & wait")
            podmon, first = os.pidfd_open(box.pid), os.pidfd_open(container.pid or 0)
            reaper = os.pidfd_open(reaper_of(box))
            box.detach()
            signal.pidfd_send_signal(reaper, signal.SIGKILL)
            for pidfd in (reaper, first, podmon):
                await readable(pidfd)
            reap(podmon)
            for pidfd in (reaper, first, podmon):
                os.close(pidfd)
            record = (lab.directory / RECORDS / container.id).read_text().splitlines()
            assert "signal 9" in record
            assert await asyncio.to_thread(container.scope.wait_empty, TIMEOUT)

    bounded(test)


def test_an_engine_hears_of_the_reapers_end_as_of_podmons(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=SHARED) as box:
            container = await lab.run(box, "exec sleep 600")
            assert box.alive
            os.kill(reaper_of(box), signal.SIGKILL)
            assert (await container.wait()).code == 137
            await box._podmon.gone()

    bounded(test)


def test_the_next_engine_makes_containers_in_the_same_pid_namespace(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=SHARED) as first:
            one = await lab.run(first, "exec sleep 600", "one")
            first.detach()
            second = await lab.connect(one, sharing=SHARED)
            two = await lab.run(second, "exec sleep 600", "two")
            assert namespace_of(one.pid or second.containers["one"].pid or 0, "pid") == namespace_of(
                two.pid or 0, "pid"
            )
            await second.remove()

    bounded(test)


# --- what dies with podmon


@pytest.mark.parametrize("sharing", [PRIVATE, SHARED], ids=["private pid", "shared pid"])
def test_a_kill_of_podmon_kills_grandchildren_of_other_users_and_sessions_at_once(lab: Lab, sharing: Sharing) -> None:
    """# finding 3: a death signal of their parent's they would have lost."""

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            script = "setsid sleep 600 & su -s /bin/sh nobody -c 'exec sleep 600' & trap '' TERM; echo up; wait"
            container = await lab.run(box, script)
            while not lab.log() or len(container.scope.procs()) < 3 or not users(container.scope) - {0}:
                await output_of(box, container, "true")
            pidfds = [os.pidfd_open(pid) for pid in container.scope.procs()]
            began = time.monotonic()
            signal.pidfd_send_signal(box._podmon.pidfd, signal.SIGKILL)
            assert all([await asyncio.to_thread(is_over, pidfd) for pidfd in pidfds])
            took = time.monotonic() - began
            for pidfd in pidfds:
                os.close(pidfd)
            assert took < 1.0, "milliseconds, but for a busy machine"

    bounded(test)


def users(scope: Cgroup) -> set[int]:
    return {int(status_of(pid)["Uid"].split()[0]) for pid in scope.procs()}


def test_in_the_hosts_pid_namespace_containers_outlive_a_killed_podmon_and_go_with_the_sandbox(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=HOST_PID) as box:
            container = await lab.run(box, "setsid sleep 600 & exec sleep 600")
            signal.pidfd_send_signal(box._podmon.pidfd, signal.SIGKILL)
            await box._podmon.gone()
            assert container.scope.events().populated
            await box.remove()
            assert not lab.slice.path.exists()

    bounded(test)


def test_in_the_hosts_pid_namespace_a_bound_podmon_kills_before_it_ends(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box(sharing=HOST_PID, bound=True) as box:
            container = await lab.run(box, "setsid sleep 600 & exec sleep 600")
            pidfd = os.dup(box._podmon.pidfd)
            box.detach()
            await readable(pidfd)
            reap(pidfd)
            os.close(pidfd)
            assert await asyncio.to_thread(container.scope.wait_empty, TIMEOUT)

    bounded(test)


# --- namespaces of the host


HOSTS = {
    "none": (PRIVATE, set()),
    "net": (Sharing(host_network=True), {"net"}),
    "pid": (HOST_PID, {"pid"}),
    "ipc": (Sharing(host_ipc=True), {"ipc"}),
    "all": (Sharing(host_network=True, host_pid=True, host_ipc=True), {"net", "pid", "ipc"}),
    "net and a shared pid namespace": (Sharing(pid=True, host_network=True), {"net"}),
}


@pytest.mark.parametrize(("sharing", "hosts"), HOSTS.values(), ids=list(HOSTS))
def test_the_hosts_namespaces_are_shared_as_asked_and_no_other(lab: Lab, sharing: Sharing, hosts: set[str]) -> None:
    """# A4, A8"""

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "exec sleep 600")
            assert container.pid is not None
            names = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
            same = {name for name in names if namespace_of(container.pid, name) == namespace_of("self", name)}
            assert same == hosts
            _, text = await output_of(box, container, "sh", "-c", "hostname; ls -l /proc/self/ns; ls /sys/class/net")
            assert text.startswith("test\n"), "the UTS namespace is the pod's own always"
            for name in names:
                assert f"{name}:[{namespace_of(container.pid, name)}]" in text
            links = set(text.split("uts:")[1].split()[1:])
            assert (links == {path.name for path in Path("/sys/class/net").iterdir()}) is (
                "net" in hosts or len(list(Path("/sys/class/net").iterdir())) == len(links)
            )

    bounded(test)


def test_with_the_hosts_ipc_comes_its_shared_memory(lab: Lab) -> None:
    """# A8"""
    name = f"seedpod-test-{uuid.uuid4().hex}"

    async def test() -> None:
        async with lab.box(sharing=Sharing(host_ipc=True)) as box:
            container = await lab.run(box, "exec sleep 600")
            assert (await output_of(box, container, "cat", f"/dev/shm/{name}"))[1] == "from the host"

    Path("/dev/shm", name).write_text("from the host")
    try:
        bounded(test)
    finally:
        Path("/dev/shm", name).unlink()


def test_pid_namespaces_of_host_and_pod_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="cannot both"):
        Sharing(pid=True, host_pid=True)
    assert not Sharing(host_pid=True).of_pod & native.CLONE_NEWPID
