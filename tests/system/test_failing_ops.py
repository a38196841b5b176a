"""What `run` says where the kernel refuses a step of a container: the step, the path, the errno and the cure."""

from __future__ import annotations

import pytest

from tests.runner import Manifest, Seedpod

pytestmark = pytest.mark.root

EMPTY: Manifest = {"name": "empty", "emptyDir": {}}


def below(target: str) -> list[Manifest]:
    return [{"name": "empty", "mountPath": target}]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"workingDir": "/bin/busybox"}, "change into /bin/busybox: openat2: Not a directory (ENOTDIR)"),
        ({"workingDir": f"/{'x' * 300}"}, "openat2: File name too long (ENAMETOOLONG)"),
        ({"volumeMounts": below("/bin/busybox/x")}, " at /bin/busybox/x: openat2: Not a directory (ENOTDIR)"),
        ({"volumeMounts": below("/bin/busybox")}, " at /bin/busybox: openat2: Not a directory (ENOTDIR)"),
        ({"command": ["/etc/passwd"]}, "run /etc/passwd: execve: Permission denied (EACCES)"),
    ],
    ids=["workingDir is a file", "workingDir is too long", "mount below a file", "mount onto a file", "no program"],
)
def test_a_step_that_the_kernel_refuses_is_told_with_its_path_and_errno(
    fields: Manifest, said: str, seedpod: Seedpod
) -> None:
    container = {**seedpod.container("c", "true"), **fields}
    result = seedpod.run(seedpod.pod(container, volumes=(EMPTY,)))
    error = result.stderr.splitlines()[0]
    assert (result.returncode, result.stdout) == (128, "")
    assert error.startswith('error: pod "web", container "c": ')
    assert error.endswith(said)
    assert "Traceback" not in result.stderr
