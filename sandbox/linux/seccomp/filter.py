"""Profiles made into BPF: the only place that knows libseccomp.

The extension is imported where a filter is first needed, as most programs of ours need none.  podmon, which puts the
filter on, has nothing of it.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sandbox.errors import ProfileError, Unsupported
from sandbox.linux.seccomp.profile import ARCHITECTURES, Action, Argument, Host, Profile, this_host

# From here on the numbers of an architecture are no ordinary system calls: on x86-64 they are those of x32, on 32-bit
# ARM the processor's own.
_LAST = {"x86_64": 0x40000000, "x86": 0x40000000, "aarch64": 0x40000000, "arm": 0x0F0000}

# linux/bpf_common.h, linux/seccomp.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS, of struct seccomp_data
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in it
_EQUAL, _GREATER, _NOT_LESS = 0x15, 0x25, 0x35  # BPF_JMP | BPF_K and BPF_JEQ, BPF_JGT, BPF_JGE
_RETURN = 0x06  # BPF_RET | BPF_K
_RET_ERRNO = 0x00050000
_RET_TRACE = 0x7FF00000


@functools.cache
def _library() -> Any:
    try:
        from sandbox.linux import _libseccomp
    except ImportError as error:
        raise Unsupported(
            "a seccomp profile", needs="libseccomp", hint=f"apt-get install libseccomp2, or `make setup` ({error})"
        ) from None
    return _libseccomp


def library_version() -> str:
    """The version of libseccomp.  Raises Unsupported where there is none."""
    version = _library().lib.seccomp_version()
    return f"{version.major}.{version.minor}.{version.micro}"


@functools.lru_cache(maxsize=64)
def compile_profile(profile: Profile, capabilities: frozenset[str], host: Host | None = None) -> bytes:
    """The filter of `profile` for a container with these capabilities (without CAP_) in its bounding set.

    An array of struct sock_filter; the same for the same input.  Making one takes some 15 ms, so they are kept.  Raises
    Unsupported on a machine or without a library that it can be had with, and ProfileError for rules that are at odds.
    """
    host = host or this_host()
    if host.machine not in ARCHITECTURES:
        raise Unsupported("a seccomp profile", needs=f"a machine of the kinds {', '.join(ARCHITECTURES)}")
    architectures = profile.architectures_on(host.machine)
    rules = profile.rules_for(capabilities, host)
    profile.check(rules)
    with _context(profile.default) as context:
        _add_architectures(context, architectures)
        for rule in rules:
            if rule.action == profile.default:
                continue  # libseccomp refuses what changes nothing
            for name in rule.names:
                for arguments in rule.alternatives:
                    _add_rule(context, name, rule.action, arguments)
        program = _export(context)
    return _newer_calls(profile, architectures) + program


def known(name: str, architecture: str) -> int | None:
    """A system call's number, None where libseccomp knows none, negative where other architectures alone have it."""
    library = _library()
    number = library.lib.seccomp_syscall_resolve_name_arch(_token(architecture), name.encode())
    return None if number == library.lib.__NR_SCMP_ERROR else int(number)


def _token(architecture: str) -> int:
    return int(getattr(_library().lib, f"SCMP_ARCH_{architecture.upper()}"))


@contextmanager
def _context(default: Action) -> Iterator[Any]:
    library = _library()
    context = library.lib.seccomp_init(_action(default))
    if context == library.ffi.NULL:
        raise Unsupported(
            f"the default action {default.kind} of a seccomp profile", needs="a newer libseccomp or kernel"
        )
    try:
        yield context
    finally:
        library.lib.seccomp_release(context)


def _action(action: Action) -> int:
    if action.kind == "ERRNO":
        return _RET_ERRNO | action.number
    if action.kind == "TRACE":
        return _RET_TRACE | action.number
    return int(getattr(_library().lib, f"SCMP_ACT_{action.kind}"))


def _add_architectures(context: Any, architectures: Sequence[str]) -> None:
    lib = _library().lib
    for name in architectures:
        added = lib.seccomp_arch_add(context, _token(name))
        if added not in (0, -errno.EEXIST):  # this machine's own is there from the start
            raise Unsupported(f"a seccomp filter for {name}", needs=f"a libseccomp that knows {name}")
    if lib.seccomp_arch_native() not in [_token(name) for name in architectures]:
        lib.seccomp_arch_remove(context, lib.seccomp_arch_native())


def _add_rule(context: Any, name: str, action: Action, arguments: tuple[Argument, ...]) -> None:
    library = _library()
    number = library.lib.seccomp_syscall_resolve_name_arch(library.lib.seccomp_arch_native(), name.encode())
    if number == library.lib.__NR_SCMP_ERROR:
        return
    compared = library.ffi.new(
        "struct scmp_arg_cmp[]",
        [
            {
                "arg": argument.index,
                "op": getattr(library.lib, f"SCMP_CMP_{argument.comparison}"),
                "datum_a": argument.value,
                "datum_b": argument.value_two,
            }
            for argument in arguments
        ],
    )
    added = library.lib.seccomp_rule_add_array(context, _action(action), number, len(arguments), compared)
    if added not in (0, -errno.EEXIST):
        what = f"{action.kind} for {name}: {os.strerror(-added)}"
        raise ProfileError("seccomp profile", "", f"libseccomp does not take the rule {what}")


def _export(context: Any) -> bytes:
    fd = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        failed = _library().lib.seccomp_export_bpf(context, fd)
        if failed:
            raise ProfileError("seccomp profile", "", f"libseccomp makes no filter of it: {os.strerror(-failed)}")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _newer_calls(profile: Profile, architectures: Sequence[str]) -> bytes:
    """Instructions to stand before the filter: calls newer than all that the profile names fail with ENOSYS.

    A C library that tries a new call first falls back to an older one on ENOSYS only, and a profile cannot have meant
    to forbid what its author (or libseccomp) never heard of.  runc does so too, since 1.0.
    """
    if profile.default.kind in ("ALLOW", "LOG", "TRACE"):
        return b""
    program = [_instruction(_LOAD, _ARCHITECTURE)]
    for name in architectures:
        if name == "x32":  # its calls are x86-64's, with a bit
            continue
        numbers = (known(call, name) for rule in profile.rules for call in rule.names)
        newest = max((number for number in numbers if number is not None and 0 <= number < _LAST[name]), default=-1)
        if newest < 0:
            continue
        program += [
            _instruction(_EQUAL, _token(name), 0, 5),
            _instruction(_LOAD, _NUMBER),
            _instruction(_NOT_LESS, _LAST[name], 2, 0),
            _instruction(_GREATER, newest, 0, 1),
            _instruction(_RETURN, _RET_ERRNO | errno.ENOSYS),
            _instruction(_LOAD, _ARCHITECTURE),
        ]
    return b"".join(program)


def _instruction(code: int, constant: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """A struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, constant)
