"""Who has which address: numbers given in turn and given back, prefixes chosen free, names made of both."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SandboxError
from sandbox.pod import codec, leases
from sandbox.pod.leases import Book, HostPort, Lease
from sandbox.pod.slices import root_name

BOTH = ("10.200.4.0/22", "fd5e::/64")
PORT = HostPort("TCP", 8080, 80)


def test_a_pod_keeps_its_number_and_its_ports_follow() -> None:
    book = Book(BOTH).with_lease("a", ()).with_lease("b", (PORT,))
    assert book.leases == {"a": Lease(2), "b": Lease(3, (PORT,))}
    assert book.with_lease("a", (PORT,)).leases["a"] == Lease(2, (PORT,))
    assert book.ports == ((3, PORT),)


def test_ports_that_are_closed_are_the_pods_still_and_lead_nowhere() -> None:
    book = Book(BOTH).with_lease("a", (PORT,)).with_lease("b", (replace(PORT, host_port=81),)).with_closed_ports("a")
    assert (book.ports, book.closed_ports) == (((3, replace(PORT, host_port=81)),), ((2, PORT),))
    assert codec.decode(Book, codec.encode(book)) == book
    assert book.with_lease("a", (PORT,)).ports == ((2, PORT), (3, replace(PORT, host_port=81))), "in a new sandbox"


def test_a_number_comes_back_only_after_all_others_and_when_its_link_is_gone() -> None:
    book = Book(("10.0.0.0/29",))  # 2 to 6
    given_out = []
    for turn in range(7):
        book = book.with_lease(f"pod{turn}", ())
        given_out.append(book.last)
        book = book.without_lease(f"pod{turn}").gone({book.last})
    assert given_out == [2, 3, 4, 5, 6, 2, 3]
    book = replace(book, leaving=(4,)).with_lease("next", ())
    assert book.last == 5, "the link of 4 still dies"


def test_a_number_is_no_ones_twice_and_the_last_one_is_told() -> None:
    book = Book(("10.0.0.0/29", "fd00::/64"))
    for number in range(2, 7):
        book = book.with_lease(f"pod{number}", ())
    assert sorted(lease.number for lease in book.leases.values()) == [2, 3, 4, 5, 6]
    with pytest.raises(
        SandboxError, match=r"no address is left in 10\.0\.0\.0/29, fd00::/64: 5 pods have one"
    ) as caught:
        book.with_lease("more", ())
    assert caught.value.hint is not None
    assert "podCIDR" in caught.value.hint
    assert book.without_lease("pod4").gone({4}).with_lease("more", ()).leases["more"].number == 4


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=60))
def test_whatever_comes_and_goes_no_two_pods_have_one_number(steps: list[tuple[str, bool]]) -> None:
    book = Book(("10.0.0.0/28",))
    for uid, comes in steps:
        book = book.with_lease(uid, ()) if comes else book.without_lease(uid)
        if not comes:
            book = book.gone(book.leaving)
        numbers = [lease.number for lease in book.leases.values()]
        assert len(set(numbers)) == len(numbers)
        assert all(2 <= number <= 14 for number in numbers)


def test_to_give_back_twice_is_to_give_back_once() -> None:
    book = Book(BOTH).with_lease("a", ()).without_lease("a")
    assert book == book.without_lease("a")
    assert (book.leases, book.leaving, book.gone({2}).leaving) == ({}, (2,), ())


def test_a_book_is_read_as_it_was_written() -> None:
    book = replace(Book(BOTH).with_lease("a", (PORT,)), opened={"net/ipv4/conf/eth0/forwarding": "0"}, up=True)
    assert codec.decode(Book, codec.encode(book)) == book


@pytest.mark.parametrize(
    ("networks", "last"),
    [
        (("10.0.0.0/30",), 2),
        (("10.0.0.0/22",), 1022),
        (("10.0.0.0/8",), 65535),
        (("fd00::/126",), 3),
        (("10.0.0.0/22", "fd00::/124"), 15),
    ],
)
def test_as_many_pods_as_the_smaller_prefix_has_addresses(networks: tuple[str, ...], last: int) -> None:
    assert leases.capacity([ip_network(each) for each in networks]) == last


def test_a_number_is_an_address_in_each_prefix_and_one_of_hardware() -> None:
    link = leases.pod_link("seedpod", "uid", Lease(261), [ip_network(each) for each in BOTH])
    assert link.addresses == (ip_interface("10.200.5.5/22"), ip_interface("fd5e::105/64"))
    assert [str(each) for each in link.gateways] == ["10.200.4.1", "fd5e::1"]
    assert (link.mac, link.name, link.alias) == ("02:5d:0a:c8:05:05", "seedpod-261", "seedpod pod uid")
    assert leases.uid_of(link.alias) == "uid"


@pytest.mark.parametrize("root", [Path("/var/lib/seedpod"), Path("/tmp/a"), Path("/tmp/b")])
def test_names_of_links_have_at_most_15_bytes(root: Path) -> None:
    name = root_name(root)
    assert len(name) <= 15
    assert len(leases.link_name(name, leases.LAST)) <= 15
    assert leases.link_name(name, 5).startswith(leases.link_name(name, ""))
    assert leases.is_link_name(leases.link_name(name, 5))
    assert not leases.is_link_name(name)


@pytest.mark.parametrize("root", ["/var/lib/seedpod", "/tmp/a"])
def test_what_another_root_has_in_the_kernel_is_known_by_its_name(root: str) -> None:
    own, others = root_name(Path(root)), [root_name(Path(each)) for each in ("/var/lib/seedpod", "/tmp/a", "/tmp/b")]
    others.remove(own)
    for name in others:
        assert leases.is_of_other(own, name)
        assert leases.is_of_other(own, leases.link_name(name, 7))
    for name in (own, leases.link_name(own, 7), "eth0", "docker0", "filter", "seedpodium", "spam-1", ""):
        assert not leases.is_of_other(own, name)


# ---- prefixes ----


@pytest.mark.parametrize("version", [4, 6])
def test_a_prefix_is_private_free_and_the_same_for_the_same_root(version: int) -> None:
    first = leases.choose(version, b"root", ())
    assert first is not None
    assert first == leases.choose(version, b"root", ())
    assert first != leases.choose(version, b"other", ())
    assert first.is_private
    assert leases.is_chosen(first, version)
    second = leases.choose(version, b"root", (first, ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert second is not None
    assert not second.overlaps(first)  # type: ignore[arg-type]


def test_where_all_private_prefixes_are_in_use_there_is_none() -> None:
    used = [ip_network(pool) for pool in leases.POOLS]
    assert leases.choose(4, b"root", used[:-1]) is not None
    assert leases.choose(4, b"root", used) is None


@pytest.mark.parametrize("used", ["10.9.128.0/24", "10.0.0.0/8", "10.9.0.0/16"])
def test_what_overlaps_is_named(used: str) -> None:
    assert leases.overlapping(ip_network("10.9.0.0/16"), [ip_network("fd00::/8"), ip_network(used)]) == ip_network(used)
    assert leases.overlapping(ip_network("10.8.0.0/16"), [ip_network("10.9.0.0/16"), ip_network("0.0.0.0/0")]) is None
