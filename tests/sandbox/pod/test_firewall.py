"""Chains of others that may drop what pods send, told from those that do not; rules of ours found again."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.pod import firewall
from sandbox.pod.firewall import Chain


def chain(policy: str = "accept", *, family: str = "inet", hook: str | None = "forward", table: str = "t") -> Any:
    about: dict[str, Any] = {"family": family, "table": table, "name": "c", "policy": policy}
    return {"chain": {**about, **({"hook": hook} if hook else {})}}


def rule(*expr: dict[str, Any], comment: str = "", table: str = "t", handle: int = 7) -> Any:
    about = {"family": "inet", "table": table, "chain": "c", "handle": handle, "expr": list(expr)}
    return {"rule": {**about, **({"comment": comment} if comment else {})}}


MATCH: dict[str, Any] = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "docker0"}}


@pytest.mark.parametrize(
    "last",
    [{"drop": None}, {"reject": None}, {"jump": {"target": "x"}}, {"goto": {"target": "x"}}, {"xt": {}}, {"vmap": {}}],
)
def test_a_chain_with_a_rule_that_may_drop_is_in_the_way(last: dict[str, Any]) -> None:
    assert firewall.blocking([chain(), rule(MATCH, last)], (4, 6), "seedpod") == [
        Chain("inet", "t", "c", "it has rules that may drop")
    ]


def test_a_policy_of_drop_is_in_the_way_whatever_the_rules() -> None:
    assert firewall.blocking([chain("drop"), rule(MATCH, {"accept": None})], (4,), "seedpod") == [
        Chain("inet", "t", "c", "policy drop")
    ]


@pytest.mark.parametrize(
    "listing",
    [
        [chain(), rule(MATCH, {"counter": {}}, {"accept": None})],
        [chain("drop", hook="input")],
        [chain("drop", hook=None)],
        [chain("drop", table="seedpod1234abcd")],
        [chain("drop", family="bridge")],
        [chain("drop", family="ip6")],
        [],
    ],
    ids=["accepts", "other hook", "no hook", "ours", "bridge", "other family", "empty"],
)
def test_what_drops_nothing_of_pods_is_let_alone(listing: list[Any]) -> None:
    assert firewall.blocking(listing, (4,), "seedpod") == []


def test_rules_are_put_in_once_and_taken_out_by_their_tag() -> None:
    wall = Chain("inet", "t", "c", "policy drop")
    script = firewall.acceptance(wall, "seedpod", [])
    assert [line.split('"')[1] for line in script.splitlines()] == ["seedpod"] * 3
    assert script.count("insert rule inet t c ") == 3
    here = [rule(MATCH, {"accept": None}, comment="seedpod", handle=handle) for handle in (4, 5, 6)]
    assert firewall.acceptance(wall, "seedpod", here) == ""
    assert firewall.acceptance(wall, "seedpod", here[1:]) == script, "half of them are not enough"
    assert firewall.withdrawal([*here, rule(MATCH, comment="other")], "seedpod").splitlines() == [
        f"delete rule inet t c handle {handle}" for handle in (4, 5, 6)
    ]


def test_the_chain_of_iptables_is_told_from_others() -> None:
    assert Chain("ip", "filter", "FORWARD", "").is_of_iptables
    assert not Chain("inet", "filter", "FORWARD", "").is_of_iptables
    assert not Chain("ip", "filter", "forward", "").is_of_iptables


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("-P FORWARD ACCEPT\n", ""),
        ("-P FORWARD DROP\n", "policy DROP"),
        ("-P FORWARD ACCEPT\n-A FORWARD -i docker0 -j ACCEPT\n", ""),
        ("-P FORWARD ACCEPT\n-A FORWARD -j DOCKER-USER\n", "it has rules that may drop"),
    ],
)
def test_legacy_rules_are_read(rules: str, why: str) -> None:
    assert firewall.legacy_why(rules) == why
