"""Our own stdout and stderr: closed, read by nobody, shared, or in an encoding that lacks letters."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sandbox.front.writing import write_all
from sandbox.pod.paths import log_directory, log_path
from tests.sandbox.front.pods import status

TIMEOUT = 60  # seconds; a test that needs them has failed

# As users have it: what is printed to a pipe stays in a buffer for a while.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

SCRIPT = """
import sys
from pathlib import Path
from sandbox.front import cli, verbs
from tests.sandbox.front.engine import FakeClient, FakeEnd
from tests.sandbox.front.pods import running, status
pods = [status(running(), name=f"web-{n}") for n in range(100)]
pods += [status(running("app"), running("quiet"), labels={"k": "é"})]
FakeEnd.__exit__ = lambda *_: None  # what waits for an end waits for ever
FakeClient.wait_removed = lambda *_: print("waiting", file=sys.stderr) or True
verbs.connect = lambda options, start=True: FakeClient(pods)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("get",),
        ("get", "-o", "yaml"),
        ("get", "web", "nope"),
        ("describe",),
        ("logs", "web"),
        ("logs", "-f", "web", "--all-containers"),
        ("delete", "web"),
        ("delete", "--all", "--force"),
        ("get", "--help"),
        ("--help",),
    ],
)
def test_a_closed_pipe_is_no_traceback(words: tuple[str, ...], tmp_path: Path) -> None:
    for container in ("app", "quiet"):
        directory = log_directory(tmp_path, namespace="default", name="web", uid=status().uid, container=container)
        directory.mkdir(parents=True)
        log_path(directory, 0).write_text("2026-03-04T05:06:07Z stdout F one\n" if container == "app" else "")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as sink:
        result = subprocess.run(
            [sys.executable, "-c", SCRIPT, "--root", str(tmp_path), *words],
            env=BUFFERED,
            stdout=sink,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    assert result.returncode == 141
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


def test_a_closed_stderr_does_not_make_stdout_take_its_place(tmp_path: Path) -> None:
    script = f'{sys.executable} -c "$SCRIPT" --root {tmp_path} get nope 2>&-'
    result = subprocess.run(
        ["sh", "-c", script],
        env={**BUFFERED, "SCRIPT": SCRIPT},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")


def run(*words: str, **environment: str) -> tuple[int, bytes]:
    """Exit code, and stdout and stderr as they come in one pipe."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        env={**BUFFERED, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )
    return result.returncode, result.stdout


def test_what_is_printed_comes_in_the_order_of_events() -> None:
    assert run("get", "nope", "web", "-o", "name") == (
        1,
        b'pod/web\nError from server (NotFound): pods "nope" not found\n',
    )
    assert run("delete", "web") == (0, b'pod "web" deleted\nwaiting\n')


def test_a_letter_that_the_terminal_lacks_is_no_error() -> None:
    assert run("get", "web", "-o", "jsonpath={.metadata.labels.k}", PYTHONIOENCODING="ascii") == (0, b"\\xe9")


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    data = os.urandom(1 << 20)
    writer = threading.Thread(target=lambda: (write_all(writable, data), os.close(writable)))
    writer.start()
    with os.fdopen(readable, "rb") as reader:
        assert reader.read() == data
    writer.join(TIMEOUT)
