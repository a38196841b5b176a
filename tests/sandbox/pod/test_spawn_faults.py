"""A program that makes a sandbox and a container with the library, while system calls fail.

They are its own, those of the podmon that it clones, and those of the container's first process.

It gets the container, or one error that says what could not be done; nothing is left, and the next one works.
"""

from __future__ import annotations

import errno
import json
import os
import select
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program, program
from tests.runner import TIMEOUT
from tests.sandbox.pod import test_child_faults, test_podmon_faults
from tests.strace import Fault, Tracer

pytestmark = pytest.mark.root

LONG = bool(os.environ.get("SEEDPOD_LONG"))  # each of a call's occurrences, not only three

SPAWN = """
    import json, os, sys
    import sandbox
    from cgroups import CgroupError

    def spawn():
        try:
            with sandbox.PodSandbox.create(name="box") as box:
                app = box.create_container("app", sandbox.ContainerSpec(["sh", "-c", "exit 7"], sys.argv[1]))
                app.start()
                return {"code": app.wait().code}
        except (sandbox.SandboxError, CgroupError, OSError) as error:
            return {"error": str(error)}

    def fds():
        names = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        return sorted(os.readlink(name) for name in names if os.path.lexists(name))

    def tell(what):  # by a call that nothing else makes, and that is not made to fail
        os.writev(1, [json.dumps(what).encode(), b"\\n"])

    spawn()  # what is imported late is imported by now
    tell(os.getpid())
    for line in sys.stdin:
        tell(spawn() if line == "spawn\\n" else fds())
"""

# With which errors each call is made to fail, the likeliest first.
ERRORS = {
    "processes": {
        "clone3": ("EAGAIN", "ENOMEM", "ENOSPC"),
        "close_range": ("ENOMEM",),
        "dup3": ("EBUSY", "EMFILE"),
        "execveat": ("ENOMEM", "EACCES", "ETXTBSY"),
        "prctl": ("EPERM",),
        "setsid": ("EPERM",),
        "waitid": ("EINTR",),
        "capget": ("EPERM",),
    },
    "podmon's beginning": {
        "epoll_create1": ("EMFILE", "ENOMEM"),
        "getpeername": ("ENOBUFS",),
        "pidfd_open": ("EMFILE", "ENOMEM"),
        "signalfd4": ("EMFILE", "ENOMEM"),
    },
    "what they tell each other by": {
        "bind": ("EADDRINUSE", "ENOSPC"),
        "chmod": ("EIO", "EROFS"),
        "epoll_ctl": ("ENOMEM", "ENOSPC"),
        "epoll_wait": ("EINTR",),
        "eventfd2": ("EMFILE", "ENOMEM"),
        "fcntl": ("EMFILE",),
        "memfd_create": ("EMFILE", "ENOMEM"),
        "pipe2": ("EMFILE", "ENFILE"),
        "recvmsg": ("EINTR",),
        "sendmsg": ("ENOBUFS", "ENOMEM", "EAGAIN"),
        "socket": ("EMFILE", "ENOBUFS"),
        "socketpair": ("EMFILE", "ENOMEM"),
    },
    "mounts": {
        "fsconfig": ("ENOMEM", "EINVAL"),
        "fsmount": ("ENOMEM", "EMFILE"),
        "fsopen": ("ENOMEM", "EMFILE"),
        "mount_setattr": ("ENOMEM", "EINVAL"),
        "move_mount": ("ENOMEM",),
        "open_tree": ("ENOMEM", "EMFILE"),
    },
    "files and cgroups": {
        "flock": ("ENOLCK", "EINTR"),
        "fstatfs": ("EIO",),
        "getdents64": ("EIO",),
        "mkdir": ("ENOSPC", "EDQUOT", "EMLINK"),
        "mkdirat": ("ENOSPC",),
        "newfstatat": ("EIO", "ENOMEM"),
        "openat": ("EMFILE", "ENOMEM", "EIO"),
        "rename": ("ENOSPC", "EIO"),
        "rmdir": ("EBUSY", "EIO"),
        "unlinkat": ("EIO", "EBUSY"),
        "write": ("ENOSPC", "EIO", "EINTR"),
    },
}
CALLS = {call: errors for group in ERRORS.values() for call, errors in group.items()}

# What else the clean life of a sandbox takes and that cannot fail as it is used, or is the interpreter's own: why.
NOT_OURS = {
    **dict.fromkeys(("brk", "madvise", "mmap", "mprotect", "munmap"), "memory of the interpreter and the C library"),
    **dict.fromkeys(
        (
            "futex",
            "restart_syscall",
            "clock_gettime",
            "rseq",
            "set_robust_list",
            "set_tid_address",
            "exit",
            "arch_prctl",
        ),
        "threads",
    ),
    **dict.fromkeys(("getpid", "getppid", "gettid", "getuid", "geteuid", "uname", "umask", "getcwd"), "cannot fail"),
    **dict.fromkeys(
        ("rt_sigaction", "rt_sigprocmask", "getrandom", "prlimit64", "lseek", "fstat", "readlink"), "the C library's"
    ),
    **dict.fromkeys(("ioctl", "getsockname", "wait4", "exit_group", "capset"), "of what was made a moment ago"),
    **dict.fromkeys(("sendto", "recvfrom", "poll", "read"), "how the interpreter's loop and threads wake each other"),
    "close": "Linux frees the fd whatever close(2) returns; a fault would leave it open, which no kernel does",
    "restart_syscall": "how the kernel goes on with a call in which strace met a thread",
    "clock_gettime": "cannot fail for a clock that there is",
    "pidfd_send_signal": "root may always, and a process that has ended is no error",
    "writev": "how the program of this test tells what came of it",
}


def asked(program: Program, what: str) -> Any:
    """What the program answers, if it is still there and does not hang."""
    program.say(what)
    assert select.select([program.process.stdout], [], [], TIMEOUT)[0], f"no answer to {what}"
    answer = program.hear()
    assert answer, "the program has ended"
    return json.loads(answer)


@pytest.fixture
def spawner(home: Path, busybox: Path) -> Iterator[tuple[Program, int]]:
    with program(SPAWN, home, busybox) as running:
        yield running, int(running.hear())


def traced(spawner: tuple[Program, int], fault: Fault | None = None) -> tuple[dict[str, Any], Tracer]:
    """What came of a spawn that is followed by strace."""
    running, pid = spawner
    tracer = Tracer(pid, fault, children=True)
    try:
        return asked(running, "spawn"), tracer
    finally:
        tracer.end()


def test_every_call_of_a_spawn_has_its_row(spawner: tuple[Program, int]) -> None:
    said, tracer = traced(spawner)
    assert said == {"code": 7}
    others = [test_podmon_faults.CALLS, test_podmon_faults.CANNOT_FAIL]
    others += [test_child_faults.ERRORS, test_child_faults.CANNOT_FAIL]
    assert set(tracer.calls) - set(CALLS) - set(NOT_OURS) - set().union(*others) == set()


def most(tracer: Tracer, call: str) -> int:
    """How often the process makes it that makes it most often."""
    return max(Counter(line.split()[0] for line in tracer.lines(call)).values(), default=1)


@pytest.mark.parametrize("group", ERRORS)
def test_a_fault_is_one_error_or_none_and_the_next_spawn_works(
    group: str, spawner: tuple[Program, int], home: Path
) -> None:
    running, _ = spawner
    clean = traced(spawner)[1]
    fds = asked(running, "fds")
    for call, names in ERRORS[group].items():
        count, made = most(clean, call), 0
        for name in names if LONG else names[:1]:
            for number in range(1, count + 1) if LONG else sorted({1, count // 2 or 1, count}):
                fault = Fault(call, f"error={name}", number)
                said, tracer = traced(spawner, fault)
                made += len(tracer.injected)
                judge(said, tracer, fault)
                assert asked(running, "spawn") == {"code": 7}, (fault, said)
                assert asked(running, "fds") == fds, (fault, said)
                assert not [path.name for path in (home / "boxes").glob("[!.]*")], (fault, said)
        assert made, call


def judge(said: dict[str, Any], tracer: Tracer, fault: Fault) -> None:
    if "error" in said:
        reason = os.strerror(getattr(errno, fault.end.removeprefix("error=")))
        # Those who cannot say why: of a podmon, of Python's threads; and rm, which met the fault itself.
        others = ("the pod's podmon has ended", "start a thread: ", "rm: cannot remove")
        assert reason in said["error"] or said["error"].startswith(others), (fault, said)
    else:  # or it is the container's program that met the fault
        assert said["code"] == 7 or str(said["code"]) in tracer.ends.values(), (fault, said)
