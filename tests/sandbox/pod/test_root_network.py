"""The network of a root after a boot of the machine, without touching any network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.linux import sysctl
from sandbox.pod.files import write_file
from sandbox.pod.leases import Book, Lease
from sandbox.pod.root_network import BOOK, RootNetwork, _encoded, read_book


def test_what_another_boot_has_changed_is_not_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's own setting may be another by now, and the value that was noted must not take its place.  # A13"""
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(sysctl, "write_where_known", lambda name, value: written.append((name, value)))
    before = Book(
        prefixes=("10.88.0.0/16",),
        leases={"gone": Lease(2)},
        last=2,
        up=True,
        opened={"net/ipv4/conf/none0/forwarding": "0"},
        accepted=("ip filter FORWARD",),
    )
    write_file(tmp_path / BOOK, json.dumps(_encoded(before)))
    network = RootNetwork(tmp_path, ())
    assert network.adopt((), True) == ()
    network.close()
    assert written == []
    assert read_book(tmp_path) == Book(prefixes=("10.88.0.0/16",), last=2)
