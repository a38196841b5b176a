"""What probes and hooks do to a container, once, from outside it: the image needs no curl and no shell.

What an answer means for the container is decided elsewhere, see sandbox.pod.probes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError
from sandbox.model import ExecAction, GrpcAction, HookAction, HttpGetAction, ProbeAction, SleepAction, TcpSocketAction
from sandbox.pod.dialing import Unreachable, dialled, joined

if TYPE_CHECKING:
    from sandbox.pod.http_get import Got

MAX_OUTPUT = 10 << 10  # bytes that are kept of what a program writes, its two streams together
TERMINATED_REDIRECTS = "Probe terminated redirects, Response body: "


@dataclass(frozen=True)
class Ran:
    """A program that has ended, and the beginning of what it wrote to stdout and stderr."""

    exit_code: int
    output: bytes


@dataclass(frozen=True)
class Target:
    """What an action is done to.

    `ips` are the addresses of the pod as this process reaches them, of which the first is used (127.0.0.1 for a pod on
    the host's network); `ports` the container's named ones.  `run` runs a program in the container for so many seconds
    at most, then kills it and raises TimeoutError; it raises SandboxError or OSError where it could not be started.
    """

    ips: tuple[str, ...]
    ports: Mapping[str, int]
    run: Callable[[Sequence[str], float], Awaitable[Ran]]


@dataclass(frozen=True)
class Answer:
    """How it went, in kubelet's words.  A success with a `warning` has something to tell all the same."""

    success: bool
    message: str
    warning: bool = False


async def act(action: ProbeAction | HookAction, target: Target, timeout: float, *, hook: bool = False) -> Answer:
    """Do it; there is an answer after `timeout` seconds at the latest.

    As a `hook` any answer to a GET is a success, and a tcpSocket fails, which is how kubelet runs them.

    Raises SandboxError or OSError where it could not be done, for a reason that says nothing of the container: no fd,
    no memory, no program or port of that name.  To kubelet a probe has neither succeeded nor failed then, and a hook
    has failed.
    """
    match action:
        case ExecAction():
            return await _exec(action, target, timeout)
        case HttpGetAction():
            return await _http(action, target, timeout, hook=hook)
        case TcpSocketAction():
            if hook:
                return Answer(False, "invalid handler: a tcpSocket hook cannot be run")
            return await _tcp(action, target, timeout)
        case GrpcAction():
            return await _grpc(action, target, timeout)
        case SleepAction():
            return await _sleep(action, timeout)


async def _exec(action: ExecAction, target: Target, timeout: float) -> Answer:
    try:
        ran = await target.run(action.command, timeout)
    except TimeoutError:
        command = json.dumps(" ".join(action.command), ensure_ascii=False)
        return Answer(False, f"command timed out: {command} timed out after {duration(timeout)}")
    return Answer(ran.exit_code == 0, ran.output[:MAX_OUTPUT].decode(errors="replace"))


async def _http(action: HttpGetAction, target: Target, timeout: float, *, hook: bool) -> Answer:
    from sandbox.pod import http_get  # TLS and HTTP take longer to import than a pod without probes has to wait

    host, port = action.host or target.ips[0], _port(action.port, target)
    url = http_get.url_of(action.scheme, host, port, action.path)
    try:
        if hook:
            got = await _http_hook(url, action, timeout)
        else:
            got = await http_get.get(url, action.http_headers, timeout)
    except http_get.Failed as failure:
        return Answer(False, str(failure))
    body = got.body.decode(errors="replace")
    if hook or 200 <= got.status < 300:
        return Answer(True, body)
    if 300 <= got.status < 400:
        return Answer(True, TERMINATED_REDIRECTS + body, warning=True)
    return Answer(False, f"HTTP probe failed with statuscode: {got.status}")


async def _http_hook(url: str, action: HttpGetAction, timeout: float) -> Got:
    """A server that answers without TLS is asked without: hooks could once do no other, and kubelet goes on so."""
    from sandbox.pod import http_get

    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    try:
        return await http_get.get(url, action.http_headers, timeout, purpose="lifecycle", with_body=False)
    except http_get.Failed as failure:
        if not str(failure).endswith(http_get.PLAIN):
            raise
    plain = [each for each in action.http_headers if each.name.lower() != "authorization"]
    url = f"http{url.removeprefix('https')}"
    return await http_get.get(url, plain, end - loop.time(), purpose="lifecycle", with_body=False)


async def _tcp(action: TcpSocketAction, target: Target, timeout: float) -> Answer:
    host, port = action.host or target.ips[0], _port(action.port, target)
    try:
        async with asyncio.timeout(timeout):
            (await dialled(host, port)).close()
    except TimeoutError:
        return Answer(False, f"dial tcp {joined(host, port)}: i/o timeout")
    except Unreachable as failure:
        return Answer(False, str(failure))
    return Answer(True, "")


async def _grpc(action: GrpcAction, target: Target, timeout: float) -> Answer:
    from sandbox.pod import grpc_health, http_get

    agent = f"kube-probe/{http_get.KUBERNETES}"
    try:
        await grpc_health.check(
            target.ips[0], action.port, action.service, timeout, agent=agent, shown_timeout=duration(timeout)
        )
    except grpc_health.NotHealthy as failure:
        return Answer(False, str(failure))
    return Answer(True, "service healthy")


async def _sleep(action: SleepAction, timeout: float) -> Answer:
    await asyncio.sleep(min(action.seconds, timeout))
    if action.seconds > timeout:
        return Answer(False, "container terminated before sleep hook finished")
    return Answer(True, "")


def _port(port: int | str, target: Target) -> int:
    """Its number.  Raises SandboxError, in kubelet's words, for a name that the container does not have."""
    if isinstance(port, int):
        return port
    if port in target.ports:
        return target.ports[port]
    raise SandboxError(
        f"strconv.Atoi: parsing {json.dumps(port)}: invalid syntax", hint=f"no port of the container is called {port}"
    )


def duration(seconds: float) -> str:
    """As Go prints it: 1.5s, 250ms, 2m0s."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours}h{minutes}m{rest:g}s"
    return f"{minutes}m{rest:g}s" if minutes else f"{rest:g}s"
