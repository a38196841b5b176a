"""Profiles made into BPF, and what it says to system calls: run in Python, not by a kernel."""

from __future__ import annotations

import errno
import itertools
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ProfileError, Unsupported
from sandbox.linux.seccomp import Action, Argument, Excluded, Host, Included, Profile, Rule, compile_profile
from sandbox.linux.seccomp import filter as filter_module
from sandbox.linux.seccomp.profile import ALLOW, REFUSE
from tests import bpf

NONE: frozenset[str] = frozenset()
PC = Host("x86_64", (6, 1))
PERM, NOSYS = bpf.ERRNO | errno.EPERM, bpf.ERRNO | errno.ENOSYS
KILL = 0

# asm/unistd_64.h and asm/unistd_32.h
READ, WRITE, GETPID, CLONE, PERSONALITY, KEYCTL, SETNS = 0, 1, 39, 56, 135, 250, 308
READ_32, WRITE_32, LLSEEK_32 = 3, 4, 140
X32 = 0x40000000  # linux/unistd.h, __X32_SYSCALL_BIT


def compiled(
    *rules: Rule, default: Action = REFUSE, host: Host = PC, caps: frozenset[str] = NONE, **fields: object
) -> bytes:
    return compile_profile(Profile(default, rules, **fields), caps, host)  # type: ignore[arg-type]


def allowing(*arguments: Argument) -> bytes:
    """A filter that allows personality with these arguments."""
    return compiled(Rule(("personality",), arguments=arguments))


def test_what_a_rule_names_is_done_and_else_the_default() -> None:
    code = compiled(
        Rule(("read", "write")), Rule(("getpid",), Action("ERRNO", errno.EACCES)), Rule(("setns",), Action("LOG"))
    )
    assert bpf.verdict(code, READ) == bpf.verdict(code, WRITE) == bpf.ALLOW
    assert bpf.verdict(code, GETPID) == bpf.ERRNO | errno.EACCES
    assert bpf.verdict(code, SETNS) == 0x7FFC0000  # SECCOMP_RET_LOG
    assert bpf.verdict(code, KEYCTL) == PERM


@pytest.mark.parametrize(
    ("action", "value"),
    [
        (Action("KILL_PROCESS"), 0x80000000),
        (Action("KILL_THREAD"), 0),
        (Action("TRAP"), 0x00030000),
        (Action("ERRNO", 0), 0x00050000),
        (Action("ERRNO", 4094), 0x00050FFE),
        (Action("TRACE", 7), 0x7FF00007),
        (Action("LOG"), 0x7FFC0000),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_each_action_is_the_kernels(action: Action, value: int) -> None:
    assert bpf.verdict(compiled(Rule(("keyctl",), action), default=ALLOW), KEYCTL) == value
    assert bpf.verdict(compiled(Rule(("setns",)), default=action), KEYCTL) == value


@pytest.mark.parametrize(
    ("comparison", "holds"),
    [
        ("NE", lambda a, b: a != b),
        ("LT", lambda a, b: a < b),
        ("LE", lambda a, b: a <= b),
        ("EQ", lambda a, b: a == b),
        ("GE", lambda a, b: a >= b),
        ("GT", lambda a, b: a > b),
    ],
)
def test_arguments_are_compared_in_64_bits(comparison: str, holds: object) -> None:
    values = (0, 1, 7, 8, 9, 2**31, 2**32 - 1, 2**32, 2**32 + 8, 2**63, 2**64 - 1)
    for value in values:
        code = allowing(Argument(0, comparison, value))  # type: ignore[arg-type]
        for given_value in values:
            wanted = bpf.ALLOW if holds(given_value, value) else PERM  # type: ignore[operator]
            assert bpf.verdict(code, PERSONALITY, given_value) == wanted, (given_value, value)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_mask_is_laid_over_the_argument_first(mask: int, wanted: int, value: int) -> None:
    code = allowing(Argument(0, "MASKED_EQ", mask, wanted & mask))
    assert (bpf.verdict(code, PERSONALITY, value) == bpf.ALLOW) == (value & mask == wanted & mask)
    assert bpf.verdict(code, PERSONALITY, wanted & mask | value & ~mask) == bpf.ALLOW


def test_conditions_on_different_arguments_hold_together_and_on_one_each_for_itself() -> None:
    both = allowing(Argument(0, "EQ", 1), Argument(5, "EQ", 2))
    assert bpf.verdict(both, PERSONALITY, 1, 0, 0, 0, 0, 2) == bpf.ALLOW
    assert bpf.verdict(both, PERSONALITY, 1) == bpf.verdict(both, PERSONALITY, 0, 0, 0, 0, 0, 2) == PERM
    either = allowing(Argument(0, "EQ", 1), Argument(0, "EQ", 2))
    assert [bpf.verdict(either, PERSONALITY, value) for value in (0, 1, 2, 3)] == [PERM, bpf.ALLOW, bpf.ALLOW, PERM]


def test_a_rule_that_changes_nothing_and_one_that_stands_twice_do_no_harm() -> None:
    code = compiled(Rule(("read",)), Rule(("read", "read")), Rule(("keyctl",), REFUSE))
    assert (bpf.verdict(code, READ), bpf.verdict(code, KEYCTL)) == (bpf.ALLOW, PERM)


EIGHT, NINE = Argument(0, "EQ", 8), Argument(0, "EQ", 9)
DENY = Action("ERRNO", errno.EACCES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Rule(("read",)), Rule(("read",), DENY)),
        (Rule(("read",)), Rule(("write", "read"), DENY, (EIGHT,))),
        (Rule(("read",)), Rule(("read",), REFUSE, (EIGHT,))),
        (Rule(("read",), ALLOW, (EIGHT,)), Rule(("read",), DENY, (EIGHT,))),
        (Rule(("read",), ALLOW, (EIGHT,)), Rule(("read",), DENY, (Argument(1, "EQ", 9),))),
        (Rule(("read",), ALLOW, (EIGHT, NINE)), Rule(("read",), DENY, (NINE,))),
        (Rule(("read",), ALLOW, (Argument(0, "NE", 7),)), Rule(("read",), DENY, (EIGHT,))),
        (Rule(("read",), ALLOW, (Argument(0, "LE", 8),)), Rule(("read",), DENY, (Argument(0, "GE", 8),))),
        (Rule(("read",), ALLOW, (Argument(0, "MASKED_EQ", 8, 8),)), Rule(("read",), DENY, (NINE,))),
    ],
)
def test_rules_that_say_different_things_of_a_call_are_refused(one: Rule, other: Rule) -> None:
    """libseccomp would take some of them for ALLOW alone."""
    for rules in ((one, other), (other, one)):
        with pytest.raises(
            ProfileError, match=r"of read one rule says (ALLOW and another ERRNO|ERRNO and another ALLOW)"
        ) as r:
            compiled(*rules)
        assert "leave one of them to defaultAction" in str(r.value.hint)


def test_rules_of_one_call_whose_conditions_exclude_each_other_are_fine() -> None:
    code = compiled(
        Rule(("personality",), ALLOW, (Argument(0, "LT", 8),)),
        Rule(("personality",), DENY, (EIGHT, Argument(0, "EQ", 10))),
        Rule(("personality",), Action("LOG"), (NINE, Argument(1, "EQ", 1))),
        Rule(("personality",), REFUSE, (Argument(0, "GT", 10),)),
    )
    said = [bpf.verdict(code, PERSONALITY, *call) for call in ((7,), (8,), (9,), (9, 1), (10,), (11,))]
    assert said == [bpf.ALLOW, bpf.ERRNO | errno.EACCES, PERM, 0x7FFC0000, bpf.ERRNO | errno.EACCES, PERM]


conditions = st.builds(
    Argument,
    st.just(0),
    st.sampled_from(["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]),
    st.integers(0, 9),
    st.integers(0, 9),
)


@given(conditions, conditions)
def test_conditions_said_to_exclude_each_other_do(first: Argument, second: Argument) -> None:
    if first.excludes(second):
        assert not any(first.admits(value) and second.admits(value) for value in range(32))
    assert first.excludes(second) == second.excludes(first)


def test_a_system_call_that_libseccomp_does_not_know_is_left_to_the_default() -> None:
    assert compiled(Rule(("read", "no_such_call"))) == compiled(Rule(("read",)))
    assert filter_module.known("no_such_call", "x86_64") is None


# --- when a rule holds


@pytest.mark.parametrize(
    ("included", "caps", "host", "holds"),
    [
        (Included(), NONE, PC, True),
        (Included(frozenset({"A", "B"})), frozenset({"A"}), PC, False),
        (Included(frozenset({"A", "B"})), frozenset({"A", "B", "C"}), PC, True),
        (Included(machines=frozenset({"x86_64"})), NONE, PC, True),
        (Included(machines=frozenset({"aarch64", "s390x"})), NONE, PC, False),
        (Included(kernel=(6, 1)), NONE, PC, True),
        (Included(kernel=(6, 2)), NONE, PC, False),
        (Included(kernel=(5, 15)), NONE, PC, True),
        (Included(kernel=(6, 2)), NONE, Host("x86_64", (6, 10)), True),
    ],
)
def test_a_rule_holds_where_all_is_there_that_it_includes(
    included: Included, caps: frozenset[str], host: Host, holds: bool
) -> None:
    code = compiled(Rule(("keyctl",), included=included), Rule(("setns",)), caps=caps, host=host)
    assert (bpf.verdict(code, KEYCTL) == bpf.ALLOW) == holds


@pytest.mark.parametrize(
    ("excluded", "caps", "holds"),
    [
        (Excluded(), frozenset({"A"}), True),
        (Excluded(frozenset({"A", "B"})), frozenset({"A"}), False),
        (Excluded(frozenset({"A", "B"})), frozenset({"C"}), True),
        (Excluded(machines=frozenset({"x86_64", "s390x"})), NONE, False),
        (Excluded(machines=frozenset({"s390x"})), NONE, True),
        (Excluded(kernel=(6, 1)), NONE, False),
        (Excluded(kernel=(6, 2)), NONE, True),
    ],
)
def test_a_rule_does_not_hold_where_one_thing_is_there_that_it_excludes(
    excluded: Excluded, caps: frozenset[str], holds: bool
) -> None:
    code = compiled(Rule(("keyctl",), excluded=excluded), Rule(("setns",)), caps=caps)
    assert (bpf.verdict(code, KEYCTL) == bpf.ALLOW) == holds


# --- architectures


def test_calls_of_an_architecture_that_a_profile_does_not_list_kill() -> None:
    code = compiled(Rule(("read", "write")))
    assert bpf.verdict(code, READ_32, architecture=bpf.X86) == KILL
    assert bpf.verdict(code, READ | X32) == KILL


@pytest.mark.parametrize(
    "fields",
    [
        {"architectures": ("x86", "x32", "s390x", "arm")},
        {"siblings": (("s390x", ("s390",)), ("x86_64", ("x86", "x32")))},
    ],
    ids=["listed", "by machine"],
)
def test_those_that_it_lists_are_filtered_by_their_own_numbers(fields: dict[str, object]) -> None:
    code = compiled(Rule(("read", "_llseek")), **fields)
    assert bpf.verdict(code, READ_32, architecture=bpf.X86) == bpf.ALLOW
    assert bpf.verdict(code, LLSEEK_32, architecture=bpf.X86) == bpf.ALLOW  # x86-64 has no such call
    assert bpf.verdict(code, WRITE_32, architecture=bpf.X86) == PERM
    assert (bpf.verdict(code, READ | X32), bpf.verdict(code, WRITE | X32)) == (bpf.ALLOW, PERM)
    assert bpf.verdict(code, 0, architecture=bpf.ARM) == KILL


def test_a_machine_of_another_kind_is_refused() -> None:
    with pytest.raises(Unsupported, match="needs a machine of the kinds x86_64, aarch64"):
        compiled(Rule(("read",)), host=Host("s390x", (6, 1)))


# --- calls that a profile cannot have known


def test_a_call_that_is_newer_than_all_that_a_profile_names_is_not_there() -> None:
    """With EPERM a C library would give up where it could take the older call."""
    code = compiled(
        Rule(("read",)), Rule(("setns",), included=Included(frozenset({"SYS_ADMIN"}))), architectures=("x86",)
    )
    assert bpf.verdict(code, SETNS) == PERM
    assert bpf.verdict(code, SETNS + 1) == bpf.verdict(code, 10000) == NOSYS
    assert bpf.verdict(code, 346, architecture=bpf.X86) == PERM  # setns there
    assert bpf.verdict(code, 347, architecture=bpf.X86) == NOSYS
    assert (bpf.verdict(code, -1), bpf.verdict(code, 10000 | X32)) == (PERM, KILL)  # no numbers of calls to come


@pytest.mark.parametrize("default", [ALLOW, Action("LOG"), Action("TRACE", 1)], ids=["allow", "log", "trace"])
def test_of_a_profile_that_forbids_nothing_by_default_new_calls_are_none_of_ours(default: Action) -> None:
    code = compiled(Rule(("read",), REFUSE), default=default)
    assert bpf.verdict(code, 10000) == bpf.verdict(code, WRITE) != NOSYS


def test_a_profile_that_kills_by_default_does_not_kill_what_it_cannot_know() -> None:
    code = compiled(Rule(("read",)), Rule(("setns",)), default=Action("KILL_PROCESS"))
    assert bpf.verdict(code, KEYCTL) == 0x80000000
    assert bpf.verdict(code, 10000) == NOSYS


# --- the same, every time


def test_the_same_profile_gives_the_same_bytes_in_another_process() -> None:
    script = (
        "from sandbox import capabilities as y; from sandbox.linux import seccomp as s;"
        "import hashlib; p = s.default_profile();"
        "print(hashlib.sha256(s.compile_profile(p, frozenset(y.DEFAULT))).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1


def test_what_was_made_once_is_kept_by_its_content() -> None:
    profile = Profile(REFUSE, (Rule(("read",)),))
    first = compile_profile(profile, NONE, PC)
    assert compile_profile(replace(profile), frozenset(), PC) is first


def test_any_order_of_rules_gives_the_same_verdicts() -> None:
    rules = [
        Rule(("read",)),
        Rule(("keyctl",), Action("LOG")),
        Rule(("personality",), arguments=(Argument(0, "EQ", 8),)),
    ]
    calls = [(READ,), (KEYCTL,), (PERSONALITY, 8), (PERSONALITY, 9), (WRITE,)]
    verdicts = {
        tuple(bpf.verdict(compiled(*order), *call) for call in calls) for order in itertools.permutations(rules)
    }
    assert verdicts == {(bpf.ALLOW, 0x7FFC0000, bpf.ALLOW, PERM, PERM)}


def test_where_libseccomp_is_missing_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sandbox.linux._libseccomp", None)
    monkeypatch.delattr("sandbox.linux._libseccomp", raising=False)
    filter_module._library.cache_clear()
    try:
        with pytest.raises(Unsupported, match="a seccomp profile needs libseccomp") as raised:
            filter_module.library_version()
        assert "apt-get install libseccomp2" in str(raised.value.hint)
    finally:
        monkeypatch.undo()
        filter_module._library.cache_clear()
