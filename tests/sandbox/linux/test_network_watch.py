"""News of a network, as the kernel sends it."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator

import pytest

from sandbox.linux import native
from sandbox.linux.network_watch import News, Watch
from tests.network import Space
from tests.runner import TIMEOUT

pytestmark = pytest.mark.root

CLONE_NEWNET = 0x40000000
OTHERS = ("other", "sp8-2", "sp8-3", "sp8-4")
MAKE = "ip link add sp7-2 type veth peer name eth0 netns {peer}; ip link set sp7-2 master bridge0 up"


@pytest.fixture
def spaces() -> Iterator[tuple[Space, Space]]:
    """A host with a bridge, and a pod."""
    host, pod = Space(), Space()
    host.shell("ip link set lo up; ip link add bridge0 type bridge; ip link set bridge0 up")
    yield host, pod
    host.end()
    pod.end()


def heard(host: Space, change: Callable[[], object], last: Callable[[News], bool]) -> list[News]:
    """The news of a change, up to the last that is waited for, as somebody in the host's network hears them."""
    found: list[News] = []

    def listen() -> None:
        fd = os.open(f"/proc/{host.pid}/ns/net", os.O_RDONLY)
        native.setns(fd, CLONE_NEWNET)
        os.close(fd)
        with Watch(lambda name: name.startswith("sp7-"), lambda name: name in OTHERS) as watch:
            change()
            while not any(map(last, found)):
                if not select.select(watch.sockets, [], [], TIMEOUT)[0]:
                    return
                found.extend(watch.news())

    listener = threading.Thread(target=listen)
    listener.start()
    listener.join()
    return found


def test_a_pods_link_that_is_made_is_no_news(spaces: tuple[Space, Space]) -> None:
    host, pod = spaces

    def change() -> None:
        host.shell(MAKE.format(peer=pod.pid))
        pod.shell("ip link set eth0 up")  # the host's end gets its link-local address now
        host.shell(
            "until ip -6 addr show dev sp7-2 scope link | grep -q inet6; do :; done; ip addr add 192.0.2.1/32 dev lo"
        )

    assert heard(host, change, lambda _: True) == [News()], "the address, which is the last"


def test_the_end_of_a_link_is_told_and_nothing_beside(spaces: tuple[Space, Space]) -> None:
    host, pod = spaces
    host.shell(MAKE.format(peer=pod.pid))
    found = heard(host, lambda: pod.shell("ip link del eth0"), lambda news: news.gone)
    assert set(found) == {News("sp7-2"), News("sp7-2", gone=True)}


def test_a_link_that_is_taken_from_its_bridge_is_not_gone(spaces: tuple[Space, Space]) -> None:
    host, pod = spaces
    host.shell(MAKE.format(peer=pod.pid))
    assert heard(host, lambda: host.shell("ip link set sp7-2 nomaster"), lambda _: True) == [News("sp7-2")]


# All that another root's network is made of, and its end.
COME = """
    ip link add other type bridge; ip link set other up
    ip addr add 198.51.100.1/24 dev other; ip -6 addr add 2001:db8::1/64 dev other nodad
    echo 1 > /proc/sys/net/ipv4/conf/other/forwarding
    ip link add sp8-2 type veth peer name eth0 netns {peer}; ip link set sp8-2 master other up
    nft add table inet other; nft add chain inet other c; nft add rule inet other c drop
    nft 'add map inet other m {{ type inet_service : ipv4_addr; elements = {{ 80 : 192.0.2.1 }}; }}'
"""
GO = """
    nft delete table inet other
    ip link del sp8-2; ip route flush dev other; ip link del other
"""
LAST = "ip addr add 192.0.2.1/32 dev lo"


def test_what_others_do_with_what_is_theirs_is_no_news(spaces: tuple[Space, Space]) -> None:
    host, pod = spaces
    come = COME.format(peer=pod.pid)
    assert heard(host, lambda: host.shell(come + GO + LAST), lambda _: True) == [News()], (
        "the address, which is the last"
    )


def test_nor_is_the_end_of_what_was_there_before(spaces: tuple[Space, Space]) -> None:
    host, pod = spaces
    # Of a bridge there may be news still, by which it would be known; of this link there is none.
    host.shell(
        COME.format(peer=pod.pid) + "ip link add sp8-3 type veth peer name sp8-4; ip addr add 203.0.113.1/24 dev sp8-3"
    )
    go = "ip addr del 203.0.113.1/24 dev sp8-3; ip link del sp8-3" + GO
    assert heard(host, lambda: host.shell(go + LAST), lambda _: True) == [News()]


@pytest.mark.parametrize(
    "change",
    [
        "ip addr add 192.0.2.1/24 dev bridge0",
        "ip route add 198.51.100.0/24 dev bridge0",
        "ip -6 route add 2001:db8::/64 dev bridge0",
        "echo 1 > /proc/sys/net/ipv4/conf/all/forwarding",
        "echo 1 > /proc/sys/net/ipv4/conf/bridge0/forwarding",
        "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
        "nft add table inet mine",
        "nft add table inet mine; nft add chain inet mine other; nft flush chain inet mine other",
    ],
)
def test_what_may_break_the_network_is_news(spaces: tuple[Space, Space], change: str) -> None:
    host, _ = spaces
    assert News() in heard(host, lambda: host.shell(change), lambda news: news == News())
