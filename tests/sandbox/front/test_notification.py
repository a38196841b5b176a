"""What a service manager is told, through sockets as systemd has them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.front.notification import Manager


@pytest.fixture(params=["path", "abstract"])
def manager_socket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Its name as the environment has it, and the socket."""
    name = f"@seedpod-test-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(10)
        yield name, sock


def test_it_is_told_in_datagrams(manager_socket: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    name, sock = manager_socket
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    manager = Manager()
    manager.ready()
    assert sock.recv(100) == b"READY=1"
    manager.stopping()
    assert sock.recv(100) == b"STOPPING=1"


def test_nobody_that_we_start_can_speak_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    Manager()
    assert "NOTIFY_SOCKET" not in os.environ


@pytest.mark.parametrize("name", ["", "/nowhere/at/all", "@nobody-listens-there", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    manager = Manager()
    manager.ready()
    manager.stopping()


def test_a_manager_that_does_not_read_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        manager = Manager()
        for _ in range(1000):  # more than any queue takes
            manager.ready()
