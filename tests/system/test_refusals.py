"""What cannot run is refused with one clear error, and nothing of it stays (CONTRACT "Errors", "Refused …")."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runner import TIMEOUT, Manifest, Seedpod

pytestmark = pytest.mark.root


def refused(seedpod: Seedpod, *pods: Manifest | str) -> list[str]:
    """The lines that `run` printed on stderr when it refused the pods before anything was made."""
    result = seedpod.run(*pods)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()


def with_container(seedpod: Seedpod, **fields: Any) -> Manifest:
    return seedpod.pod(seedpod.shell("fine", "echo never"), {**seedpod.shell("bad", "echo never"), **fields})


@pytest.mark.parametrize(
    ("image", "message", "hint"),
    [
        ("localhost/nope", 'image "localhost/nope" not found', "there are localhost/busybox, and rootfs:/PATH"),
        ("nginx:1.27", 'image "nginx:1.27" not found', "there are localhost/busybox, and rootfs:/PATH"),
        ("rootfs:/no/such", 'image "rootfs:/no/such": /no/such is not a directory', "create it, or correct the path"),
        ("rootfs:relative", 'image "rootfs:relative" not found', "write rootfs: and an absolute path"),
        ("rootfs:/etc/passwd", 'image "rootfs:/etc/passwd": /etc/passwd is not a directory', "create it"),
    ],
)
def test_a_missing_image(seedpod: Seedpod, image: str, message: str, hint: str) -> None:
    error, cure = refused(seedpod, with_container(seedpod, image=image))
    assert error == f"error: {message}"
    assert cure.startswith(f"hint: {hint}")


def test_a_missing_host_path(seedpod: Seedpod) -> None:
    volume = {"name": "gone", "hostPath": {"path": "/no/such/path"}}
    lines = refused(seedpod, seedpod.pod(seedpod.shell("c", "echo never"), volumes=(volume,)))
    assert lines == [
        'error: volume "gone": hostPath /no/such/path does not exist',
        "hint: create it first: mkdir -p /no/such/path",
    ]


def test_a_missing_command_of_an_image_that_has_none(seedpod: Seedpod, copied_rootfs: Path) -> None:
    pod = seedpod.pod({"name": "c", "image": f"rootfs:{copied_rootfs}"})
    error, cure = refused(seedpod, pod)
    assert error == f'error: container "c": no command, and image "rootfs:{copied_rootfs}" has none of its own'
    assert cure == "hint: give the container a command"


def test_a_misspelt_field_stands_with_its_line_and_a_guess(seedpod: Seedpod) -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  restartPolicy: Never\n  containers:\n"
    text += "  - name: c\n    imagee: localhost/busybox\n"
    assert refused(seedpod, text) == [
        "error: <stdin>:7:5: spec.containers[0].image: Required value",
        'error: <stdin>:8:5: spec.containers[0].imagee: unknown field "imagee", did you mean "image"?',
    ]


def test_a_field_that_is_not_implemented_is_refused_by_name(seedpod: Seedpod) -> None:
    lines = refused(seedpod, with_container(seedpod, envFrom=[{"configMapRef": {"name": "c"}}]))
    assert len(lines) == 1
    assert lines[0].endswith('spec.containers[1].envFrom: field "envFrom" is known but not implemented yet')


def test_one_bad_pod_refuses_all_of_the_file(seedpod: Seedpod) -> None:
    good = seedpod.pod(seedpod.shell("c", "echo never"), name="good")
    bad = seedpod.pod({**seedpod.shell("c", "echo never"), "image": "localhost/nope"}, name="bad")
    assert refused(seedpod, good, bad)[0] == 'error: image "localhost/nope" not found'


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/no/such"], "No such file or directory (ENOENT)"),
        (["no-such"], "No such file or directory (ENOENT)"),
        (["/etc/passwd"], "Permission denied (EACCES)"),
        (["/tmp"], "Permission denied (EACCES)"),
    ],
)
def test_a_command_that_cannot_run(seedpod: Seedpod, command: list[str], reason: str) -> None:
    result = seedpod.run(seedpod.pod(seedpod.container("c", *command)))
    assert (result.returncode, result.stdout) == (128, "")
    error, cure = result.stderr.splitlines()
    assert error == f'error: pod "web", container "c": run {command[0]}: execve: {reason}'
    assert cure.startswith("hint: ")


def test_a_script_without_an_interpreter_line(seedpod: Seedpod, copied_rootfs: Path) -> None:
    (copied_rootfs / "script").write_text("echo never\n")
    (copied_rootfs / "script").chmod(0o755)
    result = seedpod.run(seedpod.pod({**seedpod.container("c", "/script"), "image": f"rootfs:{copied_rootfs}"}))
    assert result.returncode == 128
    assert "run /script: execve: Exec format error (ENOEXEC)" in result.stderr


def test_a_working_directory_that_is_a_file(seedpod: Seedpod) -> None:
    result = seedpod.run(seedpod.pod(seedpod.shell("c", "echo never", workingDir="/etc/passwd")))
    assert result.returncode == 128
    assert "change into /etc/passwd: openat2: Not a directory (ENOTDIR)" in result.stderr


def test_a_mount_path_that_runs_through_a_file(seedpod: Seedpod) -> None:
    volume = {"name": "v", "emptyDir": {}}
    mount = {"name": "v", "mountPath": "/etc/passwd/below"}
    result = seedpod.run(seedpod.pod(seedpod.shell("c", "echo never", volumeMounts=[mount]), volumes=(volume,)))
    assert result.returncode == 128
    assert "attach volume v at /etc/passwd/below: openat2: Not a directory (ENOTDIR)" in result.stderr


def test_a_manifest_that_is_not_there(seedpod: Seedpod) -> None:
    result = seedpod.command("run", "/no/such.yaml")
    assert (result.returncode, result.stderr) == (1, "error: read /no/such.yaml: No such file or directory (ENOENT)\n")


def test_a_root_directory_that_cannot_be_made(seedpod: Seedpod, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "pod.json").write_text(json.dumps(seedpod.pod(seedpod.shell("c", "echo never"))))
    result = Seedpod(tmp_path / "file" / "root", seedpod.probe, seedpod.program).command("run", f"{tmp_path}/pod.json")
    assert result.returncode == 1
    assert result.stderr == f"error: make the root directory {tmp_path}/file/root: Not a directory (ENOTDIR)\n"


def test_wrong_usage_is_exit_code_2(seedpod: Seedpod) -> None:
    for words in (
        (),
        ("nope",),
        ("run",),
        ("run", "a", "b"),
        ("info", "x"),
        ("run", "--kept", "x"),
        ("run", "--wait", "x"),
        ("agent", "--now"),
    ):
        result = seedpod.command(*words)
        assert result.returncode == 2, words
        error, hint = result.stderr.splitlines()
        assert error.startswith("error: "), words
        assert hint.startswith("hint: seedpod ") and hint.endswith(" --help"), words


def test_without_root_it_says_so(seedpod: Seedpod, tmp_path: Path) -> None:
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(seedpod.pod(seedpod.shell("c", "echo never"))))
    result = as_nobody(["run", "-"], file.read_bytes())
    assert result.returncode == 1
    assert result.stderr.decode().splitlines() == [
        "error: only root can run pods",
        "hint: run it with sudo",
    ]


def as_nobody(words: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """The command line as an unprivileged user; imported here, as that user may not read the checkout."""
    script = "import os, sys; from sandbox.front import cli, run, info; os.setresgid(65534, 65534, 65534);"
    script += "os.setgroups([]); os.setresuid(65534, 65534, 65534);"
    script += f"sys.argv = ['seedpod', '--root', '/tmp/nobody', *{words!r}]; sys.exit(cli.main())"
    return subprocess.run(
        [os.sys.executable, "-c", script], input=stdin, capture_output=True, timeout=TIMEOUT, check=False
    )


@pytest.mark.parametrize("lost", ["SYS_ADMIN", "NET_ADMIN", "MKNOD"])
def test_a_runtime_that_lacks_a_capability_says_which(seedpod: Seedpod, tmp_path: Path, lost: str) -> None:
    """# A44"""
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(seedpod.pod(seedpod.shell("c", "echo never"))))
    result = subprocess.run(
        ["setpriv", f"--bounding-set=-{lost.lower()}", seedpod.program, "--root", seedpod.root, "run", file],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == f"error: running a pod needs CAP_{lost}, which this host lacks"


@pytest.mark.parametrize("prebuilt", [True, False])
def test_a_full_disk_is_an_error_and_leaves_nothing(seedpod: Seedpod, tmp_path: Path, prebuilt: bool) -> None:
    """The root is a tmpfs of a few pages, in a mount namespace of the test's own."""
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(seedpod.pod(seedpod.shell("c", "echo ran"))))
    small = tmp_path / "small"
    small.mkdir()
    images = f"ln -s {seedpod.root}/images {small}/images;" if prebuilt else ""
    outcomes = set()
    for inodes in range(2, 60, 3):
        script = f"mount -t tmpfs -o nr_inodes={inodes} tmpfs {small}; {images}"
        script += f"{seedpod.program} --root {small} run {file}; echo $?; ls {small}/pods"
        result = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert "Traceback" not in result.stderr
        ran = result.stdout == "ran\n0\n"
        assert ran or result.stdout in ("1\n", "128\n"), (inodes, result)
        said = "No space left on device" in result.stderr or "could not write there" in result.stderr
        assert said or ran, (inodes, result)  # or both: it ran, and what became of it could not be written down
        outcomes.add(ran)
    assert outcomes == ({True, False} if prebuilt else {False})


def test_a_limit_of_open_files_is_an_error_and_leaves_nothing(seedpod: Seedpod, tmp_path: Path) -> None:
    """With each small number of fds the run says clearly why not, and from a certain one on it works."""
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(seedpod.pod(seedpod.shell("a", "true"), seedpod.shell("b", "true"))))
    outcomes = set()
    for limit in (*range(8, 64, 5), 64, 80):
        result = subprocess.run(
            ["prlimit", f"--nofile={limit}", seedpod.program, "--root", seedpod.root, "run", file],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert "Traceback" not in result.stderr, (limit, result.stderr)
        assert result.returncode == 0 or "Too many open files" in result.stderr, (limit, result)
        outcomes.add((result.returncode, limit >= 64))
    assert outcomes == {(1, False), (0, True)}
    # What could not even be undone for want of fds is removed by the next run that has some.
    assert seedpod.run(seedpod.pod(seedpod.shell("c", "true"))).returncode == 0


def test_references_that_grow_without_bound_are_refused_before_they_take_the_memory(seedpod: Seedpod) -> None:
    env = [{"name": "A0", "value": "x" * 1000}]
    env += [{"name": f"A{n}", "value": f"$(A{n - 1})$(A{n - 1})"} for n in range(1, 40)]
    (error, cure) = refused(seedpod, seedpod.pod(seedpod.shell("c", "echo never", env=env)))
    assert error == 'error: "$(A7)$(A7)" is longer than 131072 bytes, or expands to more'
    assert cure.startswith("hint: ")


def test_more_volume_mounts_than_one_message_carries_are_refused(seedpod: Seedpod) -> None:
    def pod(count: int) -> Manifest:
        mounts = [{"name": "v", "mountPath": f"/v/{number}"} for number in range(count)]
        container = {"name": "c", "image": "localhost/busybox", "command": ["true"], "volumeMounts": mounts}
        return seedpod.pod(container, volumes=({"name": "v", "emptyDir": {}},))

    assert refused(seedpod, pod(225)) == ['error: container "c" has 225 volumeMounts: at most 224 are possible']
    assert seedpod.run(pod(224)).returncode == 0


@pytest.mark.parametrize("path", ["/", ".", "//", "/a/..", "../.."])
def test_a_mount_over_the_root_directory_is_refused(seedpod: Seedpod, path: str) -> None:
    container = seedpod.shell("c", "echo never", volumeMounts=[{"name": "v", "mountPath": path}])
    (line,) = refused(seedpod, seedpod.pod(container, volumes=({"name": "v", "emptyDir": {}},)))
    assert line.endswith(f'mountPath: Invalid value: "{path}": must not be the root directory')


def test_a_tree_deeper_than_python_goes_is_removed(seedpod: Seedpod) -> None:
    script = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done"
    result = seedpod.run(seedpod.pod(seedpod.shell("c", script)))
    assert (result.returncode, result.stderr) == (0, "")


def test_what_a_manifest_says_does_not_steer_the_terminal(seedpod: Seedpod) -> None:
    result = seedpod.run(seedpod.pod(seedpod.container("c", "no\x1b[31m-such\ncommand")))
    assert "\x1b" not in result.stderr
    assert len(result.stderr.splitlines()) == 2
    lines = refused(seedpod, seedpod.pod({**seedpod.shell("c", "x"), "image": "rootfs:/no\x1b]0;\x07"}))
    assert "\x1b" not in "".join(lines)


def test_an_error_line_is_not_as_long_as_the_command(seedpod: Seedpod) -> None:
    result = seedpod.run(seedpod.pod(seedpod.container("c", "no-such", "x" * 100_000)))
    assert result.returncode == 128
    assert len(result.stderr) < 1000
