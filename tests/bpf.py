"""Seccomp filters without libseccomp: small ones written by hand, and what the kernel makes of any, in Python."""

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
        "capset": 126, "clone": 56, "execve": 59, "exit_group": 231, "keyctl": 250, "kill": 62, "prctl": 157,
        "recvfrom": 45, "rt_sigprocmask": 14, "seccomp": 317, "sendmsg": 46, "setsid": 112, "write": 1,
    },
    "aarch64": {
        "capset": 91, "clone": 220, "execve": 221, "exit_group": 94, "keyctl": 219, "kill": 129, "prctl": 167,
        "recvfrom": 207, "rt_sigprocmask": 135, "seccomp": 277, "sendmsg": 211, "setsid": 157, "write": 64,
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


# AUDIT_ARCH_*, linux/audit.h
X86_64, X86, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028


def verdict(code: bytes, number: int, *arguments: int, architecture: int = X86_64) -> int:
    """What a filter returns for a system call: SECCOMP_RET_*, with its errno."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", code))
    accumulator = at = 0
    while True:
        operation, if_true, if_false, constant = instructions[at]
        at += 1
        if operation == 0x06:  # BPF_RET | BPF_K
            return int(constant)
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif operation == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= constant
        elif operation == 0x05:  # BPF_JMP | BPF_JA
            at += constant
        else:
            holds = {
                0x15: accumulator == constant,
                0x25: accumulator > constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }[operation]
            at += if_true if holds else if_false
