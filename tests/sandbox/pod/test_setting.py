"""What joins a container is told in a file, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.linux.ops import Seccomp
from sandbox.pod import setting
from sandbox.pod.privileges import Privileges
from sandbox.pod.setting import Setting


@pytest.mark.parametrize(
    "filter_", [None, Seccomp(b"\x06\0\0\0\0\0\xff\x7f", "RuntimeDefault", flags=1)], ids=["plain", "filter"]
)
def test_it_comes_back_as_it_was(filter_: Seccomp | None, tmp_path: Path) -> None:
    kept = Setting({"A": "b", "ü": ""}, "/data", Privileges(uid=7, groups=(8, 9), filter=filter_))
    setting.keep(tmp_path, kept)
    assert setting.kept(tmp_path) == kept


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"env":{},"cwd":1,"privileges":{}}'])
def test_where_it_is_damaged_nothing_joins_and_the_file_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / setting.FILE
    path.write_bytes(damage)
    with pytest.raises(SandboxError) as error:
        setting.kept(tmp_path)
    assert str(error.value).startswith(f"{path} cannot be read: ") and error.value.hint
