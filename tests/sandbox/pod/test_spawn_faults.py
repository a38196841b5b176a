"""A program that makes a sandbox and a container with the library, while system calls fail: its own, those of the podmon
that it clones, and those of the container's first process.

It gets the container, or one error that says what could not be done; nothing is left, and the next one works.
"""

from __future__ import annotations

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
            return {"error": str(error), "errno": getattr(error, "errno", None)}

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

ERRORS = {
    "bind": ("EADDRINUSE", "ENOSPC"),
    "capget": ("EPERM",),
    "chmod": ("EIO", "EROFS"),
    "clone3": ("EAGAIN", "ENOMEM", "ENOSPC"),
    "close_range": ("ENOMEM",),
    "dup3": ("EBUSY", "EMFILE"),
    "epoll_create1": ("EMFILE", "ENOMEM"),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "epoll_wait": ("EINTR",),
    "eventfd2": ("EMFILE", "ENOMEM"),
    "execveat": ("ENOMEM", "EACCES", "ETXTBSY"),
    "fcntl": ("EMFILE",),
    "flock": ("ENOLCK", "EINTR"),
    "fsconfig": ("ENOMEM", "EINVAL"),
    "fsmount": ("ENOMEM", "EMFILE"),
    "fsopen": ("ENOMEM", "EMFILE"),
    "fstatfs": ("EIO",),
    "getdents64": ("EIO",),
    "getpeername": ("ENOBUFS",),
    "memfd_create": ("EMFILE", "ENOMEM"),
    "mkdir": ("ENOSPC", "EDQUOT", "EMLINK"),
    "mkdirat": ("ENOSPC",),
    "mount_setattr": ("ENOMEM", "EINVAL"),
    "move_mount": ("ENOMEM",),
    "newfstatat": ("EIO", "ENOMEM"),
    "open_tree": ("ENOMEM", "EMFILE"),
    "openat": ("EMFILE", "ENOMEM", "EIO"),
    "pidfd_open": ("EMFILE", "ENOMEM"),
    "pipe2": ("EMFILE", "ENFILE"),
    "prctl": ("EPERM",),
    "recvmsg": ("EINTR",),
    "rename": ("ENOSPC", "EIO"),
    "rmdir": ("EBUSY", "EIO"),
    "sendmsg": ("ENOBUFS", "ENOMEM", "EAGAIN"),
    "setsid": ("EPERM",),
    "signalfd4": ("EMFILE", "ENOMEM"),
    "socket": ("EMFILE", "ENOBUFS"),
    "socketpair": ("EMFILE", "ENOMEM"),
    "unlinkat": ("EIO", "EBUSY"),
    "waitid": ("EINTR",),
    "write": ("ENOSPC", "EIO", "EINTR"),
}


# What else the clean life of a sandbox takes and that cannot fail as it is used, or is the interpreter's own: why.
NOT_OURS = {
    **dict.fromkeys(("brk", "madvise", "mmap", "mprotect", "munmap"), "memory of the interpreter and the C library"),
    **dict.fromkeys(("futex", "rseq", "set_robust_list", "set_tid_address", "exit", "arch_prctl"), "threads"),
    **dict.fromkeys(("getpid", "getppid", "gettid", "getuid", "geteuid", "uname", "umask", "getcwd"), "cannot fail"),
    **dict.fromkeys(("rt_sigaction", "rt_sigprocmask", "getrandom", "prlimit64", "lseek", "fstat"), "the C library's"),
    **dict.fromkeys(("ioctl", "getsockname", "wait4", "exit_group", "capset"), "of what was made a moment ago"),
    **dict.fromkeys(("sendto", "recvfrom", "poll", "read"), "how the interpreter's loop and threads wake each other"),
    "close": "Linux frees the fd whatever close(2) returns; a fault would leave it open, which no kernel does",
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
    assert set(tracer.calls) - set(ERRORS) - set(NOT_OURS) - set().union(*others) == set()


def most(tracer: Tracer, call: str) -> int:
    """How often the process makes it that makes it most often."""
    return max(Counter(line.split()[0] for line in tracer.lines(call)).values(), default=1)


@pytest.mark.parametrize("call", ERRORS)
def test_a_fault_is_one_error_or_none_and_the_next_spawn_works(
    call: str, spawner: tuple[Program, int], home: Path
) -> None:
    running, _ = spawner
    count, made = most(traced(spawner)[1], call), 0
    fds = asked(running, "fds")
    for name in ERRORS[call]:
        for number in range(1, count + 1) if LONG else sorted({1, (count + 1) // 2, count}):
            fault = Fault(call, f"error={name}", number)
            said, tracer = traced(spawner, fault)
            made += len(tracer.injected)
            if "error" in said:
                assert os.strerror(said["errno"]) in said["error"], (fault, said)
            else:  # or it is the container's program that met it
                assert said["code"] == 7 or str(said["code"]) in tracer.ends.values(), (fault, said)
            assert asked(running, "spawn") == {"code": 7}, (fault, said)
            assert asked(running, "fds") == fds, (fault, said)
            assert not [path.name for path in (home / "boxes").glob("[!.]*")], (fault, said)
    assert made
