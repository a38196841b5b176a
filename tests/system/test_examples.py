"""Every manifest of examples/ runs, and does what its head says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner import Seedpod, lines_of

pytestmark = pytest.mark.root

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_shared_context(seedpod: Seedpod) -> None:
    result = seedpod.command("run", str(EXAMPLES / "shared-context.yaml"))
    one, two = lines_of(result.stdout, "one"), lines_of(result.stdout, "two")
    assert (result.returncode, result.stderr) == (3, "")
    assert one[0] == two[0] == "hostname shared-context"
    assert one[1:4] == two[1:4], "net, ipc, uts"
    assert all(mine != other for mine, other in zip(one[4:7], two[4:7], strict=True)), "mnt, pid, cgroup"
    assert two[7:] == [
        "the volume says: one was here",
        "/dev/shm says: memory of the pod",
        "the other's files are not here",
    ]


def test_fetch_and_serve(seedpod: Seedpod) -> None:
    result = seedpod.command("run", str(EXAMPLES / "fetch-and-serve.yaml"))
    assert (result.returncode, result.stderr) == (0, "")
    *pages, end = lines_of(result.stdout, "reader")
    assert len(pages) == len(set(pages)) == 5
    assert all(page.startswith("http://localhost:8080 serves: version ") for page in pages)
    assert end == "five versions seen on fetch-and-serve"


def test_debug_sidecar(seedpod: Seedpod) -> None:
    assert seedpod.command("run", "-d", "--wait", str(EXAMPLES / "debug-sidecar.yaml")).returncode == 0
    processes = seedpod.command("exec", "web", "-c", "debugger", "--", "ps", "-o", "pid,args").stdout
    assert "httpd -f -v -p 8080 -h /www" in processes
    fetch = "until wget -qO- localhost:8080; do sleep 0.1; done"
    assert seedpod.command("exec", "web", "-c", "debugger", "--", "sh", "-c", fetch).stdout == "served by web\n"
    assert seedpod.command("delete", "web").returncode == 0


def test_website(seedpod: Seedpod) -> None:
    """# A15: the claim keeps the page from one pod to the next."""
    for edition in (1, 2):
        result = seedpod.command("run", "-d", "--wait", str(EXAMPLES / "website.yaml"))
        assert (result.returncode, result.stderr) == (0, "")
        page = seedpod.command("exec", "website", "-c", "server", "--", "wget", "-qO-", "localhost:8080/index.html")
        assert page.stdout.splitlines() == [f"edition {number + 1}" for number in range(edition)]
        assert seedpod.command("delete", "website").returncode == 0
    assert seedpod.command("volume", "rm", "site").returncode == 0


def test_visitor(seedpod: Seedpod) -> None:
    """# A8"""
    assert seedpod.command("run", "-d", "--wait", str(EXAMPLES / "website.yaml")).returncode == 0
    address = seedpod.command("get", "website", "-o", "jsonpath={.status.podIP}").stdout
    result = seedpod.run((EXAMPLES / "visitor.yaml").read_text().replace("POD_IP", address))
    assert result.stdout == f"http://{address}:8080/index.html says:\nedition 1\n"
    assert seedpod.command("delete", "website").returncode == 0
    assert seedpod.command("volume", "rm", "site").returncode == 0


def test_volumes(seedpod: Seedpod) -> None:
    for visit in (1, 2):
        result = seedpod.command("run", str(EXAMPLES / "volumes.yaml"))
        assert (result.returncode, result.stderr) == (0, "")
        assert lines_of(result.stdout, "printer") == [f"visit {visit}", "the count is not for me to see"]
    assert seedpod.command("volume", "rm", "visits").returncode == 0


def test_confined(seedpod: Seedpod) -> None:
    result = seedpod.command("run", str(EXAMPLES / "confined.yaml"))
    assert (result.returncode, result.stderr) == (0, "")
    assert lines_of(result.stdout, "setup") == [
        "the pod has one address more",
        "mounted",
        "the host's devices are here",
    ]
    assert lines_of(result.stdout, "app") == [
        "uid 1000, groups 0 2000",
        f"CapBnd:\t{'0' * 16}",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "192.0.2.1 is here",
        "and not mine to take away",
        "the root cannot be written",
        "the volume can",
    ]


def test_no_example_is_forgotten() -> None:
    tested = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} <= tested
