"""The gRPC health check, asked of servers made with h2: good ones, bad ones and none."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import pytest

from sandbox.model import GrpcAction
from sandbox.pod.handlers import Answer, act
from tests.sandbox.pod.test_handlers import LONG, LOOPBACK, SHORT, bounded, free_port, target

HEALTHY = Answer(True, "service healthy")
OK = ((":status", "200"), ("content-type", "application/grpc"))


def message(data: bytes) -> bytes:
    return struct.pack(">BI", 0, len(data)) + data


@dataclass
class Health:
    """A server that answers each call alike."""

    data: bytes = message(b"\x08\x01")
    headers: Sequence[tuple[str, str]] = OK
    trailers: Sequence[tuple[str, str]] | None = (("grpc-status", "0"),)
    silent: bool = False
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        http.initiate_connection()
        headers: dict[str, str] = {}
        body = b""
        try:
            while True:
                writer.write(http.data_to_send())
                data = await reader.read(65536)
                if not data:
                    return
                for event in http.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        headers = dict(event.headers)
                    elif isinstance(event, h2.events.DataReceived):
                        body += event.data
                    elif isinstance(event, h2.events.StreamEnded):
                        self.calls.append((headers, body))
                        self._answer(http, event.stream_id)
        except ConnectionError:
            pass  # the client hung up
        finally:
            writer.close()

    def _answer(self, http: h2.connection.H2Connection, stream: int) -> None:
        if self.silent:
            return
        http.send_headers(stream, self.headers, end_stream=not self.data and self.trailers is None)
        if self.data:
            http.send_data(stream, self.data, end_stream=self.trailers is None)
        if self.trailers is not None:
            http.send_headers(stream, self.trailers, end_stream=True)


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def asked(health: Health, service: str = "", timeout: float = LONG) -> Answer:
    found: list[Answer] = []

    async def scene() -> None:
        async with listening(health.serve) as port:
            found.append(await act(GrpcAction(port, service), target(), timeout))

    bounded(scene)
    return found[0]


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x01",
        b"\x12\x03abc\x08\x01",  # with a field that only a newer server knows
        b"\x08\x02\x08\x01",  # the last counts
        b"\x08\x81\x00",
    ],
)
def test_a_service_that_serves_is_healthy(data: bytes) -> None:
    assert asked(Health(message(data))) == HEALTHY


def test_a_request_is_as_kubelet_makes_it() -> None:
    health = Health()
    assert asked(health, "my.service") == HEALTHY
    ((headers, body),) = health.calls
    assert body == message(b"\x0a\x0amy.service")
    assert headers[":path"] == "/grpc.health.v1.Health/Check"
    assert (headers[":method"], headers["te"], headers["content-type"]) == ("POST", "trailers", "application/grpc")
    assert headers["user-agent"] == "kube-probe/1.37"


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"", "UNKNOWN"), (b"\x08\x02", "NOT_SERVING"), (b"\x08\x03", "SERVICE_UNKNOWN"), (b"\x08\x09", "9")],
)
def test_any_other_status_is_a_failure(data: bytes, name: str) -> None:
    assert asked(Health(message(data))) == Answer(False, f'service unhealthy (responded with "{name}")')


RPC = "error: health rpc probe failed: rpc error: code = "
UNREADABLE = f"{RPC}Internal desc = grpc: error unmarshalling message: "
HTTP = "unexpected HTTP status code received from server: "
NOT_THERE = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "


def failed(code: int, text: str) -> Health:
    return Health(b"", (*OK, ("grpc-status", str(code)), ("grpc-message", text)), None)


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (failed(5, "unknown%20service"), f"{RPC}NotFound desc = unknown service"),
        (failed(12, "unknown service x"), f"{NOT_THERE}unknown service x"),
        (failed(99, "?"), f"{RPC}Code(99) desc = ?"),
        (Health(b"", ((":status", "404"),), None), f"{NOT_THERE}{HTTP}404 (Not Found)"),
        (Health(b"", ((":status", "503"),), None), f"{RPC}Unavailable desc = {HTTP}503 (Service Unavailable)"),
        (Health(trailers=None), f"{RPC}Internal desc = server closed the stream without sending trailers"),
        (Health(b"\0\0"), f"{UNREADABLE}there is none"),
        (Health(message(b"\x08")), f"{UNREADABLE}unexpected EOF"),
        (Health(message(b"\x08" + b"\xff" * 20)), f"{UNREADABLE}a number without an end"),
        (Health(message(b"\x0f")), f"{UNREADABLE}unknown wire type 7"),
        (Health(b"\1" + message(b"\x08\x01")[1:]), f"{UNREADABLE}it is compressed"),
        (Health(message(b"\x08\x01") + b"more"), f"{UNREADABLE}it has another length than it says"),
    ],
)
def test_a_call_that_fails_is_told_in_kubelets_words(health: Health, words: str) -> None:
    assert asked(health) == Answer(False, words)


def test_an_answer_that_does_not_come_in_time_is_a_failure() -> None:
    answer = asked(Health(silent=True), timeout=SHORT)
    assert answer == Answer(False, "timeout: health rpc did not complete within 300ms")


def test_where_nobody_listens_it_is_tried_until_the_time_is_over() -> None:
    async def scene() -> None:
        port = free_port()
        answer = await act(GrpcAction(port), target(), SHORT)
        where = f'failed to connect service "{LOOPBACK}:{port}" within 300ms'
        assert answer == Answer(False, f"timeout: {where}: context deadline exceeded")

    bounded(scene)


def test_a_server_that_comes_up_in_the_time_that_is_left_is_asked() -> None:
    async def scene() -> None:
        port = free_port()
        asking = asyncio.ensure_future(act(GrpcAction(port), target(), LONG))
        await asyncio.sleep(0.2)  # the first connection is refused
        async with await asyncio.start_server(Health().serve, LOOPBACK, port):
            assert await asking == HEALTHY

    bounded(scene)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100, b"\0" * 9])
def test_who_does_not_speak_http_2_is_not_connected_to(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async def scene() -> None:
        async with listening(serve) as port:
            answer = await act(GrpcAction(port), target(), SHORT)
            assert answer.message.startswith("timeout: failed to connect service"), answer

    bounded(scene)


def test_a_server_that_hangs_up_in_the_middle_is_unavailable() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        writer.write(http.data_to_send())
        while not any(isinstance(each, h2.events.StreamEnded) for each in http.receive_data(await reader.read(65536))):
            writer.write(http.data_to_send())
        writer.close()

    async def scene() -> None:
        async with listening(serve) as port:
            answer = await act(GrpcAction(port), target(), LONG)
            assert answer == Answer(False, f"{RPC}Unavailable desc = error reading from server: EOF")

    bounded(scene)
