"""Ops as data: what they say, how they are encoded, and what becomes of a failure.  No kernel is asked."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import Any

import pytest

from sandbox.errors import SpawnError, Unsupported
from sandbox.linux import native
from sandbox.linux.ops import (
    Attach,
    Bind,
    Caps,
    Chdir,
    Exec,
    Fd,
    Fork,
    Gate,
    Hostname,
    Ids,
    Keyring,
    LinkUp,
    Mask,
    Mknod,
    Mount,
    NoNewPrivs,
    OomScoreAdj,
    Op,
    Open,
    Own,
    Pivot,
    Private,
    ReadOnly,
    ReadOnlyRoot,
    Ready,
    Reap,
    Root,
    Seccomp,
    Session,
    SetNs,
    Signals,
    Spec,
    Symlink,
    Tty,
    Umask,
    Unshare,
    encode,
    failure,
    namespace_names,
)
from tests import bpf

RO = native.MOUNT_ATTR_RDONLY
PROGRAM = bpf.program((0x20, 0, 0, 0), (0x06, 0, 0, bpf.ALLOW))
COVERED = RO | native.MOUNT_ATTR_NOSUID | native.MOUNT_ATTR_NODEV | native.MOUNT_ATTR_NOEXEC

# Every op, with what it says and its row: a text stands for the string that its offset leads to.
EXAMPLES: list[tuple[Op, str, dict[str, Any]]] = [
    (
        SetNs(70, native.CLONE_NEWNET | native.CLONE_NEWIPC, "the pod"),
        "enter the ipc, net namespace of the pod",
        {"kind": "SETNS", "fd": 70, "a": native.CLONE_NEWNET | native.CLONE_NEWIPC},
    ),
    (
        Unshare(native.CLONE_NEWCGROUP),
        "make a new cgroup namespace",
        {"kind": "UNSHARE", "a": native.CLONE_NEWCGROUP},
    ),
    (Gate("START"), "wait at the gate START", {"kind": "GATE", "a": native.GATE["START"]}),
    (Session(), "begin a new session", {"kind": "SESSION"}),
    (
        Tty(24, 80, kept=True, controls=True),
        "make a terminal from /dev/ptmx and use it as fds 0 to 2",
        {"kind": "TTY", "a": 24, "b": 80, "flags": 3},
    ),
    (Fork(), "go on inside the pid namespace", {"kind": "FORK", "flags": 0}),
    (Keyring(), "join a new session keyring", {"kind": "KEYRING"}),
    (Signals(), "reset every signal to its default", {"kind": "SIGNALS"}),
    (Hostname("web"), "set the hostname to web", {"kind": "HOSTNAME", "s1": "web"}),
    (LinkUp("lo"), "bring the link lo up", {"kind": "LINK_UP", "s1": "lo"}),
    (
        Private("/"),
        "make / and all mounts below it private",
        {"kind": "PROPAGATION", "s1": "/", "a": native.MS_PRIVATE},
    ),
    (Root(71, "/rootfs"), "attach the rootfs at /rootfs", {"kind": "ROOT", "fd": 71, "s1": "/rootfs"}),
    (Pivot(), "make the rootfs the root and detach the old root", {"kind": "PIVOT"}),
    (
        Mount("tmpfs", "/tmp", ("size=4096", "noswap"), RO),
        "mount tmpfs at /tmp with size=4096,noswap (ro)",
        {"kind": "MOUNT", "s1": "tmpfs", "s2": "/tmp", "s3": ["size=4096", "noswap"], "a": 2, "b": RO},
    ),
    (
        Attach(72, "/etc/hosts", "the hosts file", is_file=True),
        "attach the hosts file at /etc/hosts",
        {"kind": "ATTACH", "fd": 72, "s1": "/etc/hosts", "flags": 1},
    ),
    (
        Bind("/dev/null", "/dev/zero", COVERED, is_file=True),
        "bind the pod's /dev/null at /dev/zero (ro,nosuid,nodev,noexec)",
        {"kind": "BIND", "s1": "/dev/null", "s2": "/dev/zero", "a": COVERED, "flags": 1},
    ),
    (Mask("/proc/keys", "/n"), "hide /proc/keys", {"kind": "MASK", "s1": "/proc/keys", "s2": "/n", "a": COVERED}),
    (ReadOnly("/proc/sys"), "make /proc/sys read-only", {"kind": "READONLY", "s1": "/proc/sys", "a": COVERED}),
    (ReadOnlyRoot(), "make the rootfs read-only", {"kind": "READONLY_ROOT"}),
    (
        Mknod("/dev/null", stat.S_IFCHR | 0o666, 1, 3),
        "make the device /dev/null (crw-rw-rw- 1:3)",
        {"kind": "MKNOD", "s1": "/dev/null", "a": stat.S_IFCHR | 0o666, "b": os.makedev(1, 3)},
    ),
    (
        Symlink("pts/ptmx", "/dev/ptmx"),
        "link /dev/ptmx to pts/ptmx",
        {"kind": "SYMLINK", "s1": "pts/ptmx", "s2": "/dev/ptmx"},
    ),
    (Chdir("/srv"), "change into /srv", {"kind": "CHDIR", "s1": "/srv"}),
    (
        Open("/dev/null", 2, os.O_RDWR),
        "open /dev/null as fd 2",
        {"kind": "OPEN", "s1": "/dev/null", "a": os.O_RDWR, "b": 2},
    ),
    (Fd(73, 1, "the stdout pipe"), "make the stdout pipe fd 1", {"kind": "FD", "fd": 73, "b": 1}),
    (
        OomScoreAdj(74, -998),
        "set oom_score_adj to -998",
        {"kind": "WRITE", "fd": 74, "s1": "self/oom_score_adj", "s2": "-998"},
    ),
    (Umask(0o22), "set the umask to 0022", {"kind": "UMASK", "a": 0o22}),
    (Own(1000), "make fds 0 to 2 those of uid 1000", {"kind": "OWN", "a": 1000}),
    (
        Ids(1000, 2000, (5, 70000)),
        "become uid 1000, gid 2000, supplementary groups 5,70000",
        {"kind": "IDS", "a": 1000, "b": 2000, "s1": struct.pack("=2I", 5, 70000), "flags": 2},
    ),
    (
        Caps(0x1FF, 0xF),
        "set capabilities: bounding 0x1ff, permitted and effective 0xf",
        {"kind": "CAPS", "a": 0x1FF, "b": 0xF},
    ),
    (NoNewPrivs(), "set no_new_privs: no program gains privileges by execve", {"kind": "NO_NEW_PRIVS"}),
    (
        Seccomp(PROGRAM, "RuntimeDefault", 2),
        "filter system calls by the seccomp profile RuntimeDefault (2 instructions)",
        {"kind": "SECCOMP", "s1": PROGRAM, "flags": 2, "a": 2},
    ),
    (Reap(), "close everything and reap for ever", {"kind": "REAP"}),
    (Ready(), "close all other files and get ready to run", {"kind": "READY"}),
    (
        Exec(("sh", "-c", "exit"), ("PATH=/bin", "HOME=/")),
        "run sh -c exit",
        {"kind": "EXEC", "s1": ["sh", "-c", "exit"], "a": 3, "s2": ["PATH=/bin", "HOME=/"], "b": 2},
    ),
]
KINDS = set(native.OP) - {"COUNT"}

each_example = pytest.mark.parametrize(
    ("op", "says", "row"), EXAMPLES, ids=[type(op).__name__ for op, _, _ in EXAMPLES]
)


class Decoded:
    """A spec taken apart by the header that C reads it with."""

    def __init__(self, spec: Spec) -> None:
        ffi = native.ffi
        self.data = spec.data
        self.header = ffi.from_buffer("struct sp_spec *", spec.data)
        first = ffi.sizeof("struct sp_spec")
        self.ops = ffi.from_buffer(f"struct sp_op[{self.header.nops}]", spec.data[first:])
        self.strings = spec.data[first + ffi.sizeof(self.ops) :]

    def text(self, offset: int) -> str:
        return os.fsdecode(self.strings[offset : self.strings.index(b"\0", offset)])

    def texts(self, offset: int, count: int) -> list[str]:
        found = []
        for _ in range(count):
            found.append(self.text(offset))
            offset += len(os.fsencode(found[-1])) + 1
        return found


def test_every_op_and_every_kind_of_the_c_side_stands_in_the_table_once() -> None:
    assert sorted(type(op).__name__ for op, _, _ in EXAMPLES) == sorted(cls.__name__ for cls in Op.__subclasses__())
    assert sorted(row["kind"] for _, _, row in EXAMPLES) == sorted(KINDS)


@each_example
def test_an_op_says_in_one_line_what_it_does_and_names_its_path(op: Op, says: str, row: dict[str, Any]) -> None:
    assert op.describe() == says
    assert op.path is None or op.path in says
    assert type(op).step
    assert type(op).step == type(op).step.strip().lower()


def test_no_two_ops_share_a_step() -> None:
    steps = [cls.step for cls in Op.__subclasses__()]
    assert len(set(steps)) == len(steps)


@each_example
def test_an_op_is_encoded_as_the_row_that_c_reads(op: Op, says: str, row: dict[str, Any]) -> None:
    spec = encode([op])
    decoded = Decoded(spec)
    encoded = decoded.ops[0]
    assert len(decoded.ops) == 1
    assert encoded.kind == native.OP[row["kind"]]
    assert (spec.fds[encoded.fd] if encoded.fd != native.NO_FD else None) == row.get("fd")
    assert (encoded.flags, encoded.a, encoded.b) == (row.get("flags", 0), row.get("a", 0), row.get("b", 0))
    for name in ("s1", "s2", "s3"):
        offset, wanted = getattr(encoded, name), row.get(name)
        if wanted is None:
            assert offset == 0
        elif isinstance(wanted, bytes):
            assert decoded.strings[offset : offset + len(wanted)] == wanted
        elif isinstance(wanted, list):
            assert decoded.texts(offset, len(wanted)) == wanted
        else:
            assert decoded.text(offset) == wanted


def test_a_root_without_a_mount_is_what_is_there() -> None:
    op = Root(None, "/", "the pod's root")
    assert op.describe() == "use / as the pod's root"
    decoded = Decoded(encode([op]))
    assert (decoded.ops[0].fd, decoded.text(decoded.ops[0].s1)) == (native.NO_FD, "/")


@pytest.mark.parametrize(
    ("op", "flags"), [(Tty(), 0), (Tty(kept=True), 1), (Tty(controls=True), 2)], ids=["exec", "kept", "controls"]
)
def test_a_terminal_is_kept_or_controls_as_asked(op: Tty, flags: int) -> None:
    assert Decoded(encode([op])).ops[0].flags == flags


def test_a_script_of_several_lines_is_still_described_in_one() -> None:
    said = Exec(("sh", "-c", "echo a\n\techo \x1b[31mb\nécho")).describe()
    assert said == r"run sh -c echo a\n\techo \x1b[31mb\nécho"


def test_optional_parts_are_left_out_of_what_an_op_says() -> None:
    assert Mount("proc", "/proc").describe() == "mount proc at /proc"
    assert Ids().describe() == "become uid 0, gid 0, supplementary groups none"
    assert namespace_names(0) == ""


# --- the spec


def test_the_header_counts_what_follows_it() -> None:
    spec = encode([Hostname("web"), Fd(9, 0, "stdin")], clone_flags=native.CLONE_NEWNS)
    header = Decoded(spec).header
    assert (header.protocol, header.size, header.nops, header.nfds) == (native.PROTOCOL, len(spec.data), 2, 1)
    assert header.strings == len(b"\0web\0")
    assert header.clone_flags == native.CLONE_NEWNS
    assert header.cgroup == native.NO_FD


def test_an_empty_list_still_has_a_string_table_that_begins_and_ends_with_nul() -> None:
    decoded = Decoded(encode([]))
    assert decoded.header.nops == 0
    assert decoded.strings == b"\0"


def test_an_fd_that_several_ops_use_is_sent_once() -> None:
    spec = encode([Attach(8, "/a", "a"), Fd(9, 1, "out"), Fd(9, 2, "out"), Attach(8, "/b", "b")], cgroup=7)
    decoded = Decoded(spec)
    assert spec.fds == (8, 9, 7)
    assert [op.fd for op in decoded.ops] == [0, 1, 1, 0]
    assert decoded.header.cgroup == 2


@pytest.mark.parametrize(
    "op",
    [
        Hostname("a\0b"),
        Exec(("sh", "a\0b")),
        Exec(("sh",), ("A=\0",)),
        Mount("tmpfs", "/", ("a\0",)),
        Symlink("/", "\0"),
    ],
)
def test_a_nul_inside_a_text_is_refused(op: Op) -> None:
    with pytest.raises(ValueError, match="a NUL byte cannot reach the kernel"):
        encode([op])


def test_a_text_that_is_no_unicode_reaches_the_kernel_byte_by_byte() -> None:
    decoded = Decoded(encode([Chdir(os.fsdecode(b"/caf\xe9"))]))
    assert b"\0/caf\xe9\0" in decoded.strings


def test_empty_texts_count_and_empty_lists_have_no_offset() -> None:
    decoded = Decoded(encode([Exec(("sh", "", "x"), ()), Mount("proc", "/proc"), Ids()]))
    assert decoded.texts(decoded.ops[0].s1, 3) == ["sh", "", "x"]
    assert decoded.ops[0].s2 == decoded.ops[1].s3 == decoded.ops[2].s1 == 0


@pytest.mark.parametrize("name", ["", "a", "ab", "abc", "abcd"])
def test_groups_are_aligned_whatever_stands_before_them(name: str) -> None:
    decoded = Decoded(encode([Hostname(name), Ids(groups=(1, 2**32 - 2))]))
    offset = decoded.ops[1].s1
    assert offset % 4 == 0
    assert struct.unpack_from("=2I", decoded.strings, offset) == (1, 2**32 - 2)
    assert decoded.data.endswith(b"\0")


@pytest.mark.parametrize("name", ["", "a", "ab", "abc", "abcdefg"])
def test_a_filter_is_aligned_whatever_stands_before_it(name: str) -> None:
    decoded = Decoded(encode([Hostname(name), Seccomp(PROGRAM, "x")]))
    offset = decoded.ops[1].s1
    assert offset % 8 == 0
    assert decoded.strings[offset : offset + len(PROGRAM)] == PROGRAM
    assert decoded.data.endswith(b"\0")


@pytest.mark.parametrize("size", [0, 1, 7, 9, 8 * 2**16])
def test_what_is_no_program_is_refused(size: int) -> None:
    """Of 65536 instructions the kernel would take none for a program: it counts them with 16 bits."""
    with pytest.raises(ValueError, match=f"not a BPF program: {size} bytes"):
        encode([Seccomp(b"x" * size, "x")])


def test_a_join_with_a_terminal_says_so() -> None:
    assert Fork(terminal=True).describe() == "go on inside the pid namespace, with fd 0 as the terminal"
    assert Decoded(encode([Fork(terminal=True)])).ops[0].flags == 1


@pytest.mark.parametrize("ids", [Ids(uid=2**32 - 1), Ids(gid=-1), Ids(uid=2**32), Ids(groups=(2**32 - 1,))])
def test_an_id_that_the_kernel_would_take_for_none_is_refused(ids: Ids) -> None:
    """setresuid(-1) changes nothing: the program would go on as root."""
    with pytest.raises(ValueError, match="not a user or group id"):
        encode([ids])


def test_as_many_fds_as_podmon_takes_are_fine_and_one_more_is_not() -> None:
    many: list[Op] = [Attach(100 + n, "/x", "x") for n in range(native.MAX_FDS)]
    assert len(encode(many).fds) == native.MAX_FDS
    with pytest.raises(Unsupported, match=f"a container with {native.MAX_FDS + 1} mounts needs at most"):
        encode([*many, Attach(1, "/x", "x")])
    with pytest.raises(Unsupported):  # the cgroup's counts too
        encode(many, cgroup=1)


def test_as_many_bytes_as_podmon_takes_are_fine_and_one_more_is_not() -> None:
    room = native.MAX_SPEC - len(encode([Exec(("",))]).data)
    assert len(encode([Exec(("x" * room,))]).data) == native.MAX_SPEC
    with pytest.raises(Unsupported, match=f"needs at most {native.MAX_SPEC} bytes"):
        encode([Exec(("x" * (room + 1),))])


# --- failures

CALLS = {name: number for number, name in native.CALL_NAMES.items()}
LISTED: list[Op] = [Session(), Mount("tmpfs", "/tmp"), Exec(("/bin/nope", "-x"))]


def test_a_failure_names_the_step_the_path_the_call_and_the_errno() -> None:
    error = failure(LISTED, index=1, call=CALLS["fsopen"], number=errno.ENODEV)
    assert isinstance(error, SpawnError)
    assert (error.step, error.filename, error.errno, error.call) == ("mount", "/tmp", errno.ENODEV, "fsopen")
    assert error.op == "mount tmpfs at /tmp"
    assert str(error) == "mount tmpfs at /tmp: fsopen: No such device (ENODEV)"
    assert error.hint is None


def test_a_failure_of_an_op_without_a_path_has_no_filename() -> None:
    error = failure(LISTED, index=0, call=CALLS["setsid"], number=errno.EPERM)
    assert error.filename is None
    assert str(error) == "begin a new session: setsid: Operation not permitted (EPERM)"


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOENT, 'the image has no "/bin/nope"'),
        (errno.EACCES, "not executable"),
        (errno.ENOEXEC, "script that begins with #!"),
        (errno.E2BIG, "too large together"),
    ],
)
def test_a_program_that_cannot_run_comes_with_a_cure(number: int, cure: str) -> None:
    error = failure(LISTED, index=2, call=CALLS["execve"], number=number)
    assert cure in str(error.hint)


def test_an_errno_without_a_known_cure_has_no_hint() -> None:
    assert failure(LISTED, index=2, call=CALLS["execve"], number=errno.EIO).hint is None


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EINVAL, "more than 4096 of them"),
        (errno.EACCES, "allowPrivilegeEscalation: false"),
        (errno.ENOSYS, "CONFIG_SECCOMP_FILTER"),
        (errno.ENOMEM, "too long"),
    ],
)
def test_a_filter_that_the_kernel_does_not_take_comes_with_a_cure(number: int, cure: str) -> None:
    assert cure in str(failure([Seccomp(PROGRAM, "x")], index=0, call=CALLS["seccomp"], number=number).hint)


def test_an_op_that_fails_under_a_filter_is_hinted_at_the_profile() -> None:
    listed: list[Op] = [Session(), Seccomp(PROGRAM, "my\x1bprofile"), Caps(0, 0), Exec(("/bin/nope",))]
    hint = failure(listed, index=2, call=CALLS["capset"], number=errno.EPERM).hint
    assert hint == r"the seccomp profile my\x1bprofile may forbid capset, which starting a container takes"
    assert failure(listed, index=0, call=CALLS["setsid"], number=errno.EPERM).hint is None
    assert "may forbid execve" in str(failure(listed, index=3, call=CALLS["execve"], number=errno.EPERM).hint)
    assert "the image has no" in str(failure(listed, index=3, call=CALLS["execve"], number=errno.ENOENT).hint)


@pytest.mark.parametrize("index", [len(LISTED), len(LISTED) + 1, 2**32 - 1])
def test_an_index_past_the_end_means_the_clone_itself(index: int) -> None:
    error = failure(LISTED, index=index, call=CALLS["clone3"], number=errno.EAGAIN)
    assert (error.step, error.filename, error.op) == ("clone", None, "clone the child")
    assert str(error) == "clone the child: clone3: Resource temporarily unavailable (EAGAIN)"


def test_a_call_or_errno_that_is_not_known_is_given_as_its_number() -> None:
    assert "clone the child: 9999: " in str(failure(LISTED, index=9, call=9999, number=errno.EPERM))
    assert "op 3: 9999: " in str(failure([], index=3, call=9999, number=errno.EPERM)), "another engine's list"
    assert str(failure(LISTED, index=0, call=CALLS["setsid"], number=9999)).endswith("(9999)")
