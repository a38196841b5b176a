"""Inputs for the harnesses of csrc/fuzz that the engine's own encoder has written: each op, each message, whole lives.

`python -m tests.fuzz.seeds DIRECTORY` writes them to DIRECTORY/ops and DIRECTORY/podmon.  A class of ops or a request
that is not among them fails tests/fuzz/test_corpus.py, so what is new is fuzzed from its first day.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cffi import FFI

from sandbox.linux import native, ops
from sandbox.linux.ops import Log, Op, Spec, Stdin, encode, encode_setup
from sandbox.pod.container import BindMount, ContainerSpec, ExecSpec, Prepared, compile_container, compile_exec
from sandbox.pod.ground import compile_pod, compile_reaper
from sandbox.pod.privileges import DEFAULT_PRIVILEGES
from tests import bpf

CSRC = Path(__file__).parents[2] / "csrc"

# --- ops

# One of each class, as the engine makes it.
SAMPLES: Sequence[Op] = (
    ops.SetNs(0, native.CLONE_NEWNS),
    ops.Unshare(native.CLONE_NEWCGROUP),
    ops.Gate("START"),
    ops.Session(),
    ops.Keyring(),
    ops.Signals(),
    ops.Hostname("web"),
    ops.LinkUp("lo"),
    ops.Private("/"),
    ops.Root(0, "/rootfs"),
    ops.Pivot(),
    ops.Mount("tmpfs", "/run/a/b", ("size=4096", "ro"), native.MOUNT_ATTR_NODEV),
    ops.Attach(0, "/etc/resolv.conf", "a file", is_file=True),
    ops.Bind("/shm", "/dev/shm", native.MOUNT_ATTR_NOSUID),
    ops.Mask("/proc/kcore", "/dev/null"),
    ops.ReadOnly("/proc/sys"),
    ops.ReadOnlyRoot(),
    ops.Mknod("/dev/fuse", 0o020666, 10, 229),
    ops.Symlink("/proc/self/fd", "/dev/fd"),
    ops.Chdir("/srv/here"),
    ops.Open("/dev/null", 0),
    ops.Fd(0, 1, "stdout"),
    ops.OomScoreAdj(0, -997),
    ops.Umask(0o022),
    ops.Own(1000),
    ops.Ids(1000, 1000, (5, 6)),
    ops.Caps(0xA80425FB, 0xA80425FB),
    ops.NoNewPrivs(),
    ops.Tty(24, 80, kept=True, controls=True),
    ops.Fork(terminal=True),
    ops.Ready(),
    ops.Seccomp(bpf.forbid("kill"), "default"),
    ops.Reap(),
    ops.Exec(("sh", "-c", "exit"), ("PATH=/bin:/usr/bin", "A=b")),
)


def kinds() -> set[int]:
    """The kinds (enum sp_op_kind) of all samples as they are encoded."""
    data = encode(SAMPLES).data
    size, of_header = native.ffi.sizeof("struct sp_op"), native.ffi.sizeof("struct sp_spec")
    return {op.kind for op in native.ffi.from_buffer("struct sp_op[]", data[of_header:][: size * len(SAMPLES)])}


def lists() -> dict[str, Sequence[Op]]:
    """Lists of ops by name: each sample between a rootfs and a program, and what the engine compiles."""
    root, program = ops.Root(None, "/"), ops.Exec(("/app",))
    alone = {f"{index:02}-{type(op).__name__}": [root, op, program] for index, op in enumerate(SAMPLES)}
    spec = ContainerSpec(argv=("app", "-x"), rootfs=Path("/image"), env={"PATH": "/bin", "A": "1"}, cwd="/work")
    prepared = Prepared(
        rootfs=0,
        mounts=((BindMount("/host", "/data"), 1, False), (BindMount("/host", "/f"), 2, True)),
        stdout=3,
        stderr=4,
    )
    long = "/a" * 2500  # longer than a path may be
    return alone | {
        "long": [root, ops.Mknod(f"{long}/x", 0o020666, 1, 3), program],
        "longer": [root, ops.Attach(0, long, "a file", is_file=True), program],
        "pod": compile_pod(hostname="web", root=0, at="/empty"),
        "reaper": compile_reaper(root=0),
        "container": compile_container(spec, prepared),
        "exec": compile_exec(ExecSpec(argv=("sh",), env={"A": "1"}), DEFAULT_PRIVILEGES, init=0, stdio=(1, 2, None)),
    }


ERRORS = (0x80, 0x82, 0x86, 0x88)  # EAGAIN, ENOMEM, ENOENT, EEXIST: see fails() of csrc/fuzz/kernel.c
CALLS = 14  # of an op, about


def plans() -> Iterator[bytes]:
    """What becomes of an op's calls: one of them fails, or two that follow each other."""
    for other in (b"\1", b"\5", b"\x7f"):  # nothing fails, and all is not as usual
        yield other * 4 * CALLS
    for before in range(CALLS):
        for error in ERRORS:
            yield bytes(before) + bytes([error])
        yield bytes(before) + bytes([0x86, 0, 0x88, 5, 0])  # a file that is not there, and then a link in its place


def ops_seed(spec: Spec, *, by_podmon: bool, plan: bytes = b"") -> bytes:
    """An input of fuzz_ops."""
    return struct.pack("<BBH", by_podmon, len(spec.fds), len(plan)) + plan + spec.data


def past_the_end() -> Iterator[tuple[str, bytes]]:
    """Specs of one op and one fd, with a field of the op that points just past the end of what it points into."""
    data = encode([ops.Fd(0, 1, "stdout"), ops.Exec(("/app",))]).data
    header = native.ffi.from_buffer("struct sp_spec *", data)
    for field, end in {"fd": header.nfds, "s1": header.strings, "s2": header.strings, "s3": header.strings}.items():
        changed = bytearray(data)
        (op, *_) = native.ffi.from_buffer("struct sp_op[]", memoryview(changed)[native.ffi.sizeof(header[0]) :][:48])
        setattr(op, field, end)
        yield f"past-{field}", bytes(changed)


# --- a podmon's life


def _enums() -> FFI:
    ffi = FFI()
    ffi.cdef((CSRC / "fuzz" / "actions.h").read_text())
    return ffi


_FFI = _enums()
ACTION: dict[str, int] = {name: value for value, name in _FFI.typeof("enum action").elements.items()}
FD: dict[str, int] = {name.removeprefix("FD_"): value for value, name in _FFI.typeof("enum fd_kind").elements.items()}
REPORT = struct.Struct("<IIi")  # struct report, child.h
AT_GATE, JOINED, TERMINAL = 1, 2, 3  # enum report_type


class Life:
    """Writes an input of fuzz_podmon, an action at a time."""

    def __init__(self, flags: int = 0) -> None:
        self.data = bytearray([flags])
        self.asked: set[str] = set()

    def act(self, kind: str, who: int = 0, data: bytes = b"", *, haste: bool = False) -> None:
        self.data += struct.pack("<BBH", ACTION[kind] + haste * ACTION["HASTE"], who, len(data)) + data

    def ask(self, kind: str, *fds: str, client: int = 0, haste: bool = False, **fields: int) -> None:
        self.asked.add(kind)
        message = native.encode_message(type=native.MESSAGE[kind], **fields)
        self.act("MESSAGE", client, bytes([len(fds), *(FD[fd] for fd in fds)]) + message, haste=haste)

    def request(self, kind: str, spec: Spec, *fds: str, **fields: int) -> None:
        """A request with a spec, whose fds are of these kinds."""
        assert len(spec.fds) == len(fds)
        self.act("SPEC", data=spec.data, haste=True)
        self.ask(kind, "SPEC", *fds, **fields)

    def set_up(self) -> None:
        spec = encode_setup([ops.Hostname("web")], listener=0, records=1, bound=False)
        self.request("SETUP", spec, "LISTENER", "NULL", id=1, serial=1)

    def spawn(self, number: int, *, scope: str = "OF_POD", files: int = 2) -> None:
        """A container with pipes: the other ends that the harness keeps are of stdout, stderr and stdin."""
        log = Log(0, "0.log", 1, 2, size=200, files=files)
        spec = encode(
            [ops.Gate("PREPARE"), ops.Gate("START"), ops.Exec(("/app",))],
            clone_flags=native.CLONE_NEWNS,
            record="record",
            log=log,
            stdin=Stdin(3),
            cgroup=4,
        )
        fds = [""] * 5
        for fd, kind in enumerate(("NULL", "PIPE_READ", "PIPE_READ", "PIPE_WRITE", "NULL")):
            fds[spec.fds.index(fd)] = kind
        self.request("SPAWN", spec, *fds, id=number, scope=native.SCOPE[scope])

    def report(self, child: int, kind: int, *, gate: int = 0, pid: int = 0, fd: str = "KINDS") -> None:
        self.act("REPORT", child, bytes([FD[fd]]) + REPORT.pack(kind, gate, pid))

    def run(self, child: int, number: int) -> None:
        """Through both gates to its program."""
        for gate in ("PREPARE", "START"):
            self.report(child, AT_GATE, gate=native.GATE[gate])
            self.ask("OPEN_GATE", id=number, gate=native.GATE[gate])
        self.act("GO", child, b"\1\0")


def _attached() -> Life:
    life = Life()
    life.set_up()
    life.ask("SUBSCRIBE", id=2)
    life.spawn(5)
    life.run(0, 5)
    life.act("CONNECT", 1)
    every = sum(native.STREAM[name] for name in ("STDIN", "STDOUT", "STDERR"))
    life.ask("ATTACH", "STREAM", "STREAM", "STREAM", client=1, id=5, streams=every, serial=3)
    life.act("WRITE", 0, b"\3a line\nand a piece")
    life.act("WRITE", 1, b"\xff" + b"much " * 20)
    life.act("READ", 4)
    life.act("WRITE", 3, b"\xff" + b"to stdin\n" * 20)  # more than its pipe holds
    life.act("READ", 2)
    life.act("READ", 2)
    life.act("SHUT", 3)
    life.act("LEAVE", 1)
    life.act("END", 0, b"\7\0")
    life.ask("REOPEN", id=5, serial=4)
    life.ask("FORGET", id=5, serial=5)
    return life


def _stalled() -> Life:
    """A client of a container takes nothing until it is dropped, another one is patient."""
    life = Life()
    life.spawn(5)
    life.run(0, 5)
    life.ask("ATTACH", "STREAM", id=5, streams=native.STREAM["STDOUT"], serial=1)
    life.ask("ATTACH", "STREAM", id=5, streams=native.STREAM["STDERR"] + native.STREAM["PATIENT"], serial=2)
    for end in (0, 1):
        for _ in range(6):
            life.act("WRITE", end, b"\xff" + b"x" * 200)
    life.act("READ", 3)
    life.act("TIME", data=struct.pack("<H", 20000))
    life.act("END", 0, b"\0\x09")
    life.ask("FORGET", id=5, serial=3)
    life.act("READ", 4)
    life.act("READ", 4)
    return life


def _unread() -> Life:
    """More is said to a client than its socket holds, fds among it; then it reads, or another time is gone."""
    life = Life()
    life.set_up()
    life.act("CONNECT", 1)
    for client in (0, 1):
        life.act("STALL", client)
        for number in range(20):
            life.ask("FORGET", client=client, id=number, serial=number + 1, haste=True)
            life.ask("SUBSCRIBE", client=client, id=number, haste=True)
        life.spawn(5 + client)
    life.act("LEAVE", 1)
    life.act("STALL", 0)
    life.act("TIME", data=b"\1\0")
    return life


def _terminal() -> Life:
    life = Life(1)
    spec = encode(
        [ops.Root(None, "/"), ops.Tty(kept=True), ops.Exec(("/app",))], stdin=Stdin(None, once=True), vital=True
    )
    life.request("SPAWN", spec, id=5, scope=native.SCOPE["OF_POD"])
    life.report(0, TERMINAL, fd="TERMINAL")
    life.act("GO", 0, b"\1\0")
    life.ask("RESIZE", id=5, rows=30, columns=90, serial=1)
    life.ask("ATTACH", "STREAM", "STREAM", id=5, streams=native.STREAM["STDIN"] + native.STREAM["STDOUT"], serial=2)
    life.act("WRITE", 1, b"\0ls\n")
    life.act("WRITE", 0, b"\0files\n")
    life.ask("SIGNAL", id=5, signal=15, serial=3)
    life.act("END", 0, b"\0\x0f")
    return life


def _both() -> Life:
    """A terminal beside pipes, for a container that is then forgotten; and gates that there are not."""
    life = Life()
    life.spawn(5)
    life.report(0, TERMINAL, fd="TERMINAL")
    life.ask("OPEN_GATE", id=5, gate=native.GATE["COUNT"])
    life.act("GO", 0, b"\1\0")
    life.act("END", 0, b"\0\0")
    life.ask("FORGET", id=5, serial=1)
    for end in range(3):
        life.act("WRITE", end, b"\0to nobody")
        life.act("SHUT", end)
    return life


def _joined() -> Life:
    life = Life()
    life.set_up()
    life.spawn(5)
    life.act("CONNECT", 1)
    own = native.SCOPE["OF_CONNECTION"]
    spec = encode([ops.SetNs(0, native.CLONE_NEWPID), ops.Fork(), ops.Exec(("/app",))], cgroup_of=5)
    life.request("SPAWN", spec, "NULL", id=6, client=1, scope=own)
    life.report(1, JOINED, pid=1003, fd="NULL")
    life.act("END", 1, b"\0\0")
    life.act("GO", 1, b"\1\0")
    life.report(1, TERMINAL, fd="TERMINAL")
    life.request("SPAWN", spec, "NULL", id=7, client=1, scope=own)
    life.act("GO", 2, bytes([2 + 4, 13]))
    life.request("SPAWN", spec, "NULL", id=8, client=1, scope=own)
    life.act("REPORT", 3, bytes([FD["NULL"]]) + REPORT.pack(JOINED, 0, 99), haste=True)
    life.act("END", 3, b"\0\0")  # and the sibling has ended too by the time that this is read
    life.request("SPAWN", spec, "NULL", id=9, client=1, scope=own, quiet=1)
    life.report(4, JOINED, pid=1004, fd="NULL")
    life.act("END", 4, b"\0\0")
    life.act("LEAVE", 1)
    return life


def _logged() -> Life:
    """A log whose directory, file or disk fails, and one that is rotated into nothing."""
    life = Life()
    life.spawn(5, files=1)
    life.spawn(6)
    for end in (0, 3):
        for before in range(8):
            life.act("WRITE", end, b"\0" + b"a line that fills it\n" * 12)
            life.act("PLAN", data=bytes(before) + b"\x87")
    life.ask("REOPEN", id=5, scope=native.SCOPE["OF_POD"])
    return life


def _ended() -> Life:
    life = Life(1)
    life.act("PLAN", data=bytes([0, 0, 0x82]))
    life.act("CONNECT", 2, b"\1")
    life.ask("SHUTDOWN")
    return life


LIVES = {
    "attached": _attached,
    "stalled": _stalled,
    "terminal": _terminal,
    "both": _both,
    "joined": _joined,
    "logged": _logged,
    "unread": _unread,
    "ended": _ended,
}


def _setups() -> Iterator[tuple[str, bytes]]:
    """Each list of ops as podmon walks it in itself."""
    for name, each in lists().items():
        life = Life()
        spec = encode_setup(each, listener=None, records=None, bound=False)
        life.request("SETUP", spec, *["NULL"] * len(spec.fds), id=1)
        yield f"setup-{name}", bytes(life.data)


def _hindered() -> Iterator[tuple[str, bytes]]:
    """Each life with a failure somewhere in it."""
    for name, life in LIVES.items():
        data = bytes(life().data)
        for before in range(0, 60, 2):
            plan = Life(data[0])
            plan.act("PLAN", data=bytes(before) + bytes([ERRORS[before // 2 % len(ERRORS)]]), haste=True)
            yield f"{name}-{before:02}", bytes(plan.data) + data[1:]


def seeds() -> Iterator[tuple[str, bytes]]:
    """Pairs of a path and what is in it."""
    for name, each in lists().items():
        for by_podmon in (False, True):
            yield f"ops/{name}-{by_podmon:d}", ops_seed(encode(each), by_podmon=by_podmon)
            for number, plan in enumerate(plans()):
                yield f"ops/{name}-{by_podmon:d}-{number:02}", ops_seed(encode(each), by_podmon=by_podmon, plan=plan)
    for name, data in past_the_end():
        yield f"ops/{name}", struct.pack("<BBH", 0, 1, 0) + data
    for name, life in LIVES.items():
        yield f"podmon/{name}", bytes(life().data)
    for name, data in (*_setups(), *_hindered()):
        yield f"podmon/{name}", data


def write(directory: Path) -> None:
    for path, data in seeds():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
