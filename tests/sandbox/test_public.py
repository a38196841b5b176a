"""What `import sandbox` gives: names, types, documentation, and what it costs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox import aio
from sandbox.library import blocking
from sandbox.library.faces import Face

# ---- the two faces ----

FACES = [
    (blocking.Pod, aio.Pod),
    (blocking.Container, aio.Container),
    (blocking.PodSandbox, aio.PodSandbox),
    (blocking.SandboxContainer, aio.SandboxContainer),
]


@pytest.mark.parametrize(("face", "original"), FACES, ids=lambda each: each.__name__)
def test_both_faces_have_the_same_names(face: type[Face[Any]], original: type) -> None:
    def public(kind: type) -> set[str]:
        special = {"__getitem__", "__init__"}
        return {name for name in dir(kind) if not name.startswith("_")} | (special & set(vars(kind)))

    assert public(face) - {"__init__"} == public(original) - {"__init__"}
    for name in public(face):
        assert inspect.getdoc(getattr(face, name)), f"{name} is not documented"


@pytest.mark.parametrize(("face", "original"), FACES, ids=lambda each: each.__name__)
def test_both_faces_take_the_same_arguments(face: type[Face[Any]], original: type) -> None:
    for name, member in vars(original).items():
        if name == "__init__" and face is not blocking.Pod:
            continue  # not for callers
        if callable(member) and (name == "__init__" or not name.startswith("_")):
            ours, theirs = inspect.signature(getattr(face, name)), inspect.signature(member)
            assert list(ours.parameters) == list(theirs.parameters), name


def test_all_that_the_package_promises_is_there() -> None:
    for name in sandbox.__all__:
        assert getattr(sandbox, name)
    assert set(aio.__all__) - {"Input", "Lines", "Output"} <= set(sandbox.__all__)
    with pytest.raises(AttributeError):
        sandbox.nothing  # noqa: B018


# ---- what it costs, and its types ----


def test_importing_it_imports_nothing_yet_and_the_quick_verbs_never_do() -> None:
    heavy = "{'asyncio', 'logging', 'sandbox.library.pods', 'sandbox.manifest'} & set(sys.modules)"
    for script in (
        f"import sys, sandbox; print({heavy})",
        f"import sys, sandbox; sandbox.NotFound, sandbox.ExitStatus; print({heavy})",
        f"import sys, sandbox.front.cli, sandbox.front.get; print({heavy})",
    ):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n", script


USER = """
from collections.abc import Iterator
import sandbox
from sandbox import aio

def use() -> None:
    with sandbox.Pod.from_manifest({"kind": "Pod"}) as pod:
        pod.wait_ready(timeout=10)
        code: int = pod["app"].exec(["true"], input="x").exit_code
        text: str = pod["app"].exec(["true"]).stdout
        lines: Iterator[str] = pod["app"].logs(follow=True)
        done: sandbox.Completed = pod.run("c", ["true"], image="x", memory="64Mi").wait()
        ips: tuple[str, ...] = pod.ips
    with sandbox.PodSandbox.create(name="web", network=None) as box:
        path: str = box.namespaces["net"]
        c = box.create_container("app", sandbox.ContainerSpec(argv=["a"], rootfs="/path"))
        status: sandbox.ExitStatus = c.wait(timeout=1.5)

async def use_aio() -> None:
    async with aio.Pod("scratch") as pod:
        code: int = (await pod["app"].exec(["true"])).exit_code
        ips: tuple[str, ...] = await pod.ips
        async for line in pod["app"].logs(follow=True):
            text: str = line
    async with await aio.PodSandbox.create(name="web") as box:
        pid: int = box.pid

def misuse() -> None:
    sandbox.Pod("x", nonsense=1)  # error
    sandbox.Pod("x").wait_ready(timeout="soon")  # error
    sandbox.PodSandbox.create(nam="x")  # error
    wrong: int = sandbox.Pod("x")["app"].exec(["true"]).stdout  # error
"""


def test_a_users_program_is_type_checked(tmp_path: Path) -> None:
    file = tmp_path / "user.py"
    file.write_text(USER)
    words = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path), str(file)]
    path = {**os.environ, "MYPYPATH": str(Path(sandbox.__file__).parent.parent)}  # an editable install is not found
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=path)
    found = [line.split(":") for line in done.stdout.splitlines() if line.startswith("user.py:")]
    wrong = {int(number) for _, number, kind, *_ in found if kind == " error"}
    assert wrong == {number for number, line in enumerate(USER.splitlines(), 1) if line.endswith("# error")}, (
        done.stdout
    )
