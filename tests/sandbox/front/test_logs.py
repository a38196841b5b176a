"""Which log is read, how its lines are printed, and how following ends.  The files are real, as podmon writes them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from sandbox.front import logs as logs_module
from sandbox.pod.paths import log_directory, log_path
from sandbox.status import ContainerStatus, PodStatus
from tests.sandbox.front.engine import CommandLine, FakeClient, FakeEnd
from tests.sandbox.front.pods import ID, end, running, status, terminated, waiting

TIMEOUT = 60  # seconds; a test that needs them has failed


@dataclass
class Logs:
    """The logs of the pod `web` below a root."""

    root: Path
    pod: PodStatus
    _second: int = field(default=0)

    def write(self, container: str, *lines: str, instance: int = 0) -> None:
        """Whole lines; one that ends in "\\\\" has no end yet.  Each is a second later than the one before."""
        directory = log_directory(
            self.root, namespace="default", name=self.pod.pod.name, uid=self.pod.uid, container=container
        )
        directory.mkdir(parents=True, exist_ok=True)
        with log_path(directory, instance).open("a") as file:
            for line in lines:
                tag = "P" if line.endswith("\\") else "F"
                file.write(f"{self.time()} stdout {tag} {line.rstrip(chr(92))}\n")

    def time(self) -> str:
        self._second += 1
        return f"2026-03-04T05:06:{self._second:02}.000000001Z"


def logs(command: CommandLine, *containers: ContainerStatus) -> Logs:
    return Logs(Path(command.root), status(*(containers or (running(),))))


# ---- lines ----


def test_what_was_written_is_printed(command: CommandLine) -> None:
    web = logs(command)
    web.write("app", "one", "two", "no end\\")
    assert command([web.pod], "logs", "web") == (0, "one\ntwo\nno end", "")
    assert command([web.pod], "logs", "pod", "web") == (0, "one\ntwo\nno end", "")
    assert command([web.pod], "logs", "po/web", "-c", "app") == (0, "one\ntwo\nno end", "")


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("--tail=1",), "three\n"),
        (("--tail", "0"), ""),
        (("--tail=-1",), "one\ntwo\nthree\n"),
        (("--tail", "-1"), "one\ntwo\nthree\n"),
        (("--since-time=2026-03-04T05:06:02Z",), "two\nthree\n"),
        (("--since-time=2026-03-04T06:06:03+01:00", "--tail=5"), "three\n"),
        (("--since=1s",), ""),
        (("--since=100000h",), "one\ntwo\nthree\n"),
        (("--since=0s",), "one\ntwo\nthree\n"),
        (("--timestamps", "--tail=1"), "2026-03-04T05:06:03.000000001Z three\n"),
        (("--prefix", "--tail=1"), "[pod/web/app] three\n"),
        (("--prefix", "--timestamps=true", "--tail=1"), "[pod/web/app] 2026-03-04T05:06:03.000000001Z three\n"),
        (("--all-containers", "--tail=1"), "three\n"),
    ],
)
def test_which_lines_and_how(words: tuple[str, ...], out: str, command: CommandLine) -> None:
    web = logs(command)
    web.write("app", "one", "two", "three")
    assert command([web.pod], "logs", "web", *words) == (0, out, "")


def test_the_default_container_is_named(command: CommandLine) -> None:
    web = logs(command, running("a"), running("b"))
    web.write("a", "from a")
    web.write("b", "from b")
    assert command([web.pod], "logs", "web") == (0, "from a\n", 'Defaulted container "a" out of: a, b\n')
    assert command([web.pod], "logs", "web", "-cb") == (0, "from b\n", "")


def test_several_containers_come_one_after_the_other_in_whole_lines(command: CommandLine) -> None:
    web = logs(command, running("a"), running("b"))
    web.write("a", "1", "2\\")
    web.write("b", "3")
    assert command([web.pod], "logs", "web", "--all-containers") == (0, "1\n2\n3\n", "")
    assert command([web.pod], "logs", "web", "--all-containers", "--prefix") == (
        0,
        "[pod/web/a] 1\n[pod/web/a] 2\n[pod/web/b] 3\n",
        "",
    )


def test_a_long_log_is_whole(command: CommandLine) -> None:
    web = logs(command)
    directory = log_directory(web.root, namespace="default", name="web", uid=web.pod.uid, container="app")
    directory.mkdir(parents=True)
    lines = [f"line {n}" for n in range(20000)]
    time = web.time()
    log_path(directory, 0).write_text("".join(f"{time} stdout F {line}\n" for line in lines))
    assert command([web.pod], "logs", "web")[1].splitlines() == lines


def test_a_container_without_output_has_an_empty_log(command: CommandLine) -> None:
    assert command([logs(command).pod], "logs", "web") == (0, "", "")


# ---- instances ----

LAST = end(1)
NEVER_WAS = replace(LAST, container_id="")


@pytest.mark.parametrize(
    ("container", "words", "out"),
    [
        (running(restart_count=2, last_state=LAST), (), "2\n"),
        (running(restart_count=2, last_state=LAST), ("-p",), "1\n"),
        (terminated(1, "Error"), (), "0\n"),
        # One that waits for its next start has ended already: what ended last is what there is.
        (waiting("CrashLoopBackOff", restart_count=1, last_state=LAST, container_id=ID), (), "1\n"),
        (waiting("CrashLoopBackOff", restart_count=1, last_state=LAST, container_id=ID), ("-p",), "1\n"),
    ],
)
def test_the_instance_is_the_one_that_kubelet_would_read(
    container: ContainerStatus, words: tuple[str, ...], out: str, command: CommandLine
) -> None:
    web = logs(command, container)
    for instance in range(3):
        web.write("app", str(instance), instance=instance)
    assert command([web.pod], "logs", "web", *words) == (0, out, "")


@pytest.mark.parametrize(
    ("container", "words", "said"),
    [
        (waiting("ContainerCreating"), (), 'container "app" in pod "web" is waiting to start: ContainerCreating'),
        (
            waiting("ErrImagePull"),
            ("-f",),
            'container "app" in pod "web" is waiting to start: image can\'t be pulled',
        ),
        (
            waiting("ImagePullBackOff"),
            ("--all-containers",),
            'container "app" in pod "web" is waiting to start: trying and failing to pull image',
        ),
        (replace(running(), state=NEVER_WAS), (), 'container "app" in pod "web" is terminated'),
        (running(last_state=NEVER_WAS), ("-p",), 'previous terminated container "app" in pod "web" not found'),
        (running(), ("-p",), 'previous terminated container "app" in pod "web" not found'),
        (running(), ("-p", "-f"), 'previous terminated container "app" in pod "web" not found'),
        (waiting("ContainerCreating"), ("-p",), 'previous terminated container "app" in pod "web" not found'),
    ],
)
def test_a_container_without_a_log_is_a_bad_request(
    container: ContainerStatus, words: tuple[str, ...], said: str, command: CommandLine
) -> None:
    web = logs(command, container)
    assert command([web.pod], "logs", "web", *words) == (1, "", f"Error from server (BadRequest): {said}\n")


def test_containers_before_one_without_a_log_are_printed(command: CommandLine) -> None:
    web = logs(command, running("a"), waiting("ContainerCreating", "b"))
    web.write("a", "1")
    assert command([web.pod], "logs", "web", "--all-containers") == (
        1,
        "1\n",
        'Error from server (BadRequest): container "b" in pod "web" is waiting to start: ContainerCreating\n',
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "error: the name of a pod is missing\n"),
        (("web", "db"), 2, "error: one pod at a time, not 2\n"),
        (
            ("web", "--all-containers", "-c", "app"),
            2,
            "error: --all-containers=true should not be specified with container name app\n",
        ),
        (("web", "--tail=-2"), 2, "error: --tail must be greater than or equal to -1\n"),
        (("web", "--since=-5s"), 2, "error: --since must be greater than 0\n"),
        (
            ("web", "--since=5s", "--since-time=2026-01-01T00:00:00Z"),
            2,
            "error: at most one of --since or --since-time may be specified\n",
        ),
        (
            ("web", "--since-time=yesterday"),
            2,
            'error: argument --since-time: "yesterday" is no time as in RFC 3339: 2026-01-02T15:04:05Z\n'
            "hint: seedpod logs --help\n",
        ),
        (("nope",), 1, 'Error from server (NotFound): pods "nope" not found\n'),
        (("web", "-n", "x"), 1, 'Error from server (NotFound): pods "web" not found\n'),
        (("web", "-c", "x"), 1, "error: container x is not valid for pod web\nhint: one of: app\n"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], code: int, said: str, command: CommandLine) -> None:
    assert command([logs(command).pod], "logs", *words) == (code, "", said)


# ---- following ----


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[BinaryIO]:
    """What `logs` prints, to be read while it goes on."""
    readable, writable = os.pipe()
    monkeypatch.setattr(logs_module, "_STDOUT", writable)
    with os.fdopen(readable, "rb") as reader:
        yield reader
    os.close(writable)


class Following:
    """`seedpod logs -f`, in a thread."""

    def __init__(self, command: CommandLine, client: FakeClient, *words: str) -> None:
        self.result: tuple[int, str, str] | None = None
        self._thread = threading.Thread(target=self._run, args=(command, client, words))
        self._thread.start()

    def _run(self, command: CommandLine, client: FakeClient, words: tuple[str, ...]) -> None:
        self.result = command(client, "logs", "-f", *words)

    def ended(self) -> tuple[int, str, str] | None:
        self._thread.join(TIMEOUT)
        return self.result


def test_following_goes_on_until_the_instance_ended(command: CommandLine, printed: BinaryIO) -> None:
    web = logs(command, running(restart_count=1, last_state=LAST))
    web.write("app", "one", instance=1)
    client = FakeClient([web.pod])
    following = Following(command, client, "web")
    assert printed.readline() == b"one\n"
    web.write("app", "two", instance=1)
    assert printed.readline() == b"two\n"
    web.write("app", "last", instance=1)
    client.ends["app"].come()
    assert printed.readline() == b"last\n"
    assert following.ended() == (0, "", "")
    assert ("ended", web.pod.uid, "app", 1) in client.calls


def test_several_are_followed_at_once(command: CommandLine, printed: BinaryIO) -> None:
    web = logs(command, running("a"), running("b"))
    web.write("a", "1")
    web.write("b")
    client = FakeClient([web.pod])
    following = Following(command, client, "web", "--all-containers", "--prefix")
    assert printed.readline() == b"[pod/web/a] 1\n"
    web.write("b", "2")
    assert printed.readline() == b"[pod/web/b] 2\n"
    client.ends["b"].come()
    web.write("a", "3", "4\\")
    assert printed.readline() == b"[pod/web/a] 3\n"
    client.ends["a"].come()
    assert printed.readline() == b"[pod/web/a] 4\n"
    assert following.ended() == (0, "", "")


def test_lines_of_several_are_not_mixed(command: CommandLine, printed: BinaryIO) -> None:
    """However long they are: no write to a pipe of more than 4096 bytes is sure to be one piece."""
    web = logs(command, running("a"), running("b"))
    for container in ("a", "b"):
        web.write(container, *[container * 300_000] * 5)
    client = FakeClient([web.pod])
    following = Following(command, client, "web", "--all-containers")
    lines = [printed.readline() for _ in range(10)]
    for container in ("a", "b"):
        assert lines.count(f"{container * 300_000}\n".encode()) == 5
        client.ends[container].come()
    assert following.ended() == (0, "", "")


def test_a_container_that_ended_before_is_followed_to_its_end(command: CommandLine, printed: BinaryIO) -> None:
    web = logs(command, terminated(0, "Completed"))
    web.write("app", "one")
    client = FakeClient([web.pod])
    client.ends["app"] = FakeEnd()
    client.ends["app"].come()
    assert command(client, "logs", "-f", "web", "--tail=1") == (0, "", "")
    assert printed.readline() == b"one\n"


def test_the_previous_instance_has_ended_however_it_is_read(command: CommandLine) -> None:
    web = logs(command, running(restart_count=1, last_state=LAST))
    web.write("app", "zero")
    client = FakeClient([web.pod])
    assert command(client, "logs", "-fp", "web") == (0, "zero\n", "")
    assert client.ends == {}


def test_a_reader_that_is_gone_ends_all_of_it(command: CommandLine, printed: BinaryIO) -> None:
    web = logs(command, running("a"), running("b"))
    web.write("a", "1")
    web.write("b")
    client = FakeClient([web.pod])
    following = Following(command, client, "web", "--all-containers")
    assert printed.readline() == b"1\n"
    printed.close()
    web.write("b", "2")
    assert following.ended() == (128 + signal.SIGPIPE, "", "")
    assert client.closed


class ClosedEnd(FakeEnd):
    """Cannot be asked any more once it was left."""

    closed = False

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def finished(self) -> bool:
        if self.closed:
            raise ValueError("closed")
        return False


def test_whoever_still_waits_then_ends_in_silence(
    command: CommandLine, printed: BinaryIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    before = set(threading.enumerate())
    web = logs(command, running("a"), running("b"))
    web.write("a", "1")
    web.write("b")
    client = FakeClient([web.pod], ends={"a": ClosedEnd(), "b": ClosedEnd()})
    printed.close()
    assert command(client, "logs", "-f", "web", "--all-containers")[0] == 128 + signal.SIGPIPE
    web.write("b", "2")
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
    assert failed == []


def test_a_log_that_cannot_be_followed_is_an_error(command: CommandLine) -> None:
    web = logs(command)
    code, out, err = command(FakeClient([web.pod]), "logs", "-f", "web")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.endswith("/app: No such file or directory\n")


def test_an_interrupt_ends_it(command: CommandLine, printed: BinaryIO) -> None:
    web = logs(command)
    web.write("app", "one")
    client = FakeClient([web.pod])

    def interrupt() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # it is not this thread's
        assert printed.readline() == b"one\n"
        os.kill(os.getpid(), signal.SIGINT)

    reader = threading.Thread(target=interrupt)
    reader.start()
    assert command(client, "logs", "-f", "web") == (130, "", "")
    reader.join(TIMEOUT)
