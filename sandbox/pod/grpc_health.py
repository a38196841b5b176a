"""A call of grpc.health.v1.Health/Check, and what its answer means to kubelet.

HTTP/2 is h2's, which does no I/O; the two messages are small enough to be taken apart by hand.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from sandbox.errors import shown
from sandbox.pod.dialing import OURS, Unreachable, dialled, joined

PATH = "/grpc.health.v1.Health/Check"
SERVING = 1
STATUSES = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
MAX_ANSWER = 64 << 10  # bytes
BLOCK = 16 << 10
RETRY = 1.0  # seconds after which a connection that failed is tried again, as grpc-go does first

# grpc/codes, by number
CODES = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)
# What an HTTP status stands for where an answer is none of gRPC's (grpc, http-grpc-status-mapping.md)
OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


class NotHealthy(Exception):
    """The service does not serve, or does not say that it does; the message is kubelet's."""


async def check(host: str, port: int, service: str, timeout: float, *, agent: str, shown_timeout: str) -> None:
    """Return once the service says that it serves.

    Raises NotHealthy, after `timeout` seconds at the latest; OSError where this process has no fd or memory for it.
    """
    address = joined(host, port)
    call: _Call | None = None
    try:
        async with asyncio.timeout(timeout):
            call = await _called(host, port)
            try:
                status = await call.status(address, service, agent, timeout)
            finally:
                call.close()
    except TimeoutError:
        if call is None:
            reached = f"failed to connect service {json.dumps(address)} within {shown_timeout}"
            raise NotHealthy(f"timeout: {reached}: context deadline exceeded") from None
        raise NotHealthy(f"timeout: health rpc did not complete within {shown_timeout}") from None
    if status != SERVING:
        raise NotHealthy(f"service unhealthy (responded with {json.dumps(STATUSES.get(status, str(status)))})")


async def _called(host: str, port: int) -> _Call:
    """A connection to a server of HTTP/2, which may come up only now."""
    while True:
        try:
            return await _Call.begun(host, port)
        except (Unreachable, _Broken):
            await asyncio.sleep(RETRY)


class _Broken(Exception):
    """The other side hung up, or does not speak HTTP/2."""


@dataclass
class _Answer:
    http: int = 0
    status: int | None = None  # grpc-status
    message: str = ""
    data: bytes = b""
    over: bool = False


class _Call:
    """One connection, for one call."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))

    @classmethod
    async def begun(cls, host: str, port: int) -> _Call:
        """Once the other side has said what it can do, with which HTTP/2 begins.  Raises Unreachable, _Broken."""
        connection = await dialled(host, port)
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
        except BaseException:  # cancelled: undo, then let it pass
            connection.close()
            raise
        call = cls(reader, writer)
        try:
            call._http.initiate_connection()
            call._send()
            while not any(isinstance(event, h2.events.RemoteSettingsChanged) for event in await call._heard()):
                pass
        except BaseException:  # whatever it was, cancellation included: undo, then let it pass
            call.close()
            raise
        return call

    def close(self) -> None:
        self._writer.transport.abort()

    def _send(self) -> None:
        self._writer.write(self._http.data_to_send())

    async def _heard(self) -> list[h2.events.Event]:
        try:
            data = await self._reader.read(BLOCK)
            if not data:
                raise _Broken("EOF")
            events = self._http.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise _Broken(shown(str(error))) from None
        except OSError as error:
            if error.errno in OURS:
                raise
            raise _Broken(str(error)) from None
        self._send()
        return events

    async def status(self, authority: str, service: str, agent: str, timeout: float) -> int:
        """The status that the answer tells.  Raises NotHealthy."""
        stream = self._http.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("user-agent", agent),
            ("te", "trailers"),
            ("grpc-timeout", f"{max(round(timeout * 1000), 1)}m"),
        ]
        self._http.send_headers(stream, headers)
        self._http.send_data(stream, _request(service), end_stream=True)
        self._send()
        answer = _Answer()
        try:
            while not answer.over:
                for event in await self._heard():
                    self._take(event, answer)
        except _Broken as broken:
            raise _failed(14, f"error reading from server: {broken}") from None
        return _status(answer)

    def _take(self, event: h2.events.Event, answer: _Answer) -> None:
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                headers = dict(event.headers)
                if (number := headers.get(b":status", b"")).isdigit():
                    answer.http = int(number)
                if (number := headers.get(b"grpc-status", b"")).isdigit():
                    answer.status = int(number)
                    answer.message = unquote(headers.get(b"grpc-message", b"").decode(errors="replace"))
            case h2.events.DataReceived():
                answer.data += event.data
                if len(answer.data) > MAX_ANSWER:
                    raise _failed(8, f"grpc: received message larger than max ({len(answer.data)} vs. {MAX_ANSWER})")
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                raise _failed(14, f"the server ended the call with HTTP/2 error {event.error_code}")
            case h2.events.StreamEnded():
                answer.over = True
            case _:
                pass


def _status(answer: _Answer) -> int:
    """What the whole answer says.  Raises NotHealthy."""
    if answer.status is None:
        if answer.http != HTTPStatus.OK:
            known = answer.http in HTTPStatus._value2member_map_
            phrase = HTTPStatus(answer.http).phrase if known else ""
            what = f"unexpected HTTP status code received from server: {answer.http} ({phrase})"
            raise _failed(OF_HTTP.get(answer.http, 2), what)
        raise _failed(13, "server closed the stream without sending trailers")
    if answer.status:
        raise _failed(answer.status, shown(answer.message))
    try:
        return _field_1(_message(answer.data))
    except ValueError as error:
        raise _failed(13, f"grpc: error unmarshalling message: {error}") from None


def _failed(code: int, what: str) -> NotHealthy:
    """What kubelet says of a call that came back with `code`."""
    name = CODES[code] if code < len(CODES) else f"Code({code})"
    if name == "Unimplemented":
        not_there = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        return NotHealthy(f"error: {not_there}: {what}")
    return NotHealthy(f"error: health rpc probe failed: rpc error: code = {name} desc = {what}")


# ---- the messages: protobuf, each with a prefix of gRPC's ----


def _request(service: str) -> bytes:
    """HealthCheckRequest {string service = 1}."""
    text = service.encode()
    message = b"\x0a" + _varint(len(text)) + text if text else b""
    return struct.pack(">BI", 0, len(message)) + message


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _message(data: bytes) -> bytes:
    """The one message in what came.  Raises ValueError."""
    if len(data) < 5:
        raise ValueError("there is none")
    compressed, length = struct.unpack_from(">BI", data)
    if compressed or len(data) != 5 + length:
        raise ValueError("it is compressed" if compressed else "it has another length than it says")
    return data[5:]


def _field_1(message: bytes) -> int:
    """HealthCheckResponse {ServingStatus status = 1}: a varint, and 0 where it is not there.  Raises ValueError."""
    value, at = 0, iter(message)
    for key in at:
        if key & 7 == 0:
            number = _read_varint(at)
            value = number if key >> 3 == 1 else value
        elif key & 7 == 2:
            for _ in range(_read_varint(at)):
                _next(at)
        else:
            raise ValueError(f"unknown wire type {key & 7}")
    return value


def _read_varint(at: Iterator[int]) -> int:
    number = 0
    for shift in range(0, 64, 7):
        byte = _next(at)
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
    raise ValueError("a number without an end")


def _next(at: Iterator[int]) -> int:
    byte = next(at, None)
    if byte is None:
        raise ValueError("unexpected EOF")
    return byte
