"""The engine's socket, as far as it is about claims: each verb, asked twice where an engine may end in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sandbox.pod.claims import Claims
from sandbox.pod.server import Server
from tests.sandbox.pod.test_claims import OTHER, UID, asked, pod
from tests.sandbox.pod.test_server import Client, FakeEngine, greeted, play


def having(engine: FakeEngine, claims: Claims) -> None:
    """Give the fake a root's claims; what is asked of the engine itself it does as the real one."""
    engine.store = SimpleNamespace(claims=claims)  # type: ignore[attr-defined]
    engine.create_claim = lambda uid, written: claims.create(asked(written["metadata"]["name"], uid=uid))  # type: ignore[attr-defined]


def test_claims_are_made_listed_found_and_removed(tmp_path: Path) -> None:
    directory = tmp_path / "claims"
    directory.mkdir()
    claims = Claims(directory, lambda line: None)

    async def scene(engine: FakeEngine, known: Server, client: Callable[[], Awaitable[Client]]) -> None:
        having(engine, claims)
        one = await greeted(client)

        async def ask(verb: str, **more: Any) -> Any:
            return await one.ask({"verb": verb, **more})

        make = {"uid": UID, "manifest": asked().manifest}
        assert await ask("create_claim", **make) == await ask("create_claim", **make) == {"answer": None}
        again = await ask("create_claim", **{**make, "uid": OTHER})
        assert (again["error"], again["kind"]) == ("AlreadyExists", "persistentvolumeclaims")
        (listed,) = (await ask("claims"))["answer"]
        assert (listed["uid"], listed["claim"]["name"]) == (UID, "data")
        assert await ask("find_claim", namespace="default", name="data") == {"answer": UID}
        assert (await ask("find_claim", namespace="prod", name="data"))["error"] == "NotFound"
        claims.keep("1", pod("web"))
        assert (await ask("remove_claim", uid=UID))["error"] == "WrongState"
        claims.release("1")
        assert await ask("remove_claim", uid=UID) == await ask("remove_claim", uid=UID) == {"answer": None}
        assert await ask("claims") == {"answer": []}
        assert list(directory.iterdir()) == []

    play(tmp_path, scene)
