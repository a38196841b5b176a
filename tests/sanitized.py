"""A pytest plugin: tests run podmon and the extension built with AddressSanitizer and UndefinedBehaviorSanitizer.

`python -m tests.sanitized` builds both into build/sanitized, never in place of the others.  `make sanitize` then runs

    LD_PRELOAD=libasan.so ASAN_OPTIONS=detect_leaks=0 python -m pytest -p tests.sanitized …

The interpreter itself is not built so: hence the preload, and no check for leaks in it.  An error of address ends its
process and is kept in a report, which fails the test that it happened in whatever that makes of it; undefined behaviour
is a trap (SIGILL), which podmon cannot block.
"""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from csrc import build

DIRECTORY = Path(__file__).parents[1] / "build" / "sanitized"
PODMON = DIRECTORY / "podmon"
EXTENSION = DIRECTORY / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
REPORT = DIRECTORY / "report"  # its size in bytes first, see sanitized_report.c
REPORT_SIZE = 65536

# The child of sp_launch's clone runs on a stack that is unmapped without its functions having returned: what marks the
# borders of variables on a stack would leave its marks on memory that is somebody else's by then.
_FLAGS = [
    "-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fsanitize-undefined-trap-on-error",
    *build.WARNINGS,
]  # fmt: skip
_ON_ITS_OWN_STACK = ["--param", "asan-stack=0"]


def build_all() -> None:
    """With gcc and glibc, not static: the sanitizers' libraries are nothing else."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    sources = [str(build.HERE / name) for name in build.PODMON_SOURCES]
    report = [f'-DREPORT="{REPORT}"', str(Path(__file__).with_name("sanitized_report.c"))]
    subprocess.run(["gcc", *_FLAGS, *report, *sources, "-o", PODMON], check=True)
    generated = DIRECTORY / "_native.c"
    build.make_ffi().emit_c_code(str(generated))
    _extension(generated, *(build.HERE / name for name in build.EXTENSION_SOURCES))


def _extension(generated: Path, *sources: Path) -> None:
    include = ["-I", str(build.HERE), "-I", sysconfig.get_path("include")]
    own = {generated: ["-w"], build.HERE / "spawn.c": _ON_ITS_OWN_STACK}
    objects = []
    for source in (generated, *sources):
        objects.append(DIRECTORY / f"{source.stem}.o")
        command = ["gcc", "-fPIC", *_FLAGS, *own.get(source, []), *include, "-c", source, "-o", objects[-1]]
        subprocess.run(command, check=True)
    subprocess.run(["gcc", "-shared", "-fsanitize=address", *objects, "-o", EXTENSION], check=True)


def _load() -> None:
    """Put the extension where `sandbox.linux.native` imports it from, and podmon where it looks for it."""
    assert "sandbox.linux.native" not in sys.modules, "the other extension has been loaded already"
    spec = importlib.util.spec_from_file_location("sandbox.linux._native", EXTENSION)
    assert spec is not None and spec.loader is not None
    import sandbox.linux

    module = importlib.util.module_from_spec(spec)
    sys.modules["sandbox.linux._native"] = module
    spec.loader.exec_module(module)
    sandbox.linux._native = module  # type: ignore[attr-defined]
    from sandbox.linux import native

    assert native.lib.__name__.startswith("sandbox.linux._native")
    native.PODMON = PODMON


def _reported() -> str:
    data = REPORT.read_bytes()
    (used,) = struct.unpack_from("=I", data)
    return data[4 : 4 + used].decode(errors="replace")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test during which something was reported fails, though podmon may have lived on: a child of its may not."""
    before = _reported()
    result = yield
    assert _reported() == before, _reported()[len(before) :]
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if report := _reported():
        terminalreporter.section("what AddressSanitizer has found in podmon and its children")
        terminalreporter.write_line(report)


if __name__ == "__main__":
    build_all()
else:
    REPORT.write_bytes(bytes(REPORT_SIZE))
    _load()
