"""Capabilities by name and as bits, and what a manifest's add and drop make of the default ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.capabilities import CAPABILITIES, DEFAULT, bits, canonical, granted, names

EVERY = (1 << len(CAPABILITIES)) - 1


def test_the_numbers_are_those_of_the_kernels_header() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("needs the kernel's headers")
    defined = re.findall(r"^#define CAP_([A-Z_]+)\s+(\d+)$", header.read_text(), re.MULTILINE)
    assert dict(defined) == {name: str(number) for number, name in enumerate(CAPABILITIES)}


def test_the_default_is_what_every_runtime_grants() -> None:
    """# A43"""
    assert bits(DEFAULT) == 0x00000000A80425FB


def test_bits_and_names_are_each_others_inverse() -> None:
    assert names(bits(CAPABILITIES)) == CAPABILITIES
    assert names(1 << 45 | 1) == ("CHOWN", "45"), "a newer kernel's goes by its number"
    assert names(0) == ()


@pytest.mark.parametrize("written", ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "cap_net_admin", "Cap_Net_Admin"])
def test_a_name_may_be_written_in_any_case_with_cap_or_without(written: str) -> None:
    assert canonical(written) == "NET_ADMIN"


@pytest.mark.parametrize("written", ["", "NET_ADMINS", "CAP_", "CAP_ALL", "12", "CAP_CAP_CHOWN", "CHOWN "])
def test_what_is_no_name_has_none(written: str) -> None:
    assert canonical(written) is None


@pytest.mark.parametrize("written", ["ALL", "all", "All"])
def test_all_is_a_name_of_its_own(written: str) -> None:
    assert canonical(written) == "ALL"


def test_nothing_asked_for_is_the_default() -> None:
    assert granted((), (), EVERY) == bits(DEFAULT)


def test_single_ones_are_given_and_taken() -> None:
    assert granted(("NET_ADMIN",), ("CHOWN", "KILL"), EVERY) == (bits(DEFAULT) | bits(("NET_ADMIN",))) & ~bits(
        ("CHOWN", "KILL")
    )


def test_all_means_what_can_be_had() -> None:
    had = EVERY & ~bits(("SYS_RESOURCE",))
    assert granted(("ALL",), (), had) == had


def test_one_can_be_taken_from_all_and_given_beside_none() -> None:
    assert granted(("ALL",), ("CHOWN",), EVERY) == EVERY & ~bits(("CHOWN",))
    assert granted(("NET_ADMIN",), ("ALL",), EVERY) == bits(("NET_ADMIN",))
    assert granted((), ("ALL",), EVERY) == 0


def test_all_dropped_wins_over_all_added() -> None:
    assert granted(("ALL", "KILL"), ("ALL",), EVERY) == bits(("KILL",))


def test_what_is_both_added_and_dropped_is_dropped() -> None:
    assert granted(("NET_ADMIN", "NET_ADMIN"), ("NET_ADMIN",), EVERY) == bits(DEFAULT)
