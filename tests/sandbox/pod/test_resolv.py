"""The resolv.conf of pods, from any that a host may have."""

from __future__ import annotations

import pytest

from sandbox.pod.resolv import Resolv, for_pods, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Resolv()),
        ("nameserver 10.0.0.1\n", Resolv(("10.0.0.1",))),
        ("nameserver\t10.0.0.1 # far\n; nameserver 10.0.0.2\n#nameserver 10.0.0.3\n", Resolv(("10.0.0.1",))),
        (
            "search a  b\ndomain c\noptions ndots:5 edns0\n",
            Resolv((), ("search a b", "domain c", "options ndots:5 edns0")),
        ),
        ("nameserver\nfoo bar\nsearch\n\n", Resolv()),
        ("nameserver 10.0.0.1\r\nnameserver fd00::1\r\n", Resolv(("10.0.0.1", "fd00::1"))),
    ],
)
def test_lines_are_read_as_the_resolver_reads_them(text: str, expected: Resolv) -> None:
    assert parse(text) == expected
    assert parse(expected.text()) == expected


@pytest.mark.parametrize(
    "nameserver", ["127.0.0.53", "127.0.0.1", "::1", "0.0.0.0", "::", "fe80::1", "fe80::1%eth0", "x"]
)
def test_a_nameserver_that_only_the_host_can_reach_is_none_for_pods(nameserver: str) -> None:
    resolv, wrong = for_pods(f"nameserver {nameserver}\nsearch lan\n", None)
    assert resolv == Resolv((), ("search lan",))
    assert f"({nameserver})" in wrong
    assert for_pods(f"nameserver {nameserver}\nnameserver 10.0.0.1\n", None) == (Resolv(("10.0.0.1",)), "")


def test_behind_systemd_resolved_are_those_that_it_asks_itself() -> None:
    own, behind = "nameserver 127.0.0.53\nsearch own\n", "nameserver 10.0.0.1\nnameserver 127.0.0.1\n"
    assert for_pods(own, behind) == (Resolv(("10.0.0.1",), ("search own",)), "")
    assert for_pods(own, f"{behind}search behind\n") == (Resolv(("10.0.0.1",), ("search behind",)), "")
    assert for_pods("nameserver 10.0.0.9\n", behind) == (Resolv(("10.0.0.9",)), "")


def test_a_host_that_asks_nobody_has_pods_that_ask_nobody() -> None:
    assert for_pods("search lan\n", None) == (Resolv((), ("search lan",)), "")
