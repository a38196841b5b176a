"""Profiles in containers on a real kernel: what RuntimeDefault stops that the kernel itself would let pass."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from sandbox import capabilities
from sandbox.linux import native
from sandbox.linux.ops import Seccomp
from sandbox.linux.seccomp import compile_profile, default_profile, parse
from sandbox.pod.container import BindMount
from sandbox.pod.ground import PRIVATE, Sharing
from sandbox.pod.privileges import DEFAULT_PRIVILEGES, Privileges
from tests.sandbox.pod.test_sandbox import Lab, bounded, output_of

pytestmark = pytest.mark.root

# What of the probe's calls the kernel asks for a capability first: EPERM is its own.
KERNELS = {"acct", "mount_setattr", "pivot_root", "reboot", "swapon", "umount2"}
# What this kernel may be built or set up without.
PERHAPS = {"kexec_load", "io_uring_setup", "userfaultfd", "kcmp", "bpf", "perf_event_open", "mount"}
ORDINARY = {"getpid", "personality-ask", "ptrace-traceme", "socket-inet", "chroot"}


def runtime_default(*more: str, no_new_privs: bool = False) -> Privileges:
    """The profile RuntimeDefault for a container with the default capabilities and `more`."""
    names = (*capabilities.DEFAULT, *more)
    program = compile_profile(default_profile(), frozenset(names))
    bits = capabilities.bits(names)
    return Privileges(
        bounding=bits, permitted=bits, no_new_privs=no_new_privs, filter=Seccomp(program, "RuntimeDefault")
    )


def unfiltered(*more: str) -> Privileges:
    bits = capabilities.bits((*capabilities.DEFAULT, *more))
    return Privileges(bounding=bits, permitted=bits)


Answer = tuple[int, list[str]]  # exit code and lines


def ask(lab: Lab, probe: Path, *questions: tuple[str, Privileges], sharing: Sharing = PRIVATE) -> list[Answer]:
    """What scripts say in containers of one pod that have /probe/probe, and just so as programs that join one."""
    found: list[Answer] = []
    mounts = (BindMount(probe, "/probe", "the probe", read_only=True),)

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            for index, (script, privileges) in enumerate(questions):
                name = f"c{index}"
                container = await lab.run(box, script, name, mounts=mounts, privileges=privileges)
                code = (await container.wait()).code
                found.append((code, [text for _, _, text in lab.log(f"{name}.log")]))
                sleeper = await lab.run(box, "exec sleep 600", f"sleeper{index}", mounts=mounts, privileges=privileges)
                code, text = await output_of(box, sleeper, "sh", "-c", script)
                assert (code, text.splitlines()) == found[-1]

    bounded(test)
    return found


def answers(lab: Lab, probe: Path, question: str, *privileges: Privileges) -> list[dict[str, str]]:
    """What the probe says to the question, with each of the privileges."""
    said = ask(lab, probe, *((f"/probe/probe {question}", each) for each in privileges))
    assert [code for code, _ in said] == [0] * len(privileges), said
    return [dict(line.split() for line in lines) for _, lines in said]


def test_calls_that_the_kernel_would_let_pass_fail_and_ordinary_ones_do_not(lab: Lab, probe: Path) -> None:
    without, with_it = answers(lab, probe, "calls", unfiltered(), runtime_default())
    assert {name for name, answer in without.items() if answer == "EPERM"} <= KERNELS | PERHAPS
    assert {name: with_it.pop(name) for name in ORDINARY} == dict.fromkeys(ORDINARY, "ok")
    assert with_it.pop("clone3") == "ENOSYS"
    assert set(with_it.values()) == {"EPERM"}
    assert len(with_it) > 25
    assert {without[name] for name in ("clone-user", "unshare-user", "personality-odd")} == {"ok"}, "to be stopped"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is x86's")
def test_the_ways_of_other_architectures_into_the_kernel_lead_through_the_filter_too(lab: Lab, probe: Path) -> None:
    without, with_it = answers(lab, probe, "other-calls", unfiltered(), runtime_default())
    assert without["unshare-user"] == without["clone-user"] == "ok", "to be stopped"
    assert with_it.pop("getpid") == "ok"
    assert with_it.pop("clone3") == "ENOSYS"
    assert set(with_it.values()) == {"EPERM"}


def test_with_sys_admin_the_container_may_mount(lab: Lab, probe: Path) -> None:
    script = """exec 2>&1; mkdir -p /mnt
        mount -t tmpfs none /mnt && grep -c ' /mnt tmpfs' /proc/mounts
        unshare -u hostname changed && echo unshared"""
    admin, default = ask(lab, probe, (script, runtime_default("SYS_ADMIN")), (script, runtime_default()))
    assert admin == (0, ["1", "unshared"])
    assert default == (
        1,
        ["mount: permission denied (are you root?)", "unshare: unshare(0x4000000): Operation not permitted"],
    )


@pytest.mark.parametrize("sharing", [PRIVATE, Sharing(pid=True)], ids=["own pid namespace", "shared"])
@pytest.mark.parametrize("no_new_privs", [False, True])
def test_ordinary_programs_run(lab: Lab, probe: Path, sharing: Sharing, no_new_privs: bool) -> None:
    script = """set -e
        grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status
        /probe/probe threads
        seq 1000 > /tmp/numbers && sort -rn /tmp/numbers | head -1 | tr -d '\\n' && echo " lines"
        mkdir /tmp/d && mv /tmp/numbers /tmp/d && ln -s d/numbers /tmp/link && wc -l < /tmp/link && rm -r /tmp/d
        (sleep 0 & wait) && trap 'echo caught' USR1 && kill -USR1 $$
        mkfifo /tmp/pipe && (echo through > /tmp/pipe &) && cat /tmp/pipe && rm /tmp/pipe /tmp/link
        chown 1000:1000 /tmp && stat -c %u:%g /tmp
        /probe/probe pshm-make /x && /probe/probe mq-make /x && rm /dev/shm/x /dev/mqueue/x"""
    privileges = runtime_default(no_new_privs=no_new_privs)
    ((code, lines),) = ask(lab, probe, (f"mkdir -p /tmp; {script}", privileges), sharing=sharing)
    status = [f"NoNewPrivs:\t{int(no_new_privs)}", "Seccomp:\t2"]
    assert lines == [*status, "ok", "1000 lines", "1000", "caught", "through", "1000:1000", "ok", "ok"]
    assert code == 0


def test_no_user_namespace_opens_the_way_to_a_cgroup_hierarchy(lab: Lab, probe: Path) -> None:
    """The escape of SECURITY.md: in a user namespace of its own a container would be root enough to mount cgroup v1.

    Where the filter held nothing back, this would list a hierarchy, and change nothing.
    """
    script = "mkdir -p /mnt; unshare -U true 2>/dev/null && echo made; " + "; ".join(
        f"{way} sh -c 'mount -t cgroup -o freezer none /mnt && ls /mnt' 2>/dev/null && echo escaped"
        for way in ("", "unshare -m", "unshare -Urm", "unshare -UrmC", "unshare -Urmpf")
    )
    first_step = ("unshare -U true && echo made", unfiltered())
    (_, lines), without = ask(lab, probe, (script, runtime_default()), first_step)
    assert lines == []
    assert without == (0, ["made"]), "what is to be stopped"


def test_a_profile_of_ones_own_with_its_flags(lab: Lab, probe: Path) -> None:
    profile = parse(
        """{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122},
                         {"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"}]}""",
        "p.json",
    )
    program = compile_profile(profile, frozenset())
    privileges = Privileges(no_new_privs=True, filter=Seccomp(program, "p.json", profile.flag_bits))
    ((code, lines),) = ask(lab, probe, ("mkdir /x 2>&1; { hostname x; echo $?; } 2>/dev/null", privileges))
    assert (code, lines) == (0, ["mkdir: can't create directory '/x': Disk quota exceeded", str(128 + 31)])  # SIGSYS


def test_a_container_without_a_profile_has_no_filter(lab: Lab, probe: Path) -> None:
    assert ask(lab, probe, ("grep ^Seccomp: /proc/self/status", DEFAULT_PRIVILEGES)) == [(0, ["Seccomp:\t0"])]


def test_podmon_has_nothing_of_libseccomp() -> None:
    """It is linked statically, and is to stay small: whoever runs pods pays for it once a pod."""
    program = native.PODMON.read_bytes()
    assert b"libseccomp" not in program
    assert b"seccomp_" not in program
    assert len(program) < 150_000
