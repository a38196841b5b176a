"""What probes and hooks do over the network, to real servers on the loopback: good ones, bad ones and none."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import resource
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from sandbox.errors import SandboxError
from sandbox.model import ExecAction, HttpGetAction, HttpHeader, SleepAction, TcpSocketAction
from sandbox.pod import handlers
from sandbox.pod.handlers import Answer, Ran, Target, act

SHORT = 0.3  # seconds: for what is to run into its end
LONG = 20.0  # for what is not
LOOPBACK = "127.0.0.1"

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]  # is given a request's head


async def _not_run(argv: Sequence[str], timeout: float) -> Ran:
    raise AssertionError("nothing is to be run")


def target(port: int = 0, *, ip: str = LOOPBACK) -> Target:
    return Target((ip,), {"web": port}, _not_run)


def bounded(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(run())


@asynccontextmanager
async def server(serve: Serve, ip: str = LOOPBACK, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answers each request by `serve`; its port."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(await reader.readuntil(b"\r\n\r\n"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()

    listening = await asyncio.start_server(on_client, ip, 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def answering(*parts: bytes, then: float = 0) -> Serve:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        await asyncio.sleep(then)

    return serve


def response(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def asked(serve: Serve, action: HttpGetAction, timeout: float = LONG, *, hook: bool = False) -> str | Answer:
    """The answer to a GET, or what was raised, with the server's port as PORT and the client's as OWN."""
    found: list[str | Answer] = []

    async def scene() -> None:
        async with server(serve) as port:
            began = asyncio.get_running_loop().time()
            try:
                answer = await act(action, target(port), timeout, hook=hook)
                message = re.sub(r"127.0.0.1:\d+->", "OWN->", answer.message.replace(f":{port}", ":PORT"))
                found.append(Answer(answer.success, message, answer.warning))
            except SandboxError as error:
                found.append(str(error).replace(f":{port}", ":PORT"))
            assert asyncio.get_running_loop().time() - began < timeout + 15, "it took no heed of its time"

    bounded(scene)
    return found[0]


GET = HttpGetAction("web", "/healthz")
URL = 'Get "http://127.0.0.1:PORT/healthz": '


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_status_of_200_to_299_is_a_success(status: int) -> None:
    assert asked(answering(response(f"{status} Fine")), GET) == Answer(True, "")


@pytest.mark.parametrize("status", [199 + 201, 404, 500, 503])
def test_any_other_is_a_failure_in_kubelets_words(status: int) -> None:
    answer = asked(answering(response(f"{status} No", b"the body is not told")), GET)
    assert answer == Answer(False, f"HTTP probe failed with statuscode: {status}")


def test_a_status_of_300_to_399_that_leads_nowhere_is_a_success_with_a_warning() -> None:
    answer = asked(answering(response("304 Not Modified")), GET)
    assert answer == Answer(True, "Probe terminated redirects, Response body: ", warning=True)


def test_as_a_hook_any_answer_is_a_success() -> None:
    assert asked(answering(response("500 No", b"x")), GET, hook=True) == Answer(True, "")


def test_a_body_is_read_up_to_10_kib_and_no_further() -> None:
    head = b"HTTP/1.1 301 Moved\r\nContent-Length: 99999999\r\n\r\n"
    answer = asked(answering(head, b"x" * 20000, then=60), GET)
    assert answer == Answer(True, "Probe terminated redirects, Response body: " + "x" * 10240, warning=True)


def test_a_chunked_body_is_one_too() -> None:
    head = b"HTTP/1.1 301 Moved\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = asked(answering(head, b"5\r\nhello\r\n", b"1\r\n!\r\n0\r\n\r\n"), GET)
    assert answer == Answer(True, "Probe terminated redirects, Response body: hello!", warning=True)


BROKEN = f"{URL}net/http: HTTP/1.x transport connection broken: "


@pytest.mark.parametrize(
    ("serve", "message"),
    [
        (answering(), f"{URL}EOF"),
        (answering(b"220 smtp ready\r\n"), f'{BROKEN}malformed HTTP response "220 smtp ready"'),
        (answering(b"\0\1\2" * 200 + b"\r\n\r\n"), None),
        (answering(b"HTTP/1.1 200 OK\r\nContent-"), f"{URL}unexpected EOF"),
        (answering(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100000, then=60), None),
        (answering(b"HTTP/1.1 100 Continue\r\n\r\n" * 7, then=60), f"{BROKEN}too many 1xx informational responses"),
        (answering(b"HTTP/1.1 twohundred OK\r\n\r\n"), None),
    ],
    ids=["hangs up", "smtp", "binary", "half a head", "endless head", "informational", "no number"],
)
def test_what_is_no_answer_of_http_is_a_failure(serve: Serve, message: str | None) -> None:
    answer = asked(serve, GET)
    assert isinstance(answer, Answer)
    assert not answer.success
    assert answer.message == message if message else answer.message.startswith(f"{URL}net/http: ")
    assert len(answer.message) < 1000


def test_a_head_that_never_ends_is_given_up_before_it_fills_the_memory() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Header: and one more\r\n" * 1000)
            await writer.drain()

    assert asked(serve, GET) == Answer(False, f"{URL}net/http: server response headers exceeded 262144 bytes; aborted")


@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200 OK\r\n",)], ids=["nothing", "half a head"])
def test_an_answer_that_does_not_come_in_time_is_a_failure(parts: tuple[bytes, ...]) -> None:
    answer = asked(answering(*parts, then=60), GET, SHORT)
    assert answer == Answer(False, f"{URL}context deadline exceeded (Client.Timeout exceeded while awaiting headers)")


def test_a_head_that_comes_byte_by_byte_does_not_prolong_the_time() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(SHORT / 10)

    answer = asked(serve, GET, SHORT)
    assert isinstance(answer, Answer)
    assert answer.message.endswith("(Client.Timeout exceeded while awaiting headers)")


def test_a_body_that_does_not_come_in_time_says_nothing_of_the_container() -> None:
    """To kubelet that is an error of the prober's."""
    answer = asked(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow", then=60), GET, SHORT)
    assert answer == "context deadline exceeded (Client.Timeout or context cancellation while reading body)"


def test_a_body_that_breaks_off_says_nothing_either() -> None:
    answer = asked(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbreaks"), GET)
    assert answer == f"{URL}unexpected EOF"


def test_a_connection_that_is_reset_is_a_failure() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    message = f"{URL}read tcp OWN->127.0.0.1:PORT: read: connection reset by peer"
    assert asked(serve, GET) == Answer(False, message)


def sent(*headers: HttpHeader, path: str = "/", hook: bool = False) -> list[str]:
    """The lines of the request that comes."""
    heads: list[bytes] = []

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(response("200 OK"))

    answer = asked(serve, HttpGetAction("web", path, http_headers=headers), hook=hook)
    assert answer == Answer(True, "")
    return re.sub(rb"127.0.0.1:\d+", b"POD", heads[0]).decode().split("\r\n")


def test_a_request_is_as_kubelet_makes_it() -> None:
    agent = "User-Agent: kube-probe/1.37"
    assert sent() == ["GET / HTTP/1.1", "Host: POD", agent, "Accept: */*", "Connection: close", "", ""]


def test_a_hook_has_an_agent_of_its_own() -> None:
    assert "User-Agent: kube-lifecycle/1.37" in sent(hook=True)


def test_headers_of_the_manifest_are_sent_and_replace_ours() -> None:
    given = [("Host", "example.org"), ("X-A", "1"), ("X-A", "2"), ("accept", "text/plain"), ("User-Agent", "")]
    lines = sent(*(HttpHeader(*each) for each in given))
    assert lines == [
        "GET / HTTP/1.1",
        "Host: example.org",
        "Accept: text/plain",
        "X-A: 1",
        "X-A: 2",
        "Connection: close",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("healthz", "/healthz"),
        ("/a b?q=1&r=ü#fragment", "/a%20b?q=1&r=%C3%BC"),
        ("/100%25", "/100%25"),
        ("http://elsewhere.example/x", "/x"),
        ("//[x", "//%5Bx"),
        ("/a\r\nInjected: yes", "/aInjected:%20yes"),
    ],
)
def test_a_path_may_bring_a_query_and_is_escaped(path: str, target: str) -> None:
    lines = sent(path=path)
    assert lines[0] == f"GET {target} HTTP/1.1"
    assert not any(line.startswith("Injected") for line in lines)


def test_a_value_that_no_header_can_have_is_a_failure() -> None:
    action = HttpGetAction("web", "/healthz", http_headers=(HttpHeader("X-A", "1\r\nX-B: 2"),))
    answer = asked(answering(response("200 OK")), action)
    assert isinstance(answer, Answer)
    assert not answer.success


def redirecting(location: Callable[[int], str], seen: list[str]) -> Serve:
    """Each request is sent on to where `location` says for its number."""

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        path, host = head.split()[1].decode(), head.partition(b"Host: ")[2].split()[0].decode()
        seen.append(f"{path} {re.sub(r':[0-9]+', '', host)}")
        number = len(seen)
        to = location(number).replace("PORT", str(writer.get_extra_info("sockname")[1]))
        writer.write(response("302 Found", b"moved", Location=to) if to else response("200 OK"))

    return serve


def test_redirects_to_the_same_host_are_followed_and_keep_the_host_header() -> None:
    seen: list[str] = []
    places = {1: "next?x=1", 2: "/third", 3: f"http://{LOOPBACK}:PORT/last", 4: ""}
    action = HttpGetAction("web", "/a/b", http_headers=(HttpHeader("Host", "example.org"),))
    assert asked(redirecting(places.__getitem__, seen), action) == Answer(True, "")
    assert seen == ["/a/b example.org", "/a/next?x=1 example.org", "/third example.org", f"/last {LOOPBACK}"]


def test_a_redirect_to_another_host_is_a_success_with_a_warning_and_not_followed() -> None:
    seen: list[str] = []
    answer = asked(redirecting(lambda _: "http://localhost:PORT/", seen), GET)
    assert answer == Answer(True, "Probe terminated redirects, Response body: moved", warning=True)
    assert len(seen) == 1


def test_the_eleventh_redirect_is_not_followed() -> None:
    seen: list[str] = []
    answer = asked(redirecting(lambda number: f"/{number}", seen), GET)
    assert answer == Answer(True, "Probe terminated redirects, Response body: moved", warning=True)
    assert len(seen) == 11


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (f"ftp://{LOOPBACK}/x", f'Get "ftp://{LOOPBACK}/x": unsupported protocol scheme "ftp"'),
        (f"http://{LOOPBACK}:99999/", "failed to parse Location header"),
        ("http://[", "failed to parse Location header"),
    ],
)
def test_a_redirect_to_what_is_no_place_is_a_failure(location: str, message: str) -> None:
    answer = asked(redirecting(lambda _: location, []), GET)
    assert isinstance(answer, Answer)
    assert not answer.success
    assert message in answer.message


def free_port(ip: str = LOOPBACK) -> int:
    """One that nobody listens at."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as sock:
        sock.bind((ip, 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize(("ip", "shown"), [(LOOPBACK, LOOPBACK), ("::1", "[::1]")])
def test_where_nobody_listens_it_is_refused_in_kubelets_words(ip: str, shown: str) -> None:
    async def scene() -> None:
        port = free_port(ip)
        refused = f"dial tcp {shown}:{port}: connect: connection refused"
        assert await act(TcpSocketAction("web"), target(port, ip=ip), LONG) == Answer(False, refused)
        http = Answer(False, f'Get "http://{shown}:{port}/": {refused}')
        assert await act(HttpGetAction("web"), target(port, ip=ip), LONG) == http

    bounded(scene)


def test_a_port_that_answers_is_a_success_for_tcp_and_a_failure_as_a_hook() -> None:
    async def scene() -> None:
        async with server(answering()) as port, server(answering(), "::1") as other:
            assert await act(TcpSocketAction("web"), target(port), LONG) == Answer(True, "")
            assert await act(TcpSocketAction(other), target(ip="::1"), LONG) == Answer(True, "")
            hooked = await act(TcpSocketAction(port), target(), LONG, hook=True)
            assert hooked == Answer(False, "invalid handler: a tcpSocket hook cannot be run")

    bounded(scene)


def test_a_port_of_one_s_own_is_not_connected_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP's simultaneous open: it happens to whoever connects from the very port that it wants to reach."""

    async def scene() -> None:
        loop, port = asyncio.get_running_loop(), free_port()
        connect = loop.sock_connect

        async def from_there(sock: socket.socket, address: tuple[str, int]) -> None:
            sock.bind(address)
            await connect(sock, address)

        monkeypatch.setattr(loop, "sock_connect", from_there)
        answer = await act(TcpSocketAction(port), target(), LONG)
        assert answer == Answer(False, f"dial tcp {LOOPBACK}:{port}: connect: connection refused")

    bounded(scene)


def test_who_answers_no_connection_is_given_up_in_time() -> None:
    """A listener whose queue is full drops what comes."""

    async def scene() -> None:
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind((LOOPBACK, 0))
            full.listen(0)
            port = full.getsockname()[1]
            for each in (first, second):
                each.setblocking(False)
                each.connect_ex((LOOPBACK, port))
            slow = f"dial tcp {LOOPBACK}:{port}: i/o timeout"
            assert await act(TcpSocketAction(port), target(), SHORT) == Answer(False, slow)
            http = await act(HttpGetAction(port), target(), SHORT)
            url = f"http://{LOOPBACK}:{port}/"
            message = f'Get "{url}": {slow} (Client.Timeout exceeded while awaiting headers)'
            assert http == Answer(False, message)

    bounded(scene)


def test_a_name_of_a_host_is_looked_up() -> None:
    async def scene() -> None:
        async with server(answering(response("200 OK"))) as port:
            assert (await act(HttpGetAction(port, host="localhost"), target(), LONG)).success
        answer = await act(HttpGetAction(80, host="nosuch.invalid"), target(), LONG)
        assert answer.message.endswith("dial tcp: lookup nosuch.invalid: no such host")

    bounded(scene)


def test_a_port_of_a_name_that_the_container_does_not_have_says_nothing_of_it() -> None:
    async def scene() -> None:
        with pytest.raises(SandboxError, match=re.escape('strconv.Atoi: parsing "metrics": invalid syntax')):
            await act(HttpGetAction("metrics"), target(), LONG)

    bounded(scene)


@pytest.mark.parametrize("action", [TcpSocketAction(1), HttpGetAction(1)])
def test_no_fd_left_is_an_error_of_ours(action: TcpSocketAction | HttpGetAction) -> None:
    async def scene() -> None:
        await act(action, target(), LONG)  # what is imported is
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held = [os.dup(0)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(held), hard))
            with pytest.raises(OSError) as raised:
                while True:  # numbers that were free
                    held.append(os.dup(0))
            assert raised.value.errno == errno.EMFILE
            with pytest.raises(OSError) as raised:
                await act(action, target(), LONG)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in held:
                os.close(fd)
        assert raised.value.errno == errno.EMFILE

    bounded(scene)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's TLS, with a weak certificate that nobody has signed, of somebody else."""
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key", directory / "certificate"
    words = "req -x509 -nodes -newkey rsa:1024 -days 1 -subj /CN=elsewhere.example"
    subprocess.run(["openssl", *words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    return context


def test_https_checks_no_certificate(certified: ssl.SSLContext) -> None:
    async def scene() -> None:
        async with server(answering(response("200 OK")), context=certified) as port:
            assert await act(HttpGetAction(port, scheme="HTTPS"), target(), LONG) == Answer(True, "")

    bounded(scene)


def test_https_to_a_server_without_it_is_a_failure_and_a_hook_goes_on_without() -> None:
    async def scene() -> None:
        async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            secure = (await reader.read(5))[:1] == b"\x16"
            writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n" if secure else response("200 OK"))
            writer.close()

        listening = await asyncio.start_server(on_client, LOOPBACK, 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            action = HttpGetAction(port, scheme="HTTPS")
            message = f'Get "https://{LOOPBACK}:{port}/": http: server gave HTTP response to HTTPS client'
            assert await act(action, target(), LONG) == Answer(False, message)
            assert await act(action, target(), LONG, hook=True) == Answer(True, "")

    bounded(scene)


def test_a_tls_handshake_that_never_ends_is_given_up_in_time() -> None:
    action = HttpGetAction("web", "/healthz", scheme="HTTPS")

    async def scene() -> None:
        listening = await asyncio.start_server(lambda *_: asyncio.sleep(60), LOOPBACK, 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            answer = await act(action, target(port), SHORT)
            assert answer.message.endswith("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")

    bounded(scene)


def test_a_sleep_takes_its_time_and_fails_where_there_is_less() -> None:
    async def scene() -> None:
        assert await act(SleepAction(0), target(), LONG) == Answer(True, "")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await act(SleepAction(1), target(), LONG) == Answer(True, "")
        assert loop.time() - began >= 1
        early = "container terminated before sleep hook finished"
        assert await act(SleepAction(60), target(), SHORT) == Answer(False, early)

    bounded(scene)


def test_an_exec_succeeds_with_exit_code_0_and_tells_what_was_written() -> None:
    async def scene() -> None:
        async def run(argv: Sequence[str], timeout: float) -> Ran:
            if argv == ("slow", "one"):
                raise TimeoutError
            return Ran(int(argv[0]), b"said \xff" + b"x" * 20000)

        there = Target((LOOPBACK,), {}, run)
        good, bad = [await act(ExecAction((code,)), there, 1) for code in "01"]
        assert (good.success, bad.success) == (True, False)
        assert bad.message.startswith("said \ufffdx")
        assert len(bad.message) == handlers.MAX_OUTPUT
        late = 'command timed out: "slow one" timed out after 1s'
        assert await act(ExecAction(("slow", "one")), there, 1) == Answer(False, late)

    bounded(scene)


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (0.25, "250ms"), (90, "1m30s"), (60, "1m0s"), (3600, "1h0m0s"), (1.5, "1.5s")]
)
def test_a_time_is_shown_as_go_shows_it(seconds: float, text: str) -> None:
    assert handlers.duration(seconds) == text
