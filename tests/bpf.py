"""Small seccomp filters written by hand, so that what runs them can be tested without what builds them."""

from __future__ import annotations

import errno
import platform
import struct

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW, linux/seccomp.h
ERRNO = 0x00050000  # SECCOMP_RET_ERRNO

_LOAD_NUMBER = (0x20, 0, 0, 0)  # BPF_LD | BPF_W | BPF_ABS: seccomp_data.nr
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

# unistd.h of each machine
_NUMBERS = {
    "x86_64": {
        "capset": 126, "clone": 56, "execve": 59, "exit_group": 231, "kill": 62, "prctl": 157, "recvfrom": 45,
        "seccomp": 317, "sendmsg": 46, "setsid": 112, "write": 1,
    },
    "aarch64": {
        "capset": 91, "clone": 220, "execve": 221, "exit_group": 94, "kill": 129, "prctl": 167, "recvfrom": 207,
        "seccomp": 277, "sendmsg": 211, "setsid": 157, "write": 64,
    },
}[platform.machine()]  # fmt: skip


def program(*instructions: tuple[int, int, int, int]) -> bytes:
    """Instructions (code, jump if true, jump if false, constant) as the kernel takes them."""
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)


def _filter(names: tuple[str, ...], of_them: int, of_others: int) -> bytes:
    numbers = [_NUMBERS[name] for name in names]
    jumps = [(_JUMP_IF_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    return program(_LOAD_NUMBER, *jumps, (_RETURN, 0, 0, of_others), (_RETURN, 0, 0, of_them))


def forbid(*names: str, number: int = errno.EPERM) -> bytes:
    """All but these system calls are allowed; these fail with errno `number`."""
    return _filter(names, ERRNO | number, ALLOW)


def allow(*names: str, number: int = errno.EPERM) -> bytes:
    """None but these system calls are allowed; others fail with errno `number`."""
    return _filter(names, ALLOW, ERRNO | number)
