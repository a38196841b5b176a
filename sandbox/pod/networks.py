"""The network of a root's pods, as their workers use it: asynchronous, and told of what happens to it.

All work is done in threads, one after the other.  What is done is in sandbox.pod.root_network.  What somebody else
breaks of it (a flushed ruleset, a deleted link) is made whole again as soon as it is heard of.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sandbox.errors import SandboxError, WrongState
from sandbox.linux import native, netfilter, network
from sandbox.linux.network import Network
from sandbox.linux.network_watch import Watch
from sandbox.model import Pod
from sandbox.pod import hostports, leases, resolv, wire
from sandbox.pod.passage import Note
from sandbox.pod.root_network import Attached, RootNetwork, held_by_others
from sandbox.pod.sandbox import PodSandbox
from sandbox.pod.tasks import Tasks, in_thread

T = TypeVar("T")

GONE_TIMEOUT = 5.0  # seconds in which a link dies with its namespace, unless somebody holds that
CALM = 0.5  # seconds: news comes in crowds, and one look is for all of it

_HOST_NETWORK = Attached(())


class Networks:
    """The network of the pods of one root."""

    def __init__(self, root: Path, wanted: tuple[Network, ...], warn: Callable[[str], None]) -> None:
        """`wanted` are the prefixes of the configuration; none: they are chosen.  `warn` gets a line for each news."""
        self._root = RootNetwork(root, wanted)
        self._warn = warn
        self._turn = asyncio.Lock()
        self._tasks = Tasks()
        self._watch: Watch | None = None
        self._gone: dict[str, asyncio.Event] = {}  # links whose end is waited for
        self._pods: dict[str, tuple[Pod, PodSandbox]] = {}  # those attached, by UID
        self._look: asyncio.Task[None] | None = None

    async def _do(self, work: Callable[..., T], *arguments: object) -> T:
        async with self._turn:
            return await in_thread(work, *arguments)

    # ---- pods ----

    def refuse(self, pod: Pod, held: Iterable[hostports.Held], former: Pod | None = None) -> None:
        """Refuse a pod whose network cannot be, before anything of it is made.  `held` are ports of pods of this root;
        those of a `former` pod, which it is to replace, it can have.

        Raises SandboxError.
        """
        if not pod.host_network:
            netfilter.require_nft()
        given_back = hostports.asked(former) if former else ()
        wanted = [port for port in hostports.asked(pod) if port not in given_back]
        if wanted:
            hostports.refuse_taken(wanted, held)
            hostports.refuse_taken(wanted, held_by_others(self._root.name))
            hostports.refuse_bound(wanted)

    @staticmethod
    def host_ip() -> str:
        """The host's address as others see it, else that of its loopback."""
        return network.source_address() or "127.0.0.1"

    async def attach(self, uid: str, pod: Pod, box: PodSandbox) -> Attached:
        """Give the pod its link and addresses.  Raises SandboxError; `detach` removes what was made of it."""
        attached = await self._make(self._root.attach, uid, pod, box)
        wrong = "" if pod.host_network else resolv.of_host()[1]
        if not wrong:
            return attached
        return replace(attached, notes=(*attached.notes, Note(wrong, warning=True, reason="DNSConfigForming")))

    async def repair(self, uid: str, pod: Pod, box: PodSandbox) -> Attached:
        """Make whole what a pod that runs has, where it is not.  Raises SandboxError."""
        return await self._make(self._root.repair, uid, pod, box)

    async def _make(self, work: Callable[..., Attached], uid: str, pod: Pod, box: PodSandbox) -> Attached:
        if pod.host_network:
            return _HOST_NETWORK
        self._listen()
        pidfd = os.dup(
            box.pidfd
        )  # the thread's own: that of the box may be closed, and its number used anew, meanwhile
        try:
            attached = await self._do(work, uid, hostports.asked(pod), pidfd)
        except SandboxError:
            if native.has_ended(pidfd):
                raise wire.podmon_ended() from None
            raise
        finally:
            os.close(pidfd)
        self._pods[uid] = (pod, box)
        return attached

    async def detach(self, uid: str) -> None:
        """Take back what the pod, whose sandbox is gone, had; with the last one the network goes.  Idempotent."""
        self._pods.pop(uid, None)
        link = await self._do(self._root.detach, uid)
        if link is not None:
            self._listen()
            self._tasks.start(self._see_gone(link))

    async def _see_gone(self, link: str) -> None:
        """A link dies with its namespace, but some time after the processes, and not while somebody holds that."""
        event = self._gone.setdefault(link, asyncio.Event())
        stays = False
        try:
            if network.link_index(link) is not None:
                async with asyncio.timeout(GONE_TIMEOUT):
                    await event.wait()
        except TimeoutError:
            stays = True
        finally:
            self._gone.pop(link, None)
        with self._telling(f"link {link}"):
            await self._do(lambda: self._root.forget(link, stays=stays))

    # ---- all of it ----

    async def adopt(self, uids: Collection[str], *, rebooted: bool = False) -> None:
        """Go on where another engine was ended: what is of none of these pods goes, the rest is made whole."""
        with self._telling("the network of pods"):
            self._tell(await self._do(self._root.adopt, uids, rebooted))

    async def close(self) -> None:
        """Let go of it: it stays as it is.  Links that still die are waited for."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
        await self._tasks.done()
        if self._watch is not None:
            for each in self._watch.sockets:
                asyncio.get_running_loop().remove_reader(each)
            self._watch.close()
        await self._do(self._root.close)

    # ---- news ----

    def _listen(self) -> None:
        if self._watch is None:
            self._watch = Watch(leases.is_link_name)
            for each in self._watch.sockets:
                asyncio.get_running_loop().add_reader(each, self._hear)

    def _hear(self) -> None:
        assert self._watch is not None
        for news in self._watch.news():
            if news.link in self._gone:
                if news.gone:
                    self._gone[news.link].set()
            elif self._look is None and self._pods:
                self._look = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        await asyncio.sleep(CALM)
        self._look = None  # what comes from here on is looked at once more
        with self._telling("the network of pods"):
            self._tell(await self._do(self._root.look_again))
        for uid, (pod, box) in list(self._pods.items()):
            with self._telling(f"pod {pod.namespace}/{pod.name}"):
                if uid in self._pods and box.alive:
                    with contextlib.suppress(WrongState):  # its podmon has ended meanwhile: its worker comes to it
                        self._tell((await self.repair(uid, pod, box)).notes)

    @contextlib.contextmanager
    def _telling(self, about: str) -> Iterator[None]:
        """What fails here is nobody's request: it is told."""
        try:
            yield
        except (SandboxError, OSError) as error:
            self._warn(f"{about}: {error}")

    def _tell(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self._warn(f"network: {note.text}")
