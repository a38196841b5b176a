"""The engine: the pods of one root, each with its worker.  It prints nothing and decides nothing about life and death.

It is the only writer of its root, which a lock says is its own; it may be killed at any moment, and the next one goes
on with what stands on disk and what the pods' podmons tell.
"""

from __future__ import annotations

import asyncio
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sandbox import manifest
from sandbox.claim import PersistentVolumeClaim
from sandbox.errors import AlreadyExists, ManifestError, NotFound, SandboxError, WrongState, quoted
from sandbox.linux import host
from sandbox.model import Pod
from sandbox.pod import config, eviction, hostports, planning, termination, update
from sandbox.pod.applying import Step, step
from sandbox.pod.claims import Asked
from sandbox.pod.instances import Surroundings
from sandbox.pod.joining import Target
from sandbox.pod.networks import Networks
from sandbox.pod.notebook import now
from sandbox.pod.paths import make_root
from sandbox.pod.podmon import Stage
from sandbox.pod.requests import Applied, Word
from sandbox.pod.slices import Slices
from sandbox.pod.state import Deletion, PodRecord, PodState, new_state
from sandbox.pod.store import Store, is_uid
from sandbox.pod.worker import Worker
from sandbox.status import Phase, PodStatus

ADOPTION_TIMEOUT = 5.0  # seconds in which the podmons that still run are to answer; a stopped one holds up no other


@dataclass(frozen=True)
class Wanted:
    """A pod that is to be made: its UID, chosen by who asks so that to ask twice makes one, and its manifest.

    An `open` one may have no container yet, and takes more of them while it lives.
    """

    uid: str
    manifest: Mapping[str, Any]
    open: bool = False


def _asked(uid: str, written: Mapping[str, Any]) -> Asked:
    return Asked(uid, manifest.object_from_dict(written, PersistentVolumeClaim), written)


class Engine:
    """The pods of one root directory, whose lock the caller holds."""

    def __init__(self, root: Path, warn: Callable[[str], None], boot: str | None = None) -> None:
        """`warn` is told what went wrong and is nobody's request: a line each; `boot` is that of the machine."""
        self._boot = boot or host.boot_id()
        host.require_privileges()
        host.require_open_files()
        make_root(root)
        self.root = root
        self.config = config.load(root)
        self._warn = warn
        self.store = Store(root, Slices(root, self.config.cgroup_parent), warn)
        self._networks = Networks(root, self.config.pod_cidr, warn)
        self._around = Surroundings(self.store, self.config, self._networks, warn)
        self._workers: dict[str, Worker] = {}  # by UID
        self._names: dict[tuple[str, str], Worker] = {}  # a forced deletion frees a name while the pod still ends
        self._lives: dict[str, asyncio.Task[None]] = {}  # by UID; without those whose worker has failed
        self._monitor: asyncio.Task[None] | None = None
        self.fewer = asyncio.Event()  # set when the next pod is removed, and then replaced
        self.more = asyncio.Event()  # set when the next one is there, and then replaced

    # ---- its own life ----

    async def start(self) -> None:
        """Adopt the pods that stand on disk; after a boot of the machine nothing of them runs (SEMANTICS A13)."""
        rebooted = not self.store.was_of_boot(self._boot)
        self.store.claims.load()
        stored = list(self.store.load(rebooted=rebooted))
        await self._networks.adopt([record.uid for record, _ in stored], rebooted=rebooted)
        workers = [worker for record, state in stored if (worker := self._known(record, state))]
        for worker in workers:
            worker.keep_claims()
        adoptions = [asyncio.create_task(worker.adopt(rebooted=rebooted)) for worker in workers]
        if adoptions:
            await asyncio.wait(adoptions, timeout=ADOPTION_TIMEOUT)
        self.store.note_boot(self._boot)  # before anything is made in it
        for worker, adoption in zip(workers, adoptions, strict=True):
            self._add(worker, adoption)
        if not workers:
            self.store.slices.remove_parents()
        self._monitor = asyncio.create_task(eviction.Monitor(self._limited, self._evict, self._warn).run())

    def _limited(self) -> list[eviction.Places]:
        """Of the pods that live, those with a limit of what they may have on disk."""
        return [
            eviction.places(each.record, each.pod, each.state, self.store)
            for each in self._workers.values()
            if eviction.has_limits(each.pod) and each.state.sandbox
        ]

    def _evict(self, uid: str, message: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.fail(eviction.REASON, message, eviction.GRACE)

    def _known(self, record: PodRecord, state: PodState) -> Worker | None:
        try:
            pod = manifest.from_dict(record.manifest, open=state.open)
        except ManifestError as error:
            self._warn(f"pod {record.namespace}/{record.name} ({record.uid}) is left alone: {error}")
            return None
        names = [each.name for each in pod.all_containers]
        if state.open:  # an engine may have been killed between the two files that say what was added
            state = state.with_new(names[len(state.containers) :])
        if names != [each.name for each in state.containers]:
            self._warn(f"pod {record.namespace}/{record.name} ({record.uid}) is left alone: its state is another pod's")
            return None
        return Worker(record, pod, update.with_images(state, pod), self._around)

    def _add(self, worker: Worker, adoption: asyncio.Task[None] | None = None) -> None:
        self._workers[worker.record.uid] = worker
        if not (worker.state.deletion and worker.state.deletion.forced):
            self._names[worker.record.namespace, worker.record.name] = worker
        self.more.set()
        self.more = asyncio.Event()
        life = asyncio.create_task(self._live(worker, adoption))
        self._lives[worker.record.uid] = life
        life.add_done_callback(lambda life: self._ended(worker.record.uid, life))

    async def _live(self, worker: Worker, adoption: asyncio.Task[None] | None) -> None:
        if adoption is not None:
            await adoption
        await worker.live()
        record = worker.record
        del self._workers[record.uid]
        if self._names.get((record.namespace, record.name)) is worker:
            del self._names[record.namespace, record.name]
        if not self._workers:
            self.store.slices.remove_parents()

    def _ended(self, uid: str, life: asyncio.Task[None]) -> None:
        """A worker that ends by an error is a bug of ours: told with its traceback, and the other pods go on."""
        del self._lives[uid]
        error = None if life.cancelled() else life.exception()
        if error is not None:
            self._warn(f"pod {uid} is left alone until the engine is started anew: {error!r}")
            self._warn("".join(traceback.format_exception(error)).rstrip())
        self.fewer.set()
        self.fewer = asyncio.Event()

    async def deletions_done(self) -> None:
        """Wait until no pod is being deleted; one whose worker has failed never will be."""
        while any(self._is_being_deleted(uid) for uid in self._lives):
            await self.fewer.wait()

    def _is_being_deleted(self, uid: str) -> bool:
        worker = self._workers.get(uid)
        return worker is not None and worker.state.deletion is not None and not worker.state.deletion.hold

    async def close(self) -> None:
        """Let go of the pods: they run on."""
        lives = [*self._lives.values(), *([self._monitor] if self._monitor else [])]
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        await self._networks.close()

    @property
    def count(self) -> int:
        """How many pods there are, those included that are being removed."""
        return len(self._workers)

    # ---- requests ----

    def create(self, wanted: Iterable[Wanted], claims: Iterable[Mapping[str, Any]] = ()) -> list[str]:
        """Make the pods and have there be the claims, all or none.  Pods that are there with this very UID are fine.

        What came of each claim: "created", "configured" or "unchanged".  Raises ManifestError, AlreadyExists, NotFound
        (an image, a host path) and SandboxError before anything is made.
        """
        fresh = [
            (each, manifest.from_dict(each.manifest, open=each.open))
            for each in wanted
            if each.uid not in self._workers
        ]
        asked = [_asked(str(uuid.uuid4()), each) for each in claims]
        self._refuse(fresh)
        words = self.store.claims.check(asked)
        with self.store.claims.applied(asked):
            self._create(fresh)
        return words

    def apply(
        self, wanted: Iterable[Wanted], claims: Iterable[Mapping[str, Any]] = (), *, dry_run: bool = False
    ) -> Applied:
        """Have there be the pods, made, changed or replaced where need be, and the claims, all or none (SEMANTICS A26).

        The deletion of one that is replaced begins here; once it is gone, `create` with the same UID makes the other.
        Raises what `create` raises, before anything is changed; `dry_run` does no more than that.
        """
        steps = [self._step(each) for each in wanted]
        asked = [_asked(str(uuid.uuid4()), each) for each in claims]
        self._refuse_steps(steps)
        words = self.store.claims.check(asked)
        if not dry_run:
            changes = [each.change for each in steps if each.change]
            stored = [(there.record, record, there.state) for there, record, _ in changes]
            with self.store.claims.applied(asked), self.store.changed(stored):
                self._create([(Wanted(each.uid, each.manifest), each.pod) for each in steps if each.creates])
            for there, record, pod in changes:
                there.change(record, pod)
            for each in steps:
                if each.word is Word.REPLACED and each.there:
                    self.delete(each.there.record.uid, grace=None)
        return Applied(tuple(each.answer() for each in steps), tuple(words))

    def _step(self, wanted: Wanted) -> Step:
        if (made := self._workers.get(wanted.uid)) is not None:  # when it was asked for before
            return Step(wanted.uid, wanted.manifest, made.pod, None, Word.CREATED, done=True)
        pod = manifest.from_dict(wanted.manifest)
        there = self._names.get((pod.namespace, pod.name))
        return step(wanted.uid, wanted.manifest, pod, None if there is None or there.removed else there)

    def _refuse_steps(self, steps: Sequence[Step]) -> None:
        named: set[tuple[str, str]] = set()
        for each in steps:
            name = (each.pod.namespace, each.pod.name)
            if name in named:
                raise SandboxError(f'pod "{each.pod.name}" is asked for twice')
            named.add(name)
            if not is_uid(each.uid):
                raise SandboxError(f"not a UID: {quoted(each.uid)}")
            if each.new_images and each.there and each.there.unspoken:
                raise each.there.unspoken.with_traceback(None)
            planning.check_images(each.new_images, self._around.supplies)
        fresh = [each for each in steps if each.creates or each.waits]
        former = {each.uid: each.there for each in fresh if each.there}
        self._refuse([(Wanted(each.uid, each.manifest), each.pod) for each in fresh], former)

    def _create(self, fresh: list[tuple[Wanted, Pod]]) -> None:
        made: list[PodRecord] = []
        try:
            for each, pod in fresh:
                record = PodRecord(each.uid, pod.namespace, pod.name, now(), each.manifest)
                self.store.add(record, _begin(each, pod))
                made.append(record)  # one that cannot be added has removed what it made
        except OSError:
            for record in made:
                self.store.remove(record)
            raise
        for record, (each, pod) in zip(made, fresh, strict=True):
            self._add(Worker(record, pod, _begin(each, pod), self._around))

    def _refuse(self, fresh: list[tuple[Wanted, Pod]], former: Mapping[str, Worker] = MappingProxyType({})) -> None:
        """Refuse all of them where one cannot be made; `former` are those that make way for them, by their UIDs."""
        taken = {name for name, worker in self._names.items() if not worker.removed and worker not in former.values()}
        held: list[hostports.Held] = []
        for wanted, pod in fresh:
            if not is_uid(wanted.uid):
                raise SandboxError(f"not a UID: {quoted(wanted.uid)}")
            if (pod.namespace, pod.name) in taken:
                raise AlreadyExists("pods", pod.name)
            taken.add((pod.namespace, pod.name))
            planning.check(pod, self._around.supplies)
            way = former.get(wanted.uid)
            others = [each.host_ports() for each in self._workers.values() if each is not way]
            self._networks.refuse(pod, [*others, *held], way.pod if way else None)
            held.append((f"pod {pod.namespace}/{pod.name}", hostports.asked(pod)))

    def create_claim(self, uid: str, written: Mapping[str, Any]) -> None:
        """Make one claim; one that is there with this very UID is fine.  Raises AlreadyExists, SandboxError."""
        if not is_uid(uid):
            raise SandboxError(f"not a UID: {quoted(uid)}")
        self.store.claims.create(_asked(uid, written))

    def add(self, uid: str, addition: str, container: Mapping[str, Any]) -> None:
        """Add a container to an open pod that lives; one that came with this very `addition` is fine.

        Raises NotFound, WrongState, AlreadyExists, ManifestError and SandboxError before anything is made.
        """
        worker = self._workers.get(uid)
        if worker is None:
            raise NotFound("pods", uid)
        record = worker.record
        if addition in record.additions:
            return
        if not worker.state.open or worker.state.deletion:
            current = "being deleted" if worker.state.deletion else "made from a manifest"
            raise WrongState(
                f"pod {record.name} is {current}: it takes no more containers", current=current, wanted="open"
            )
        name = container.get("name")
        if any(each.name == name for each in worker.pod.all_containers):
            raise AlreadyExists("container", str(name))
        wanted = with_container(record.manifest, container)
        pod = manifest.from_dict(wanted)
        planning.check(pod, self._around.supplies)
        record = replace(record, manifest=wanted, additions=(*record.additions, addition))
        self.store.extend(record, pod.containers[-1].name)
        worker.change(record, pod)

    async def keep(self, uids: Iterable[str]) -> None:
        """Have these pods outlive a power cut, as they are by now; those that are gone are fine."""
        known = (self._workers.get(uid) for uid in uids)
        await asyncio.gather(*(worker.keep() for worker in known if worker))

    def find(self, namespace: str, name: str) -> Worker:
        """The pod of this name.  Raises NotFound."""
        try:
            return self._names[namespace, name]
        except KeyError:
            raise NotFound("pods", name) from None

    def worker(self, uid: str) -> Worker | None:
        """The pod of this UID, as long as anything of it is there."""
        return self._workers.get(uid)

    def statuses(self) -> list[PodStatus]:
        """All pods that have a name, by namespace and name."""
        return [worker.status() for worker in self.named()]

    def named(self) -> list[Worker]:
        """Those that have a name, by namespace and name."""
        return [worker for _, worker in sorted(self._names.items(), key=lambda item: item[0])]

    def delete(
        self, uid: str, *, grace: int | None, force: bool = False, hold: bool = False, at_once: bool = False
    ) -> None:
        """End a pod and remove it (SEMANTICS A31, A39, A40); one that is gone already is fine.

        `grace` in seconds, None is the pod's own.  `force` frees its name now; `hold` keeps its files until it is
        deleted once more; `at_once` kills without TERM.
        """
        worker = self._workers.get(uid)
        if worker is None:
            return
        finished = worker.status().phase in (Phase.SUCCEEDED, Phase.FAILED)
        seconds = termination.grace_period(worker.pod, grace, finished=finished, force=force)
        worker.delete(Deletion(now(), seconds, hold=hold, forced=force, at_once=at_once))
        name = (worker.record.namespace, worker.record.name)
        if force and self._names.get(name) is worker:
            del self._names[name]

    def target(self, namespace: str, name: str, container: str) -> Target:
        """What a program needs to join a running container.  Raises NotFound, WrongState, Unsupported."""
        worker = self.find(namespace, name)
        asked = next((each for each in worker.pod.all_containers if each.name == container), None)
        if asked is None:
            raise SandboxError(f"container {container} is not valid for pod {name}")
        phase = worker.status().phase
        if phase in (Phase.SUCCEEDED, Phase.FAILED):
            what = f"cannot exec into a container in a completed pod; current phase is {phase}"
            raise WrongState(what, current=str(phase), wanted="Running")
        if worker.unspoken is not None:
            raise worker.unspoken.with_traceback(None)
        made = worker.instance(container)
        if made is None or made.stage is not Stage.RUNNING:
            raise WrongState(f"container {quoted(container)} is not running", current="waiting", wanted="running")
        return Target(
            directory=self.store.sandbox_directory(worker.record.uid),
            number=made.number,
            env=made.setting.env,
            cwd=made.setting.cwd,
            tty=asked.tty,
            stdin=asked.stdin,
            oom_score_adj=planning.oom_score_adj(worker.pod, asked),
            privileges=made.setting.privileges,
        )


def _begin(wanted: Wanted, pod: Pod) -> PodState:
    return new_state(tuple(container.name for container in pod.all_containers), open=wanted.open)


def with_container(pod: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a pod with one container more."""
    spec = pod["spec"]
    return {**pod, "spec": {**spec, "containers": [*spec.get("containers", ()), container]}}
