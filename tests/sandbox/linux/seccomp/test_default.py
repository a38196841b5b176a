"""RuntimeDefault: what it lets pass and what not, call by call, run in Python; tests/system has it on a real kernel."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from sandbox import capabilities
from sandbox.linux.seccomp import Host, compile_profile, default_profile
from sandbox.linux.seccomp.filter import known
from tests import bpf

PC, ARM = Host("x86_64", (6, 1)), Host("aarch64", (6, 1))
NUMBERS = {"x86_64": bpf.X86_64, "x86": bpf.X86, "aarch64": bpf.AARCH64, "arm": bpf.ARM}
DEFAULT = frozenset(capabilities.DEFAULT)
PERM, NOSYS = bpf.ERRNO | errno.EPERM, bpf.ERRNO | errno.ENOSYS

# System calls of kernels that Debian 12's libseccomp (2.5.4) is older than.
NEWER = """
cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr
lsm_set_self_attr lsm_list_modules mseal uretprobe setxattrat getxattrat listxattrat removexattrat
"""

# Each capability that lets a container make more system calls, and which.
UNLOCKED = {
    "BPF": "bpf",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "PERFMON": "perf_event_open",
    "SYSLOG": "syslog",
    "SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
    "move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount2 unshare",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime settimeofday",
    "SYS_TTY_CONFIG": "vhangup",
}

FORBIDDEN = """
_sysctl acct add_key bpf clock_settime delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick
get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_load keyctl
lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at
open_tree perf_event_open pidfd_getfd pivot_root process_madvise quotactl quotactl_fd reboot request_key
set_mempolicy setdomainname sethostname setns settimeofday swapoff swapon sysfs syslog umount2 unshare uselib
userfaultfd ustat vhangup
"""

ALLOWED = """
accept4 bind brk capset chroot clock_gettime close_range connect dup3 epoll_wait execve exit_group fork futex
getrandom ioctl kill landlock_restrict_self memfd_create mkdir mknod mmap mprotect mq_open openat pidfd_open
pipe2 poll prctl process_vm_readv ptrace read recvmsg rt_sigaction sched_setaffinity seccomp sendmsg
set_robust_list setgroups setresuid setsid setxattr shmget statx vfork wait4 write
"""


def number(name: str, architecture: str) -> int:
    found = known(name, architecture)
    assert found is not None, name
    return found


def verdict(name: str, *arguments: int, caps: frozenset[str] = DEFAULT, on: str = "x86_64") -> int:
    code = compile_profile(default_profile(), caps, PC if on in ("x86_64", "x86") else ARM)
    return bpf.verdict(code, number(name, on), *arguments, architecture=NUMBERS[on])


def calls(architecture: str) -> Iterator[str]:
    """Every call that the profile names and that the architecture has."""
    for name in sorted({name for rule in default_profile().rules for name in rule.names}):
        found = known(name, architecture)
        if found is not None and found >= 0:
            yield name


def test_every_call_is_known_to_libseccomp_or_newer_than_ours() -> None:
    names = [name for rule in default_profile().rules for name in rule.names]
    assert {name for name in names if known(name, "x86_64") is None} <= set(NEWER.split())
    assert set(names) >= set(NEWER.split())


@pytest.mark.parametrize("name", FORBIDDEN.split())
def test_what_changes_or_watches_the_machine_is_forbidden_to_programs_of_either_size(name: str) -> None:
    assert verdict(name) == PERM
    assert number(name, "x86") < 0 or verdict(name, on="x86") == PERM


@pytest.mark.parametrize("name", ALLOWED.split())
def test_what_ordinary_programs_call_is_allowed(name: str) -> None:
    assert verdict(name) == bpf.ALLOW
    assert number(name, "x86") < 0 or verdict(name, on="x86") == bpf.ALLOW


@pytest.mark.parametrize("capability", sorted(capabilities.CAPABILITIES))
def test_a_capability_unlocks_the_calls_that_it_decides_about_and_no_others(capability: str) -> None:
    without = DEFAULT - {capability}
    unlocked = {
        name
        for name in calls("x86_64")
        if verdict(name, 0x10000000, caps=without) != bpf.ALLOW
        and verdict(name, 0x10000000, caps=without | {capability}) == bpf.ALLOW
    }
    assert unlocked == set(UNLOCKED.get(capability, "").split())


@pytest.mark.parametrize("on", NUMBERS)
def test_no_namespace_can_be_made_by_clone_and_clone3_is_not_there(on: str) -> None:
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict("clone", flag, on=on) == verdict("clone", flag | 0x11, on=on) == PERM
        assert verdict("clone", flag, on=on, caps=DEFAULT | {"SYS_ADMIN"}) == bpf.ALLOW
    for flags in (0x11, 0x003D0F00, 0x4111, 0x01200011):  # fork, a thread, vfork, fork as C libraries do
        assert verdict("clone", flags, on=on) == bpf.ALLOW
    assert verdict("clone3", on=on) == NOSYS
    assert verdict("clone3", on=on, caps=DEFAULT | {"SYS_ADMIN"}) == bpf.ALLOW


def test_a_program_is_of_a_kind_that_there_is_today() -> None:
    for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert verdict("personality", value) == bpf.ALLOW
    for value in (1, 4, 0x0040000, 0x0100000, 0x0800000, 0x20009, 0xFFFFFFFFFFFFFFFF):
        assert verdict("personality", value) == PERM


def test_sockets_of_every_family_but_two() -> None:
    assert {family for family in range(64) if verdict("socket", family) != bpf.ALLOW} == {38, 40}
    assert verdict("socket", 40, on="x86") == PERM


def test_calls_that_are_newer_than_the_profile_are_not_there() -> None:
    code = compile_profile(default_profile(), DEFAULT, PC)
    assert bpf.verdict(code, 1000) == bpf.verdict(code, 1000, architecture=bpf.X86) == NOSYS
    assert bpf.verdict(code, 335) == PERM  # uretprobe where libseccomp knows it, else among the forbidden


@pytest.mark.parametrize(("on", "calls_of_it"), [("aarch64", "openat read"), ("arm", "open read cacheflush set_tls")])
def test_a_machine_of_another_kind_has_the_same_rules(on: str, calls_of_it: str) -> None:
    assert {verdict(name, on=on) for name in calls_of_it.split()} == {bpf.ALLOW}
    assert {verdict(name, on=on) for name in ("mount", "keyctl", "setns", "bpf")} == {PERM}
