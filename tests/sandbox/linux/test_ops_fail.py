"""Every op that can fail, made to fail in a real child of a real podmon: the error says where, on what and why."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import resource
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cgroups import Cgroup
from sandbox import capabilities
from sandbox.errors import SandboxError, SpawnError, printable, shown
from sandbox.front.errors import print_error
from sandbox.linux import mounts, native
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
    Symlink,
    Tty,
    Umask,
    Unshare,
    encode,
)
from sandbox.pod import ends
from sandbox.pod.ground import POD_DEVICES, POD_ROOTFS, compile_pod
from sandbox.pod.podmon import Child, Podmon, Stage
from sandbox.pod.state import Instance
from tests import bpf

pytestmark = pytest.mark.root

NULL = f"{POD_DEVICES}/null"  # in podmon's root

TIMEOUT = 60  # seconds; generous, for machines that emulate
SYS_PIDFD_GETFD = 438

DEFAULT = capabilities.bits(capabilities.DEFAULT)


def without(*names: str) -> int:
    """The default capabilities but for these."""
    return DEFAULT & ~capabilities.bits(names)


@dataclass(frozen=True)
class Fds:
    """What the ops of a case may use: a rootfs and another mount, both detached, an fd that is neither, and /proc."""

    rootfs: int
    mount: int
    null: int
    proc: int


@dataclass(frozen=True)
class Case:
    """The last of `ops` fails in `call` with `number`.

    Where the op needs others behind it, it is the one at index `failing`.
    `meanwhile` is done while the child waits at the gate PREPARE, if its list has one.  `in_podmon`: the list is not
    a child's but the pod's own.
    """

    kind: str
    what: str
    ops: Callable[[Fds], Sequence[Op]]
    step: str
    path: str | None
    call: str
    number: int
    meanwhile: Callable[[Podmon, Child], None] = lambda podmon, child: None
    in_podmon: bool = False
    failing: int = -1


def allow_fds(count: int) -> Callable[[Podmon, Child], None]:
    """From now on the child may have no fd of this number or above."""

    def lower(podmon: Podmon, child: Child) -> None:
        assert child.pid is not None
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (count, count))

    return lower


def hang_up(podmon: Podmon, child: Child) -> None:
    """End what podmon's socket to its only child can say."""
    fds = Path(f"/proc/{podmon.pid}/fd")
    (number,) = (
        int(fd.name)
        for fd in fds.iterdir()
        if str(fd.readlink()).startswith("socket:") and int(fd.name) != native.lib.SP_CONTROL_FD
    )
    copy = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, podmon.pidfd, number, 0)
    assert copy >= 0, os.strerror(ctypes.get_errno())
    with socket.socket(fileno=copy) as its_end:
        its_end.shutdown(socket.SHUT_WR)


def rooted(*ops: Op) -> Callable[[Fds], Sequence[Op]]:
    return lambda fds: [Root(fds.rootfs, POD_ROOTFS), *ops]


def pivoted(*ops: Op) -> Callable[[Fds], Sequence[Op]]:
    return rooted(Pivot(), *ops)


def devpts(*ops: Op) -> Callable[[Fds], Sequence[Op]]:
    return rooted(
        Mount("tmpfs", "/dev"),
        Mount("devpts", "/dev/pts", ("newinstance", "ptmxmode=0666")),
        Symlink("pts/ptmx", "/dev/ptmx"),
        *ops,
    )


def plain(*ops: Op) -> Callable[[Fds], Sequence[Op]]:
    return lambda fds: ops


LONG = "x" * 300

CASES = [
    Case(
        "SETNS",
        "an fd that is no namespace",
        lambda fds: [SetNs(fds.null, native.CLONE_NEWNET)],
        *("enter namespaces", None, "setns", errno.EINVAL),
    ),
    Case(
        "UNSHARE",
        "a bit that is no namespace",
        plain(Unshare(1)),
        *("make namespaces", None, "unshare", errno.EINVAL),
    ),
    Case(
        "UNSHARE",
        "without CAP_SYS_ADMIN",
        plain(Caps(DEFAULT, DEFAULT), Unshare(native.CLONE_NEWUTS)),
        *("make namespaces", None, "unshare", errno.EPERM),
    ),
    Case(
        "GATE",
        "podmon hangs up",
        plain(Gate("PREPARE")),
        *("wait at gate", None, "recv", errno.ECANCELED),
        meanwhile=hang_up,
    ),
    Case(
        "GATE",
        "in podmon itself, where nobody could open it",
        plain(Gate("START")),
        *("wait at gate", None, "send", errno.EBADF),
        in_podmon=True,
    ),
    Case("SESSION", "one already", plain(Session(), Session()), "begin session", None, "setsid", errno.EPERM),
    Case(
        "SESSION",
        "podmon has one",
        plain(Session()),
        *("begin session", None, "setsid", errno.EPERM),
        in_podmon=True,
    ),
    Case("TTY", "no devpts", rooted(Tty()), "make terminal", "/dev/ptmx", "openat2", errno.ENOENT),
    Case("REAP", "podmon itself", plain(Reap()), "reap", None, "send", errno.EBADF, in_podmon=True),
    Case("TTY", "leads no session", devpts(Tty(controls=True)), "make terminal", "/dev/ptmx", "ioctl", errno.EPERM),
    Case("ROOT", "not there", plain(Root(None, "/no")), "attach rootfs", "/no", "openat", errno.ENOENT),
    Case("FORK", "fd 0 is no terminal", plain(Fork(terminal=True)), "join", None, "ioctl", errno.ENOTTY),
    Case("HOSTNAME", "65 bytes", plain(Hostname("x" * 65)), "set hostname", None, "sethostname", errno.EINVAL),
    Case("LINK_UP", "no such link", plain(LinkUp("eth7")), "bring link up", "eth7", "ioctl", errno.ENODEV),
    Case(
        "LINK_UP",
        "without CAP_NET_ADMIN",
        plain(Caps(DEFAULT, DEFAULT), LinkUp("lo")),
        *("bring link up", "lo", "ioctl", errno.EPERM),
    ),
    Case(
        "PROPAGATION",
        "no such path",
        plain(Private("/no")),
        *("make mounts private", "/no", "mount_setattr", errno.ENOENT),
    ),
    Case(
        "PROPAGATION",
        "no mount",
        plain(Private("/rootfs")),
        *("make mounts private", "/rootfs", "mount_setattr", errno.EINVAL),
    ),
    Case(
        "ROOT",
        "no such directory",
        lambda fds: [Root(fds.rootfs, "/no")],
        *("attach rootfs", "/no", "move_mount", errno.ENOENT),
    ),
    Case(
        "ROOT",
        "no mount",
        lambda fds: [Root(fds.null, "/rootfs")],
        *("attach rootfs", "/rootfs", "move_mount", errno.EINVAL),
    ),
    Case("PIVOT", "it is the root already", pivoted(Pivot()), "pivot root", None, "pivot_root", errno.EBUSY),
    Case("MOUNT", "no such filesystem", rooted(Mount("nofs", "/dir")), "mount", "/dir", "fsopen", errno.ENODEV),
    Case(
        "MOUNT",
        "a bad value",
        rooted(Mount("tmpfs", "/dir", ("size=4096", "mode=rwx"))),
        *("mount", "/dir", "fsconfig", errno.EINVAL),
    ),
    Case("MOUNT", "a bad flag", rooted(Mount("tmpfs", "/dir", ("no",))), "mount", "/dir", "fsconfig", errno.EINVAL),
    Case(
        "MOUNT",
        "a long key",
        rooted(Mount("tmpfs", "/dir", (LONG,))),
        *("mount", "/dir", "fsconfig", errno.ENAMETOOLONG),
    ),
    Case(
        "MOUNT",
        "a bad attribute",
        rooted(Mount("proc", "/dir", (), 1 << 31)),
        *("mount", "/dir", "fsmount", errno.EINVAL),
    ),
    Case("MOUNT", "below a file", rooted(Mount("proc", "/file/x")), "mount", "/file/x", "openat2", errno.ENOTDIR),
    Case("MOUNT", "a long name", rooted(Mount("proc", f"/{LONG}")), "mount", f"/{LONG}", "openat2", errno.ENAMETOOLONG),
    Case(
        "ATTACH",
        "below a file",
        lambda fds: [*rooted()(fds), Attach(fds.mount, "/file/x", "a volume")],
        *("attach", "/file/x", "openat2", errno.ENOTDIR),
    ),
    Case(
        "ATTACH",
        "a directory onto a file",
        lambda fds: [*rooted()(fds), Attach(fds.mount, "/file", "a volume", is_file=True)],
        *("attach", "/file", "move_mount", errno.EINVAL),
    ),
    Case(
        "ATTACH",
        "the rootfs below itself",
        lambda fds: [*rooted()(fds), Attach(fds.rootfs, "/dir", "a volume")],
        *("attach", "/dir", "move_mount", errno.ELOOP),
    ),
    Case(
        "ATTACH",
        "a file below a link to itself",
        lambda fds: [*rooted()(fds), Attach(fds.mount, "/loop/x", "a volume", is_file=True)],
        *("attach", "/loop/x", "openat2", errno.ELOOP),
    ),
    Case("BIND", "no such source", rooted(Bind("/no", "/dir")), "bind", "/dir", "open_tree", errno.ENOENT),
    Case(
        "BIND",
        "a file onto a directory",
        rooted(Bind("/dev/null", "/dir")),
        *("bind", "/dir", "move_mount", errno.EINVAL),
    ),
    Case("MASK", "a link to itself", rooted(Mask("/loop", NULL)), "mask", "/loop", "openat2", errno.ELOOP),
    Case("MASK", "a file, no /dev/null", rooted(Mask("/file", "/no")), "mask", "/file", "open_tree", errno.ENOENT),
    Case("READONLY", "a link to itself", rooted(ReadOnly("/loop")), "make read-only", "/loop", "openat2", errno.ELOOP),
    Case(
        "READONLY",
        "below a file",
        rooted(ReadOnly("/file/x")),
        *("make read-only", "/file/x", "openat2", errno.ENOTDIR),
    ),
    Case(
        "READONLY_ROOT",
        "a file of it is open for writing (finding 13)",
        rooted(Open("/file", 1, os.O_WRONLY), ReadOnlyRoot()),
        *("make rootfs read-only", None, "mount_setattr", errno.EBUSY),
    ),
    Case(
        "READONLY_ROOT",
        "it is no mount",
        plain(Root(None, POD_ROOTFS), ReadOnlyRoot()),
        *("make rootfs read-only", None, "mount_setattr", errno.EINVAL),
    ),
    Case(
        "MOUNT",
        "no target on a read-only root (finding 13)",
        rooted(ReadOnlyRoot(), Mount("tmpfs", "/missing")),
        *("mount", "/missing", "mkdirat", errno.EROFS),
    ),
    Case(
        "MKNOD",
        "something is there",
        rooted(Mknod("/file", stat.S_IFCHR | 0o666, 1, 3)),
        *("make device", "/file", "mknodat", errno.EEXIST),
    ),
    Case(
        "MKNOD",
        "without CAP_MKNOD",
        rooted(Caps(DEFAULT, without("MKNOD")), Mknod("/dir/null", stat.S_IFCHR | 0o666, 1, 3)),
        *("make device", "/dir/null", "mknodat", errno.EPERM),
    ),
    Case(
        "SYMLINK",
        "something is there",
        rooted(Symlink("x", "/file")),
        *("make link", "/file", "symlinkat", errno.EEXIST),
    ),
    Case("SYMLINK", "below a file", rooted(Symlink("x", "/file/x")), "make link", "/file/x", "openat2", errno.ENOTDIR),
    Case("CHDIR", "a file", rooted(Chdir("/file")), "change directory", "/file", "openat2", errno.ENOTDIR),
    Case(
        "CHDIR",
        "a link to nothing",
        rooted(Chdir("/dangling")),
        *("change directory", "/dangling", "openat2", errno.ENOENT),
    ),
    Case("OPEN", "no such file", rooted(Open("/no", 0)), "open", "/no", "openat2", errno.ENOENT),
    Case(
        "OPEN",
        "a directory for writing",
        rooted(Open("/dir", 0, os.O_RDWR)),
        *("open", "/dir", "openat2", errno.EISDIR),
    ),
    Case(
        "OPEN",
        "no fd left",
        rooted(Gate("PREPARE"), Open("/file", 0)),
        *("open", "/file", "openat2", errno.EMFILE),
        meanwhile=allow_fds(0),
    ),
    Case(
        "FD",
        "a number above the limit of fds",
        lambda fds: [Gate("PREPARE"), Fd(fds.null, 1, "the stdout pipe"), Fd(fds.null, 2, "the stderr pipe")],
        *("set fd", None, "dup3", errno.EBADF),
        meanwhile=allow_fds(2),
    ),
    Case(
        "WRITE",
        "no such file below the directory",
        lambda fds: [OomScoreAdj(fds.mount, 0)],
        *("set oom_score_adj", None, "openat", errno.ENOENT),
    ),
    Case(
        "WRITE",
        "a value that the kernel does not take",
        lambda fds: [OomScoreAdj(fds.proc, 1001)],
        *("set oom_score_adj", None, "write", errno.EINVAL),
    ),
    Case(
        "WRITE",
        "lower, without CAP_SYS_RESOURCE",
        lambda fds: [Caps(DEFAULT, DEFAULT), OomScoreAdj(fds.proc, -1000)],
        *("set oom_score_adj", None, "write", errno.EACCES),
    ),
    Case(
        "OWN",
        "without CAP_CHOWN",
        rooted(Open("/file", 1), Caps(DEFAULT, without("CHOWN")), Own(1000)),
        *("own stdio", None, "fchown", errno.EPERM),
    ),
    Case(
        "IDS",
        "without CAP_SETGID",
        plain(Caps(DEFAULT, without("SETGID")), Ids(1000, 1000, (5,))),
        *("set ids", None, "setgroups", errno.EPERM),
    ),
    Case(
        "IDS",
        "without CAP_SETUID",
        plain(Caps(DEFAULT, without("SETUID")), Ids(1000, 1000)),
        *("set ids", None, "setresuid", errno.EPERM),
    ),
    Case(
        "CAPS",
        "more than there are left",
        plain(Caps(DEFAULT, without("CHOWN")), Caps(DEFAULT, DEFAULT)),
        *("set capabilities", None, "capset", errno.EPERM),
    ),
    Case(
        "CAPS",
        "a smaller bounding set without CAP_SETPCAP",
        plain(Caps(DEFAULT, without("SETPCAP")), Caps(without("CHOWN"), 0)),
        *("set capabilities", None, "prctl", errno.EPERM),
    ),
    Case(
        "NO_NEW_PRIVS",
        "a filter forbids it",
        plain(Seccomp(bpf.forbid("prctl"), "x"), NoNewPrivs()),
        *("set no_new_privs", None, "prctl", errno.EPERM),
    ),
    Case(
        "KEYRING",
        "a filter forbids it",
        plain(Seccomp(bpf.forbid("keyctl"), "x"), Keyring()),
        *("join keyring", None, "keyctl", errno.EPERM),
    ),
    Case(
        "SIGNALS",
        "a filter forbids it",
        plain(Seccomp(bpf.forbid("rt_sigprocmask"), "x"), Signals()),
        *("reset signals", None, "sigprocmask", errno.EPERM),
    ),
    Case(
        "SECCOMP",
        "without CAP_SYS_ADMIN and no_new_privs",
        plain(Caps(DEFAULT, DEFAULT), Seccomp(bpf.forbid("kill"), "x")),
        *("set seccomp filter", None, "seccomp", errno.EACCES),
    ),
    Case(
        "SECCOMP",
        "not an instruction",
        plain(NoNewPrivs(), Seccomp(b"\xff" * 8, "x")),
        *("set seccomp filter", None, "seccomp", errno.EINVAL),
    ),
    Case(
        "SECCOMP",
        "one instruction too many",
        plain(Seccomp(bpf.program(*[(0x20, 0, 0, 0)] * 4096, (0x06, 0, 0, bpf.ALLOW)), "x")),
        *("set seccomp filter", None, "seccomp", errno.EINVAL),
    ),
    Case(
        "SECCOMP",
        "a flag that there is not",
        plain(Seccomp(bpf.forbid("kill"), "x", 1 << 31)),
        *("set seccomp filter", None, "seccomp", errno.EINVAL),
    ),
    Case(
        "SECCOMP",
        "a kernel without it",
        plain(Seccomp(bpf.forbid("seccomp", number=errno.ENOSYS), "x"), Seccomp(bpf.forbid("kill"), "y")),
        *("set seccomp filter", None, "seccomp", errno.ENOSYS),
    ),
    Case(
        "FORK",
        "a filter forbids it",
        plain(Seccomp(bpf.forbid("clone"), "x"), Fork()),
        *("join", None, "clone", errno.EPERM),
    ),
    Case(
        "READY",
        "no fd left",
        plain(Gate("PREPARE"), Ready(), Exec(("/no",))),
        *("get ready", None, "dup3", errno.EBADF),
        meanwhile=allow_fds(3),
        failing=-2,
    ),
    Case(
        "READY",
        "podmon itself",
        plain(Ready(), Exec(("/no",))),
        *("get ready", None, "send", errno.EBADF),
        in_podmon=True,
        failing=-2,
    ),
    Case("EXEC", "podmon itself", plain(Exec(("/no",))), "run", "/no", "send", errno.EBADF, in_podmon=True),
    Case(
        "EXEC",
        "a filter forbids it, and to tell of it too",
        pivoted(Ready(), Seccomp(bpf.allow("exit_group"), "x"), Exec(("/bin/sh",))),
        *("run", "/bin/sh", "execve", errno.EPERM),
    ),
    Case(
        "EXEC",
        "a filter forbids all, the end too",
        pivoted(Ready(), Seccomp(bpf.allow(number=errno.ENOSYS), "x"), Exec(("/bin/sh",))),
        *("run", "/bin/sh", "execve", errno.ENOSYS),
    ),
    Case(
        "EXEC",
        "nothing of that name, under a filter that forbids to tell of it",
        pivoted(Ready(), Seccomp(bpf.allow("execve"), "x"), Exec(("no",), ("PATH=/:/dir",))),
        *("run", "no", "execve", errno.ENOENT),
    ),
    Case("EXEC", "no such file", pivoted(Exec(("/no",))), "run", "/no", "execve", errno.ENOENT),
    Case("EXEC", "no such interpreter", pivoted(Exec(("/lost",))), "run", "/lost", "execve", errno.ENOENT),
    Case("EXEC", "below a file", pivoted(Exec(("/file/x",))), "run", "/file/x", "execve", errno.ENOTDIR),
    Case("EXEC", "not executable", pivoted(Exec(("/file",))), "run", "/file", "execve", errno.EACCES),
    Case("EXEC", "a directory", pivoted(Exec(("/dir",))), "run", "/dir", "execve", errno.EACCES),
    Case("EXEC", "not a program", pivoted(Exec(("/garbage",))), "run", "/garbage", "execve", errno.ENOEXEC),
    Case(
        "EXEC",
        "long arguments",
        pivoted(Exec(("/garbage", "x" * (1 << 20)))),
        *("run", "/garbage", "execve", errno.E2BIG),
    ),
    Case(
        "EXEC",
        "nothing of that name in PATH",
        pivoted(Exec(("no",), ("PATH=/:/dir",))),
        *("run", "no", "execve", errno.ENOENT),
    ),
    Case("EXEC", "no PATH", pivoted(Exec(("garbage",), ("A=/",))), "run", "garbage", "execve", errno.ENOENT),
    Case("EXEC", "no name", pivoted(Exec(("",), ("PATH=/",))), "run", "", "execve", errno.ENOENT),
    Case(
        "EXEC",
        "PATH without a directory",
        pivoted(Exec(("garbage",), ("PATH=:",))),
        *("run", "garbage", "execve", errno.ENOENT),
    ),
    Case(
        "EXEC",
        "not executable in one directory of PATH, missing in the next",
        pivoted(Exec(("file",), ("PATH=/no:/file:/:/dir",))),
        *("run", "file", "execve", errno.EACCES),
    ),
    Case(
        "EXEC",
        "not executable in one directory of PATH, not a program in the next",
        pivoted(Exec(("garbage",), ("PATH=/dir:/",))),
        *("run", "garbage", "execve", errno.ENOEXEC),
    ),
]

# Kinds that no case can be made for: why, and the ops that might be thought to fail.
CANNOT_FAIL: dict[str, tuple[str, list[Op]]] = {
    "UMASK": ("umask(2): this system call always succeeds; other bits are ignored", [Umask(0), Umask(2**64 - 1)]),
}


def kinds_of(ops: Sequence[Op]) -> list[str]:
    names = {number: name for name, number in native.OP.items()}
    header, size = native.ffi.sizeof("struct sp_spec"), native.ffi.sizeof("struct sp_op")
    data = encode(ops).data[header:]
    return [names[native.ffi.from_buffer("struct sp_op *", data[n * size :]).kind] for n in range(len(ops))]


@asynccontextmanager
async def pod(pod_slice: Cgroup, directory: Path) -> AsyncIterator[Podmon]:
    """A podmon that has done what a pod needs, in `pod_slice`; `directory` is an empty one of the host."""
    with pod_slice.create_child("podmon.scope").fd() as cgroup:
        podmon = Podmon.launch(cgroup=cgroup, title="test")
    try:
        root = mounts.tmpfs(64 << 10, 0o755)
        try:
            os.mkdir(POD_ROOTFS.lstrip("/"), dir_fd=root)
            async with asyncio.timeout(TIMEOUT):
                await podmon.setup(compile_pod(hostname="test", root=root, at=str(directory)))
        finally:
            os.close(root)
        yield podmon
    finally:
        await asyncio.wait_for(podmon.close(), TIMEOUT)


@pytest.fixture
def fds() -> Iterator[Fds]:
    """A small rootfs of awkward files, an empty tmpfs, /dev/null."""
    rootfs = native.new_mount("tmpfs", {"size": "64k", "nr_inodes": "32", "mode": "755"}, 0)
    os.mkdir("dir", dir_fd=rootfs)
    os.symlink("loop", "loop", dir_fd=rootfs)
    os.symlink("/nowhere", "dangling", dir_fd=rootfs)
    for name, text, mode in (
        ("file", "text", 0o644),
        ("garbage", "text", 0o755),
        ("dir/garbage", "text", 0o644),
        ("lost", "#!/no/sh\n", 0o755),
    ):
        file = os.open(name, os.O_CREAT | os.O_WRONLY, mode, dir_fd=rootfs)
        os.write(file, text.encode())
        os.fchmod(file, mode)
        os.close(file)
    with ExitStack() as undo:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        opened = Fds(rootfs, mounts.tmpfs(4096, 0o755), null, mounts.open_proc(undo))
        yield opened
        for fd in (opened.rootfs, opened.mount, opened.null):
            os.close(fd)


async def failure_in_child(
    podmon: Podmon, leaf: Cgroup, ops: Sequence[Op], meanwhile: Callable[[Podmon, Child], None]
) -> SpawnError:
    with leaf.fd() as cgroup:
        child = await podmon.spawn(ops, clone_flags=native.CLONE_NEWNS, cgroup=cgroup)
    if Gate("PREPARE") in ops:
        await child.until(Stage.PREPARED)
        meanwhile(podmon, child)
        await podmon.open_gate(child, "PREPARE")
    await child.ended()
    assert child.exit is None
    assert isinstance(child.failure, SpawnError)
    assert leaf.wait_empty(TIMEOUT)
    return child.failure


@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind}: {case.what}" for case in CASES])
def test_a_failing_op_is_told_with_its_step_path_call_and_errno(
    case: Case, fds: Fds, pod_slice: Cgroup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ops = case.ops(fds)

    async def fail() -> SpawnError:
        async with pod(pod_slice, tmp_path) as podmon, asyncio.timeout(TIMEOUT):
            if not case.in_podmon:
                leaf = pod_slice.create_child("leaf.scope")
                return await failure_in_child(podmon, leaf, ops, case.meanwhile)
            with pytest.raises(SpawnError) as raised:
                await podmon.setup(ops)
            return raised.value

    error = asyncio.run(fail())
    reason = f"{os.strerror(case.number)} ({errno.errorcode[case.number]})"
    assert kinds_of(ops)[case.failing] == case.kind
    assert (error.step, error.filename, error.call, error.errno) == (case.step, case.path, case.call, case.number)
    assert str(error) == f"{ops[case.failing].describe()}: {case.call}: {reason}"
    filtered = any(isinstance(op, Seccomp) for op in ops[: case.failing])
    assert error.hint == ops[case.failing].hint(case.number) or (filtered and f"may forbid {case.call}" in error.hint)
    what = printable(ops[case.failing].describe())
    assert (case.path or "") in what or shown(case.path or "") in what
    cure = f"hint: {printable(error.hint)}\n" if error.hint else ""
    assert printed(error, capsys) == f'error: pod "web", container "c": {what}: {case.call}: {reason}\n{cure}'


def printed(error: SpawnError, capsys: pytest.CaptureFixture[str]) -> str:
    """What `run` prints of a container that could not be started, as it is noted and comes from the engine."""
    end = ends.by_failure(Instance("0" * 64, 1, 0), error, datetime.now(UTC))
    print_error(SandboxError(end.message, hint=end.hint or None), subject='pod "web", container "c": ')
    return capsys.readouterr().err


@pytest.mark.parametrize("kind", CANNOT_FAIL)
def test_an_op_that_is_said_never_to_fail_does_not(kind: str, fds: Fds, pod_slice: Cgroup, tmp_path: Path) -> None:
    reason, ops = CANNOT_FAIL[kind]
    last = Exec(("/no",))
    assert "(2)" in reason  # the manual page that says so
    assert kind in kinds_of(ops)

    async def fail() -> SpawnError:
        async with pod(pod_slice, tmp_path) as podmon, asyncio.timeout(TIMEOUT):
            leaf = pod_slice.create_child("leaf.scope")
            return await failure_in_child(podmon, leaf, [*ops, last], lambda podmon, child: None)

    assert asyncio.run(fail()).op == last.describe()


def test_no_kind_of_op_is_forgotten() -> None:
    failing = {case.kind for case in CASES}
    assert failing | set(CANNOT_FAIL) == set(native.OP) - {"COUNT"}
    assert not failing & set(CANNOT_FAIL)


def test_a_child_that_cannot_be_cloned_is_told_as_such(pod_slice: Cgroup, tmp_path: Path) -> None:
    async def fail() -> SpawnError:
        async with pod(pod_slice, tmp_path) as podmon, asyncio.timeout(TIMEOUT):
            no_cgroup = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                child = await podmon.spawn([Exec(("/no",))], clone_flags=native.CLONE_NEWNS, cgroup=no_cgroup)
            finally:
                os.close(no_cgroup)
            with pytest.raises(SpawnError) as raised:
                await child.until(Stage.SPAWNED)
            assert child.pidfd is None
            return raised.value

    error = asyncio.run(fail())
    assert (error.step, error.filename, error.call, error.errno) == ("clone", None, "clone3", errno.EBADF)
    assert str(error) == "clone the child: clone3: Bad file descriptor (EBADF)"


def test_a_list_without_a_program_at_its_end_fails_after_its_last_op(pod_slice: Cgroup, tmp_path: Path) -> None:
    async def fail() -> SpawnError:
        async with pod(pod_slice, tmp_path) as podmon, asyncio.timeout(TIMEOUT):
            leaf = pod_slice.create_child("leaf.scope")
            return await failure_in_child(podmon, leaf, [Umask(0)], lambda podmon, child: None)

    assert asyncio.run(fail()).errno == errno.ENOEXEC


# --- what an image may contain


@pytest.mark.parametrize(
    "way", ["/../..", "/abs/../..", "/up/../..", "/etc/../../..", "/deep/up/abs/..", "/abs/up/deep/../..", "//./etc/.."]
)
def test_links_and_dots_of_an_image_lead_no_target_out_of_the_rootfs(
    way: str, copied_rootfs: Path, fds: Fds, pod_slice: Cgroup, tmp_path: Path
) -> None:
    """None of these children pivots, so that "/" is podmon's root: what got out would be seen there."""
    (copied_rootfs / "abs").symlink_to("/")
    (copied_rootfs / "up").symlink_to("../../../../../../../..")
    (copied_rootfs / "deep").mkdir()
    (copied_rootfs / "deep" / "up").symlink_to("../../..")
    for name in ("masked", "read-only"):
        (copied_rootfs / "etc" / name).mkdir()
    rootfs = mounts.bind(copied_rootfs)
    to = f"{way}/etc"
    ops = [
        Root(rootfs, POD_ROOTFS),
        Mount("tmpfs", f"{to}/mounted/below"),
        Attach(fds.mount, f"{to}/attached", "a volume"),
        Bind("/shm", f"{to}/bound"),
        Bind("/dev/null", f"{to}/file", is_file=True),
        Mask(f"{to}/masked", NULL),
        ReadOnly(f"{to}/read-only"),
        Mknod(f"{to}/device", stat.S_IFCHR | 0o666, 1, 3),
        Symlink("text", f"{to}/link"),
        Open(f"{to}/passwd", 0),
        Chdir(f"{to}/cwd"),
        Gate("START"),
    ]

    async def look() -> None:
        async with pod(pod_slice, tmp_path) as podmon, asyncio.timeout(TIMEOUT):
            with pod_slice.create_child("leaf.scope").fd() as cgroup:
                child = await podmon.spawn(ops, clone_flags=native.CLONE_NEWNS, cgroup=cgroup)
            await child.until(Stage.CREATED)
            process, inside = Path(f"/proc/{child.pid}"), copied_rootfs / "etc"
            points = {line.split()[4] for line in (process / "mountinfo").read_text().splitlines()}
            assert {point for point in points if point.startswith("/rootfs/")} == {
                f"/rootfs/etc/{name}" for name in ("mounted/below", "attached", "bound", "file", "masked", "read-only")
            }
            assert stat.S_ISCHR((inside / "device").lstat().st_mode)
            assert (inside / "link").readlink() == Path("text")
            assert (process / "cwd").samefile(inside / "cwd")
            assert (process / "fd/0").samefile(inside / "passwd")
            assert sorted(path.name for path in Path(f"/proc/{podmon.pid}/root").iterdir()) == ["dev", "rootfs", "shm"]

    try:
        asyncio.run(look())
    finally:
        os.close(rootfs)
    assert not {path.name for path in Path("/etc").iterdir()} & {"mounted", "attached", "bound", "masked", "cwd"}


@pytest.mark.parametrize(
    ("op", "no"),
    [
        (Chdir("/to-dev/x"), ("openat2", errno.ENOENT)),
        (Mknod("/to-dev/x", stat.S_IFCHR | 0o666, 1, 3), ("openat2", errno.ENOENT)),
        (Mknod("/to-file", stat.S_IFCHR | 0o666, 1, 3), ("mknodat", errno.EEXIST)),
    ],
    ids=["directory", "node", "node that is the link"],
)
def test_a_link_to_what_only_podmon_has_is_a_link_to_nothing(
    op: Op, no: tuple[str, int], copied_rootfs: Path, pod_slice: Cgroup, tmp_path: Path
) -> None:
    (copied_rootfs / "to-dev").symlink_to("/dev")
    (copied_rootfs / "to-file").symlink_to("/dev/x")
    rootfs = mounts.bind(copied_rootfs)

    async def fail() -> tuple[SpawnError, list[str]]:
        async with pod(pod_slice, tmp_path) as podmon, asyncio.timeout(TIMEOUT):
            leaf = pod_slice.create_child("leaf.scope")
            ops = [Root(rootfs, POD_ROOTFS), op]
            error = await failure_in_child(podmon, leaf, ops, lambda podmon, child: None)
            return error, [path.name for path in Path(f"/proc/{podmon.pid}/root/dev").iterdir()]

    try:
        error, devices = asyncio.run(fail())
    finally:
        os.close(rootfs)
    assert (error.call, error.errno) == no
    assert "x" not in devices


def test_a_target_with_dots_is_found_though_files_are_renamed_all_the_time(
    fds: Fds, pod_slice: Cgroup, tmp_path: Path
) -> None:
    """The kernel gives up a lookup below a root when any rename or mount of the machine meets one of its ".."."""
    here, there, stop = tmp_path / "a", tmp_path / "b", threading.Event()
    here.touch()
    empty = tmp_path / "empty"
    empty.mkdir()

    def rename() -> None:
        while not stop.is_set():
            here.rename(there)
            there.rename(here)

    async def walk() -> SpawnError:
        async with pod(pod_slice, empty) as podmon, asyncio.timeout(TIMEOUT):
            leaf = pod_slice.create_child("leaf.scope")
            ops = [Root(fds.rootfs, POD_ROOTFS), *[Mask("/dir/../dir/../dir/../missing", NULL)] * 2000, Exec(("/no",))]
            return await failure_in_child(podmon, leaf, ops, lambda podmon, child: None)

    with ThreadPoolExecutor(1) as thread:
        renaming = thread.submit(rename)
        try:
            error = asyncio.run(walk())
        finally:
            stop.set()
        renaming.result(TIMEOUT)
    assert error.step == "run"


@pytest.mark.parametrize("way", ["/proc/1/root", "/proc/self/cwd", "/proc/self/fd/0"])
def test_no_magic_link_of_proc_is_followed(way: str, fds: Fds, pod_slice: Cgroup, tmp_path: Path) -> None:
    async def fail() -> SpawnError:
        async with pod(pod_slice, tmp_path) as podmon, asyncio.timeout(TIMEOUT):
            leaf = pod_slice.create_child("leaf.scope")
            ops = [Root(fds.rootfs, POD_ROOTFS), Mount("proc", "/proc"), Mount("tmpfs", f"{way}/x")]
            return await failure_in_child(podmon, leaf, ops, lambda podmon, child: None)

    error = asyncio.run(fail())
    assert (error.errno, error.call, error.filename) == (errno.ELOOP, "openat2", f"{way}/x")
