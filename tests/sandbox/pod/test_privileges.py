"""How a program comes to its privileges: the order of the ops, and what the kernel makes of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import capabilities
from sandbox.errors import SpawnError
from sandbox.linux.ops import Caps, Exec, Fork, Ids, NoNewPrivs, Op, Ready, Seccomp, Signals
from sandbox.pod.ground import PRIVATE, Sharing
from sandbox.pod.privileges import DEFAULT_PRIVILEGES, Privileges, compile_program
from tests import bpf
from tests.sandbox.pod.test_sandbox import Lab, bounded, output_of

LOOSE = Seccomp(bpf.forbid("kill"), "loose")
# What the program of `tiny` takes, and the execve that it is run by.
TIGHT = ("execve", "write", "exit_group")
# What joining a pid namespace takes where the filter is on before, as it needs CAP_SYS_ADMIN.
JOINING = ("prctl", "capset", "clone", "sendmsg", "recvfrom", "setsid")

PROGRAM = Exec(("app",))
FORK = Fork()
DEFAULT = capabilities.bits(capabilities.DEFAULT)
SYS_ADMIN = capabilities.bits(("SYS_ADMIN",))

NAMESPACES = [pytest.param(PRIVATE, id="own"), pytest.param(Sharing(pid=True), id="shared")]


# --- the order


def kinds(ops: list[Op]) -> list[type[Op]]:
    return [type(op) for op in ops]


def test_ids_are_changed_before_capabilities_go_and_the_program_comes_last() -> None:
    assert kinds(compile_program(DEFAULT_PRIVILEGES, PROGRAM)) == [Ids, Caps, Signals, Exec]
    assert kinds(compile_program(DEFAULT_PRIVILEGES, PROGRAM, fork=FORK)) == [Ids, Caps, Signals, Fork, Exec]


def test_with_no_new_privs_the_filter_comes_last_and_nothing_is_kept_for_it() -> None:
    privileges = Privileges(no_new_privs=True, filter=LOOSE)
    own = compile_program(privileges, PROGRAM)
    joined = compile_program(privileges, PROGRAM, fork=FORK)
    assert kinds(own) == [Ids, NoNewPrivs, Caps, Signals, Ready, Seccomp, Exec]
    assert kinds(joined) == [Ids, NoNewPrivs, Caps, Signals, Fork, Ready, Seccomp, Exec]
    assert Caps(DEFAULT, DEFAULT) in own
    assert Caps(DEFAULT, DEFAULT) in joined


def test_without_it_the_filter_comes_last_too_and_execve_takes_what_was_kept_for_it() -> None:
    ops = compile_program(Privileges(filter=LOOSE), PROGRAM)
    assert kinds(ops) == [Ids, Caps, Signals, Ready, Seccomp, Exec]
    assert ops[1] == Caps(DEFAULT, DEFAULT | SYS_ADMIN)


def test_what_was_kept_for_the_filter_is_not_taken_into_the_pid_namespace_of_others() -> None:
    ops = compile_program(Privileges(filter=LOOSE), PROGRAM, fork=FORK)
    assert kinds(ops) == [Ids, Caps, Signals, Ready, Seccomp, Caps, Fork, Exec]
    assert ops[1] == Caps(DEFAULT, DEFAULT | SYS_ADMIN)
    assert ops[5] == Caps(DEFAULT, DEFAULT)


# --- what the kernel makes of it


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that makes two system calls: it writes "ok" and ends with 7."""
    directory = tmp_path_factory.mktemp("tiny")
    source, program = directory / "tiny.c", directory / "tiny"
    source.write_text(
        """#include <asm/unistd.h>
        static long call(long number, long a, long b, long c)
        {
        #if defined(__x86_64__)
            long result;
            __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
            return result;
        #else
            register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
            __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
            return x0;
        #endif
        }
        void _start(void)
        {
            call(__NR_write, 1, (long)"ok\\n", 3);
            call(__NR_exit_group, 7, 0, 0);
        }
        """
    )
    subprocess.run(["gcc", "-static", "-nostdlib", "-ffreestanding", "-O1", source, "-o", program], check=True)
    return program


@pytest.fixture
def image(copied_rootfs: Path, tiny: Path) -> Path:
    """A copy of busybox with the tiny program in it."""
    program = copied_rootfs / "bin" / "tiny"
    program.write_bytes(tiny.read_bytes())
    program.chmod(0o755)
    return copied_rootfs


@pytest.fixture
def lab_of_image(lab: Lab, image: Path) -> Lab:
    lab.busybox = image
    return lab


def needed(*, no_new_privs: bool, joins: bool) -> tuple[str, ...]:
    return TIGHT if no_new_privs or not joins else TIGHT + JOINING


@pytest.mark.root
@pytest.mark.parametrize("sharing", NAMESPACES)
@pytest.mark.parametrize("no_new_privs", [True, False])
def test_a_profile_needs_to_allow_what_the_program_takes_and_no_more(
    lab_of_image: Lab, sharing: Sharing, no_new_privs: bool
) -> None:
    lab = lab_of_image

    def tight(joins: bool) -> Privileges:
        calls = needed(no_new_privs=no_new_privs, joins=joins)
        return Privileges(no_new_privs=no_new_privs, filter=Seccomp(bpf.allow(*calls), "tight"))

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "", "tight", argv=("tiny",), privileges=tight(sharing.pid))
            assert (await container.wait()).code == 7
            assert lab.log("tight.log") == [("stdout", "F", "ok")]
            sleeper = await lab.start(box, "exec sleep 600", "sleeper")
            assert await output_of(box, sleeper, "tiny", privileges=tight(True)) == (7, "ok\n")

    bounded(test)


@pytest.mark.root
@pytest.mark.parametrize("sharing", NAMESPACES)
@pytest.mark.parametrize("no_new_privs", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_a_program_has_the_capabilities_that_it_is_to_have_and_the_filter(
    lab: Lab, sharing: Sharing, no_new_privs: bool, uid: int
) -> None:
    privileges = Privileges(uid, uid, (uid,), no_new_privs=no_new_privs, filter=LOOSE)
    wanted = {
        "CapBnd": f"{DEFAULT:016x}",
        "CapPrm": f"{0 if uid else DEFAULT:016x}",
        "CapEff": f"{0 if uid else DEFAULT:016x}",
        "CapInh": f"{0:016x}",
        "CapAmb": f"{0:016x}",
        "NoNewPrivs": str(int(no_new_privs)),
        "Seccomp": "2",
        "Seccomp_filters": "1",
        "Uid": "\t".join([str(uid)] * 4),
        "Groups": str(uid),
    }

    def fields(text: str) -> dict[str, str]:
        rows = (line.split(":", 1) for line in text.splitlines())
        return {name: value.strip() for name, value in rows if name in wanted}

    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            container = await lab.run(box, "cat /proc/self/status", "c", privileges=privileges)
            await container.wait()
            assert fields("\n".join(text for _, _, text in lab.log())) == wanted
            sleeper = await lab.start(box, "exec sleep 600", "sleeper")
            code, text = await output_of(box, sleeper, "cat", "/proc/self/status", privileges=privileges)
            assert (code, fields(text)) == (0, wanted)

    bounded(test)


@pytest.mark.root
@pytest.mark.parametrize("sharing", NAMESPACES)
def test_what_a_profile_forbids_is_told_with_the_system_call(lab: Lab, sharing: Sharing) -> None:
    async def test() -> None:
        async with lab.box(sharing=sharing) as box:
            sleeper = await lab.start(box, "exec sleep 600", "sleeper")
            for name in ("clone", "execve"):
                privileges = Privileges(filter=Seccomp(bpf.forbid(name), "mine"))
                with pytest.raises(SpawnError, match=rf"{name}: Operation not permitted \(EPERM\)") as raised:
                    await output_of(box, sleeper, "true", privileges=privileges)
                assert f"the seccomp profile mine may forbid {name}" in str(raised.value.hint)
            forbidden = Privileges(no_new_privs=True, filter=Seccomp(bpf.allow(), "nothing"))
            with pytest.raises(SpawnError, match=r"run sh .*: execve: Operation not permitted \(EPERM\)"):
                await lab.run(box, "true", "none", privileges=forbidden)
            missing = replace(forbidden, filter=Seccomp(bpf.allow("execve"), "execve"))
            with pytest.raises(SpawnError, match=r"run nope: execve: No such file or directory \(ENOENT\)"):
                await output_of(box, sleeper, "nope", privileges=missing)

    bounded(test)
