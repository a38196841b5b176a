"""A sandbox and its containers: outliving the process that made it, their logs and records, programs that join them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cgroups import Cgroup
from sandbox.errors import KernelError, NotFound, SandboxError, SpawnError, WrongState
from sandbox.linux import native
from sandbox.pod import wire
from sandbox.pod.container import DEFAULT_PATH, ContainerSpec, ExecSpec
from sandbox.pod.ground import PRIVATE, Sharing
from sandbox.pod.podmon import Child, Podmon, Stage, readable
from sandbox.pod.privileges import Privileges
from sandbox.pod.sandbox import RECORDS, PodSandbox
from sandbox.pod.sandbox_container import SandboxContainer
from sandbox.pod.streams import LogTarget

pytestmark = pytest.mark.root

TIMEOUT = 60  # seconds; generous, for machines that emulate
ENV = {"PATH": DEFAULT_PATH}


class Lab:
    """Makes sandboxes of one pod, with containers of busybox that log to `logs`."""

    def __init__(self, pod_slice: Cgroup, directory: Path, busybox: Path) -> None:
        self.slice = pod_slice
        self.directory = directory
        self.logs = directory / "logs"
        self.busybox = busybox

    @asynccontextmanager
    async def box(self, *, bound: bool = False, sharing: Sharing = PRIVATE) -> AsyncIterator[PodSandbox]:
        box = await PodSandbox.create(
            name="test",
            hostname="test",
            directory=self.directory,
            pod_slice=self.slice,
            bound=bound,
            sharing=sharing,
        )
        try:
            yield box
        finally:
            await box.remove()

    async def start(self, box: PodSandbox, script: str, name: str = "c", **log: int) -> SandboxContainer:
        spec = ContainerSpec(("sh", "-c", script), self.busybox, ENV)
        container = await box.create_container(name, spec, log=LogTarget(self.logs, f"{name}.log", **log))
        await container.start()
        return container

    async def run(self, box: PodSandbox, script: str, name: str = "c", **fields: Any) -> SandboxContainer:
        """As `start`, with fields of the container's spec."""
        fields = {"argv": ("sh", "-c", script), **fields}
        spec = ContainerSpec(rootfs=self.busybox, env=ENV, **fields)
        container = await box.create_container(name, spec, log=LogTarget(self.logs, f"{name}.log"))
        await container.start()
        return container

    async def connect(self, *containers: SandboxContainer, sharing: Sharing = PRIVATE) -> PodSandbox:
        known = {container.number: (container.name, container.id) for container in containers}
        return await PodSandbox.connect(
            name="test", directory=self.directory, pod_slice=self.slice, containers=known, sharing=sharing
        )

    def log(self, name: str = "c.log") -> list[tuple[str, str, str]]:
        """Stream, flag and text of each line of a log."""
        lines = (self.logs / name).read_text().splitlines()
        matches = (re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (\w+) ([FP]) (.*)", line) for line in lines)
        return [match.groups() if match else ("torn", "", "") for match in matches]  # type: ignore[misc]


def bounded(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(TIMEOUT):
            await test()

    asyncio.run(run())


async def output_of(
    box: PodSandbox, container: SandboxContainer, *argv: str, privileges: Privileges | None = None
) -> tuple[int, str]:
    """Exit code and output of a program executed in a container, its stdin being empty."""
    null = os.open("/dev/null", os.O_RDWR)
    read, write = os.pipe()
    try:
        child = await box.execute(container, ExecSpec(argv, ENV), (null, write, write), privileges=privileges)
    except SandboxError:
        os.close(read)
        raise
    finally:
        os.close(write)
        os.close(null)
    with os.fdopen(read) as pipe:
        text = await asyncio.to_thread(pipe.read)
    await child.ended()
    assert child.exit is not None
    return child.exit.code, text


# --- it outlives who made it


def test_a_sandbox_that_is_not_bound_goes_on_and_another_connection_learns_all(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as first:
            runs = await lab.start(first, "exec sleep 600", "runs")
            ended = await lab.start(first, "exit 7", "ended")
            killed = await lab.start(first, "exec sleep 600", "killed")
            await ended.wait()
            pid = runs.pid
            first.detach()
            second = await lab.connect(runs, ended, killed)
            assert second.pid == first.pid
            assert second.containers["runs"].stage is Stage.RUNNING
            assert second.containers["runs"].pid == pid
            second.containers["killed"].kill()
            assert (await second.containers["killed"].wait()).code == 137
            status = await second.containers["ended"].wait()
            assert (status.code, status.signal) == (7, None)
            assert status.started is not None
            assert status.started <= status.finished
            await second.remove()

    bounded(test)


def test_a_container_at_its_gate_can_be_started_by_the_next(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as first:
            spec = ContainerSpec(("sh", "-c", "echo late; exit 3"), lab.busybox, ENV)
            container = await first.create_container("c", spec, log=LogTarget(lab.logs, "c.log"))
            first.detach()
            second = await lab.connect(container)
            await second.containers["c"].start()
            assert (await second.containers["c"].wait()).code == 3
            assert lab.log() == [("stdout", "F", "late")]
            await second.remove()

    bounded(test)


MAKE_AND_DIE = """
import asyncio, os, sys
from pathlib import Path
from cgroups import Cgroup
from tests.sandbox.pod.test_sandbox import Lab

async def main():
    lab = Lab(Cgroup(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
    async with lab.box(bound=sys.argv[4] == "bound") as box:
        script = "echo before; until [ -e /dev/shm/go ]; do sleep 0.05; done; echo after; exit 9"
        container = await lab.start(box, script)
        print(container.number, container.id, box.pid, flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def made_by_a_process_that_died(lab: Lab, kind: str) -> tuple[int, str, int]:
    """Number and id of the container that a killed process left, and its podmon's pid."""
    arguments = [str(lab.slice.path), str(lab.directory), str(lab.busybox), kind]
    result = subprocess.run(
        [sys.executable, "-c", MAKE_AND_DIE, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    number, identity, pid = result.stdout.split()
    return int(number), identity, int(pid)


def test_a_kill_of_its_maker_does_not_reach_it_and_no_line_is_lost(lab: Lab) -> None:
    async def test() -> None:
        number, identity, _ = made_by_a_process_that_died(lab, "free")
        box = await PodSandbox.connect(
            name="test", directory=lab.directory, pod_slice=lab.slice, containers={number: ("c", identity)}
        )
        container = box.containers["c"]
        assert (await output_of(box, container, "touch", "/dev/shm/go"))[0] == 0
        assert (await container.wait()).code == 9
        assert lab.log() == [("stdout", "F", "before"), ("stdout", "F", "after")]
        await box.remove()

    bounded(test)


def test_a_bound_sandbox_ends_with_its_maker(lab: Lab) -> None:
    made_by_a_process_that_died(lab, "bound")
    assert lab.slice.child("podmon.scope").wait_empty(TIMEOUT)
    assert all(child.wait_empty(TIMEOUT) for child in lab.slice.children())


def test_where_podmon_is_dead_there_is_nothing_to_connect_to(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            os.kill(box.pid, signal.SIGKILL)
            await box._podmon.gone()
            with pytest.raises(NotFound, match="no podmon is running"):
                await lab.connect()

    bounded(test)


def test_the_end_of_a_container_is_on_disk_before_anybody_hears_of_it(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exit 42")
            await container.wait()
            lines = (lab.directory / RECORDS / container.id).read_text().splitlines()
            record = dict(line.split() for line in lines)
            assert (record["code"], record["signal"], record["ran"]) == ("42", "0", "1")
            assert int(record["started_ns"]) <= int(record["finished_ns"])

    bounded(test)


# --- logs


def test_both_streams_are_logged_line_by_line_and_a_last_piece_is_marked(lab: Lab) -> None:
    """# A28: the format of the Container Runtime Interface."""

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "echo out; echo err >&2; echo; printf 'no end'")
            await container.wait()
            log = lab.log()
            assert [line for line in log if line[0] == "stdout"] == [
                ("stdout", "F", "out"),
                ("stdout", "F", ""),
                ("stdout", "P", "no end"),
            ]
            assert [line for line in log if line[0] == "stderr"] == [("stderr", "F", "err")]

    bounded(test)


def test_a_long_line_is_logged_in_pieces_that_make_it_up(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "head -c 100000 /dev/zero | tr '\\0' x; echo; echo short")
            await container.wait()
            *pieces, short = lab.log()
            assert short == ("stdout", "F", "short")
            assert [flag for _, flag, _ in pieces] == ["P"] * (len(pieces) - 1) + ["F"]
            assert "".join(text for _, _, text in pieces) == "x" * 100000
            assert max(len(text) for _, _, text in pieces) <= 16384

    bounded(test)


def test_a_log_is_rotated_by_size_keeps_so_many_files_and_tears_no_line(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "seq 1 20000", size=100_000, files=3)
            await container.wait()
            names = sorted(path.name for path in lab.logs.iterdir())
            assert names == ["c.log", "c.log.1", "c.log.2"]
            assert all(path.stat().st_size <= 100_000 for path in lab.logs.iterdir())
            kept = [text for name in reversed(names) for _, _, text in lab.log(name)]
            assert kept == [str(number) for number in range(20001 - len(kept), 20001)]

    bounded(test)


def test_a_flood_is_logged_whole(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "seq 1 100000; seq 1 100000 >&2", size=1 << 30)
            await container.wait()
            log = lab.log()
            for stream in ("stdout", "stderr"):
                texts = [text for name, _, text in log if name == stream]
                assert texts == [str(number) for number in range(1, 100001)]

    bounded(test)


def test_a_log_that_somebody_renamed_goes_on_in_a_new_file(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "echo one; until [ -e /dev/shm/go ]; do sleep 0.05; done; echo two")
            while not (lab.logs / "c.log").stat().st_size:
                await output_of(box, container, "true")  # so many turns of podmon's loop
            (lab.logs / "c.log").rename(lab.logs / "old")
            await box._podmon.reopen_log(container.child)
            await output_of(box, container, "touch", "/dev/shm/go")
            await container.wait()
            assert lab.log("old") == [("stdout", "F", "one")]
            assert lab.log() == [("stdout", "F", "two")]

    bounded(test)


# --- programs that join a container


def test_a_program_joins_all_namespaces_of_the_container_and_its_cgroup(lab: Lab) -> None:
    """# A3, A4"""

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            script = "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n /proc/1/ns/$n; done"
            script = script.replace("readlink /proc/self/ns/$n /proc/1/ns/$n", "readlink /proc/self/ns/$n")
            _, mine = await output_of(box, container, "sh", "-c", script)
            _, init = await output_of(box, container, "sh", "-c", script.replace("self", "1"))
            assert mine == init
            assert (await output_of(box, container, "cat", "/proc/self/cgroup"))[1].splitlines()[-1] == "0::/"
            assert (await output_of(box, container, "hostname"))[1] == "test\n"

    bounded(test)


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_its_exit_code_comes_back(lab: Lab, code: int) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            assert (await output_of(box, container, "sh", "-c", f"exit {code}"))[0] == code

    bounded(test)


def test_programs_that_end_at_once_are_never_lost(lab: Lab) -> None:
    """The one that joins may be dead before podmon knows its number."""

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            results = await asyncio.gather(
                *(output_of(box, container, "sh", "-c", f"exit {number}") for number in range(40))
            )
            assert [code for code, _ in results] == list(range(40))

    bounded(test)


def test_it_has_the_confinement_of_the_container_and_no_fd_but_three(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            script = "grep ^Cap /proc/self/status; grep ^Cap /proc/1/status"
            lines = (await output_of(box, container, "sh", "-c", script))[1].splitlines()
            assert lines[:5] == lines[5:]
            _, listed = await output_of(box, container, "ls", "-l", "/proc/self/fd")
            names = [words[-3] for words in (line.split() for line in listed.splitlines()) if "->" in words]
            assert names == ["0", "1", "2"]
            escape = f"/proc/self/fd/{{}}{'/..' * 20}{sys.executable}"
            for fd in range(3, 12):
                with pytest.raises(SpawnError, match=r"\((ENOENT|ENOTDIR|EACCES)\)"):
                    await output_of(box, container, escape.format(fd), "-c", "pass")

    bounded(test)


def test_a_command_that_is_not_there_is_an_error_with_its_reason(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            with pytest.raises(SpawnError, match=r"run no-such: execve: No such file or directory \(ENOENT\)"):
                await output_of(box, container, "no-such")

    bounded(test)


def test_a_container_that_has_ended_cannot_be_joined(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exit 0")
            await container.wait()
            with pytest.raises(WrongState, match="container c is ended"):
                await output_of(box, container, "true")

    bounded(test)


def test_it_dies_with_the_container(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            read, write = os.pipe()
            child = await box.execute(container, ExecSpec(("sh", "-c", "echo up; exec sleep 600"), ENV), (write,) * 3)
            os.close(write)
            assert await asyncio.to_thread(os.read, read, 10) == b"up\n"
            container.kill()
            await child.ended()
            assert child.exit is not None
            assert child.exit.code == 137
            assert os.read(read, 10) == b"", "nobody has the other end any more"
            os.close(read)

    bounded(test)


async def terminal_of(box: PodSandbox, container: SandboxContainer, *argv: str) -> tuple[Child, int]:
    child = await box.execute(container, ExecSpec(argv, ENV), None)
    assert child.terminal is not None
    return child, child.terminal


def read_all(master: int) -> str:
    """What a terminal's program writes to its end."""
    data = b""
    try:
        while piece := os.read(master, 65536):
            data += piece
    except OSError:  # EIO: the last holder of the other side is gone
        pass
    return data.decode()


def test_a_program_with_a_terminal_can_be_resized_and_interrupted(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            script = "tty; trap 'stty size; exit 5' WINCH; trap 'echo interrupted; exit 6' INT; echo up;"
            script += "while :; do read _; done"
            child, master = await terminal_of(box, container, "sh", "-c", script)
            head = b""
            while b"up" not in head:
                head += await asyncio.to_thread(os.read, master, 4096)
            assert head.decode().splitlines()[0] == "/dev/pts/0"
            os.write(master, b"\x03")
            text = await asyncio.to_thread(read_all, master)
            await child.ended()
            os.close(master)
            assert "interrupted" in text
            assert child.exit is not None
            assert child.exit.code == 6
            child, master = await terminal_of(box, container, "sh", "-c", script)
            head = b""
            while b"up" not in head:
                head += await asyncio.to_thread(os.read, master, 4096)
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
            os.write(master, b"\n")
            text = await asyncio.to_thread(read_all, master)
            await child.ended()
            os.close(master)
            assert "33 101" in text

    bounded(test)


def test_what_joins_cannot_be_traced_by_the_containers_root(lab: Lab) -> None:
    """# finding 5: podmon's copies are not dumpable, and what shows up in the pid namespace has no privilege left."""

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            # A watcher in the container that looks through the fds of every process it sees while others join.
            watch = "while [ ! -e /dev/shm/stop ]; do for f in /proc/[0-9]*/fd/*; do readlink $f; done; done | sort -u"
            task = asyncio.create_task(output_of(box, container, "sh", "-c", watch))
            for _ in range(30):
                await output_of(box, container, "true")
            await output_of(box, container, "touch", "/dev/shm/stop")
            seen = (await task)[1].split()
            assert "/dev/null" in seen
            assert [target for target in seen if target.startswith(("socket:", "anon_inode:"))] == []

    bounded(test)


def test_only_root_may_talk_to_podmon(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box():
            socket_file = lab.directory / "podmon.sock"
            assert socket_file.stat().st_mode & 0o777 == 0o600
            script = "import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
            script += "d = os.open(sys.argv[1], os.O_PATH); os.setresuid(65534, 65534, 65534);"
            script += "s.connect(f'/proc/self/fd/{d}/podmon.sock')"
            result = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", script, lab.directory], capture_output=True, check=False
            )
            assert b"PermissionError" in result.stderr

    bounded(test)


def test_a_client_that_hangs_up_changes_nothing_for_others(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            for _ in range(20):
                client = await Podmon.connect(lab.directory)
                assert client.children[container.number].stage is Stage.RUNNING
                client.detach()
            before = len(list(Path(f"/proc/{box.pid}/fd").iterdir()))
            client = await Podmon.connect(lab.directory)
            client.detach()
            assert (await output_of(box, container, "true"))[0] == 0
            assert len(list(Path(f"/proc/{box.pid}/fd").iterdir())) <= before + 1

    bounded(test)


def test_a_podmon_is_connected_to_with_the_last_fd(lab: Lab) -> None:
    """What it tells of itself brings one; were another one needed then, nobody would hear it."""

    async def test() -> None:
        async with lab.box() as box:
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.dup(0)
            os.close(lowest)
            for spare in range(1, 4):
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, before[1]))
                try:
                    client = await asyncio.wait_for(Podmon.connect(lab.directory), 10)
                except OSError as error:
                    assert error.errno == errno.EMFILE, "not even the socket, rather than nothing for ever"
                    continue
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, before)
                assert client.pid in (box.pid, -1)
                client.detach()

    bounded(test)


ADD_KEY = """
import ctypes
libc = ctypes.CDLL(None)
assert libc.syscall(250, 1, None) > 0, "keyctl: join a new session keyring"
assert libc.syscall(248, b"user", b"secret of the engine", b"x", 1, -3) > 0, "add_key"
"""


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="system call numbers of x86_64")
def test_a_program_that_joins_has_no_keys_of_the_engine(lab: Lab, probe: Path) -> None:
    script = ADD_KEY + EXEC_PROBE
    arguments = [str(lab.slice.path), str(lab.directory), str(lab.busybox), str(probe)]
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert result.stdout == "ENOKEY\n", result.stderr


EXEC_PROBE = """
import asyncio, sys
from pathlib import Path
from cgroups import Cgroup
from sandbox.pod.container import BindMount, ContainerSpec
from sandbox.pod.streams import LogTarget
from tests.sandbox.pod.test_sandbox import ENV, Lab, output_of

async def main():
    lab = Lab(Cgroup(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
    async with lab.box() as box:
        mounts = (BindMount(Path(sys.argv[4]), "/probe", "the probe"),)
        spec = ContainerSpec(("sleep", "600"), lab.busybox, ENV, mounts=mounts)
        container = await box.create_container("c", spec, log=LogTarget(lab.logs, "c.log"))
        await container.start()
        print((await output_of(box, container, "/probe/probe", "session-key", "secret of the engine"))[1], end="")

asyncio.run(main())
"""


def test_a_joining_program_that_is_killed_at_any_moment_has_an_end(lab: Lab) -> None:
    """Root of the container may kill it before podmon knows its number."""

    async def test() -> None:
        async with lab.box() as box:
            killer = "trap '' TERM; while [ ! -e /dev/shm/stop ]; do kill -9 -1; done"
            container = await lab.start(box, f"({killer}) & wait; exec sleep 600")
            ended = 0
            for _ in range(150):
                try:
                    await output_of(box, container, "true")
                except (SpawnError, WrongState):
                    continue
                finally:
                    ended += 1
            assert ended == 150

    bounded(test)


def test_a_pipe_in_the_place_of_a_log_does_not_stop_podmon(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            (lab.logs / "c.log").unlink()
            os.mkfifo(lab.logs / "c.log")
            await box._podmon.reopen_log(container.child)
            assert (await output_of(box, container, "true"))[0] == 0

    bounded(test)


def test_each_podmon_has_an_executable_of_its_own(lab: Lab, tmp_path: Path) -> None:
    """Seals do not stop chmod: root of one container could otherwise keep all later pods from starting."""

    async def test() -> None:
        async with lab.box() as box:
            exe = Path(f"/proc/{box.pid}/exe")
            exe.chmod(0)
            second = lab.slice.create_child("second.scope")
            with second.fd() as cgroup:
                podmon = Podmon.launch(cgroup=cgroup, title="second")
            await podmon.close()

    bounded(test)


def test_podmon_forgets_a_child_that_has_ended_and_no_other(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            ended = await lab.start(box, "exit 7", "ended")
            runs = await lab.start(box, "exec sleep 600", "runs")
            await ended.wait()
            with pytest.raises(WrongState, match="is running"):
                await box._podmon.forget(runs.child)
            await box._podmon.forget(ended.child)
            client = await Podmon.connect(lab.directory)
            assert list(client.children) == [runs.number]
            client.detach()

    bounded(test)


def test_a_refused_request_does_not_end_a_child_that_runs(lab: Lab) -> None:
    """Its log cannot be opened again, as it has none."""

    async def test() -> None:
        async with lab.box() as box:
            null = os.open("/dev/null", os.O_WRONLY)
            spec = ContainerSpec(("sleep", "600"), lab.busybox, ENV)
            container = await box.create_container("c", spec, stdout=null, stderr=null)
            os.close(null)
            await container.start()
            with pytest.raises(KernelError, match=r"refused the request: No such file or directory \(ENOENT\)"):
                await box._podmon.reopen_log(container.child)
            assert (await output_of(box, container, "true"))[0] == 0
            assert container.stage is Stage.RUNNING

    bounded(test)


def test_a_thread_can_enter_the_shared_namespaces(lab: Lab) -> None:
    def hostname_inside(path: Path) -> str:
        with path.open() as namespace:
            native.setns(namespace.fileno(), native.CLONE_NEWUTS)
        return os.uname().nodename

    async def test() -> None:
        async with lab.box() as box:
            with ThreadPoolExecutor(1) as threads:  # of its own: it stays there
                assert threads.submit(hostname_inside, box.namespaces["uts"]).result() == "test"
            assert os.uname().nodename != "test"

    bounded(test)


def test_only_pipes_sockets_and_dev_null_are_given_to_a_program_that_joins(lab: Lab) -> None:
    """# finding 7: a terminal takes TIOCSTI, and a file could be opened anew, for writing."""

    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            master, terminal = os.openpty()
            file = os.open(lab.directory / "file", os.O_RDONLY | os.O_CREAT)
            zero = os.open("/dev/zero", os.O_RDONLY)
            for fd in (terminal, file, zero):
                with pytest.raises(SandboxError, match="pipes, sockets and /dev/null only"):
                    await box.execute(container, ExecSpec(("true",), ENV), (fd, -1, -1))
            for fd in (master, terminal, file, zero):
                os.close(fd)
            assert (await output_of(box, container, "true"))[0] == 0

    bounded(test)


def test_the_dev_null_of_a_program_that_joins_is_the_pods_and_stays_as_it_is(lab: Lab) -> None:
    """Root in a container could change the mode of the host's."""

    async def test() -> None:
        host = Path("/dev/null").stat()
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            code, text = await output_of(box, container, "sh", "-c", "cat; chmod 600 /proc/self/fd/0 2>&1")
            assert code == 1
            assert "Read-only file system" in text
        assert Path("/dev/null").stat().st_mode == host.st_mode

    bounded(test)


def test_a_program_that_is_stopped_on_its_way_is_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            container.scope.freeze()
            monkeypatch.setattr(wire, "JOIN_TIMEOUT", 0.2)
            with pytest.raises(KernelError, match=r"join the container: Connection timed out \(ETIMEDOUT\)"):
                await box.execute(container, ExecSpec(("true",), ENV), (-1, -1, -1))
            container.scope.thaw()

    bounded(test)


# --- a client short of fds


def test_a_child_whose_pidfd_never_came_is_signalled_by_podmon(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
            while not (lab.logs / "c.log").stat().st_size:
                await output_of(box, container, "true")
            container.child.close()  # as after a SPAWNED that came without its fd
            container.signal(signal.SIGTERM)
            assert (await container.wait()).code == 5

    bounded(test)


def test_a_podmon_whose_pidfd_never_came_is_shut_down(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            container = await lab.start(box, "exec sleep 600")
            assert container.pidfd is not None
            pidfd = os.dup(container.pidfd)
            client = await lab.connect(container)
            os.close(client._podmon.pidfd)
            client._podmon.pidfd = -1
            await client._podmon.close()
            await client._podmon.close()
            await readable(pidfd)
            os.close(pidfd)
            await box._podmon.gone()

    bounded(test)


# --- who makes a container may die at any point


def test_a_container_is_made_with_the_number_and_id_that_were_said_before(lab: Lab) -> None:
    async def test() -> None:
        async with lab.box() as box:
            for name in ("a", "b"):
                number, identity = box.next_number, name * 64
                spec = ContainerSpec(("true",), lab.busybox, ENV)
                container = await box.create_container(name, spec, identity=identity)
                assert (container.number, container.id, container.scope.name) == (number, identity, f"{identity}.scope")
            with pytest.raises(ValueError, match="not the id"):
                await box.create_container("c", spec, identity="../" * 21 + "x")
            second = await lab.connect()
            assert second.next_number == box.next_number
            second.detach()

    bounded(test)


def test_a_container_whose_maker_died_before_its_first_gate_is_started_by_the_next(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with lab.box() as first:

            async def never(child: Child, gate: str) -> None:
                await asyncio.Event().wait()

            monkeypatch.setattr(first._podmon, "open_gate", never)
            spec = ContainerSpec(("sh", "-c", "exit 3"), lab.busybox, ENV)
            number, identity = first.next_number, "d" * 64
            making = asyncio.ensure_future(first.create_container("c", spec, identity=identity))
            while number not in first._podmon.children:
                await asyncio.sleep(0)
            await first._podmon.children[number].until(Stage.PREPARED)
            second = await PodSandbox.connect(
                name="test", directory=lab.directory, pod_slice=lab.slice, containers={number: ("c", identity)}
            )
            container = second.containers["c"]
            assert container.stage is Stage.PREPARED
            await container.start()
            assert (await container.wait()).code == 3
            second.detach()
            making.cancel()

    bounded(test)
