"""What is said about a host, where it depends on more than the kernel that runs the tests."""

from __future__ import annotations

import sys

import pytest

from sandbox import capabilities
from sandbox.linux import host, seccomp
from sandbox.linux.seccomp import filter as filter_module


def row(name: str) -> host.Ability:
    (only,) = (ability for ability in host.abilities() if ability.name == name)
    return only


def test_seccomp_is_shown_with_the_version_of_the_library() -> None:
    version = seccomp.library_version()
    assert [part.isdigit() for part in version.split(".")] == [True] * 3
    assert row("seccomp") == host.Ability("seccomp", f"available, libseccomp {version}")


def test_without_the_library_there_is_no_profile_and_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sandbox.linux._libseccomp", None)
    monkeypatch.delattr("sandbox.linux._libseccomp", raising=False)
    filter_module._library.cache_clear()
    try:
        ability = row("seccomp")
    finally:
        monkeypatch.undo()
        filter_module._library.cache_clear()
    assert (ability.value, ability.missing) == ("no profile but Unconfined", True)
    assert "apt-get install libseccomp2" in str(ability.remedy)


def test_all_capabilities_that_root_lacks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.privileges, "missing", lambda _: ())
    monkeypatch.setattr(host.os, "geteuid", lambda: 0)
    every = capabilities.bits(capabilities.CAPABILITIES)
    monkeypatch.setattr(host.privileges, "held", lambda: every & ~capabilities.bits(("SYS_RESOURCE", "SYS_TIME")))
    ability = row("privileges")
    assert (ability.value, ability.missing) == ("root without SYS_RESOURCE SYS_TIME", True)
    assert str(ability.remedy).endswith("; no container can be given what seedpod does not have")
    monkeypatch.setattr(host.privileges, "held", lambda: every)
    assert row("privileges") == host.Ability("privileges", "root, all capabilities")
