"""sandbox.PodSandbox, as another runtime uses it: no engine, no manifest, no image."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from sandbox.pod.paths import socket_path
from sandbox.pod.slices import Slices

pytestmark = pytest.mark.root

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL


@pytest.fixture
def box(home: Path) -> Iterator[sandbox.PodSandbox]:
    with sandbox.PodSandbox.create(name="web", root=home) as box:
        yield box


@pytest.fixture
def shell(box: sandbox.PodSandbox, busybox: Path) -> Shell:
    return Shell(box, busybox)


class Shell:
    """Makes containers that run a script."""

    def __init__(self, box: sandbox.PodSandbox, rootfs: Path) -> None:
        self.box = box
        self.rootfs = rootfs

    def __call__(self, script: str, name: str = "app", **streams: object) -> sandbox.SandboxContainer:
        spec = sandbox.ContainerSpec(argv=["sh", "-c", script], rootfs=str(self.rootfs))
        return self.box.create_container(name, spec, **streams)  # type: ignore[arg-type]

    def run(self, script: str, name: str = "app", **streams: object) -> sandbox.ExitStatus:
        container = self(script, name, **streams)
        container.start()
        return container.wait(timeout=60)


# ---- its life ----


def test_a_sandbox_a_container_its_end_and_nothing_left(home: Path, busybox: Path) -> None:
    """The example of the contract, to the letter."""
    box = sandbox.PodSandbox.create(name="web", network=None, root=home)
    assert set(box.namespaces) == {"net", "ipc", "uts"}
    c = box.create_container("app", sandbox.ContainerSpec(argv=["sh", "-c", "exit 3"], rootfs=str(busybox)))
    assert c.poll() is None and c.pid
    c.start()
    status = c.wait()
    assert (status.code, status.signal, status.oom_killed) == (3, None, False)
    assert status.started and status.started <= status.finished
    box.stop(timeout=5)
    box.remove()
    assert sandbox.PodSandbox.list(root=home) == []
    assert not socket_path(home).exists(), "no engine is needed"


def test_everything_may_be_done_twice(shell: Shell) -> None:
    container = shell("exit 0")
    container.start()
    for _ in range(2):
        assert container.wait().success
        container.kill()
        container.signal(signal.SIGTERM)
        shell.box.stop()
        container.remove()
    for _ in range(2):
        shell.box.remove()
        shell.box.detach()
    with pytest.raises(sandbox.WrongState, match="removed or left"):
        shell("exit 0")


def test_a_container_waits_at_its_gate_until_it_is_started(shell: Shell) -> None:
    container = shell("exit 0", stdout=PIPE)
    assert Path(f"/proc/{container.pid}").exists()
    with pytest.raises(sandbox.TimedOut):
        container.wait(timeout=0.05)
    container.start()
    container.wait(timeout=60)
    with pytest.raises(sandbox.WrongState, match="app is ended"):
        container.start()


def test_nothing_joins_a_container_that_has_ended_or_is_removed(shell: Shell) -> None:
    container = shell("exit 0")
    container.start()
    container.wait(timeout=60)
    with pytest.raises(sandbox.WrongState, match="ended"):
        container.exec(["true"])
    other = shell("exit 0", name="other")
    other.remove()
    with pytest.raises(sandbox.WrongState, match="other is removed"):
        other.exec(["true"])


def test_its_containers_share_what_a_pods_do(shell: Shell) -> None:  # A3, A10
    container = shell("hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/pid", stdout=PIPE)
    container.start()
    assert container.stdout is not None
    hostname, net, pid = container.stdout.read().decode().split()
    assert hostname == "web"
    assert net == str(Path(shell.box.namespaces["net"]).readlink()) != str(Path("/proc/self/ns/net").readlink())
    assert pid != str(Path(f"/proc/{shell.box.pid}/ns/pid").readlink())


def test_what_was_asked_for_is_seen(home: Path, busybox: Path) -> None:
    spec = sandbox.ContainerSpec(argv=["sh", "-c", "hostname; echo $$; readlink /proc/self/ns/net"], rootfs=busybox)
    with sandbox.PodSandbox.create(
        name="web", hostname="other", network="host", share_process_namespace=True, root=home
    ) as box:
        container = box.create_container("app", spec, stdout=PIPE)
        container.start()
        assert container.stdout is not None
        hostname, pid, net = container.stdout.read().decode().split()
    assert (hostname, net) == ("other", str(Path("/proc/self/ns/net").readlink()))
    assert pid != "1"
    with pytest.raises(ValueError, match="network"):
        sandbox.PodSandbox.create(name="web", network="bridge", root=home)  # type: ignore[arg-type]


def test_signals_kills_and_how_they_end(shell: Shell) -> None:  # A24
    handles = shell("trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done", stdout=PIPE)
    handles.start()
    assert handles.stdout is not None and handles.stdout.readline() == b"up\n"
    handles.signal(signal.SIGTERM)
    assert handles.wait(timeout=60).code == 9
    killed = shell("sleep 60", "killed")
    killed.start()
    killed.kill()
    status = killed.wait(timeout=60)
    assert (status.code, status.signal) == (137, signal.SIGKILL)


def test_a_program_that_is_not_there_is_an_error_of_start(shell: Shell) -> None:
    container = shell.box.create_container("app", sandbox.ContainerSpec(argv=("nonsense",), rootfs=shell.rootfs))
    with pytest.raises(sandbox.SpawnError, match="nonsense"):
        container.start()
    with pytest.raises(sandbox.SpawnError, match="nonsense"):
        container.wait()
    container.remove()
    assert shell.box.containers == {}


def test_a_name_is_one_containers_until_that_is_removed(shell: Shell) -> None:
    first = shell("exit 0")
    with pytest.raises(sandbox.AlreadyExists):
        shell("exit 0")
    assert list(shell.box.containers) == ["app"]
    first.remove()
    assert shell.run("exit 5").code == 5


def test_a_container_that_cannot_be_made_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        shell.box.create_container("app", sandbox.ContainerSpec(["true"], tmp_path / "nowhere"), stdout=PIPE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        shell("true", stdout=987)
    with pytest.raises(ValueError, match="STDOUT"):
        shell("true", stdout=STDOUT)
    assert shell.run("exit 0").success


@pytest.mark.parametrize("argv", ["ls", [], ()])
def test_a_command_is_a_list_of_at_least_one_string(argv: str | list[str]) -> None:
    with pytest.raises(ValueError, match="argv"):
        sandbox.ContainerSpec(argv=argv, rootfs="/")


def test_a_spec_is_the_same_whatever_it_was_made_of() -> None:
    lists = sandbox.ContainerSpec(argv=["a", "b"], rootfs="/srv", mounts=[sandbox.BindMount("/x", "/y")])
    values = sandbox.ContainerSpec(argv=("a", "b"), rootfs=Path("/srv"), mounts=(sandbox.BindMount("/x", "/y"),))
    assert lists == values


def test_a_program_joins_a_container(shell: Shell) -> None:
    container = shell("echo there > /tmp/x; echo up; sleep 60", stdout=PIPE)
    container.start()
    assert container.stdout is not None and container.stdout.readline() == b"up\n"
    done = container.exec(["sh", "-c", "cat /tmp/x -; echo $WHO"], input=b"given\n", env={"WHO": "me"}, cwd="/tmp")
    assert (done.exit_code, done.stdout) == (0, "there\ngiven\nme\n")


def test_a_directory_of_the_host_is_shown_in_it(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    mount = sandbox.BindMount(str(tmp_path), "/data", read_only=True)
    spec = sandbox.ContainerSpec(["sh", "-c", "cat /data/file; ! touch /data/x"], shell.rootfs, mounts=[mount])
    container = shell.box.create_container("app", spec, stdout=PIPE, stderr=DEVNULL)
    container.start()
    assert container.stdout is not None and container.stdout.read() == b"from the host\n"
    assert container.wait(timeout=60).success


# ---- streams ----


def test_stdout_is_our_own_unless_it_is_said_otherwise(shell: Shell, capfd: pytest.CaptureFixture[str]) -> None:
    assert shell.run("echo out; echo err >&2").success
    assert capfd.readouterr() == ("out\n", "err\n")
    assert shell.run("echo out; echo err >&2", "quiet", stdout=DEVNULL, stderr=DEVNULL).success
    assert capfd.readouterr() == ("", "")


def test_output_goes_to_a_file_an_fd_or_a_socket_whole(shell: Shell) -> None:
    with tempfile.TemporaryFile() as file:
        assert shell.run("seq 100000", "file", stdout=file, stderr=STDOUT).success
        file.seek(0)
        assert file.read() == b"".join(b"%d\n" % number for number in range(1, 100001))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert shell.run("echo to a socket", "socket", stdout=theirs.fileno()).success
        assert ours.recv(100) == b"to a socket\n"


def test_the_containers_stdout_is_a_pipe_of_its_own_whatever_ours_is(shell: Shell) -> None:
    """It must not be able to open a file of the host's anew, for reading say."""
    with tempfile.TemporaryFile() as file:
        shell.run("readlink /proc/self/fd/1; cat /proc/self/fd/1 2>/dev/null & sleep 0.2; exit 0", stdout=file)
        file.seek(0)
        assert file.read().startswith(b"pipe:")


def test_stderr_follows_stdout_where_it_is_asked_to(shell: Shell) -> None:
    container = shell("echo one; echo two >&2; echo three", stdout=PIPE, stderr=STDOUT)
    container.start()
    assert container.stdout is not None and container.stderr is None
    assert container.stdout.read() == b"one\ntwo\nthree\n"


def test_stdin_is_nothing_a_pipe_or_what_is_given(shell: Shell) -> None:
    assert shell.run("cat; exit 6").code == 6
    piped = shell("cat", "piped", stdin=PIPE, stdout=PIPE)
    piped.start()
    assert piped.stdin is not None and piped.stdout is not None
    piped.stdin.write(b"line\n")
    piped.stdin.flush()
    assert piped.stdout.readline() == b"line\n"
    piped.stdin.close()
    assert piped.wait(timeout=60).success
    with tempfile.TemporaryFile() as file:
        file.write(b"from a file")
        file.seek(0)
        given = shell("cat", "given", stdin=file, stdout=PIPE)
        given.start()
        assert given.stdout is not None and given.stdout.read() == b"from a file"


def test_a_reader_of_our_stdout_that_is_gone_ends_the_container(shell: Shell) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    status = shell.run("yes", stdout=write_end, stderr=DEVNULL)
    os.close(write_end)
    assert not status.success


# ---- where it stands ----


def test_a_directory_of_the_callers_is_used_and_given_back(home: Path, tmp_path: Path, busybox: Path) -> None:
    mine, fresh, full = tmp_path / "mine", tmp_path / "a" / "fresh", tmp_path / "full"
    mine.mkdir()
    for directory in (mine, fresh):
        with sandbox.PodSandbox.create(name="web", directory=directory, root=home) as box:
            box.create_container("app", sandbox.ContainerSpec(["true"], busybox))
            assert box.directory == directory
            assert sandbox.PodSandbox.list(root=home) == [directory]
    assert list(mine.iterdir()) == [] and not fresh.exists()
    full.mkdir()
    (full / "file").touch()
    with pytest.raises(sandbox.WrongState, match="not empty"):
        sandbox.PodSandbox.create(name="web", directory=full, root=home)
    assert [path.name for path in full.iterdir()] == ["file"]


def test_one_that_is_left_is_found_again_with_its_containers(home: Path, busybox: Path) -> None:
    box = sandbox.PodSandbox.create(name="web", bound=False, root=home)
    script = "read x < /tmp/f; exit $x"
    spec = sandbox.ContainerSpec(["sh", "-c", f"mkfifo /tmp/f; {script}"], busybox, {"WHO": "me"}, cwd="/tmp")
    for name in ("a", "b"):
        box.create_container(name, spec, stdout=DEVNULL, stderr=DEVNULL).start()
    with pytest.raises(sandbox.WrongState, match="another program drives"):
        sandbox.PodSandbox.connect(box.directory)
    box.detach()
    assert sandbox.PodSandbox.list(root=home) == [box.directory]
    with sandbox.PodSandbox.connect(box.directory) as again:
        assert (again.name, again.directory, sorted(again.containers)) == ("web", box.directory, ["a", "b"])
        found = again.containers["a"]
        assert found.exec(["sh", "-c", "echo $WHO; pwd"]).stdout == "me\n/tmp\n"
        found.exec(["sh", "-c", "until [ -p /tmp/f ]; do sleep 0.05; done; echo 8 > /tmp/f"])
        assert found.wait(timeout=60).code == 8
        found.remove()
        assert again.create_container("c", sandbox.ContainerSpec(["true"], busybox)).pid
    with pytest.raises(sandbox.NotFound, match="no sandbox stands"):
        sandbox.PodSandbox.connect(box.directory)


def test_its_cgroup_is_named_after_the_root_and_below_no_pods(box: sandbox.PodSandbox, home: Path) -> None:
    slices = Slices(home)
    (identity,) = slices.boxes()
    assert slices.box(identity).path.is_dir() and box.directory == home / "boxes" / identity
    assert slices.uids() == set()


def test_podmons_death_ends_its_containers(shell: Shell) -> None:  # A22
    container = shell("sleep 60")
    container.start()
    os.kill(shell.box.pid, signal.SIGKILL)
    assert container.wait(timeout=60).code == 137
    with pytest.raises(sandbox.WrongState, match="podmon has ended"):
        shell("true", "more")
