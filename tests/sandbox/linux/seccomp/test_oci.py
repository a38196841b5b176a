"""Profiles in OCI's and Docker's JSON: what is read of them, and every way in which one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ProfileError
from sandbox.linux.seccomp import Action, Argument, Excluded, Included, Profile, Rule, parse

MINIMAL: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO"}
PERM = Action("ERRNO", 1)


def read(**fields: Any) -> Profile:
    return parse(json.dumps({**MINIMAL, **fields}), "p.json")


def rule(**fields: Any) -> Rule:
    (only,) = read(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", **fields}]).rules
    return only


# --- what is read


def test_a_profile_with_all_that_there_is() -> None:
    text = """{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "archMap": [{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                    {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null}],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "comment": "both", "args": null},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
             "includes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["amd64", "x32"], "minKernel": "4.8"},
             "excludes": {"caps": ["CAP_BPF"], "arches": ["s390"], "minKernel": "7.0"}},
            {"names": ["keyctl"], "action": "SCMP_ACT_TRACE", "errnoRet": 5, "includes": {}, "excludes": null}
        ]
    }"""
    clone = Rule(
        ("clone",),
        Action("ALLOW"),
        (Argument(0, "MASKED_EQ", 2114060288),),
        Included(frozenset({"SYS_ADMIN"}), frozenset({"x86_64", "x32"}), (4, 8)),
        Excluded(frozenset({"BPF"}), frozenset({"s390"}), (7, 0)),
    )
    assert parse(text, "p.json") == Profile(
        default=Action("ERRNO", 38),
        rules=(Rule(("read", "write")), clone, Rule(("keyctl",), Action("TRACE", 5))),
        architectures=("x86_64", "x86"),
        siblings=(("aarch64", ("arm",)), ("riscv64", ())),
        flags=("LOG", "SPEC_ALLOW"),
    )


def test_the_least_that_is_a_profile() -> None:
    assert read() == Profile(PERM, ())
    assert read(syscalls=None, architectures=None, archMap=None, flags=None, listenerPath="") == Profile(PERM, ())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SCMP_ACT_KILL", "KILL_THREAD"),
        ("SCMP_ACT_KILL_THREAD", "KILL_THREAD"),
        ("SCMP_ACT_KILL_PROCESS", "KILL_PROCESS"),
        ("SCMP_ACT_TRAP", "TRAP"),
        ("SCMP_ACT_LOG", "LOG"),
        ("SCMP_ACT_ALLOW", "ALLOW"),
    ],
)
def test_actions_without_a_number(name: str, kind: Any) -> None:
    assert read(defaultAction=name).default == rule(action=name).action == Action(kind)


def test_the_errno_of_a_rule_is_its_own_or_eperm_whatever_the_default_is() -> None:
    """config-linux.md: errnoRet defaults to EPERM, and so does defaultErrnoRet."""
    profile = read(defaultErrnoRet=38, syscalls=[{"names": ["read"], "action": "SCMP_ACT_ERRNO"}])
    assert (profile.default, profile.rules[0].action) == (Action("ERRNO", 38), PERM)
    assert rule(action="SCMP_ACT_ERRNO", errnoRet=0).action == Action("ERRNO", 0)


def test_flags_are_those_of_the_system_call() -> None:
    assert read(flags=["SECCOMP_FILTER_FLAG_LOG"]).flag_bits == 2
    assert read(flags=["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]).flag_bits == 4
    assert read(flags=[]).flag_bits == 0


# --- what is refused

X86 = "SCMP_ARCH_X86"
ARGUMENT = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}


def in_rule(**fields: Any) -> dict[str, Any]:
    return {
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["x"], "action": "SCMP_ACT_ALLOW", **fields},
        ]
    }


def in_argument(**fields: Any) -> dict[str, Any]:
    return in_rule(args=[ARGUMENT, {**ARGUMENT, **fields}])


# The fields of a profile, then where the message says it is wrong, what it says, and what its hint says.
REFUSALS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"defaultAction": None}, "defaultAction", "is required", ""),
    ({"defaultAction": 5}, "defaultAction", "must be a string, not a number", ""),
    ({"defaultAction": "SCMP_ACT_MAYBE"}, "defaultAction", 'unknown value "SCMP_ACT_MAYBE"', "one of SCMP_ACT_KILL"),
    ({"defaultAction": "allow"}, "defaultAction", 'unknown value "allow"', "SCMP_ACT_ALLOW"),
    ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction", "needs an agent to ask", "use SCMP_ACT_ERRNO"),
    ({"defaultErrnoRet": -1}, "defaultErrnoRet", "must be between 0 and 4094", ""),
    ({"defaultErrnoRet": 4095}, "defaultErrnoRet", "must be between 0 and 4094", ""),
    ({"defaultErrnoRet": 1.5}, "defaultErrnoRet", "must be an integer, not a number with a fraction", ""),
    ({"defaultErrnoRet": True}, "defaultErrnoRet", "must be an integer, not a boolean", ""),
    ({"defaultErrnoRet": "EPERM"}, "defaultErrnoRet", "must be an integer, not a string", ""),
    ({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "defaultErrnoRet", "has no meaning with", "remove it"),
    ({"defaultaction": "SCMP_ACT_ALLOW"}, "", 'unknown key "defaultaction"', "the keys here are defaultAction,"),
    ({"listenerPath": "/run/agent"}, "listenerPath", "there is no agent here", "remove listenerPath"),
    ({"listenerMetadata": "x"}, "listenerMetadata", "there is no agent here", "remove listenerMetadata"),
    ({"architectures": "SCMP_ARCH_X86"}, "architectures", "must be an array, not a string", ""),
    ({"architectures": ["SCMP_ARCH_X86", "amd64"]}, "architectures[1]", 'unknown value "amd64"', "SCMP_ARCH_X86_64"),
    ({"archMap": [{"architecture": "x86"}]}, "archMap[0].architecture", 'unknown value "x86"', "SCMP_ARCH_X86"),
    ({"archMap": [{}]}, "archMap[0].architecture", "is required", ""),
    ({"archMap": [{"architecture": X86, "sub": []}]}, "archMap[0]", 'unknown key "sub"', "subArchitectures"),
    ({"archMap": [{"architecture": X86, "subArchitectures": [0]}]}, "archMap[0].subArchitectures[0]", "a string", ""),
    ({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}, "flags[0]", "unknown value", "SECCOMP_FILTER_FLAG_LOG"),
    ({"syscalls": {}}, "syscalls", "must be an array, not an object", ""),
    ({"syscalls": ["read"]}, "syscalls[0]", "must be an object, not a string", ""),
    ({"syscalls": [None]}, "syscalls[0]", "must be an object, not null", ""),
    (in_rule(name="read"), "syscalls[1]", 'unknown key "name"', "the keys here are names,"),
    (in_rule(names=[]), "syscalls[1].names", "must name a system call", ""),
    (in_rule(names=None), "syscalls[1].names", "must name a system call", ""),
    (in_rule(names="read"), "syscalls[1].names", "must be an array, not a string", ""),
    (in_rule(names=["read", ""]), "syscalls[1].names[1]", 'not the name of a system call: ""', ""),
    (in_rule(names=["read "]), "syscalls[1].names[0]", 'not the name of a system call: "read "', ""),
    (in_rule(names=["read\n"]), "syscalls[1].names[0]", r'not the name of a system call: "read\n"', ""),
    (in_rule(names=["re\0ad"]), "syscalls[1].names[0]", r'not the name of a system call: "re\u0000ad"', ""),
    (in_rule(names=["\ud800"]), "syscalls[1].names[0]", "not the name of a system call", ""),
    (in_rule(action=None), "syscalls[1].action", "is required", ""),
    (in_rule(action="SCMP_ACT_NOTIFY"), "syscalls[1].action", "needs an agent to ask", "use SCMP_ACT_ERRNO"),
    (in_rule(errnoRet=1), "syscalls[1].errnoRet", "has no meaning with SCMP_ACT_ALLOW", "remove it"),
    (in_rule(action="SCMP_ACT_ERRNO", errnoRet=5000), "syscalls[1].errnoRet", "must be between 0 and 4094", ""),
    (in_rule(comment=1), "syscalls[1].comment", "must be a string, not a number", ""),
    (in_rule(includes={"cap": []}), "syscalls[1].includes", 'unknown key "cap"', "the keys here are caps,"),
    (in_rule(includes={"caps": ["SYS_ADMIN"]}), "syscalls[1].includes.caps[0]", "unknown value", "CAP_SYS_ADMIN"),
    (in_rule(excludes={"arches": ["x86_64"]}), "syscalls[1].excludes.arches[0]", "unknown value", "one of amd64"),
    (in_rule(excludes={"minKernel": "4.8.1"}), "syscalls[1].excludes.minKernel", "first two numbers", 'as in "5.15"'),
    (in_rule(excludes={"minKernel": 4.8}), "syscalls[1].excludes.minKernel", "must be a string", ""),
    (in_rule(includes=[]), "syscalls[1].includes", "must be an object, not an array", ""),
    (in_rule(args={}), "syscalls[1].args", "must be an array, not an object", ""),
    (in_argument(index=6), "syscalls[1].args[1].index", "must be between 0 and 5", ""),
    (in_argument(index=None), "syscalls[1].args[1].index", "is required", ""),
    (in_argument(value=2**64), "syscalls[1].args[1].value", f"must be between 0 and {2**64 - 1}", ""),
    (in_argument(value=-1), "syscalls[1].args[1].value", "must be between 0 and", ""),
    (in_argument(value=None), "syscalls[1].args[1].value", "is required", ""),
    (in_argument(valueTwo="0"), "syscalls[1].args[1].valueTwo", "must be an integer, not a string", ""),
    (in_argument(op="=="), "syscalls[1].args[1].op", 'unknown value "=="', "SCMP_CMP_MASKED_EQ"),
    (in_argument(op=None), "syscalls[1].args[1].op", "is required", ""),
    (in_argument(mask=1), "syscalls[1].args[1]", 'unknown key "mask"', "valueTwo"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "where", "says", "cure"), REFUSALS, ids=[f"{where}: {says}" for _, where, says, _ in REFUSALS]
)
def test_what_is_wrong_is_said_with_its_place_and_the_cure(
    fields: dict[str, Any], where: str, says: str, cure: str
) -> None:
    with pytest.raises(ProfileError) as raised:
        read(**fields)
    error = raised.value
    assert (error.file, error.field) == ("p.json", where)
    assert str(error).startswith(f"p.json: {where}: " if where else "p.json: ")
    assert says in str(error)
    assert cure in (error.hint or "")
    assert (error.hint is None) == (not cure)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "p.json:1:1: not JSON: Expecting value"),
        ("{\n  'a': 1}", "p.json:2:3: not JSON"),
        ('{"defaultAction": "SCMP_ACT_ALLOW"} x', "p.json:1:37: not JSON: Extra data"),
        ('{"defaultAction": "SCMP_ACT_ALLOW",}', "not JSON"),
        ("[]", "p.json: must be an object, not an array"),
        ("null", "p.json: must be an object, not null"),
        ('"SCMP_ACT_ALLOW"', "p.json: must be an object, not a string"),
        ('{"defaultErrnoRet": NaN}', "p.json: NaN is no JSON"),
        ('{"defaultErrnoRet": 1e400}', "must be an integer, not a number with a fraction"),
        (f'{{"defaultErrnoRet": {"9" * 5000}}}', "a number is too large"),
        ("[" * 100000, "nested too deeply"),
        (
            '{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"action": "SCMP_ACT_ERRNO", "action": "SCMP_ACT_LOG"}]}',
            'the key "action" stands twice in one object',
        ),
    ],
)  # fmt: skip
def test_what_is_no_profile_at_all_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProfileError) as raised:
        parse(text, "p.json")
    assert says in str(raised.value)


texts = st.text("aS_ \0\n\ud800é", max_size=3) | st.sampled_from(
    ["names", "action", "args", "caps", "SCMP_ACT_LOG", "read"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(0.5) | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["defaultAction", "syscalls", "flags", "archMap", "architectures"]), values))
def test_anything_else_is_read_or_refused_and_nothing_breaks(fields: dict[str, Any]) -> None:
    try:
        profile = read(**fields)
    except ProfileError as error:
        assert "\n" not in str(error)
    else:
        assert profile.default.kind == "ERRNO"
