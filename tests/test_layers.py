"""The architecture, held by a test: who may import what, and the one door to each dangerous thing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for package in ("sandbox", "cgroups", "rootfs") for path in (ROOT / package).rglob("*.py"))

# From the top down: a layer may import itself and what stands below it.
LAYERS = (
    ("sandbox.front",),
    ("sandbox.library", "sandbox.aio"),
    ("sandbox.pod",),
    ("sandbox.linux",),
    ("sandbox.manifest", "sandbox.expand"),
    (
        "sandbox.model",
        "sandbox.claim",
        "sandbox.capabilities",
        "sandbox.quantity",
        "sandbox.signals",
        "sandbox.effects",
        "sandbox.status",
        "sandbox.errors",
    ),
)
BESIDE = ("cgroups", "rootfs")  # import nothing of ours


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> int | None:
    for number, prefixes in enumerate(LAYERS):
        if any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes):
            return number
    return None


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_go_one_way(path: Path) -> None:
    module, own = module_of(path), layer_of(module_of(path))
    for imported in imports(path):
        if module.split(".")[0] in BESIDE:
            assert imported.split(".")[0] not in {"sandbox", *BESIDE} - {module.split(".")[0]}, imported
        elif own is not None and (other := layer_of(imported)) is not None:
            assert other >= own, f"{module} imports {imported}, which stands above it"


DOORS = {
    "sandbox.linux._native": {"sandbox.linux.native"},
    "sandbox.linux._libseccomp": {"sandbox.linux.seccomp.filter"},
    "pyroute2": {"sandbox.linux.network_rtnl"},
    "prctl": {"sandbox.linux.privileges"},
    "yaml": {"sandbox.manifest.tree", "sandbox.front.encode"},
    "argparse": {"sandbox.front.arguments"},
    "h11": {"sandbox.pod.http_get"},
    "h2": {"sandbox.pod.grpc_health"},
    "inotify_simple": {"sandbox.pod.logs"},
}


@pytest.mark.parametrize("door", DOORS)
def test_each_dangerous_thing_has_one_door(door: str) -> None:
    users = {module_of(path) for path in SOURCES if any((name + ".").startswith(door + ".") for name in imports(path))}
    assert users == DOORS[door]


# What changes what is there, by the name of the function or method.
CHANGES = {
    "chmod",
    "chown",
    "link_to",
    "mkdir",
    "mknod",
    "rename",
    "rmdir",
    "symlink_to",
    "touch",
    "unlink",
    "write_text",
}

# Where that is no effect that an engine could be killed before, and why.
NO_EFFECT = {
    "sandbox.linux.devices.filesystem": "in a mount that only an fd refers to",
    "sandbox.pod.claim_files.ClaimFiles.make": "the mode of what no claim is yet",
    "sandbox.pod.claim_files.ClaimFiles.take_away": "an empty directory, which harms nobody and is made use of again",
    "sandbox.pod.files.write_file": "of what could not be written: undone",
    "sandbox.pod.host_paths._make_directories": "made by `create`, which is one",
    "sandbox.pod.ownership._give": "for `give_to_group`, which is one",
    "sandbox.pod.paths.make_root": "the root itself, by whoever comes first",
    "sandbox.pod.preparation.prepare": "the mode of what no container is yet",
    "sandbox.pod.sandbox.PodSandbox._setup": "in a mount that only an fd refers to",
    "sandbox.pod.server.serve": "an engine that ends",
    "sandbox.pod.store.Store.extend": "of what could not be added: undone",
    "sandbox.pod.volumes._make_empty_dir": "the mode of what no volume is yet",
}


def test_what_an_engine_does_to_the_disk_is_registered() -> None:
    """So that an engine is killed before it by tests/system/test_crash_points.py."""
    found = set()
    for path in SOURCES:
        if module_of(path).startswith(("sandbox.pod.", "sandbox.linux.")):
            found |= set(_unregistered(module_of(path), ast.parse(path.read_text())))
    assert found == set(NO_EFFECT)


def _unregistered(within: str, node: ast.AST) -> Iterator[str]:
    """The functions that change what is there, and are not registered with sandbox.effects."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.ClassDef):
            yield from _unregistered(f"{within}.{each.name}", each)
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            is_registered = any(ast.unparse(mark).startswith("effect(") for mark in each.decorator_list)
            calls = (call.func for call in ast.walk(each) if isinstance(call, ast.Call))
            if not is_registered and any(_changes(call) for call in calls):
                yield f"{within}.{each.name}"


def _changes(call: ast.expr) -> bool:
    return isinstance(call, ast.Attribute) and call.attr in CHANGES and ast.unparse(call.value) != "files"


def test_only_the_front_prints_and_exits() -> None:
    users = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit", "exit"):
                users.add(module_of(path).rpartition(".")[0])
    assert users == {"sandbox.front"}


def test_a_file_has_at_most_400_lines_but_for_the_ops() -> None:
    """Over that it is a design question.  ops.py is a table: one small class after the other."""
    long = {module_of(path) for path in SOURCES if len(path.read_text().splitlines()) > 400}
    assert long <= {"sandbox.linux.ops"}
