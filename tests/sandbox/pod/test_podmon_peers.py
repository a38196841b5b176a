"""Who talks to a podmon badly harms nobody else.

Peers that do not read, that vanish, and fds that are not what they should be.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cgroups import Cgroup
from sandbox.linux import mounts, native
from sandbox.linux.ops import (
    Exec,
    Fork,
    Gate,
    Log,
    Mount,
    Op,
    Ready,
    Reap,
    Root,
    Stdin,
    Symlink,
    Tty,
    encode,
    encode_setup,
)
from sandbox.pod import wire as wire_module
from sandbox.pod.ground import POD_ROOTFS
from tests.sandbox.pod.test_podmon import BUSYBOX, FDS, TIMEOUT, TYPES, Wire, comes_to_rest, fds_of, listening_wire

pytestmark = pytest.mark.root

LISTENING = sorted([*FDS, "socket"])
OF_POD = native.SCOPE["OF_POD"]

TERMINAL = [  # and where it comes from
    Mount("tmpfs", "/dev", ("size=4096", "nr_inodes=8")),
    Mount("devpts", "/dev/pts", ("newinstance", "ptmxmode=0666")),
    Symlink("pts/ptmx", "/dev/ptmx"),
    Tty(kept=True),
]


@pytest.fixture
def wire(pod_slice: Cgroup, tmp_path: Path, busybox: Path) -> Iterator[Wire]:
    """A podmon that listens."""
    wire = listening_wire(pod_slice, tmp_path, busybox)
    yield wire
    wire.close()


@pytest.fixture
def client(wire: Wire, tmp_path: Path) -> Iterator[socket.socket]:
    """A further connection to it."""
    connection = wire_module.connected(tmp_path)
    connection.settimeout(TIMEOUT)
    with connection:
        yield connection


def message(kind: str, **fields: int) -> bytes:
    return native.encode_message(type=native.MESSAGE[kind], **fields)


def said_to(connection: socket.socket) -> Any:
    return native.decode_message(connection.recv(native.MESSAGE_SIZE))


# --- peers that do not read, or vanish


def test_a_client_that_never_reads_holds_nobody_up_and_is_dropped_in_the_end(
    wire: Wire, client: socket.socket, tmp_path: Path
) -> None:
    silent = [wire_module.connected(tmp_path) for _ in range(20)]  # that say nothing either
    client.send(message("SUBSCRIBE"))
    sent = 0
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while sent < 20_000:  # four times what podmon keeps for it, and what its socket holds
            client.send(message("FORGET", id=1))
            sent += 1
            if sent % 1000 == 0:
                wire.works(sent)
    assert sent > 4096, "what a busy client has not read yet is kept for it"
    for each in silent:
        each.close()
    wire.works(1)
    assert fds_of(wire.pid) == LISTENING
    with wire_module.connected(tmp_path) as again:
        again.settimeout(TIMEOUT)
        again.send(message("SUBSCRIBE", id=3))
        assert TYPES[said_to(again).type] == "READY"


@pytest.mark.parametrize("kind", ["SUBSCRIBE", "SPAWN", "ATTACH", "SHUT"])
def test_a_client_that_is_gone_before_it_is_heard_harms_nobody(wire: Wire, client: socket.socket, kind: str) -> None:
    """podmon finds its request, the fds of that, and nobody to answer."""
    wire.scope.freeze()
    rootfs = mounts.bind(wire.busybox)
    spec = encode([Root(rootfs, POD_ROOTFS), Exec((BUSYBOX, "sh", "-c", "exit 3"))], clone_flags=native.CLONE_NEWNS)
    memfd = native.sealed_memfd("spec", spec.data)
    fds = [memfd, *spec.fds] if kind in ("SPAWN", "ATTACH") else []
    if kind == "SHUT":
        client.shutdown(socket.SHUT_WR)
    else:
        socket.send_fds(client, [message(kind, id=9, scope=OF_POD)], fds)
    client.close()
    wire.scope.thaw()
    for fd in (memfd, rootfs):
        os.close(fd)
    wire.works(1)
    if kind == "SPAWN":  # it is the pod's, and the next who asks is told
        wire.message("SUBSCRIBE", id=4)
        heard = [wire.answer()]
        while TYPES[heard[-1].type] != "EXITED":
            heard.append(wire.answer())
        assert (heard[-1].id, heard[-1].code) == (9, 3)
        wire.message("FORGET", id=9, scope=OF_POD, serial=1)
        while TYPES[wire.answer().type] != "DONE":
            pass
    assert comes_to_rest(wire.pid)
    assert fds_of(wire.pid) == LISTENING


def test_an_empty_message_is_the_end_of_its_client_alone(wire: Wire, client: socket.socket) -> None:
    """The kernel tells podmon the same of it as of one who has gone.  One with an fd is a message."""
    socket.send_fds(client, [b""], [client.fileno()])
    assert said_to(client).err == errno.EBADMSG
    client.send(b"")
    assert client.recv(1) == b""
    wire.works(1)
    assert fds_of(wire.pid) == LISTENING


# --- fds that are cut, or not what they should be


@pytest.mark.parametrize("room", range(5))
def test_a_message_whose_fds_find_no_room_is_refused_and_those_that_did_are_closed(wire: Wire, room: int) -> None:
    numbers = {int(fd.name) for fd in Path(f"/proc/{wire.pid}/fd").iterdir()}
    free = [number for number in range(64) if number not in numbers]
    _, most = resource.prlimit(wire.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(wire.pid, resource.RLIMIT_NOFILE, (free[room], most))
    wire.message("SPAWN", *[0] * 6, id=5)
    assert wire.refusal(5) == errno.EMFILE
    wire.send(b"short", *[0] * 6)  # whose id would be what was in the buffer before
    assert wire.refusal(0) == errno.EBADMSG
    resource.prlimit(wire.pid, resource.RLIMIT_NOFILE, (most, most))
    wire.works(1)
    assert fds_of(wire.pid) == LISTENING


def fds_of_every_kind(stack: ExitStack, tmp_path: Path) -> dict[str, int]:
    """One of each kind that may be sent, not blocking."""

    def kept(fd: int) -> int:
        stack.callback(os.close, fd)
        os.set_blocking(fd, False)
        return fd

    def pair(kind: int) -> int:
        ends = socket.socketpair(socket.AF_UNIX, kind)
        for end in ends:
            stack.enter_context(end)
        ends[0].setblocking(False)
        return ends[0].fileno()

    (tmp_path / "file").write_text("x\n")
    read, write = map(kept, os.pipe())
    return {
        "read end": read,
        "write end": write,
        "file": kept(os.open(tmp_path / "file", os.O_RDWR)),
        "directory": kept(os.open(tmp_path, os.O_RDONLY)),
        "path": kept(os.open(tmp_path / "file", os.O_RDONLY)),
        "null": kept(os.open("/dev/null", os.O_RDWR)),
        "zero": kept(os.open("/dev/zero", os.O_RDWR)),
        "stream": pair(socket.SOCK_STREAM),
        "packets": pair(socket.SOCK_SEQPACKET),
        "datagrams": pair(socket.SOCK_DGRAM),
        "pidfd": kept(os.pidfd_open(os.getpid())),
        "event": kept(os.eventfd(1)),
        "memfd": kept(os.memfd_create("x")),
    }


PLACES: dict[str, Callable[[int], dict[str, Any]]] = {
    "cgroup": lambda fd: {"cgroup": fd},
    "log directory": lambda fd: {"log": Log(fd, "x.log", None, None)},
    "stdout": lambda fd: {"log": Log(0, "x.log", fd, None)},
    "stderr": lambda fd: {"log": Log(0, "x.log", None, fd)},
    "stdin": lambda fd: {"stdin": Stdin(fd)},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("scope", native.SCOPE)
def test_a_child_with_an_fd_of_any_kind_in_any_place_comes_to_an_end(
    wire: Wire, client: socket.socket, tmp_path: Path, place: str, scope: str
) -> None:
    """Or is refused; nobody else is held up by it, and nothing is left open."""
    if scope == "OF_POD":
        wire.message("SUBSCRIBE")
        assert TYPES[wire.answer().type] == "READY"
    with ExitStack() as stack:
        rootfs = mounts.bind(wire.busybox)
        stack.callback(os.close, rootfs)
        kinds = fds_of_every_kind(stack, tmp_path) | {"podmon's own": client.fileno()}
        for number, (kind, fd) in enumerate(kinds.items(), start=10):
            ops = [Root(rootfs, POD_ROOTFS), Exec((BUSYBOX, "echo", kind))]
            spec = encode(ops, clone_flags=native.CLONE_NEWNS, **PLACES[place](fd))
            wire.spec(spec.data, *spec.fds, id=number, scope=native.SCOPE[scope])
            wire.heard(number)
            if scope == "OF_POD" and TYPES[wire.last.type] != "REFUSED":
                wire.message("FORGET", id=number, scope=OF_POD, serial=1)
                assert TYPES[wire.answer().type] == "DONE"
            wire.works(2)
    client.close()
    assert comes_to_rest(wire.pid)
    wire.works(3)
    assert fds_of(wire.pid) == LISTENING


@pytest.mark.parametrize("place", ["stdout", "stderr", "stdin"])
def test_a_stream_on_which_podmon_could_wait_is_refused(wire: Wire, place: str) -> None:
    read, write = os.pipe()
    spec = encode([Exec(("/x",))], **PLACES[place](write if place == "stdin" else read))
    wire.spec(spec.data, *spec.fds, id=5)
    assert wire.refusal(5) == errno.EINVAL
    for fd in (read, write):
        os.close(fd)
    wire.works(1)
    assert fds_of(wire.pid) == LISTENING


@pytest.mark.parametrize("place", ["listener", "records"])
def test_a_setup_with_an_fd_of_another_kind_leaves_nothing_open(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path, place: str
) -> None:
    """Any is taken for the directory of records, and nothing can be written into what is none."""
    with ExitStack() as stack:
        (tmp_path / "wire").mkdir()
        for kind, fd in fds_of_every_kind(stack, tmp_path).items():
            wire = Wire(pod_slice, tmp_path / "wire", busybox)
            spec = encode_setup(
                [], listener=fd if place == "listener" else None, records=fd if place == "records" else None, bound=True
            )
            wire.spec(spec.data, *spec.fds, kind="SETUP", id=2)
            answer = wire.answer()
            if place == "listener":
                assert (TYPES[answer.type], answer.id) == ("REFUSED", 2), kind
            wire.works(3)
            found = len(list(Path(f"/proc/{wire.pid}/fd").iterdir()))
            assert found == len(FDS) + (place == "records"), kind
            wire.close()
            for name in ("leaf.scope", "podmon.scope"):
                pod_slice.child(name).remove()


# --- lists that are well formed, and not to be walked


@pytest.mark.parametrize(
    "ops",
    [[Fork()], [Ready(), Exec(("/x",))], [Exec(("/x",))], [Reap()], [Gate("START")]],
    ids=lambda ops: type(ops[0]).__name__,
)
def test_podmon_hands_itself_over_to_nobody(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path, ops: Sequence[Op]
) -> None:
    """What only a child can do fails in podmon itself, and the pod goes on."""
    wire = Wire(pod_slice, tmp_path, busybox)
    try:
        wire.spec(encode_setup(ops, listener=None, records=None, bound=True).data, kind="SETUP", id=2)
        answer = wire.answer()
        assert (TYPES[answer.type], answer.id, answer.op, answer.err) == ("FAILED", 2, 0, errno.EBADF)
        wire.works(3)
    finally:
        wire.close()


def test_lists_of_strings_that_share_their_bytes_are_refused(wire: Wire) -> None:
    """Each would be looked at anew: with four thousand of them over eight megabytes, for minutes."""
    option = Mount("tmpfs", "/x", ("a",) * 100)
    data = bytearray(encode([Root(0, POD_ROOTFS), option, *[Mount("tmpfs", "/x", ("b",))] * 9]).data)
    header, size = native.ffi.sizeof("struct sp_spec"), native.ffi.sizeof("struct sp_op")
    ops = native.ffi.from_buffer("struct sp_op[]", memoryview(data)[header : header + 11 * size])
    wire.spec(bytes(data), 0, id=2)
    assert wire.heard(2)[0] != "REFUSED"
    for op in ops[2:11]:
        op.s3, op.a = ops[1].s3, ops[1].a
    wire.spec(bytes(data), 0, id=3)
    assert wire.refusal(3) == errno.EINVAL


def test_a_terminal_beside_pipes_takes_their_place(wire: Wire, tmp_path: Path) -> None:
    """No engine asks for both.  The pipes are closed, or podmon would watch one for a container that is gone."""
    wire.message("SUBSCRIBE")
    assert TYPES[wire.answer().type] == "READY"
    log = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    pipes = [os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for _ in range(2)]
    rootfs = mounts.bind(wire.busybox)
    ops = [
        Root(rootfs, POD_ROOTFS),
        *TERMINAL,
        Exec((BUSYBOX, "echo", "on the terminal")),
    ]
    spec = encode(
        ops,
        clone_flags=native.CLONE_NEWNS,
        log=Log(log, "x.log", pipes[0][0], None),
        stdin=Stdin(pipes[1][1]),
    )
    wire.spec(spec.data, *spec.fds, id=5, scope=OF_POD)
    assert wire.heard(5)[-1] == "EXITED"
    assert "on the terminal" in (tmp_path / "x.log").read_text()
    wire.message("FORGET", id=5, scope=OF_POD, serial=1)
    assert TYPES[wire.answer().type] == "DONE"
    os.write(pipes[0][1], b"to nobody")
    wire.works(1)
    for fd in (log, rootfs, *pipes[0], *pipes[1]):
        os.close(fd)
    assert comes_to_rest(wire.pid)
    assert fds_of(wire.pid) == LISTENING


def test_podmon_rests_when_a_terminal_that_nobody_has_open_is_written_to(wire: Wire) -> None:
    """Its master is always ready then, and takes nothing: the input ends, as a pipe's without a reader does."""
    wire.message("SUBSCRIBE")
    assert TYPES[wire.answer().type] == "READY"
    rootfs = mounts.bind(wire.busybox)
    script = f"exec <&- >&- 2>&-; exec {BUSYBOX} sleep 1000"
    ops = [Root(rootfs, POD_ROOTFS), *TERMINAL, Exec((BUSYBOX, "sh", "-c", script))]
    spec = encode(ops, clone_flags=native.CLONE_NEWNS | native.CLONE_NEWPID, stdin=Stdin(None))
    wire.spec(spec.data, *spec.fds, id=5, scope=OF_POD)
    os.close(rootfs)
    assert [TYPES[wire.answer().type] for _ in range(2)] == ["SPAWNED", "RUNNING"]
    stdin, its_stdin = socket.socketpair()
    stdout, its_stdout = socket.socketpair()
    streams = native.STREAM["STDIN"] | native.STREAM["STDOUT"]
    wire.message("ATTACH", its_stdin.fileno(), its_stdout.fileno(), id=5, scope=OF_POD, streams=streams, serial=1)
    for end in (its_stdin, its_stdout):
        end.close()
    assert TYPES[wire.answer().type] == "DONE"
    assert stdout.recv(1) == b"", "the program has closed it"
    stdin.setblocking(False)
    gone = False
    for number in range(6, 26):  # more than a terminal keeps, a piece in each turn of podmon
        try:
            stdin.send(b"a line\n" * 9000)  # of a line without an end a terminal forgets what is too much
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            gone = True
        wire.works(number)
    assert comes_to_rest(wire.pid)
    assert gone, "nobody will read it"
    for end in (stdin, stdout):
        end.close()
