"""An engine asked to apply: once, twice, on a full disk, and where ports go from one pod to the other (A26)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandbox import effects
from sandbox.errors import NotFound, SandboxError, Unsupported
from sandbox.pod import store as store_module
from sandbox.pod.engine import Engine, Wanted
from sandbox.pod.requests import AppliedPod, Word
from sandbox.pod.worker import Worker
from tests.sandbox.pod import scenes
from tests.sandbox.pod.scenes import Scene, until
from tests.sandbox.pod.values import UID
from tests.sandbox.pod.world import is_running

pytestmark = pytest.mark.root

WISH, OTHER = "11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


def a_pod(name: str = "web", *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    app = {"name": "app", "image": "localhost/busybox", "command": ["sh", "-c", FOREVER], **spec.pop("app", {})}
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [app], **spec}}


@pytest.fixture
def play(root: Path, no_leaks: None) -> Callable[[Scene], None]:
    return partial(scenes.play, root)


async def created(engine: Engine, **spec: Any) -> Worker:
    engine.create([Wanted(UID, a_pod(**spec))])
    worker = engine.worker(UID)
    assert worker is not None
    await until(worker, is_running)
    return worker


async def gone(engine: Engine, *uids: str) -> None:
    for uid in uids:
        engine.delete(uid, grace=0, at_once=True)
    while any(map(engine.worker, uids)):
        await engine.fewer.wait()


def applied(engine: Engine, manifest: dict[str, Any], wish: str = WISH, **how: Any) -> AppliedPod:
    (pod,) = engine.apply([Wanted(wish, manifest)], **how).pods
    return pod


def test_a_wish_that_is_heard_twice_is_fulfilled_once_with_the_same_words(play: Callable[[Scene], None]) -> None:
    async def scene(engine: Engine) -> None:
        for _ in range(2):
            assert applied(engine, a_pod("db"), OTHER) == AppliedPod(OTHER, Word.CREATED)
        worker = await created(engine)
        labelled = a_pod(labels={"a": "b"})
        for _ in range(2):
            assert applied(engine, labelled) == AppliedPod(UID, Word.CONFIGURED)
        assert applied(engine, labelled, OTHER[:-1] + "6") == AppliedPod(UID, Word.UNCHANGED)
        idle = a_pod(labels={"a": "b"}, nodeSelector={"disk": "ssd"})
        assert applied(engine, idle, OTHER[:-1] + "4") == AppliedPod(UID, Word.CONFIGURED), "it has no effect here"
        assert worker.record.manifest == idle and is_running(worker.state)
        renamed = a_pod(hostname="x")
        wish = OTHER[:-1] + "7"
        for _ in range(2):
            assert applied(engine, renamed, wish) == AppliedPod(wish, Word.REPLACED, before=UID)
        assert applied(engine, renamed, OTHER[:-1] + "8").word is Word.CREATED, "somebody else only waits for its end"
        assert worker.record.manifest == idle
        await gone(engine, UID)
        engine.create([Wanted(wish, renamed)])
        await gone(engine, wish, OTHER)

    play(scene)


def test_a_pod_that_was_noted_to_be_replaced_and_no_more_is_replaced_by_the_next_engine(
    play: Callable[[Scene], None],
) -> None:
    async def scene(engine: Engine) -> None:
        worker = await created(engine)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "delete", lambda uid, grace: None)
            applied(engine, a_pod(hostname="x"))
        assert worker.record.applied == WISH and worker.state.deletion is None
        assert applied(engine, a_pod(hostname="x")) == AppliedPod(WISH, Word.REPLACED, before=UID)
        assert worker.state.deletion is not None
        await gone(engine, UID)

    play(scene)


def test_what_is_refused_or_cannot_be_written_or_is_only_asked_for_changes_nothing(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(engine: Engine) -> None:
        worker = await created(engine)
        before = worker.record, worker.pod, worker.state, sorted(engine.store.root.rglob("*"))
        labelled, renamed = a_pod(labels={"a": "b"}), a_pod(hostname="x")
        assert applied(engine, labelled, dry_run=True).word is Word.CONFIGURED
        assert applied(engine, renamed, dry_run=True) == AppliedPod(WISH, Word.REPLACED, before=UID)
        assert applied(engine, a_pod("db"), dry_run=True).word is Word.CREATED
        with pytest.raises(SandboxError, match='pod "web" is asked for twice'):
            engine.apply([Wanted(WISH, labelled), Wanted(OTHER, renamed)])
        with pytest.raises(SandboxError, match="not a UID"):
            applied(engine, labelled, "../x")
        missing = a_pod("db", app={"image": "localhost/nothing"})
        with pytest.raises(NotFound, match="localhost/nothing"):
            engine.apply([Wanted(WISH, labelled), Wanted(OTHER, missing)])

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(store_module, "write_file", full)
            for each in (labelled, renamed):
                with pytest.raises(OSError, match="No space"):
                    applied(engine, each)
        assert (worker.record, worker.pod, worker.state, sorted(engine.store.root.rglob("*"))) == before
        worker.unspoken = Unsupported("an older podmon", needs="another")
        with pytest.raises(Unsupported):
            applied(engine, a_pod(app={"image": "rootfs:/"}))
        worker.unspoken = None
        await gone(engine, UID)

    play(scene)


def test_a_port_goes_from_a_pod_to_the_one_that_replaces_it_and_to_no_other(play: Callable[[Scene], None]) -> None:
    """Of a pod on the host's network the port is one that its own program listens on."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]

    def served(name: str = "web", **spec: Any) -> dict[str, Any]:
        command = ["httpd", "-f", "-p", str(port)]
        probe = {"tcpSocket": {"port": port}, "periodSeconds": 1}
        app = {"command": command, "ports": [{"containerPort": port}], "readinessProbe": probe}
        return a_pod(name, hostNetwork=True, app=app, **spec)

    async def scene(engine: Engine) -> None:
        engine.create([Wanted(UID, served())])
        worker = engine.worker(UID)
        assert worker is not None
        await until(worker, lambda state: state.containers[0].instance and state.containers[0].instance.ready)
        with pytest.raises(SandboxError, match=f"hostPort {port}/TCP is taken by pod default/web"):
            applied(engine, served("db"))
        answer = applied(engine, served(terminationGracePeriodSeconds=1))
        assert answer == AppliedPod(WISH, Word.REPLACED, before=UID)
        await gone(engine, UID)

    play(scene)


# ---- an engine that is killed ----

WAITING = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "missing"}}]}  # nothing of them is made
WISHES = {name: f"{WISH[:-1]}{number}" for number, name in enumerate(("db", "web", "cache"))}
OLD = {"web": a_pod("web", **WAITING), "cache": a_pod("cache", **WAITING)}
NEW = {
    "db": a_pod("db", **WAITING),
    "web": a_pod("web", app={"image": "rootfs:/"}, **WAITING),
    "cache": a_pod("cache", hostname="x", **WAITING),
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
MOST = 40  # effects that a request has; it is asserted that it has fewer


class Killed(BaseException):
    """As SIGKILL: nothing of ours runs after it."""


def all_applied(engine: Engine) -> list[AppliedPod]:
    wanted = [Wanted(WISHES[name], manifest) for name, manifest in NEW.items()]
    return list(engine.apply(wanted, [CLAIM]).pods)


def killed_before(engine: Engine, step: int) -> bool:
    """Whether the engine was killed before its `step`th effect."""
    had = iter(range(MOST))

    def witness(_: str) -> None:
        if next(had) >= step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "witness", witness)
        try:
            all_applied(engine)
        except Killed:
            return True
    return False


def manifests(engine: Engine) -> dict[str, object]:
    return {status.pod.name: status.manifest for status in engine.statuses()}


def test_an_engine_killed_at_any_step_leaves_the_next_one_to_do_the_rest(play: Callable[[Scene], None]) -> None:
    killed: list[bool] = []

    async def first(engine: Engine) -> None:
        engine.create([Wanted(UID, OLD["web"]), Wanted(OTHER, OLD["cache"])])
        killed.append(killed_before(engine, len(killed)))

    async def second(engine: Engine) -> None:
        for name, manifest in manifests(engine).items():
            assert manifest in (OLD.get(name), NEW[name])
        db, web, cache = all_applied(engine)
        assert db == AppliedPod(WISHES["db"], Word.CREATED)
        assert web == AppliedPod(UID, Word.CONFIGURED)
        if cache.before:  # else it was gone already
            assert cache == AppliedPod(WISHES["cache"], Word.REPLACED, before=OTHER)
            while engine.worker(OTHER):
                await engine.fewer.wait()
            engine.create([Wanted(cache.uid, NEW["cache"])])
        assert manifests(engine) == NEW
        assert {status.pod.name: status.uid for status in engine.statuses()} == {**WISHES, "web": UID}
        await gone(engine, UID, WISHES["db"], WISHES["cache"])
        engine.store.claims.remove(engine.store.claims.find("default", "data"))

    while not killed or killed[-1]:
        play(first)
        play(second)
    assert 15 < len(killed) < MOST
