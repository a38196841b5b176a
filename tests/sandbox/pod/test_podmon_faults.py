"""podmon while its own system calls fail: what it was asked for is done, or refused with one error, and it goes on.

Every call that podmon makes in the life of a pod (faults.Life) has its row, so that a new one cannot be forgotten; one
fault is made in each life, by strace.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sandbox.errors import KernelError, NotFound, WrongState
from tests.sandbox.pod.faults import LINES, Life, check_errors, lived, logged
from tests.sandbox.pod.test_sandbox import Lab
from tests.strace import Fault, Tracer

pytestmark = pytest.mark.root

LONG = bool(os.environ.get("SEEDPOD_LONG"))  # each of a call's occurrences, not only three
EXIT_ENDED, EXIT_NO_LOOP = 0, 71  # podmon.h


@dataclass(frozen=True)
class Row:
    """With which ends a call may fail: unnoticed, or told by one error.  `only`: the uses of the call that can."""

    unnoticed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    only: str = ""
    quietly: bool = False  # what is lost is output, and nobody waits for it
    fatal: bool = False  # a podmon without a page of memory left may end


CALLS = {
    # what it is told, and tells
    "accept4": Row(("EINTR", "ECONNABORTED", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS")),
    "recvmsg": Row(("EINTR", "ENOMEM", "ENOBUFS")),
    "sendmsg": Row(("EINTR", "EAGAIN", "ENOBUFS", "ENOMEM", "ETOOMANYREFS")),
    "epoll_pwait": Row(("EINTR",)),
    "epoll_ctl": Row(told=("ENOMEM", "ENOSPC"), only="EPOLL_CTL_ADD"),
    "fcntl": Row(told=("EMFILE",), only="F_DUPFD"),
    "mmap": Row(told=("ENOMEM",), fatal=True),
    "munmap": Row(("ENOMEM",)),
    "listen": Row(told=("EADDRINUSE",)),
    # containers: begun, told, ended
    "clone3": Row(told=("ENOMEM", "EAGAIN", "ENOSPC", "EBUSY", "EACCES")),
    "socketpair": Row(told=("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS")),
    "sendto": Row(("EINTR", "EAGAIN", "ENOBUFS", "ENOMEM")),
    "pidfd_send_signal": Row(told=("EPERM", "EAGAIN")),
    "wait4": Row(("EINTR",)),
    "ioctl": Row(told=("ENOMEM", "EIO")),
    # their output, input and records
    "read": Row(("EINTR", "EAGAIN")),
    "recvfrom": Row(("EINTR", "EAGAIN")),
    "poll": Row(("EINTR", "ENOMEM")),
    "write": Row(("EINTR",), ("ENOSPC", "EIO", "EDQUOT", "EAGAIN"), quietly=True),
    "openat": Row(told=("EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EIO"), quietly=True),
    "renameat": Row(told=("ENOSPC", "EIO"), quietly=True),
    "fstat": Row(told=("EIO",), quietly=True),
    # its thread: without it the loop does what is to be done on disk
    "eventfd2": Row(("EMFILE", "ENFILE", "ENOMEM")),
    "mprotect": Row(("ENOMEM",)),
    # what SETUP has it do in itself
    "open": Row(told=("EMFILE", "ENOMEM")),
    "openat2": Row(("EAGAIN",), ("ENOMEM", "EMFILE")),
    "keyctl": Row(told=("EDQUOT", "ENOMEM")),
    "unshare": Row(told=("ENOMEM", "ENOSPC", "EPERM")),
    "mount_setattr": Row(told=("ENOMEM", "EINVAL")),
    "fsopen": Row(told=("ENOMEM", "EMFILE")),
    "fsconfig": Row(told=("ENOMEM", "EINVAL")),
    "fsmount": Row(told=("ENOMEM", "EMFILE")),
    "mkdirat": Row(told=("ENOSPC", "ENOMEM")),
    "mknodat": Row(told=("ENOSPC", "EPERM")),
    "move_mount": Row(told=("ENOMEM", "EINVAL")),
    "open_tree": Row(told=("ENOMEM", "EMFILE")),
    "pivot_root": Row(told=("EINVAL", "EBUSY")),
    "umount2": Row(told=("EBUSY", "ENOMEM")),
    "fchdir": Row(told=("EIO",)),
    "chdir": Row(told=("EIO",)),
    "sethostname": Row(told=("EPERM",)),
    "socket": Row(told=("EMFILE", "ENOBUFS")),
}

# Calls that cannot fail as they are made here: why.
CANNOT_FAIL = {
    "close": "Linux frees the fd whatever close(2) returns; a fault would leave it open, which no kernel does",
    "clone": "it always fails here, so that what podmon's thread does is seen: see Tracer",
    "exit_group": "it does not return",
    "futex": "futex(2), FUTEX_WAKE, fails for an address or a number that is wrong, and these are right",
    "rt_sigprocmask": "sigprocmask(2) fails for an address or a set that is wrong, and these are right",
    "getsockopt": "getsockopt(2) fails for an fd, option or address that is wrong, and these are right",
}


@dataclass(frozen=True)
class Clean:
    """A life without a fault."""

    life: Life
    tracer: Tracer


@pytest.fixture
def clean(labs: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch, cache: dict[str, Clean]) -> Clean:
    if not cache:
        cache["clean"] = Clean(*lived(labs(), monkeypatch))
    return cache["clean"]


@pytest.fixture(scope="module")
def cache() -> dict[str, Clean]:
    return {}


def test_without_a_fault_all_goes_well_and_every_call_has_its_row(clean: Clean) -> None:
    life = clean.life
    assert (life.errors, life.end) == ([], (os.CLD_EXITED, EXIT_ENDED))
    assert logged(life.lab) == [*LINES, "got word"]
    assert set(clean.tracer.calls) - set(CALLS) - set(CANNOT_FAIL) == set()


def occurrences(clean: Clean, call: str, only: str) -> list[int]:
    """Of a call: the first that can fail, one in the middle, and the last; or each."""
    numbers = [number for number, line in enumerate(clean.tracer.lines(call), 1) if only in line]
    return numbers if LONG else sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]}) if numbers else [1]


@pytest.mark.parametrize("call", CALLS)
def test_a_fault_is_unnoticed_or_one_error_and_podmon_goes_on(
    call: str, clean: Clean, labs: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    row, made = CALLS[call], 0
    for name in (*row.unnoticed, *row.told):
        for number in occurrences(clean, call, row.only):
            fault = Fault(call, f"error={name}", number)
            life, tracer = lived(labs(), monkeypatch, fault)
            if any(row.only in line for line in tracer.injected):
                made += 1
                judge(life, fault, row, clean)
    assert made or call == "poll"  # which is made only where a container ended with something unread


def judge(life: Life, fault: Fault, row: Row, clean: Clean) -> None:
    name = fault.end.removeprefix("error=")
    made = f"{fault}: {life.errors}, ended {life.end}"
    if row.fatal and life.end == (os.CLD_EXITED, EXIT_NO_LOOP):  # whatever was asked of it from then on says so
        assert life.errors and all(isinstance(error, NotFound | WrongState) for _, error in life.errors), made
        return
    assert len(life.errors) <= 1, made
    check_errors(life, fault)
    for _, error in life.errors:
        assert isinstance(error, KernelError) and error.errno == getattr(errno, name), made
    if life.errors and life.errors[0][0] == "create the sandbox":
        return
    assert life.end == (os.CLD_EXITED, EXIT_ENDED), made
    assert life.fds == clean.life.fds, made
    lines = [*LINES, "got word"]
    if life.read and life.attached and not row.quietly:
        assert logged(life.lab) == lines, made
    else:
        rest = iter([*LINES, "got", "got word"])  # the first where its stdin could not be written
        assert all(line in rest for line in logged(life.lab)), made
    if name in row.unnoticed:
        assert life.errors == [], made
