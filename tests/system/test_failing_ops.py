"""What `run` says where the kernel refuses a step of a container: the step, the path, the errno and the cure."""

from __future__ import annotations

import pytest

from tests.runner import Manifest, Seedpod

pytestmark = pytest.mark.root

EMPTY: Manifest = {"name": "empty", "emptyDir": {}}


def below(target: str) -> list[Manifest]:
    return [{"name": "empty", "mountPath": target}]


STEPS: dict[str, tuple[Manifest, str]] = {
    "cwd": ({"workingDir": "/bin/busybox"}, "change into /bin/busybox: openat2: Not a directory (ENOTDIR)"),
    "long": ({"workingDir": f"/{'x' * 300}"}, "openat2: File name too long (ENAMETOOLONG)"),
    "below": ({"volumeMounts": below("/bin/busybox/x")}, " at /bin/busybox/x: openat2: Not a directory (ENOTDIR)"),
    "onto": ({"volumeMounts": below("/bin/busybox")}, " at /bin/busybox: openat2: Not a directory (ENOTDIR)"),
    "program": ({"command": ["/etc/passwd"]}, "run /etc/passwd: execve: Permission denied (EACCES)"),
}


def test_a_step_that_the_kernel_refuses_is_told_with_its_path_and_errno(seedpod: Seedpod) -> None:
    containers = [{**seedpod.container(name, "true"), **fields} for name, (fields, _) in STEPS.items()]
    result = seedpod.run(seedpod.pod(*containers, volumes=(EMPTY,)))
    assert (result.returncode, result.stdout) == (128, "")
    assert "Traceback" not in result.stderr
    for name, (_, said) in STEPS.items():
        subject = f'error: pod "web", container "{name}": '
        (error,) = (line for line in result.stderr.splitlines() if line.startswith(subject))
        assert error.endswith(said)
