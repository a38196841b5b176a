"""`seedpod check`: every finding with its place, exit codes, and what is done with files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.front.check import check

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeSelector: {disk: ssd}
  containers:
  - name: app
    image: localhost/busybox
"""


@pytest.fixture
def pod_file(tmp_path: Path) -> Path:
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    return path


def test_a_warning_is_no_error(pod_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([str(pod_file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{pod_file}:5:3: spec.nodeSelector: warning: has no effect here: there is one node",
        f"{pod_file}: pod/web is valid",
    ]


def test_every_finding_is_told_in_the_order_of_the_text(pod_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pod_file.write_text(POD.replace("image:", "imagee:").replace("name: web", "name: Web"))
    assert check([str(pod_file)]) == 1
    places = [line.split(": ")[0].removeprefix(f"{pod_file}:") for line in capsys.readouterr().out.splitlines()]
    assert places == ["3:18", "5:3", "7:5", "8:5"]


def test_a_slip_of_the_finger_is_told_with_what_was_meant(pod_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pod_file.write_text(POD.replace("image:", "imagee:"))
    check([str(pod_file)])
    assert (
        f'{pod_file}:8:5: spec.containers[0].imagee: unknown field "imagee", did you mean "image"?'
        in capsys.readouterr().out.splitlines()
    )


def test_one_wrong_file_of_several_is_enough(pod_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = pod_file.with_name("other.yaml")
    other.write_text("kind: Pod\n")
    assert check([str(other), str(pod_file), str(pod_file)]) == 1
    out = capsys.readouterr().out
    assert f"{other}:1:1: apiVersion: Required value" in out
    assert out.count(f"{pod_file}: pod/web is valid") == 1, "a file that is named twice is checked once"


def test_a_file_that_cannot_be_read_is_an_error_and_the_others_are_checked(
    pod_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check([str(pod_file.with_name("none.yaml")), str(pod_file)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"error: read {pod_file.with_name('none.yaml')}: No such file or directory (ENOENT)\n"
    assert "pod/web is valid" in captured.out


def test_what_a_file_says_cannot_steer_the_terminal(pod_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pod_file.write_text(POD.replace("image: ", '"\\e[31mimage": '))
    assert check([str(pod_file)]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_claims_are_checked_as_pods_are(pod_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [%s], %s}\n"
    size = "resources: {requests: {storage: 1Gi}}"
    pod_file.write_text(f"{POD}---\n{claim % ('ReadWriteOnce', size)}")
    assert check([str(pod_file)]) == 0
    valid = [f"{pod_file}: pod/web is valid", f"{pod_file}: persistentvolumeclaim/data is valid"]
    assert capsys.readouterr().out.splitlines()[-2:] == valid
    pod_file.write_text(f"{POD}---\n{claim % ('RWO', size)}")
    assert check([str(pod_file)]) == 1
    assert 'spec.accessModes[0]: Unsupported value: "RWO"' in capsys.readouterr().out
