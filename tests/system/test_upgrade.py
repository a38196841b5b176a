"""Pods whose podmon is of another seedpod (docs/decisions/0015-upgrade.md).

An older one is spoken to in its own protocol; one whose protocol is not spoken is left alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csrc.build import link_kernel_headers
from sandbox.linux import native
from sandbox.pod.slices import Slices
from sandbox.status import Terminated
from tests.runner import Seedpod
from tests.staying import all_running, detached, pod_json, podmon_of, restarted, until

pytestmark = pytest.mark.root

PINNED = Path(__file__).parent.parent / "upgrade" / "podmon-protocol-5"  # the sources of a podmon, as they were
TODAY = Path(__file__).parent.parent.parent / "csrc"
FOREVER = "echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done"

# The engine of a seedpod that has this podmon and speaks this protocol.
ENGINE = """
import sys
from pathlib import Path
from sandbox.linux import native
native.PODMON, native.PROTOCOL, native.PROTOCOL_OLDEST = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[2])
from sandbox.front.cli import main
sys.exit(main(["--root", sys.argv[3], "agent"]))
"""


def built(sources: Path, into: Path) -> Path:
    """The podmon of these sources."""
    headers = link_kernel_headers(into / "kernel-headers")
    names = ("podmon.c", "connection.c", "attach.c", "child.c", "log.c", "disk.c")
    files = [sources / name for name in names if (sources / name).exists()]
    subprocess.run(
        ["musl-gcc", "-static", "-O0", "-std=gnu11", "-isystem", headers, *files, "-o", into / "podmon"],
        check=True,
    )
    return into / "podmon"


@pytest.fixture(scope="module")
def podmon_5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(PINNED, tmp_path_factory.mktemp("podmon-5"))


def altered(sources: Path, into: Path, protocol: int, *, longer: bool = False) -> Path:
    """A podmon as in `sources` but of another protocol, and with messages that are `longer` than we know."""
    shutil.copytree(sources, into / "csrc", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    header = into / "csrc" / "spawn.h"
    text = re.sub(r"#define SP_PROTOCOL \d+", f"#define SP_PROTOCOL {protocol}", header.read_text())
    if longer:
        text = text.replace("\tuint64_t max_rss_kib;\n", "\tuint64_t max_rss_kib;\n\tuint64_t later;\n")
    header.write_text(text)
    return built(into / "csrc", into)


@contextmanager
def other_engine(seedpod: Seedpod, podmon: Path, protocol: int) -> Iterator[None]:
    """In the block the root's engine is of a seedpod that has this podmon; then it is killed."""
    words = [sys.executable, "-c", ENGINE, podmon, str(protocol), seedpod.root]
    engine = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent)
    assert engine.stdout is not None
    try:
        assert engine.stdout.readline()  # it takes clients
        yield
    finally:
        engine.kill()
        engine.communicate()


def test_the_pinned_sources_are_those_of_the_oldest_protocol_that_is_spoken() -> None:
    assert f"#define SP_PROTOCOL {native.PROTOCOL_OLDEST}\n" in (PINNED / "spawn.h").read_text()
    assert native.PROTOCOL_OLDEST < native.PROTOCOL


def test_what_crosses_the_socket_has_only_grown_since_the_oldest_protocol() -> None:
    """Numbers are as they were, and structures begin as they did: an older podmon is spoken to with today's header."""
    old, new = ((sources / "spawn.h").read_text() for sources in (PINNED, TODAY))
    for name in ("sp_op_kind", "sp_call", "sp_gate", "sp_scope", "sp_message_type", "sp_stream"):
        before, now = (members(text, f"enum {name}") for text in (old, new))
        assert now[: len(before)] == before, name
    assert members(new, "struct sp_op") == members(old, "struct sp_op")
    assert native.ffi.sizeof("struct sp_spec") == 112
    assert native.MESSAGE_OLDEST == 104 <= native.MESSAGE_SIZE


def members(header: str, of: str) -> list[str]:
    """The members of an enum or struct of spawn.h but for a last one that counts them."""
    found = re.search(rf"^{of} \{{\n(.*?)^\}};", header, re.MULTILINE | re.DOTALL)
    assert found, of
    text = re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL)
    return [word for word in re.split(r"[,;\s]*\n\s*", text.strip().rstrip(",;")) if not word.endswith("_COUNT")]


def test_pods_of_an_older_podmon_are_adopted_and_live_on(seedpod: Seedpod, podmon_5: Path) -> None:
    with other_engine(seedpod, podmon_5, 5):
        detached(
            seedpod,
            seedpod.pod(seedpod.shell("app", FOREVER), name="runs", restartPolicy="Always"),
            seedpod.pod(seedpod.shell("app", FOREVER), name="shares", shareProcessNamespace=True),
            seedpod.pod(seedpod.shell("app", "echo up; exit 7"), name="ended"),
            wait=False,
        )
        uids = {name: pod_json(seedpod, name)["metadata"]["uid"] for name in ("runs", "shares")}
        for name in uids:
            until(seedpod, name, all_running)
        podmons = {name: processes(seedpod, uid) for name, uid in uids.items()}

    ended = until(seedpod, "ended", lambda status: isinstance(status.containers[0].state, Terminated))  # today's engine
    assert isinstance(ended.containers[0].state, Terminated)
    assert ended.containers[0].state.exit_code == 7
    for name in uids:
        assert seedpod.command("logs", name).stdout == "up\n"
        said = seedpod.command("exec", name, "--", "sh", "-c", "echo $0; exit 5", "joined")
        assert (said.returncode, said.stdout, said.stderr) == (5, "joined\n", ""), said
    assert seedpod.command("exec", "runs", "--", "kill", "1").returncode == 0
    assert all_running(until(seedpod, "runs", lambda status: restarted(1)(status) and all_running(status)))
    assert {name: processes(seedpod, uid) for name, uid in uids.items()} == podmons, "the sandboxes are the same"
    assert seedpod.command("delete", "runs", "shares", "ended").returncode == 0
    assert seedpod.command("get").stderr == "No resources found in default namespace.\n"


def processes(seedpod: Seedpod, uid: str) -> str:
    """Those of podmon, and where its containers share a pid namespace of the reaper."""
    return (Slices(seedpod.root).path(uid) / "podmon.scope" / "cgroup.procs").read_text()


@pytest.mark.parametrize(("protocol", "longer"), [(99, True), (4, False)])
def test_a_pod_whose_podmon_we_cannot_speak_to_is_left_alone_and_can_be_deleted(
    protocol: int, longer: bool, seedpod: Seedpod, tmp_path: Path
) -> None:
    podmon = altered(TODAY if protocol > 5 else PINNED, tmp_path / "other", protocol, longer=longer)
    with other_engine(seedpod, podmon, protocol):
        detached(seedpod, seedpod.pod(seedpod.shell("app", FOREVER)))
        number = podmon_of(seedpod, pod_json(seedpod, "web")["metadata"]["uid"])
    reason = f"the pod's podmon speaks protocol {protocol}, and this seedpod 5 to {native.PROTOCOL}"

    found = pod_json(seedpod, "web")  # today's engine
    assert found["status"]["phase"] == "Running"
    assert podmon_of(seedpod, found["metadata"]["uid"]) == number
    described = seedpod.command("describe", "pod", "web").stdout
    assert "PodmonUnsupported" in described
    assert reason in " ".join(described.split())
    assert seedpod.command("logs", "web").stdout == "up\n"
    joined = seedpod.command("exec", "web", "--", "true")
    assert joined.returncode == 1
    assert joined.stderr == (
        f"error: {reason}\nhint: use the seedpod that made the pod, or delete the pod and run it anew\n"
    )
    assert podmon_of(seedpod, found["metadata"]["uid"]) == number, "it is still there"
    assert seedpod.command("delete", "web", "--force").returncode == 0
    assert seedpod.command("get").stderr == "No resources found in default namespace.\n"
