"""A GET as kubelet makes it for a probe or a hook: what is sent, which redirects are followed, what each answer means.

HTTP itself is h11's, which does no I/O.  SEMANTICS, constants, "http probe".
"""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import h11

from sandbox.errors import SandboxError, quoted, shown
from sandbox.model import HttpHeader
from sandbox.pod.dialing import OURS, Unreachable, dialled, joined, words

KUBERNETES = "1.37"  # whose kubelet this behaves as
MAX_BODY = 10 << 10  # bytes that are read of a body
MAX_HEAD = 256 << 10  # bytes of a status line and its header
MAX_REDIRECTS = 10
BLOCK = 16 << 10
REDIRECTS = (301, 302, 303, 307, 308)
MAX_INFORMATIONAL = 5  # answers of 100 to 199 before the one that counts, as Go has it
_NOT_SENT = frozenset((b"host", b"user-agent", b"accept", b"connection", b"content-length", b"transfer-encoding"))
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Failed(Exception):
    """There was no answer; the message is Go's."""


@dataclass(frozen=True)
class Got:
    """An answer; `body` is the beginning of it."""

    status: int
    body: bytes


def url_of(scheme: str, host: str, port: int, path: str) -> str:
    """The URL of an httpGet action.  `path` may bring a query; a fragment is not sent, another host is not heeded."""
    try:
        split = urlsplit(path)
        path, query = split.path, split.query
    except ValueError:  # no path that could be one of a URL: it is sent as it stands
        query = ""
    path = quote(path, safe="/%:@!$&'()*+,;=~")
    if not path.startswith("/"):
        path = f"/{path}"
    query = quote(query, safe="/%:@!$&'()*+,;=~?")
    return SplitResult(scheme.lower(), joined(host, port), path, query, "").geturl()


def headers_of(given: Sequence[HttpHeader], purpose: str) -> list[tuple[bytes, bytes]]:
    """What is sent beside Host and Connection.  An Accept or User-Agent given empty is not sent at all."""
    sent = [(each.name.encode(), each.value.encode()) for each in given]
    defaults = ((b"User-Agent", f"kube-{purpose}/{KUBERNETES}".encode()), (b"Accept", b"*/*"))
    chosen = [(name, _given(sent, name, default)) for name, default in defaults]
    return [(name, value) for name, value in chosen if value] + [
        (name, value) for name, value in sent if name.lower() not in _NOT_SENT
    ]


def _given(sent: Sequence[tuple[bytes, bytes]], wanted: bytes, default: bytes = b"") -> bytes:
    return next((value for name, value in sent if name.lower() == wanted.lower()), default)


async def get(
    url: str, given: Sequence[HttpHeader], timeout: float, *, purpose: str = "probe", with_body: bool = True
) -> Got:
    """The last answer, once redirects to the same host have been followed.

    Raises Failed where there is none after `timeout` seconds; SandboxError where its body does not come, which is an
    error of the prober's to kubelet; OSError where this process has no fd or memory for it.
    """
    exchange = _Exchange(url, given, purpose, with_body)
    try:
        async with asyncio.timeout(timeout):
            return await exchange.last()
    except TimeoutError:
        if exchange.in_body:
            raise SandboxError(
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
            ) from None
        raise exchange.failed(f"{exchange.stage}(Client.Timeout exceeded while awaiting headers)") from None


class _Exchange:
    """A request, and those that its answers lead to; `stage` is what it is about, for when its time is over."""

    def __init__(self, url: str, given: Sequence[HttpHeader], purpose: str, with_body: bool) -> None:
        self._url = url
        self._headers = headers_of(given, purpose)
        self._host = _given([(each.name.encode(), each.value.encode()) for each in given], b"Host")
        self._with_body = with_body
        self.stage = ""
        self.in_body = False

    def failed(self, what: str) -> Failed:
        return Failed(f"Get {json.dumps(self._url, ensure_ascii=False)}: {what}")

    async def last(self) -> Got:
        first = urlsplit(self._url).hostname
        for count in range(MAX_REDIRECTS + 1):
            async with _Peer(self, self._url) as peer:
                response = await peer.ask(self._headers, self._host)
                onward = self._redirect(response)
                if onward is None or urlsplit(onward).hostname != first or count == MAX_REDIRECTS:
                    return Got(response.status_code, await peer.body() if self._with_body else b"")
            self._follow(onward, response)
        raise AssertionError("the last redirect is not followed")

    def _redirect(self, response: h11.Response) -> str | None:
        location = _given(list(response.headers), b"location").decode("utf-8", "replace")
        if response.status_code not in REDIRECTS or not location:
            return None
        try:
            onward = urljoin(self._url, location)
            _port_of(urlsplit(onward))  # or that is what would fail
        except ValueError as error:
            raise self.failed(f"failed to parse Location header {json.dumps(location)}: {error}") from None
        return onward

    def _follow(self, onward: str, response: h11.Response) -> None:
        """A Host of the manifest's goes along where the redirect names no other."""
        if urlsplit(_given(list(response.headers), b"location").decode("utf-8", "replace")).netloc:
            self._host = b""
        split = urlsplit(onward)
        self._url = split._replace(path=quote(split.path, safe="/%:@!$&'()*+,;=~") or "/", fragment="").geturl()
        if split.scheme not in _DEFAULT_PORTS:
            raise self.failed(f"unsupported protocol scheme {json.dumps(split.scheme)}")


def _port_of(split: SplitResult) -> int:
    return split.port or _DEFAULT_PORTS.get(split.scheme, 0)


class _Peer:
    """The connection for one request: HTTP/1.1, closed after it."""

    def __init__(self, exchange: _Exchange, url: str) -> None:
        self._exchange = exchange
        self._split = urlsplit(url)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._began = b""  # the first that came
        self._ended = False
        self._where = ""

    async def __aenter__(self) -> _Peer:
        host, port = self._split.hostname or "", _port_of(self._split)
        self._exchange.stage = f"dial tcp {joined(host, port)}: i/o timeout "
        try:
            connection = await dialled(host, port)
        except Unreachable as failure:
            raise self._exchange.failed(str(failure)) from None
        self._exchange.stage = "context deadline exceeded "
        self._where = f"{_named(connection.getsockname())}->{_named(connection.getpeername())}"
        try:
            await self._talk(connection, host)
        except OSError as error:
            connection.close()
            raise self._lost(error) from None
        except BaseException:  # cancelled: undo, then let it pass
            connection.close()
            raise
        return self

    async def _talk(self, connection: socket.socket, host: str) -> None:
        if self._split.scheme == "https":
            self._reader, self._writer = await asyncio.open_connection(
                sock=connection, ssl=_unchecked(), server_hostname=host
            )
        else:
            self._reader, self._writer = await asyncio.open_connection(sock=connection)

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()  # to close a TLS connection otherwise would wait for the other side

    async def ask(self, headers: list[tuple[bytes, bytes]], host: bytes) -> h11.Response:
        netloc = self._split.netloc.rpartition("@")[2]
        target = f"{self._split.path or '/'}{'?' if self._split.query else ''}{self._split.query}"
        own = [(b"Host", host or netloc.encode()), *headers, (b"Connection", b"close")]
        try:
            request = h11.Request(method="GET", target=target, headers=own)
            data = self._http.send(request)
        except h11.LocalProtocolError as error:
            raise self._exchange.failed(f"net/http: {error}") from None
        self._writer.write(data or b"")
        self._http.send(h11.EndOfMessage())
        for _ in range(MAX_INFORMATIONAL + 1):
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
        raise self._exchange.failed(
            "net/http: HTTP/1.x transport connection broken: too many 1xx informational responses"
        )

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await self._reader.read(BLOCK)
                if not data and not self._began:
                    raise self._exchange.failed("EOF")
                self._began, self._ended = self._began or data, not data
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise self._exchange.failed(self._broken(error)) from None
        except OSError as error:
            raise self._lost(error) from None
        return event  # type: ignore[return-value]

    def _broken(self, error: h11.RemoteProtocolError) -> str:
        if error.error_status_hint == 431:
            return f"net/http: server response headers exceeded {MAX_HEAD} bytes; aborted"
        line = self._began.partition(b"\n")[0].decode(errors="replace").rstrip("\r")
        if not line.startswith("HTTP/"):
            return f"net/http: HTTP/1.x transport connection broken: malformed HTTP response {quoted(line)}"
        if self._ended:
            return "unexpected EOF"
        return f"net/http: HTTP/1.x transport connection broken: {shown(str(error))}"

    def _lost(self, error: OSError) -> Exception:
        """The connection ended, in what came or on the way to it."""
        if error.errno in OURS:
            return error
        if isinstance(error, ssl.SSLError):
            if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
                return self._exchange.failed(PLAIN)
            return self._exchange.failed(f"tls: {(error.reason or str(error)).replace('_', ' ').lower()}")
        if not error.errno:  # asyncio's own, of a handshake that the other side ended
            return self._exchange.failed("EOF")
        return self._exchange.failed(f"read tcp {self._where}: read: {words(error)}")

    async def body(self) -> bytes:
        self._exchange.in_body = True
        read = bytearray()
        try:
            while len(read) < MAX_BODY:
                event = await self._next()
                if not isinstance(event, h11.Data):
                    break
                read += event.data
        except Failed as failure:
            raise SandboxError(str(failure)) from None
        return bytes(read[:MAX_BODY])


PLAIN = "http: server gave HTTP response to HTTPS client"


def _named(address: tuple[str, int]) -> str:
    return joined(address[0], address[1])


@functools.cache
def _unchecked() -> ssl.SSLContext:
    """TLS with whoever answers: neither the certificate nor how strong its key is counts."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context
