"""Every key of the engine's configuration, and every way to get one wrong."""

from __future__ import annotations

import os
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.pod import config
from sandbox.pod.config import Config, load, parse


@pytest.fixture(autouse=True)
def _no_system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")


def test_every_key_has_a_default(tmp_path: Path) -> None:
    assert load(tmp_path) == Config(os.uname().nodename.lower(), 300.0, 10 << 20, 5, -1, "")


def test_the_file_of_the_root_comes_before_that_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "config.toml").write_text('nodeName = "system"\ncontainerLogMaxFiles = 9\n')
    assert load(tmp_path).node_name == "system"
    (tmp_path / "config.toml").write_text('nodeName = "root"\n')
    assert load(tmp_path) == Config("root"), "the other is not read at all"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('nodeName = "node-1.example"', Config("node-1.example")),
        ('maxContainerRestartPeriod = "1s"', Config(max_container_restart_period=1)),
        ('maxContainerRestartPeriod = "1m30s"', Config(max_container_restart_period=90)),
        ('maxContainerRestartPeriod = "5m"', Config(max_container_restart_period=300)),
        ('containerLogMaxSize = "64Ki"', Config(container_log_max_size=65536)),
        ("containerLogMaxSize = 65536", Config(container_log_max_size=65536)),
        ('containerLogMaxSize = "1G"', Config(container_log_max_size=10**9)),
        ("podPidsLimit = -1", Config(pod_pids_limit=-1)),
        ("podPidsLimit = 8", Config(pod_pids_limit=8)),
        ("podPidsLimit = 4194304", Config(pod_pids_limit=4194304)),
        ("containerLogMaxFiles = 2", Config(container_log_max_files=2)),
        ('containerLogFullDisk = "block"', Config(container_log_block=True)),
        ('containerLogFullDisk = "drop"', Config()),
        ('cgroupParent = "/machine.slice/a/"', None),
        ('cgroupParent = "/machine.slice/a"', Config(cgroup_parent="machine.slice/a")),
        ('cgroupParent = "machine.slice"', Config(cgroup_parent="machine.slice")),
        ('cgroupParent = ""', Config()),
        ('podCIDR = "10.9.0.0/16"', Config(pod_cidr=(ip_network("10.9.0.0/16"),))),
        ('podCIDR = "fd09::/64"', Config(pod_cidr=(ip_network("fd09::/64"),))),
        ('podCIDR = "fd09::/64,10.9.0.0/16"', Config(pod_cidr=(ip_network("10.9.0.0/16"), ip_network("fd09::/64")))),
        ("seccompDefault = true", Config(seccomp_default=True)),
        ("seccompDefault = false", Config()),
        ("", Config()),
    ],
)
def test_each_key_is_read(text: str, expected: Config | None) -> None:
    if expected is None:
        with pytest.raises(SandboxError, match="cgroupParent: must be a path"):
            parse(text, "f")
    else:
        assert parse(text, "f") == expected


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("nodeName", ['""', '"Upper"', '"-a"', '"a_b"', "5", "true", '"a\\nb"', f'"{"a" * 254}"']),
        (
            "maxContainerRestartPeriod",
            ['"0s"', '"301s"', '"5m1s"', '"1h"', '"1.5s"', '""', '"s"', '"-1s"', "10", "true", '"10s\\n"'],
        ),
        ("containerLogMaxSize", ['"63Ki"', "65535", '"10mi"', '"-1Gi"', "1.5", "true", '""', '"999999999999Gi"', "[]"]),
        ("containerLogMaxFiles", ["1", "1001", "true", '"5"', "2.0", "-5"]),
        ("containerLogFullDisk", ['"wait"', '""', "true", "1", "[]", '"Block"']),
        ("podPidsLimit", ["0", "-2", "7", "4194305", "true", '"100"', "100.0"]),
        ("seccompDefault", ['"true"', "1", "[]"]),
        ("cgroupParent", ['"../x"', '"a/../b"', '"a//b"', '"a b"', "5", "true", '"a\\nb"', '"é"', "1979-05-27"]),
    ],
)
def test_a_value_that_is_none_is_refused_by_its_key(key: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(SandboxError, match=f"^the file: {key}: must be "):
            parse(f"{key} = {value}", "the file")


def test_an_unknown_key_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(SandboxError, match='f: unknown key "nodename"') as caught:
        parse('nodename = "a"', "f")
    assert caught.value.hint is not None
    assert "nodeName" in caught.value.hint


@pytest.mark.parametrize("key", ["clusterDomain", "cgroupDriver"])
def test_a_key_that_does_nothing_yet_is_refused_by_name(key: str) -> None:
    with pytest.raises(SandboxError, match=f'key "{key}" is known but not implemented yet'):
        parse(f'{key} = "x"', "f")


@pytest.mark.parametrize(
    "text",
    ["nodeName", 'nodeName = "a"\nnodeName = "b"', f"x = {'9' * 5000}", "x = " + "[" * 100_000, "x = 2026-13-45"],
    ids=["half", "twice", "digits", "depth", "date"],
)
def test_what_is_no_toml_is_refused_with_the_name_of_the_file(text: str) -> None:
    with pytest.raises(SandboxError, match=r"^the file: "):
        parse(text, "the file")


def test_a_long_wrong_path_is_refused_in_no_time() -> None:
    began = time.process_time()
    with pytest.raises(SandboxError, match="cgroupParent"):
        parse(f'cgroupParent = "{"a" * 200}!"', "f")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b'nodeName = "\xff"')])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "config.toml")
    with pytest.raises(SandboxError, match=r"config\.toml: cannot be read: "):
        load(tmp_path)
