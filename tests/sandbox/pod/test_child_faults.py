"""The children of a podmon while their system calls fail on the way to execve.

The same fault meets every process of a pod's life (faults.Life) at its own n-th such call: each container and program
runs, or is told to have failed with one error; what podmon says of their ends is true; and podmon goes on.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from sandbox.errors import WrongState
from tests.sandbox.pod.faults import Life, check_errors, lived
from tests.sandbox.pod.test_sandbox import Lab
from tests.strace import Fault, Tracer

pytestmark = pytest.mark.root

LONG = bool(os.environ.get("SEEDPOD_LONG"))  # each of a call's occurrences, not only three

ERRORS = {
    "capget": ("EPERM",),
    "capset": ("EPERM",),
    "chdir": ("EIO", "EACCES"),
    "clone": ("EAGAIN", "ENOMEM", "ENOSPC"),
    "close_range": ("ENOMEM",),
    "dup2": ("EBADF",),
    "dup3": ("EBUSY", "EMFILE"),
    "execve": ("ENOMEM", "EAGAIN", "EIO", "ETXTBSY"),
    "fchdir": ("EIO",),
    "fchown": ("EIO", "EPERM"),
    "fsconfig": ("ENOMEM", "EINVAL"),
    "fsmount": ("ENOMEM", "EMFILE"),
    "fsopen": ("ENOMEM", "EMFILE"),
    "fstat": ("EIO",),
    "ioctl": ("EIO", "ENOMEM"),
    "keyctl": ("EDQUOT", "ENOMEM", "ENOSYS"),
    "mkdirat": ("ENOSPC", "EDQUOT"),
    "mount_setattr": ("ENOMEM", "EINVAL"),
    "move_mount": ("ENOMEM", "EINVAL"),
    "open": ("EMFILE", "ENOMEM"),
    "open_tree": ("ENOMEM", "EMFILE"),
    "openat": ("EMFILE", "ENOMEM"),
    "openat2": ("EAGAIN", "EMFILE", "EIO"),
    "pivot_root": ("EINVAL",),
    "prctl": ("EPERM",),
    "recvfrom": ("EINTR", "ENOMEM"),
    "rt_sigaction": ("EINVAL",),
    "rt_sigprocmask": ("EINVAL",),
    "seccomp": ("ENOMEM", "EINVAL"),
    "sendmsg": ("ENOBUFS", "ETOOMANYREFS"),
    "sendto": ("ENOBUFS", "EINTR"),
    "setgroups": ("ENOMEM",),
    "setns": ("EPERM", "ENOMEM"),
    "setresgid": ("EAGAIN",),
    "setresuid": ("EAGAIN",),
    "setsid": ("EPERM",),
    "symlinkat": ("ENOSPC", "EDQUOT"),
    "umask": ("EPERM",),
    "umount2": ("EBUSY", "ENOMEM"),
    "unshare": ("ENOMEM", "ENOSPC", "EPERM"),
    "write": ("EACCES", "EINTR"),
}

# Calls of children alone, in which a signal meets them.
SIGNALLED = ("capset", "move_mount", "pivot_root", "setns", "setsid", "unshare")

# Calls that cannot fail as they are made here: why.
CANNOT_FAIL = {
    "close": "Linux frees the fd whatever close(2) returns; a fault would leave it open, which no kernel does",
    "exit_group": "it does not return",
    "fcntl": "F_SETFD, fcntl(2), fails for an fd that is not open alone",
}


@pytest.fixture(scope="module")
def cache() -> dict[str, tuple[Life, Tracer]]:
    return {}


@pytest.fixture
def clean(
    labs: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch, cache: dict[str, tuple[Life, Tracer]]
) -> tuple[Life, Tracer]:
    """A life without a fault."""
    if not cache:
        cache["clean"] = lived(labs(), monkeypatch, children=True)
    return cache["clean"]


def most(tracer: Tracer, call: str) -> int:
    """How often the child makes it that makes it most often."""
    return max(calls[call] for calls in tracer.children.values())


def test_without_a_fault_all_goes_well_and_every_call_of_a_child_has_its_row(clean: tuple[Life, Tracer]) -> None:
    life, tracer = clean
    assert (life.errors, life.end) == ([], (os.CLD_EXITED, 0))
    made: Counter[str] = sum(tracer.children.values(), Counter())
    del made["mmap"]  # of calloc(3), where podmon left it no free memory: that is for chance to say
    assert set(made) == set(ERRORS) | set(CANNOT_FAIL)
    assert tracer.ends[life.first_pids["reader"]] == "7"


@pytest.mark.parametrize("call", ERRORS)
def test_a_fault_on_the_way_to_execve_is_one_error_of_each_child_and_podmon_goes_on(
    call: str, clean: tuple[Life, Tracer], labs: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = most(clean[1], call)
    for name in ERRORS[call]:
        for number in range(1, count + 1) if LONG else sorted({1, (count + 1) // 2, count}):
            fault = Fault(call, f"error={name}", number)
            life, tracer = lived(labs(), monkeypatch, fault, children=True)
            assert tracer.injected, fault
            judge(life, tracer, fault)
            check_errors(life, fault)


@pytest.mark.parametrize("call", SIGNALLED)
@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_a_signal_on_the_way_to_execve_ends_a_child_or_does_not(
    call: str, name: str, clean: tuple[Life, Tracer], labs: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = most(clean[1], call)
    for number in range(1, count + 1) if LONG else sorted({1, count}):
        fault = Fault(call, f"signal={name}", number)
        life, tracer = lived(labs(), monkeypatch, fault, children=True)
        assert tracer.injected, fault
        judge(life, tracer, fault)
        for _, error in life.errors:
            over = isinstance(error, WrongState) or error.errno in (errno.ESRCH, errno.ENOTTY)
            assert over, (fault, error)  # what is asked of a container that has ended


def judge(life: Life, tracer: Tracer, fault: Fault) -> None:
    made = f"{fault}: {life.errors}, ended {life.end}"
    assert life.end == (os.CLD_EXITED, 0), made
    assert life.went_on, made
    steps = [step for step, _ in life.errors]
    assert len(steps) == len(set(steps)), made
    for name, exit_status in life.exits.items():
        told = signal.Signals(exit_status.signal).name if exit_status.signal else str(exit_status.code)
        seen = tracer.ends.get(life.first_pids[name])
        assert seen in (None, told), f"{made}: {name} ended with {seen}, told was {told}"
