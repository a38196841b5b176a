"""What a client of a podmon says to one of another seedpod, and makes of what that says."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.errors import Unsupported
from sandbox.linux import native
from sandbox.pod import joining, wire
from sandbox.pod.container import ExecSpec
from sandbox.pod.podmon import Podmon
from sandbox.pod.privileges import DEFAULT_PRIVILEGES
from tests.runner import TIMEOUT

OURS = f"{native.PROTOCOL_OLDEST} to {native.PROTOCOL}"


@contextmanager
def podmon(directory: Path, *answers: bytes) -> Iterator[Future[bytes]]:
    """One that takes a single request and answers with these messages, an fd beside each; the request is the result."""

    def serve() -> bytes:
        client, _ = listener.accept()
        with client, Path(os.devnull).open("rb") as null:
            client.settimeout(TIMEOUT)
            request = client.recv(4096)
            for answer in answers:
                socket.send_fds(client, [answer], [null.fileno()])
            assert client.recv(1) == b"", "the client went on"
            return request

    with wire.bound_listener(directory) as listener, ThreadPoolExecutor(1) as thread:
        listener.listen()
        listener.settimeout(TIMEOUT)
        yield thread.submit(serve)


def message(kind: str | int, size: int, **fields: int) -> bytes:
    number = native.MESSAGE[kind] if isinstance(kind, str) else kind
    return bytes(native.ffi.buffer(native.ffi.new("struct sp_message *", {"type": number, **fields}))).ljust(
        size, b"\1"
    )


def ready(protocol: int, size: int) -> bytes:
    return message("READY", size, scope=native.SCOPE["OF_CONNECTION"], id=1, code=protocol)


# What a podmon of protocol 4, whose messages are 8 bytes shorter, answers to what it does not know; and a newer one.
OLDER = (message("REFUSED", 0)[:96],)
NEWER = (message(77, 400, scope=native.SCOPE["OF_POD"], id=9), ready(99, 400))


@pytest.mark.parametrize(("answers", "protocol"), [(OLDER, "below 5"), ((ready(4, 104),), "4"), (NEWER, "99")])
def test_a_podmon_of_a_protocol_that_is_not_spoken_is_refused_by_name_and_no_fd_stays(
    answers: tuple[bytes, ...], protocol: str, tmp_path: Path
) -> None:
    fds = sorted(Path("/proc/self/fd").iterdir())
    with podmon(tmp_path, *answers) as served:
        with pytest.raises(Unsupported) as raised:
            asyncio.run(asyncio.wait_for(Podmon.connect(tmp_path), TIMEOUT))
        assert len(served.result(TIMEOUT)) == native.MESSAGE_OLDEST, "what each podmon takes"
    assert str(raised.value) == f"the pod's podmon speaks protocol {protocol}, and this seedpod {OURS}"
    assert raised.value.hint == "use the seedpod that made the pod, or delete the pod and run it anew"
    assert sorted(Path("/proc/self/fd").iterdir()) == fds


@pytest.mark.parametrize(("answers", "protocol"), [(OLDER, "below 5"), ((ready(4, 104),), "4"), (NEWER, "99")])
def test_a_program_joins_no_container_of_such_a_podmon(
    answers: tuple[bytes, ...], protocol: str, tmp_path: Path
) -> None:
    with podmon(tmp_path, *answers) as served:
        with pytest.raises(Unsupported, match=f"speaks protocol {protocol}, and this seedpod {OURS}"):
            joining.execute(tmp_path, 1, ExecSpec(("true",)), DEFAULT_PRIVILEGES, stdin=None, stdout=1, stderr=2)
        assert len(served.result(TIMEOUT)) == native.MESSAGE_OLDEST
