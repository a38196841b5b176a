"""Builds what is C: the cffi extensions `_native` and `_libseccomp` of sandbox.linux, and podmon beside them.

setuptools calls `build_ext` (pyproject.toml names it) for wheels and editable installs alike.  podmon is
static and linked with musl: every pod has one, so its size counts, and it must run in a mount namespace that
has no libraries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI
from setuptools import Command, Extension
from setuptools.command.build_ext import build_ext as _build_ext
from setuptools.errors import CompileError

HERE = Path(__file__).parent
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
EXTENSION_SOURCES = ["spawn.c", "pump.c"]
PODMON_SOURCES = ["podmon.c", "connection.c", "attach.c", "child.c", "log.c", "disk.c"]
LAUNCHER_SOURCES = ["seedpod.c"]
PODMON = "sandbox/linux/podmon"
HEADERS = ["spawn.h", "sys.h", "child.h", "disk.h", "log.h", "podmon.h"]


def make_ffi() -> FFI:
    """The extension's FFI; spawn.h is its cdef, to the letter."""
    ffi = FFI()
    ffi.cdef((HERE / "spawn.h").read_text())
    ffi.set_source(
        "sandbox.linux._native",
        "#include <stdint.h>\n#include <spawn.h>",
    )
    return ffi


def make_libseccomp_ffi() -> FFI:
    """libseccomp's FFI, in an extension of its own: only who builds a filter pays for loading the library."""
    ffi = FFI()
    ffi.cdef((HERE / "libseccomp.h").read_text())
    ffi.set_source("sandbox.linux._libseccomp", "#include <seccomp.h>")
    return ffi


def link_kernel_headers(into: Path) -> Path:
    """A directory with the kernel's own headers alone: musl-gcc searches none, and the rest of /usr/include is glibc's.

    Raises CompileError where linux-libc-dev is not installed.
    """
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    sources = {
        "linux": Path("/usr/include/linux"),
        "asm-generic": Path("/usr/include/asm-generic"),
        "asm": Path("/usr/include") / multiarch / "asm",
    }
    into.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        if not source.is_dir():
            raise CompileError(f"{source} is missing: apt-get install linux-libc-dev")
        link = into / name
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    return into


def build_program(sources: list[str], target: Path, work: Path) -> None:
    """Compile a static program to `target`; SEEDPOD_PODMON_CC names another compiler than musl-gcc."""
    compiler = os.environ.get("SEEDPOD_PODMON_CC", "musl-gcc").split()
    if shutil.which(compiler[0]) is None:
        raise CompileError(f"{compiler[0]} is missing: apt-get install musl-tools")
    headers = link_kernel_headers(work / "kernel-headers")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    command = [
        *compiler, "-static", "-Os", "-g0", "-ffunction-sections", "-Wl,--gc-sections", "-s", *WARNINGS,
        "-isystem", str(headers), *(str(HERE / name) for name in sources), "-o", str(fresh),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    fresh.replace(target)


class build_ext(_build_ext):
    """Adds the generated modules to the extensions' sources, and podmon to what is built."""

    def build_extension(self, ext: Extension) -> None:
        work = Path(self.build_temp)
        work.mkdir(parents=True, exist_ok=True)
        if ext.name == "sandbox.linux._libseccomp":
            self._describe(ext, make_libseccomp_ffi(), work, sources=[], headers=["libseccomp.h"])
            ext.libraries = ["seccomp"]
            super().build_extension(ext)
            return
        self._describe(ext, make_ffi(), work, sources=EXTENSION_SOURCES, headers=HEADERS)
        super().build_extension(ext)
        build_program(PODMON_SOURCES, self._podmon(), work)

    @staticmethod
    def _describe(ext: Extension, ffi: FFI, work: Path, *, sources: list[str], headers: list[str]) -> None:
        generated = work / f"{ext.name.rpartition('.')[2]}.c"
        ffi.emit_c_code(str(generated))
        ext.sources = [str(generated), *(str(HERE / name) for name in sources)]
        ext.include_dirs = [str(HERE)]
        ext.depends = [str(HERE / name) for name in headers]
        ext.extra_compile_args = ["-O2", "-std=gnu11"]

    def _podmon(self) -> Path:
        return Path(self.build_lib, PODMON)

    def copy_extensions_to_source(self) -> None:
        """Editable installs build elsewhere and then copy into the tree."""
        super().copy_extensions_to_source()
        self.copy_file(str(self._podmon()), str(HERE.parent / PODMON))

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), str(self._podmon())]


class build_scripts(Command):
    """Makes the program `seedpod`, which is no script, where setuptools' own command would put scripts."""

    def initialize_options(self) -> None:
        self.build_dir: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_scripts", "build_dir"))

    def run(self) -> None:
        assert self.build_dir is not None
        directory = Path(self.build_dir)
        with tempfile.TemporaryDirectory() as work:
            build_program(LAUNCHER_SOURCES, directory / "seedpod", Path(work))

    def get_source_files(self) -> list[str]:
        return [f"csrc/{name}" for name in LAUNCHER_SOURCES]
