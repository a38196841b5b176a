"""podmon as it is on the wire and in the kernel: what it refuses, what it survives, and what dies with it."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prctl
import pytest

from cgroups import Cgroup
from sandbox.errors import KernelError, WrongState
from sandbox.linux import mounts, native
from sandbox.linux.ops import (
    Attach,
    Bind,
    Caps,
    Chdir,
    Exec,
    Fd,
    Gate,
    Hostname,
    Ids,
    Mknod,
    Mount,
    Op,
    Ready,
    Root,
    Seccomp,
    Session,
    Signals,
    Symlink,
    Umask,
    encode,
    encode_setup,
)
from sandbox.pod import wire as wire_module
from sandbox.pod.container import DEFAULT_PATH, ContainerSpec
from sandbox.pod.ground import POD_ROOTFS, compile_pod
from sandbox.pod.podmon import Child, Podmon, Stage
from sandbox.pod.sandbox import PodSandbox
from tests import bpf

pytestmark = pytest.mark.root

TIMEOUT = 60  # seconds; generous, for machines that emulate
TYPES = {number: name for name, number in native.MESSAGE.items()}
HEADER = native.ffi.sizeof("struct sp_spec")
SEALS = {"shrink": 0x2, "grow": 0x4, "write": 0x8}  # linux/fcntl.h, F_SEAL_*
F_GET_SEALS = 1034
BUSYBOX = f"{POD_ROOTFS}/bin/busybox"
# What podmon has open: /dev/null thrice, its socket, a signalfd, an epoll and a pidfd of its own.
BELL = "anon_inode:[eventfd]"
FDS = sorted(["/dev/null"] * 3 + ["anon_inode:[eventpoll]", "anon_inode:[pidfd]", "anon_inode:[signalfd]", "socket"])


class Wire:
    """A podmon and the bare socket to it: what the engine never sends can be sent here."""

    def __init__(
        self,
        pod_slice: Cgroup,
        directory: Path,
        busybox: Path,
        listener: int | None = None,
        after: Sequence[Op] = (),
    ) -> None:
        self.slice = pod_slice
        self.busybox = busybox
        self.leaf = pod_slice.create_child("leaf.scope")
        self.scope = pod_slice.create_child("podmon.scope")
        self.socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(TIMEOUT)
        # Little room for answers, so that a test can fill it.
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0)
        with its, self.scope.fd() as cgroup:
            launched = native.launch(
                namespaces=native.CLONE_NEWNET | native.CLONE_NEWIPC | native.CLONE_NEWUTS | native.CLONE_NEWPID,
                control=its.fileno(),
                cgroup=cgroup,
                title="test",
            )
        self.pid, self.pidfd = launched.pid, launched.pidfd
        self._fds = ExitStack()
        root = mounts.tmpfs(64 << 10, 0o755)
        os.mkdir(POD_ROOTFS.lstrip("/"), dir_fd=root)
        spec = encode_setup(
            [*compile_pod(hostname="test", root=root, at=str(directory)), *after],
            listener=listener,
            records=None,
            bound=True,
        )
        self.spec(spec.data, *spec.fds, kind="SETUP", id=1)
        os.close(root)
        ready = self.answer()
        assert (TYPES[ready.type], ready.id, ready.code) == ("READY", 1, native.PROTOCOL)
        self.message("REOPEN", id=77)
        assert self.refusal(77) == errno.ENOENT  # a turn later, in which it has closed what SETUP brought

    def send(self, message: bytes, *fds: int) -> None:
        socket.send_fds(self.socket, [message], fds)

    def message(self, kind: str | int, *fds: int, **fields: int) -> None:
        number = native.MESSAGE[kind] if isinstance(kind, str) else kind
        fields.setdefault("scope", native.SCOPE["OF_CONNECTION"])
        self.send(native.encode_message(type=number, **fields), *fds)

    def spec(self, data: bytes, *fds: int, kind: str = "SPAWN", **fields: int) -> None:
        """Send a spec of just these bytes."""
        memfd = native.sealed_memfd("spec", data)
        try:
            self.message(kind, memfd, *fds, **fields)
        finally:
            os.close(memfd)

    def request(
        self, kind: str, ops: Sequence[Op], *, clone_flags: int = 0, leaf: Cgroup | None = None, **fields: int
    ) -> None:
        with ExitStack() as stack:
            cgroup = stack.enter_context(leaf.fd()) if leaf else None
            spec = encode(ops, clone_flags=clone_flags, cgroup=cgroup)
            self.spec(spec.data, *spec.fds, kind=kind, **fields)

    def spawn(self, number: int, *ops: Op, leaf: Cgroup | None = None) -> None:
        self.request("SPAWN", ops, clone_flags=native.CLONE_NEWNS, leaf=leaf or self.leaf, id=number)

    def run(self, number: int, script: str, *before: Op, leaf: Cgroup | None = None) -> None:
        """Spawn a shell, in busybox's rootfs, after these ops."""
        rootfs = mounts.bind(self.busybox)
        try:
            self.spawn(number, Root(rootfs, POD_ROOTFS), *before, Exec((BUSYBOX, "sh", "-c", script)), leaf=leaf)
        finally:
            os.close(rootfs)

    def answer(self) -> Any:
        """The next message; a pidfd that comes with it is closed."""
        data, fds, _, _ = socket.recv_fds(self.socket, native.MESSAGE_SIZE, 1)
        for fd in fds:
            os.close(fd)
        assert len(data) == native.MESSAGE_SIZE, "podmon has ended"
        return native.decode_message(data)

    def heard(self, number: int) -> list[str]:
        """All that is said of one child to its end, as the types of the messages."""
        types = []
        while not types or types[-1] not in ("EXITED", "FAILED", "REFUSED"):
            answer = self.answer()
            assert answer.id == number, TYPES[answer.type]
            types.append(TYPES[answer.type])
        self.last = answer
        return types

    def works(self, number: int) -> None:
        """Fails unless podmon can still start a program and tell how it ended."""
        self.run(number, "exit 7")
        assert self.heard(number) == ["SPAWNED", "RUNNING", "EXITED"]
        assert self.last.code == 7

    def refusal(self, number: int) -> int:
        """The errno of a refusal that is the next message."""
        answer = self.answer()
        assert (TYPES[answer.type], answer.id) == ("REFUSED", number)
        return int(answer.err)

    def close(self) -> None:
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        assert ends(self.pidfd)
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | native.WALL)
        os.close(self.pidfd)
        self.socket.close()


def ends(pidfd: int) -> bool:
    """Wait until the process has ended; False if it has not after TIMEOUT."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(TIMEOUT * 1000))


def fds_of(pid: int) -> list[str]:
    """What they refer to, but for the one eventfd that it has once there was something to do on disk."""
    targets = (str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    found = sorted(target.partition(":[")[0] if target.startswith("socket") else target for target in targets)
    if BELL in found:
        found.remove(BELL)
    return found


@pytest.fixture
def wire(pod_slice: Cgroup, tmp_path: Path, busybox: Path) -> Iterator[Wire]:
    directory = tmp_path / "empty"
    directory.mkdir()
    wire = Wire(pod_slice, directory, busybox)
    yield wire
    wire.close()


# --- what is refused


@pytest.mark.parametrize("missing", SEALS)
def test_a_spec_that_its_sender_could_still_change_is_refused(wire: Wire, missing: str) -> None:
    memfd = os.memfd_create("spec", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(memfd, encode([Exec(("/x",))]).data)
    native.fcntl.fcntl(memfd, native.F_ADD_SEALS, sum(SEALS.values()) & ~SEALS[missing])
    wire.message("SPAWN", memfd, id=2)
    os.close(memfd)
    assert wire.refusal(2) == errno.EPERM
    wire.works(3)


def test_a_spec_in_something_else_than_a_memfd_is_refused(wire: Wire, tmp_path: Path) -> None:
    path = tmp_path / "spec"
    path.write_bytes(encode([Exec(("/x",))]).data)
    with path.open("rb") as file:
        wire.message("SPAWN", file.fileno(), id=2)
    assert wire.refusal(2) == errno.EPERM
    wire.message("SETUP", id=3)
    assert wire.refusal(3) == errno.EINVAL
    wire.works(4)


def test_a_spec_cut_short_anywhere_is_refused(wire: Wire) -> None:
    data = encode([Hostname("web"), Mount("tmpfs", "/tmp", ("size=4096",)), Exec(("/bin/sh", "-c"), ("A=b",))]).data
    for length in range(len(data)):
        wire.spec(data[:length], id=2 + length)
        assert wire.refusal(2 + length) == errno.EINVAL, length
    wire.works(1)


@pytest.mark.parametrize("more", [b"\0", b"\0" * 40, b"\0" * native.MAX_SPEC], ids=["a byte", "an op", "too much"])
def test_a_spec_with_something_behind_it_is_refused(wire: Wire, more: bytes) -> None:
    wire.spec(encode([Exec(("/x",))]).data + more, id=2)
    assert wire.refusal(2) == errno.EINVAL
    wire.works(3)


def test_garbage_is_refused(wire: Wire) -> None:
    chance = random.Random(1)
    valid = encode([Hostname("web"), Exec(("/x",))]).data
    for number in range(2, 302):
        garbage = chance.randbytes(chance.randrange(1, 400))
        # Behind a good header too, or nothing but the magic number would ever be looked at.
        data = garbage if number % 2 else valid[:HEADER] + garbage.ljust(len(valid), b"\xff")[: len(valid) - HEADER]
        wire.spec(data, id=number)
        assert wire.refusal(number) == errno.EINVAL, data.hex()
    wire.works(1)


# Each field of the header, with values that no spec of two ops and two fds has, and what podmon says to them.
BAD_HEADERS = [
    ("magic", [0, 0x646F7073, 2**32 - 1], errno.EINVAL),
    ("protocol", [0, native.PROTOCOL + 1, 2**32 - 1], errno.EPROTO),
    ("size", [0, 1, HEADER, native.MAX_SPEC, 2**32 - 1], errno.EINVAL),
    ("nops", [0, 1, 3, 4096, 4097, 2**31, 2**32 - 1], errno.EINVAL),
    ("strings", [0, 1, 2**31, 2**32 - 40, 2**32 - 1], errno.EINVAL),
    ("nfds", [0, 1, 3, 128, 2**32 - 1], errno.EINVAL),
    *((name, [2, 3, -2, -(2**31), 2**31 - 1], errno.EINVAL) for name in ("cgroup", "listener", "records", "log_dir")),
    *((name, [2, 3, -2, -(2**31), 2**31 - 1], errno.EINVAL) for name in ("log_stdout", "log_stderr", "stdin_pipe")),
    ("log_name", [4096, 2**31, 2**32 - 1], errno.EINVAL),
    ("record_name", [4096, 2**31, 2**32 - 1], errno.EINVAL),
]  # fmt: skip


@pytest.mark.parametrize(("field", "values", "number"), BAD_HEADERS, ids=[field for field, _, _ in BAD_HEADERS])
def test_a_header_with_one_bad_field_is_refused(wire: Wire, field: str, values: list[int], number: int) -> None:
    with wire.leaf.fd() as cgroup:
        spec = encode([Fd(0, 0, "stdin"), Exec(("/x",))], cgroup=cgroup)
        for value in values:
            data = bytearray(spec.data)
            setattr(native.ffi.from_buffer("struct sp_spec *", data), field, value)
            wire.spec(bytes(data), *spec.fds, id=2)
            assert wire.refusal(2) == number, value
    wire.works(3)


@pytest.mark.parametrize("sent", [0, 1, 3])
def test_a_spec_with_another_number_of_fds_than_it_says_is_refused(wire: Wire, sent: int) -> None:
    spec = encode([Fd(0, 0, "stdin"), Fd(1, 1, "stdout"), Exec(("/x",))])
    wire.spec(spec.data, *range(sent), id=2)
    assert wire.refusal(2) == errno.EINVAL
    wire.works(3)


def test_a_string_table_that_does_not_end_with_nul_is_refused(wire: Wire) -> None:
    data = encode([Exec(("/x",))]).data
    for bad in (data[:-1] + b"x", data.replace(b"\0/x\0", b"//x\0")):
        wire.spec(bad, id=2)
        assert wire.refusal(2) == errno.EINVAL
    wire.works(3)


# What each kind cannot do without: an op with one field changed to what must not be walked.
BAD_OPS: list[tuple[Op, dict[str, int]]] = [
    (Session(), {"kind": native.OP["COUNT"]}),
    (Session(), {"kind": 2**32 - 1}),
    (Session(), {"fd": 1}),
    (Session(), {"fd": -2}),
    (Session(), {"fd": -(2**31)}),
    *((Session(), {name: value}) for name in ("s1", "s2", "s3") for value in (4096, 2**31, 2**32 - 1)),
    (Fd(0, 0, "stdin"), {"fd": -1}),
    (Fd(0, 0, "stdin"), {"b": 3}),
    (Fd(0, 0, "stdin"), {"b": 2**64 - 1}),
    (Attach(0, "/x", "x"), {"fd": -1}),
    (Hostname("x"), {"s1": 0}),
    (Mount("proc", "/x"), {"s1": 0}),
    (Mount("proc", "/x"), {"s2": 0}),
    (Mount("proc", "/x"), {"a": 1}),
    (Mount("proc", "/x", ("a",)), {"a": 2**64 - 1}),
    (Mount("proc", "/x", ("a",)), {"s3": 0}),
    (Gate("START"), {"a": native.GATE["COUNT"]}),
    (Gate("START"), {"a": 2**32 + 1}),
    (Ids(groups=(1,)), {"flags": 4096}),
    (Ids(groups=(1,)), {"flags": 2**32 - 1}),
    (Seccomp(bpf.forbid("kill"), "x"), {"s1": 0}),
    (Seccomp(bpf.forbid("kill"), "x"), {"flags": 4096}),
    (Seccomp(bpf.forbid("kill"), "x"), {"flags": 2**16}),
    (Seccomp(bpf.forbid("kill"), "x"), {"flags": 2**29 + 1}),
    (Seccomp(bpf.forbid("kill"), "x"), {"flags": 2**32 - 1}),
    (Ready(), {}),  # and nothing to run
    (Exec(("/x",)), {"a": 0}),
    (Exec(("/x",)), {"a": 4096}),
    (Exec(("/x",)), {"a": 2**61}),
    (Exec(("/x",)), {"s1": 0}),
    (Exec(("/x",)), {"b": 2**64 - 1}),
    (Exec(("/x",), ("A=b",)), {"s2": 0}),
]


@pytest.mark.parametrize(("op", "fields"), BAD_OPS, ids=[f"{type(op).__name__} {fields}" for op, fields in BAD_OPS])
def test_an_op_that_could_not_be_walked_is_refused(wire: Wire, op: Op, fields: dict[str, int]) -> None:
    """The op stands behind one that attaches a rootfs, so that only the field is at fault."""
    spec = encode([Root(0, POD_ROOTFS), op, Hostname("x" * 64)])
    data = bytearray(spec.data)
    row = native.ffi.from_buffer("struct sp_op *", memoryview(data)[HEADER + native.ffi.sizeof("struct sp_op") :])
    for name, value in fields.items():
        setattr(row, name, value)
    wire.spec(bytes(data), *spec.fds, id=2)
    assert wire.refusal(2) == errno.EINVAL
    wire.works(3)


def test_a_text_may_begin_at_the_last_byte_of_the_strings_and_not_behind_it(wire: Wire) -> None:
    good = encode([Session(), Exec(("/no",))]).data
    end = native.ffi.from_buffer("struct sp_spec *", good).strings
    for field in ("s1", "s2", "s3"):
        for offset in (end, end - 1):
            data = bytearray(good)
            setattr(native.ffi.from_buffer("struct sp_op *", memoryview(data)[HEADER:]), field, offset)
            wire.spec(bytes(data), id=2)
            assert wire.heard(2)[-1] == ("REFUSED" if offset == end else "FAILED")


def test_a_spec_of_more_ops_than_there_may_be_is_refused(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    most = native.MAX_OPS
    monkeypatch.setattr(native, "MAX_OPS", most + 1)  # ops.encode would not let it out
    for count in (most, most + 1):
        wire.spec(encode([Umask(0)] * count).data, id=2)
        assert wire.heard(2)[-1] == ("FAILED" if count == most else "REFUSED")
        assert wire.last.op == (most if count == most else 0)  # all of them walked, or none
    wire.works(3)


@pytest.mark.parametrize("op", [Mount("proc", "/x"), Attach(0, "/x", "x"), Chdir("/"), Mknod("/x", 0, 1, 3)])
def test_an_op_on_the_rootfs_before_there_is_one_is_refused(wire: Wire, op: Op) -> None:
    wire.spawn(2, op, Root(0, POD_ROOTFS))
    assert wire.refusal(2) == errno.EINVAL
    wire.works(3)


EDGES = [0, 1, 2, 3, 7, 64, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**63, 2**64 - 1]


def _changed(data: bytes) -> Iterator[bytes]:
    """`data` with each field of the header and of every op set to each edge, one at a time."""
    ffi = native.ffi
    places = [("struct sp_spec", 0)]
    nops = ffi.from_buffer("struct sp_spec *", data).nops
    places += [("struct sp_op", HEADER + n * ffi.sizeof("struct sp_op")) for n in range(nops)]
    for struct_name, at in places:
        for _, field in ffi.typeof(struct_name).fields:
            size = ffi.sizeof(field.type)
            for edge in EDGES:
                value = edge % (1 << (8 * size))
                start = at + field.offset
                yield data[:start] + value.to_bytes(size, "little") + data[start + size :]


def test_no_change_of_a_field_of_a_good_spec_brings_podmon_down(wire: Wire, copied_rootfs: Path) -> None:
    """Whatever it makes of it, podmon gives one last word for each, and can still start a container."""
    read, write = os.pipe()
    rootfs = mounts.bind(copied_rootfs)
    ops = [
        Session(),
        Root(rootfs, POD_ROOTFS),
        Mount("tmpfs", "/tmp", ("size=4096", "nr_inodes=4")),
        Bind("/shm", "/tmp/shm"),
        Symlink("text", "/tmp/link"),
        Fd(write, 1, "stdout"),
        Ids(0, 0, (5, 6)),
        Caps(0, 0),
        Signals(),
        Exec(("/true", "x"), ("A=b", "B=c")),
    ]
    with wire.leaf.fd() as cgroup:
        spec = encode(ops, clone_flags=native.CLONE_NEWNS, cgroup=cgroup)
        last: list[str] = []
        for number, data in enumerate(_changed(spec.data), start=2):
            wire.spec(data, *spec.fds, id=number)
            wire.message("OPEN_GATE", id=number, gate=native.GATE["START"])  # an op may have become a gate
            last.append(wire.heard(number)[-1])
    for fd in (read, write, rootfs):
        os.close(fd)
    assert set(last) <= {"REFUSED", "FAILED"}
    assert min(last.count("REFUSED"), last.count("FAILED")) > 100, "the changes reach both the check and the walk"
    wire.works(1)
    assert fds_of(wire.pid) == FDS


@pytest.mark.parametrize("size", [1, native.MESSAGE_OLDEST - 1, native.MESSAGE_SIZE + 1, 4096])
def test_a_message_of_another_size_is_refused(wire: Wire, size: int) -> None:
    wire.send(native.encode_message(type=native.MESSAGE["SPAWN"], id=2).ljust(size, b"\0")[:size], wire.socket.fileno())
    assert wire.refusal(0) == errno.EBADMSG
    wire.works(3)
    assert fds_of(wire.pid) == FDS


@pytest.mark.parametrize("kind", [0, *(native.MESSAGE[name] for name in ("READY", "EXITED", "REFUSED")), 11, 2**32 - 1])
def test_a_message_of_an_unknown_type_is_refused(wire: Wire, kind: int) -> None:
    wire.message(kind, id=9)
    assert wire.refusal(9) == errno.EINVAL
    wire.works(3)


def test_no_request_about_nobody_or_of_nonsense_brings_podmon_down(wire: Wire) -> None:
    """What needs a child is refused where there is none; fds that come along are closed."""
    pair = socket.socketpair()
    for kind in ("FORGET", "REOPEN", "ATTACH", "RESIZE", "SIGNAL"):
        for scope in (*native.SCOPE.values(), 2**32 - 1):
            for value in (0, 1, 7, 2**31, 2**32 - 1):
                fields = dict.fromkeys(("streams", "rows", "columns", "signal"), value)
                wire.message(kind, *[pair[0].fileno()] * 3, id=9, scope=scope, serial=value, **fields)
                answer = wire.answer()
                assert (TYPES[answer.type], answer.id, answer.serial) == ("REFUSED", 9, value), kind
    for end in pair:
        end.close()
    wire.works(3)
    assert fds_of(wire.pid) == FDS


def test_a_child_in_the_cgroup_of_nobody_is_refused(wire: Wire) -> None:
    spec = encode([Exec(("/x",))], cgroup_of=77)
    wire.spec(spec.data, id=2)
    assert wire.refusal(2) == errno.ESRCH
    wire.works(3)


@pytest.mark.parametrize("flags", [0x100, native.CLONE_NEWNS | 1, 1 << 63, 0x80])
def test_clone_flags_that_are_no_namespaces_are_refused(wire: Wire, flags: int) -> None:
    """CLONE_VM (0x100), say, would let the child write into podmon."""
    wire.request("SPAWN", [Exec(("/x",))], clone_flags=flags, id=2)
    assert wire.heard(2) == ["FAILED"]
    assert (wire.last.op, wire.last.err) == (1, errno.EINVAL)
    wire.works(3)


def test_an_id_in_use_is_refused_and_its_child_is_not_disturbed(wire: Wire) -> None:
    wire.run(2, "exit 5", Gate("START"))
    assert [TYPES[wire.answer().type] for _ in range(2)] == ["SPAWNED", "AT_GATE"]
    wire.run(2, "exit 6")
    assert wire.refusal(2) == errno.EEXIST
    wire.message("OPEN_GATE", id=2, gate=native.GATE["START"])
    assert wire.heard(2) == ["RUNNING", "EXITED"]
    assert wire.last.code == 5
    wire.works(2)  # and once it is over, its id is free


def test_more_fds_than_a_message_may_have_are_refused(wire: Wire) -> None:
    wire.message("SPAWN", *([wire.socket.fileno()] * (native.MAX_FDS + 2)), id=2)
    assert wire.refusal(2) == errno.EMFILE
    wire.works(3)
    assert fds_of(wire.pid) == FDS


def test_a_podmon_without_room_for_more_fds_says_so(wire: Wire) -> None:
    _, most = resource.prlimit(wire.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(wire.pid, resource.RLIMIT_NOFILE, (len(FDS) + 1, most))
    wire.run(2, "exit 0")
    assert wire.refusal(2) == errno.EMFILE
    resource.prlimit(wire.pid, resource.RLIMIT_NOFILE, (64, most))
    wire.works(3)
    assert fds_of(wire.pid) == FDS


# --- gates


def test_opening_the_gate_of_nobody_is_harmless(wire: Wire) -> None:
    wire.message("OPEN_GATE", id=77, gate=native.GATE["START"])
    wire.works(2)
    wire.message("OPEN_GATE", id=2, gate=native.GATE["START"])  # of one that has ended
    wire.works(3)


def test_a_gate_may_be_opened_before_the_child_comes_to_it(wire: Wire) -> None:
    wire.leaf.freeze()
    wire.run(2, "exit 3", Gate("PREPARE"), Gate("START"))
    assert TYPES[wire.answer().type] == "SPAWNED"
    wire.message("OPEN_GATE", id=2, gate=native.GATE["PREPARE"])
    wire.message("OPEN_GATE", id=2, gate=native.GATE["START"])
    wire.run(3, "exit 0", leaf=wire.slice.create_child("other.scope"))
    assert wire.heard(3)[-1] == "EXITED"  # so podmon has seen all of the above
    wire.leaf.thaw()
    assert wire.heard(2) == ["AT_GATE", "AT_GATE", "RUNNING", "EXITED"]
    assert wire.last.code == 3


def test_the_first_gate_does_not_open_the_second(wire: Wire) -> None:
    wire.run(2, "exit 0", Gate("PREPARE"), Gate("START"))
    for gate in ("PREPARE", "START"):
        answers = [wire.answer() for _ in range(2 if gate == "PREPARE" else 1)]
        assert (TYPES[answers[-1].type], answers[-1].gate) == ("AT_GATE", native.GATE[gate])
        for _ in range(3):
            wire.message("OPEN_GATE", id=2, gate=native.GATE["PREPARE"])
    wire.run(3, "exit 0")
    assert wire.heard(3)[-1] == "EXITED"
    wire.message("OPEN_GATE", id=2, gate=native.GATE["START"])
    assert wire.heard(2) == ["RUNNING", "EXITED"]


@pytest.mark.parametrize(("program", "end"), [(BUSYBOX, ["RUNNING", "EXITED"]), ("/no", ["FAILED"])])
def test_what_a_child_said_is_heard_though_it_left_an_opening_unread(wire: Wire, program: str, end: list[str]) -> None:
    """Its socket then ends with ECONNRESET, which the kernel tells before what lies in front of it."""
    rootfs = mounts.bind(wire.busybox)
    wire.spawn(2, Root(rootfs, POD_ROOTFS), Gate("START"), Exec((program, "true")))
    os.close(rootfs)
    data, (pidfd,), _, _ = socket.recv_fds(wire.socket, native.MESSAGE_SIZE, 1)
    assert TYPES[native.decode_message(data).type] == "SPAWNED"
    assert TYPES[wire.answer().type] == "AT_GATE"
    wire.leaf.freeze()
    for _ in range(2):
        wire.message("OPEN_GATE", id=2, gate=native.GATE["START"])
    wire.run(3, "exit 0", leaf=wire.slice.create_child("other.scope"))
    assert wire.heard(3)[-1] == "EXITED"
    wire.scope.freeze()  # so that podmon reads nothing before all is over
    wire.leaf.thaw()
    assert ends(pidfd)
    os.close(pidfd)
    wire.scope.thaw()
    assert wire.heard(2) == end
    wire.works(4)


def test_a_child_not_yet_past_its_first_step_keeps_no_other_child_alive_in_podmon(wire: Wire) -> None:
    """It still has copies of podmon's fds: the socket of a child that is over must not be watched through them."""
    wire.run(2, "exit 0", Gate("START"))
    assert [TYPES[wire.answer().type] for _ in range(2)] == ["SPAWNED", "AT_GATE"]
    frozen = wire.slice.create_child("frozen.scope")
    frozen.freeze()
    wire.run(3, "exit 0", leaf=frozen)
    assert TYPES[wire.answer().type] == "SPAWNED"
    wire.message("OPEN_GATE", id=2, gate=native.GATE["START"])
    assert wire.heard(2) == ["RUNNING", "EXITED"]
    for number in range(4, 8):
        wire.works(number)  # fails where podmon still says something of the one that is over
    frozen.thaw()
    assert wire.heard(3) == ["RUNNING", "EXITED"]


# --- many


def test_an_engine_that_does_not_listen_for_a_while_loses_nothing(wire: Wire) -> None:
    count = 60
    for number in range(2, 2 + count):
        wire.run(number, f"exit {number}")
    assert wire.leaf.wait_empty(TIMEOUT)  # far more has been said by now than the socket holds
    heard: dict[int, list[str]] = {}
    codes = {}
    while len(codes) < count:
        answer = wire.answer()
        heard.setdefault(answer.id, []).append(TYPES[answer.type])
        if TYPES[answer.type] == "EXITED":
            codes[answer.id] = answer.code
    assert codes == {number: number for number in range(2, 2 + count)}
    assert all(types == ["SPAWNED", "RUNNING", "EXITED"] for types in heard.values())
    wire.works(1)
    assert fds_of(wire.pid) == FDS


def test_podmon_has_no_more_fds_after_200_children_than_before(wire: Wire) -> None:
    assert fds_of(wire.pid) == FDS
    for number in range(2, 202):
        if number % 2:
            wire.works(number)
        else:
            wire.spawn(number, Exec(("/no",)))
            assert wire.heard(number) == ["SPAWNED", "FAILED"]
    assert fds_of(wire.pid) == FDS


def test_podmon_reaps_what_its_children_leave_behind(wire: Wire) -> None:
    """A child without a pid namespace of its own: what it forks becomes podmon's when it ends."""
    children = Path(f"/proc/{wire.pid}/task/{wire.pid}/children")
    read, write = os.pipe()
    wire.run(2, "exec 3<&0; read line <&3 & exit 0", Fd(read, 0, "a pipe"))  # leaves an orphan that reads
    os.close(read)
    assert wire.heard(2)[-1] == "EXITED"
    (orphan,) = children.read_text().split()
    pidfd = os.pidfd_open(int(orphan))
    os.close(write)
    assert ends(pidfd)
    os.close(pidfd)
    wire.works(3)  # podmon is one loop: when it has done this twice, it has seen that end
    wire.works(4)
    assert children.read_text() == ""


# --- what podmon is


def test_podmon_runs_from_a_sealed_memfd(wire: Wire) -> None:
    exe = Path(f"/proc/{wire.pid}/exe")
    assert str(exe.readlink()) == "/memfd:podmon (deleted)"
    with exe.open("rb") as file:
        seals = native.fcntl.fcntl(file.fileno(), F_GET_SEALS)
    assert seals & native.SEALS == native.SEALS
    with pytest.raises(OSError, match=r"Text file busy|Operation not permitted"):
        exe.open("r+b").close()


def test_podmon_has_an_empty_root_and_nothing_open_but_its_own(wire: Wire) -> None:
    process = Path(f"/proc/{wire.pid}")
    assert sorted(path.name for path in (process / "root").iterdir()) == ["dev", "rootfs", "shm"]
    assert list((process / "root/rootfs").iterdir()) == list((process / "root/shm").iterdir()) == []
    assert (process / "cwd").samefile(process / "root")
    assert fds_of(wire.pid) == FDS
    for number in range(3):
        assert (process / f"fd/{number}").stat().st_rdev == os.makedev(1, 3)
    mounted = [line.split()[4] for line in (process / "mountinfo").read_text().splitlines()]
    assert sorted(mounted) == ["/", "/dev", "/dev", "/shm"]


def test_a_child_has_no_fds_but_its_own_even_while_it_waits(wire: Wire) -> None:
    """Another container's socket to podmon, say, or the pipe of its log."""
    read, write = os.pipe()
    pids = []
    for number in (2, 3):
        rootfs = mounts.bind(wire.busybox)
        stdin, stdout = Fd(read, 0, "a pipe"), Fd(write, 1, "a pipe")
        wire.spawn(number, Root(rootfs, POD_ROOTFS), Gate("START"), stdin, stdout, Exec((BUSYBOX, "cat")))
        os.close(rootfs)
        data, (pidfd,), _, _ = socket.recv_fds(wire.socket, native.MESSAGE_SIZE, 1)
        assert TYPES[native.decode_message(data).type] == "SPAWNED"
        assert TYPES[wire.answer().type] == "AT_GATE"
        pids.append(native.pid_of(pidfd))
        os.close(pidfd)
    pipe = str(Path(f"/proc/self/fd/{read}").readlink())
    for pid in pids:
        # Its socket to podmon, what came with the spec for its ops (rootfs, both ends of the pipe; not the cgroup),
        # and the rootfs opened.
        sent = [POD_ROOTFS, pipe, pipe]
        assert fds_of(pid) == sorted(["/dev/null"] * 3 + ["socket", *sent, POD_ROOTFS])
    for number in (2, 3):
        wire.message("OPEN_GATE", id=number, gate=native.GATE["START"])
        assert TYPES[wire.answer().type] == "RUNNING"
    for pid in pids:
        assert fds_of(pid) == ["/dev/null", pipe, pipe]
    os.close(read)
    os.close(write)


def test_podmon_is_named_for_ps_and_blocks_every_signal(wire: Wire) -> None:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{wire.pid}/status").read_text().splitlines())
    assert status["Name"] == "podmon"
    assert status["NSpid"].split()[-1] == "1"
    unblocked = {number for number in range(1, 32) if not int(status["SigBlk"], 16) >> number - 1 & 1}
    assert unblocked == {signal.SIGKILL, signal.SIGSTOP}
    assert Path(f"/proc/{wire.pid}/cmdline").read_bytes() == b"podmon\0test\0"
    assert Path(f"/proc/{wire.pid}/environ").read_bytes() == b""


def in_a_thread_that_may_not_trace(run: Callable[[], None]) -> None:
    """Run it without CAP_SYS_PTRACE: capabilities are a thread's, so that ours are not lost."""

    def give_up() -> None:
        prctl.capbset_drop(prctl.CAP_SYS_PTRACE)
        prctl.cap_effective.sys_ptrace = False
        prctl.cap_permitted.sys_ptrace = False

    with ThreadPoolExecutor(1, initializer=give_up) as thread:
        thread.submit(run).result(TIMEOUT)


def test_podmon_cannot_be_traced_by_root_with_the_same_capabilities(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path
) -> None:
    """Beside it a plain process that can be: it is not the capabilities that make the difference."""

    def look() -> None:
        wire = Wire(pod_slice, tmp_path, busybox)
        plain = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        try:
            its, others = Path(f"/proc/{wire.pid}"), Path(f"/proc/{plain.pid}")
            for name in ("exe", "cwd", "root"):
                assert (others / name).readlink()
                with pytest.raises(PermissionError):
                    (its / name).readlink()
            (others / "mem").open("rb").close()
            with pytest.raises(PermissionError):
                (its / "mem").open("rb").close()
        finally:
            plain.communicate()
            wire.close()

    in_a_thread_that_may_not_trace(look)


# --- scarcity


def is_at_rest(pid: int) -> bool:
    """Whether a process is found asleep so often that it cannot be in a loop; each look lets others run."""
    for _ in range(300):
        os.sched_yield()
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            return False
    return True


def comes_to_rest(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if is_at_rest(pid):
            return True
    return False


def listening_wire(pod_slice: Cgroup, tmp_path: Path, busybox: Path) -> Wire:
    with wire_module.bound_listener(tmp_path) as listener:
        return Wire(pod_slice, tmp_path, busybox, listener=listener.fileno())


def test_a_podmon_without_an_fd_for_who_connects_does_not_spin_and_takes_him_later(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path
) -> None:
    wire = listening_wire(pod_slice, tmp_path, busybox)
    try:
        numbers = {int(fd.name) for fd in Path(f"/proc/{wire.pid}/fd").iterdir()}
        lowest_free = min(set(range(100)) - numbers)
        _, most = resource.prlimit(wire.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(wire.pid, resource.RLIMIT_NOFILE, (lowest_free, most))
        client = wire_module.connected(tmp_path)
        client.settimeout(TIMEOUT)
        client.send(native.encode_message(type=native.MESSAGE["SUBSCRIBE"], id=1))
        assert comes_to_rest(wire.pid)
        for _ in range(3):  # each turn it tries once more
            wire.message("OPEN_GATE", id=77, gate=native.GATE["START"])
            assert comes_to_rest(wire.pid)
        resource.prlimit(wire.pid, resource.RLIMIT_NOFILE, (64, most))
        wire.message("OPEN_GATE", id=77, gate=native.GATE["START"])
        answer = native.decode_message(client.recv(native.MESSAGE_SIZE))
        assert TYPES[answer.type] == "READY"
        client.close()
    finally:
        wire.close()


def test_a_podmon_that_may_send_no_fd_now_does_not_spin_and_sends_it_later(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path
) -> None:
    """ETOOMANYREFS: root has more fds under way than podmon may have open.  Its socket is writable all the while."""
    wire = Wire(pod_slice, tmp_path, busybox, after=[Caps(0, 0)])
    ours, theirs = socket.socketpair()
    try:
        _, most = resource.prlimit(wire.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(wire.pid, resource.RLIMIT_NOFILE, (32, most))
        null = os.open("/dev/null", os.O_RDONLY)
        for _ in range(40):
            socket.send_fds(ours, [b"x"], [null])
        os.close(null)
        wire.message("SUBSCRIBE", id=5)
        assert comes_to_rest(wire.pid)
        assert not select.select([wire.socket], [], [], 0)[0]
        theirs.close()  # and with it what was under way
        answer = wire.answer()
        assert (TYPES[answer.type], answer.id) == ("READY", 5)
    finally:
        ours.close()
        theirs.close()
        wire.close()


# --- the engine's side, and fate


def test_whoever_waits_for_the_end_of_podmon_is_not_robbed_of_it_by_close() -> None:
    """The loop has one reader for a descriptor, and the number of one that is closed is soon another's."""

    async def scene() -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(["sleep", "600"])
        podmon = Podmon(ours, native.Launched(os.pidfd_open(process.pid), process.pid, 0, 0, 0))
        waits = [asyncio.create_task(podmon.gone()) for _ in range(2)]
        await asyncio.sleep(0)
        its.close()
        async with asyncio.timeout(TIMEOUT):
            await podmon.close()
            await asyncio.gather(*waits, podmon.gone())
        process.returncode = -signal.SIGKILL  # `close` has reaped it

    before = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(scene())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@asynccontextmanager
async def pod(pod_slice: Cgroup, directory: Path) -> AsyncIterator[Podmon]:
    """The engine's client of a podmon that is set up, in `pod_slice`."""
    with pod_slice.create_child("podmon.scope").fd() as cgroup:
        podmon = Podmon.launch(cgroup=cgroup, title="test")
    try:
        root = mounts.tmpfs(64 << 10, 0o755)
        try:
            os.mkdir(POD_ROOTFS.lstrip("/"), dir_fd=root)
            await podmon.setup(compile_pod(hostname="test", root=root, at=str(directory)))
        finally:
            os.close(root)
        yield podmon
    finally:
        await podmon.close()


async def start(
    podmon: Podmon, leaf: Cgroup, busybox: Path, script: str, *before: Op, clone_flags: int = native.CLONE_NEWNS
) -> Child:
    """Spawn a shell after these ops."""
    rootfs = mounts.bind(busybox)
    try:
        ops = [Root(rootfs, POD_ROOTFS), *before, Exec((BUSYBOX, "sh", "-c", script))]
        with leaf.fd() as cgroup:
            return await podmon.spawn(ops, clone_flags=clone_flags, cgroup=cgroup)
    finally:
        os.close(rootfs)


def bounded(work: Awaitable[None]) -> None:
    async def run() -> None:
        await asyncio.wait_for(work, TIMEOUT)

    asyncio.run(run())


def test_fifty_children_at_once_each_end_with_their_own_code(pod_slice: Cgroup, tmp_path: Path, busybox: Path) -> None:
    async def run() -> None:
        before = datetime.now(UTC)
        async with pod(pod_slice, tmp_path) as podmon:
            leaves = [pod_slice.create_child(f"{number}.scope") for number in range(50)]
            children = await asyncio.gather(
                *(start(podmon, leaf, busybox, f"exit {number}") for number, leaf in enumerate(leaves))
            )
            await asyncio.gather(*(child.ended() for child in children))
        for number, child in enumerate(children):
            assert child.exit is not None
            assert (child.exit.code, child.exit.signal, child.exit.success) == (number, None, number == 0)
            assert child.exit.started is not None
            assert before <= child.exit.started <= child.exit.finished <= datetime.now(UTC)

    bounded(run())


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "ABRT", "KILL", "SEGV", "PIPE", "TERM", "USR1", "SYS"])
def test_a_child_killed_by_a_signal_ends_with_128_and_its_number(wire: Wire, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    read, write = os.pipe()
    rootfs = mounts.bind(wire.busybox)
    stdin = Fd(read, 0, "a pipe that nothing is written to")
    wire.spawn(2, Root(rootfs, POD_ROOTFS), stdin, Signals(), Exec((BUSYBOX, "cat")))
    data, (pidfd,), _, _ = socket.recv_fds(wire.socket, native.MESSAGE_SIZE, 1)
    assert TYPES[native.decode_message(data).type] == "SPAWNED"
    assert TYPES[wire.answer().type] == "RUNNING"
    signal.pidfd_send_signal(pidfd, number)
    assert wire.heard(2) == ["EXITED"]
    assert (wire.last.signal, wire.last.code, wire.last.ran) == (number, 0, 1)
    for fd in (read, write, rootfs, pidfd):
        os.close(fd)


def test_with_podmon_dies_all_that_it_started(pod_slice: Cgroup, tmp_path: Path, busybox: Path) -> None:
    async def run() -> None:
        leaf = pod_slice.create_child("leaf.scope")
        async with pod(pod_slice, tmp_path) as podmon:
            forever = f"trap '' TERM HUP INT; {BUSYBOX} sleep 1000 & wait; wait"
            flags = native.CLONE_NEWNS | native.CLONE_NEWPID
            running = await start(podmon, leaf, busybox, forever, Session(), clone_flags=flags)
            plain = await start(podmon, leaf, busybox, forever)
            waiting = await start(podmon, leaf, busybox, "exit 0", Gate("START"))
            over = await start(podmon, leaf, busybox, "exit 4")
            await asyncio.gather(running.until(Stage.RUNNING), plain.until(Stage.RUNNING), over.ended())
            await waiting.until(Stage.CREATED)
            pidfds = [os.dup(child.pidfd) for child in (running, plain, waiting) if child.pidfd is not None]
            assert len(pidfds) == 3
            signal.pidfd_send_signal(podmon.pidfd, signal.SIGKILL)
            await asyncio.gather(*(child.ended() for child in (running, plain, waiting)))
            for pidfd in pidfds:
                assert await asyncio.to_thread(ends, pidfd)
                os.close(pidfd)
            assert await asyncio.to_thread(leaf.wait_empty, TIMEOUT)
            with pytest.raises(WrongState, match="podmon has ended"):
                await podmon.open_gate(waiting, "START")
            with pytest.raises(WrongState, match="podmon has ended"):
                await start(podmon, leaf, busybox, "exit 0")
        for child in (running, plain):
            assert child.exit is not None
            assert (child.exit.code, child.exit.signal) == (137, signal.SIGKILL)
        assert waiting.exit is None
        assert isinstance(waiting.failure, WrongState)
        assert over.exit is not None
        assert over.exit.code == 4

    bounded(run())


def test_podmon_ends_when_the_engine_hangs_up_and_takes_the_pod_along(wire: Wire) -> None:
    wire.run(2, f"trap '' HUP; {BUSYBOX} sleep 1000 & wait")
    data, (pidfd,), _, _ = socket.recv_fds(wire.socket, native.MESSAGE_SIZE, 1)
    assert TYPES[native.decode_message(data).type] == "SPAWNED"
    assert TYPES[wire.answer().type] == "RUNNING"
    wire.socket.close()
    assert ends(wire.pidfd)
    end = os.waitid(os.P_PIDFD, wire.pidfd, os.WEXITED | os.WNOWAIT | native.WALL)
    assert end is not None
    assert (end.si_code, end.si_status) == (os.CLD_EXITED, 0)
    assert ends(pidfd)
    os.close(pidfd)
    assert wire.leaf.wait_empty(TIMEOUT)


def test_a_podmon_that_refuses_says_so_to_the_caller(pod_slice: Cgroup, tmp_path: Path) -> None:
    async def run() -> None:
        async with pod(pod_slice, tmp_path) as podmon:
            with pytest.raises(KernelError, match="podmon refused the request: Invalid argument"):
                await podmon.setup([Chdir("/")])  # there is no rootfs to look it up in

    bounded(run())


def test_close_may_be_called_again_and_after_podmon_is_dead(pod_slice: Cgroup, tmp_path: Path) -> None:
    async def run() -> None:
        async with pod(pod_slice, tmp_path) as podmon:
            signal.pidfd_send_signal(podmon.pidfd, signal.SIGKILL)
            await podmon.close()
            await podmon.close()

    bounded(run())


def test_the_engine_has_no_more_fds_after_many_children_than_before(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path
) -> None:
    async def run() -> None:
        leaf = pod_slice.create_child("leaf.scope")
        async with pod(pod_slice, tmp_path) as podmon:
            before = len(list(Path("/proc/self/fd").iterdir()))
            for _ in range(20):
                child = await start(podmon, leaf, busybox, "exit 0")
                await child.ended()
            assert len(list(Path("/proc/self/fd").iterdir())) == before

    bounded(run())


@pytest.mark.parametrize("request_unread", [True, False])
def test_what_podmon_said_before_it_died_is_heard(
    request_unread: bool, pod_slice: Cgroup, tmp_path: Path, busybox: Path
) -> None:
    """The engine is busy elsewhere: its loop does not run between the two ends."""

    async def run() -> None:
        leaf = pod_slice.create_child("leaf.scope")
        async with pod(pod_slice, tmp_path) as podmon:
            child = await start(podmon, leaf, busybox, "exit 4", Gate("START"))
            await child.until(Stage.CREATED)
            await podmon.open_gate(child, "START")
            assert leaf.wait_empty(TIMEOUT)
            process = Path(f"/proc/{podmon.pid}")
            while (process / f"task/{podmon.pid}/children").read_text():  # not reaped yet
                os.sched_yield()
            while (process / "stat").read_text().rpartition(")")[2].split()[0] != "S":  # not back in epoll_wait yet
                os.sched_yield()
            scope = pod_slice.child("podmon.scope")
            scope.freeze()
            if request_unread:
                await podmon.open_gate(child, "START")
            signal.pidfd_send_signal(podmon.pidfd, signal.SIGKILL)
            assert ends(podmon.pidfd)
            if not request_unread:
                with pytest.raises(WrongState):
                    await podmon.open_gate(child, "START")
            await child.ended()
            assert child.exit is not None
            assert child.exit.code == 4

    bounded(run())


def test_a_child_asked_of_a_podmon_that_has_ended_is_none(pod_slice: Cgroup, tmp_path: Path, busybox: Path) -> None:
    async def run() -> None:
        leaf = pod_slice.create_child("leaf.scope")
        async with pod(pod_slice, tmp_path) as podmon:
            before = await start(podmon, leaf, busybox, "exec sleep 600")
            signal.pidfd_send_signal(podmon.pidfd, signal.SIGKILL)
            await before.ended()
            with pytest.raises(WrongState, match="podmon has ended"):
                await start(podmon, leaf, busybox, "exit 0")
            assert list(podmon.children.values()) == [before], "one more would never end"

    bounded(run())


def test_two_may_close_a_podmon_at_once(pod_slice: Cgroup, tmp_path: Path) -> None:
    async def run() -> None:
        async with pod(pod_slice, tmp_path) as podmon:
            await asyncio.gather(podmon.close(), podmon.close())

    bounded(run())


# --- findings of DESIGN.md that hold for podmon and its containers


def test_a_leaf_that_was_killed_is_made_anew_before_it_is_used_again(wire: Wire) -> None:
    """Newer kernels kill whatever is cloned into a cgroup that ever saw cgroup.kill, older ones do not."""
    wire.leaf.kill()
    wire.run(2, "exit 7")
    assert wire.heard(2)[-1] == "EXITED"
    on_this_kernel_it_is_killed = wire.last.signal == signal.SIGKILL
    wire.leaf.remove()
    wire.leaf = wire.slice.create_child(wire.leaf.name)
    wire.works(3)
    if not on_this_kernel_it_is_killed:
        pytest.skip("this kernel starts children in a cgroup that has seen cgroup.kill: nothing to guard against")


def cgroup2_mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " - cgroup2 " in line]


@asynccontextmanager
async def container(pod_slice: Cgroup, directory: Path, busybox: Path) -> AsyncIterator[tuple[int, int]]:
    """The pids of a podmon and of a container that is made by the list that every container has."""
    box = await PodSandbox.create(name="test", hostname="test", directory=directory, pod_slice=pod_slice)
    null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        spec = ContainerSpec(argv=("sleep", "1000"), rootfs=busybox, env={"PATH": DEFAULT_PATH})
        made = await box.create_container("c", spec, stdout=null, stderr=null)
        await made.start()
        assert made.pid is not None
        yield box.pid, made.pid
    finally:
        os.close(null)
        await box.remove()


def test_the_options_of_the_hosts_cgroup2_survive_a_container_that_mounts_it(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path
) -> None:
    before = cgroup2_mounts()

    async def run() -> None:
        async with container(pod_slice, tmp_path, busybox) as (_, pid):
            inside = Path(f"/proc/{pid}/mountinfo").read_text()
            assert " /sys/fs/cgroup ro," in inside
            assert " - cgroup2 " in inside
            assert cgroup2_mounts() == before

    bounded(run())
    if not any("nsdelegate" in line for line in before):
        pytest.skip("cgroup2 is mounted without options here: there is nothing to lose")


def test_every_tmpfs_of_podmon_and_of_a_container_has_a_limit_of_inodes(
    pod_slice: Cgroup, tmp_path: Path, busybox: Path
) -> None:
    async def run() -> None:
        async with container(pod_slice, tmp_path, busybox) as pids:
            for pid in pids:
                lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
                tmpfs = [line for line in lines if " - tmpfs " in line]
                assert len(tmpfs) >= 3
                assert [line for line in tmpfs if ",nr_inodes=" not in line] == []

    bounded(run())
