"""The files of /etc that are the pod's: hosts, hostname and resolv.conf, also where an image has links there (A10)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.network import Host, client, ips
from tests.runner import Seedpod
from tests.staying import detached

pytestmark = pytest.mark.root


def file_in_pod(seedpod: Seedpod, name: str) -> str:
    return seedpod.command("exec", "web", "--", "cat", f"/etc/{name}").stdout


def test_a_pod_finds_itself_by_its_hostname(seedpod: Seedpod) -> None:
    """# A10: getaddrinfo(hostname) is the pod's address"""
    detached(seedpod, client(seedpod, "web", hostname="called"))
    four, six = ips(seedpod, "web")
    assert file_in_pod(seedpod, "hosts") == (
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n"
        f"{four}\tcalled\n{six}\tcalled\n"
    )
    assert file_in_pod(seedpod, "hostname") == "called\n"
    assert seedpod.command("exec", "web", "--", "hostname", "-i").stdout.split() == [four, six][:1]


RESOLVED = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"
UPSTREAM = "/run/systemd/resolve/resolv.conf"


@pytest.mark.parametrize(
    "case",
    [
        ("nameserver 192.0.2.53\nnameserver fd77::53\nsearch a.example b.example\noptions ndots:2\n", None, None),
        ("# mine\nnameserver 192.0.2.53 ; far\n", None, "nameserver 192.0.2.53\n"),
        ("nameserver 127.0.0.1\nnameserver 192.0.2.53\n", None, "nameserver 192.0.2.53\n"),
        (RESOLVED, "nameserver 192.0.2.53\nsearch lan\n", "nameserver 192.0.2.53\nsearch lan\n"),
        (RESOLVED, "nameserver fe80::1%3\nnameserver ::1\n", ""),
        (RESOLVED, None, ""),
        ("", None, None),
    ],
    ids=["as it is", "comments", "some loopback", "resolved", "resolved without", "loopback", "empty"],
)
def test_a_pod_asks_the_hosts_nameservers_that_it_can_reach(
    case: tuple[str, str | None, str | None], on_host: Seedpod, host: Host, tmp_path: Path
) -> None:
    """# A10: dnsPolicy ClusterFirst without a cluster is Default; where there is none a warning says so"""
    of_host, upstream, of_pod = case  # the files of the host; what the pod gets, None: the host's as it is
    host.file("/etc/resolv.conf", of_host, tmp_path)
    host.shell("mount -t tmpfs tmpfs /run")
    if upstream is not None:
        (tmp_path / "upstream").write_text(upstream)
        host.shell(f"mkdir -p $(dirname {UPSTREAM}); cp {tmp_path}/upstream {UPSTREAM}")
    result = on_host.command("run", "-d", "-", input=json.dumps(client(on_host, "web")))
    assert (result.returncode, result.stderr != "") == (0, of_pod == "")
    told = on_host.command("describe", "pod", "web").stdout
    if of_pod == "":
        assert file_in_pod(on_host, "resolv.conf") == "options edns0 trust-ad\nsearch lan\n"
        assert "DNSConfigForming" in told
        assert f"can be reached from the host alone, and {UPSTREAM} names no other" in told
    else:
        assert file_in_pod(on_host, "resolv.conf") == (of_host if of_pod is None else of_pod)
        assert "DNSConfigForming" not in told


def test_on_the_hosts_network_the_files_are_the_hosts(on_host: Seedpod, host: Host, tmp_path: Path) -> None:
    host.file("/etc/resolv.conf", RESOLVED, tmp_path)
    host.file("/etc/hosts", "192.0.2.9\tother\n", tmp_path)
    detached(on_host, client(on_host, "web", hostNetwork=True))
    assert file_in_pod(on_host, "resolv.conf") == RESOLVED
    expected = "# Kubernetes-managed hosts file (host network).\n192.0.2.9\tother\n"
    assert file_in_pod(on_host, "hosts") == expected


@pytest.mark.parametrize(
    "link",
    [
        "../run/resolvconf/resolv.conf",
        "/run/systemd/resolve/stub-resolv.conf",
        "resolv.conf.d/head",
        "../../../../../../tmp/made",
        "other",
    ],
)
def test_a_link_of_an_image_that_leads_nowhere_is_made_inside_the_image(
    link: str, seedpod: Seedpod, copied_rootfs: Path
) -> None:
    """As Debian's /etc/resolv.conf, which systemd or resolvconf would make the target of."""
    (copied_rootfs / "etc" / "resolv.conf").symlink_to(link)
    (copied_rootfs / "etc" / "other").symlink_to("further")  # a link to a link
    host = [path.exists() for path in (Path("/tmp/made"), Path("/run/resolvconf"))]
    container = {
        **seedpod.shell("c", "cat /etc/resolv.conf; ls -l /etc/resolv.conf"),
        "image": f"rootfs:{copied_rootfs}",
    }
    result = seedpod.run(seedpod.pod(container))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("nameserver ")
    assert result.stdout.rstrip().endswith(f"-> {link}"), "the link stays as the image has it"
    assert [path.exists() for path in (Path("/tmp/made"), Path("/run/resolvconf"))] == host


def test_a_link_that_leads_to_itself_is_an_error_with_its_path(seedpod: Seedpod, copied_rootfs: Path) -> None:
    (copied_rootfs / "etc" / "resolv.conf").symlink_to("a")
    (copied_rootfs / "etc" / "a").symlink_to("resolv.conf")
    container = {**seedpod.container("c", "true"), "image": f"rootfs:{copied_rootfs}"}
    result = seedpod.run(seedpod.pod(container))
    assert result.returncode == 128
    assert "/etc/resolv.conf" in result.stderr
    assert "ELOOP" in result.stderr


def test_a_hosts_file_that_a_container_changed_is_the_pods_until_the_sandbox_is_made_anew(seedpod: Seedpod) -> None:
    containers = [seedpod.container(name, "sleep", "infinity") for name in ("one", "two")]
    detached(seedpod, seedpod.pod(*containers))
    seedpod.command("exec", "web", "-c", "one", "--", "sh", "-c", "echo 192.0.2.1 added >> /etc/hosts")
    seen = seedpod.command("exec", "web", "-c", "two", "--", "cat", "/etc/hosts").stdout
    assert seen.endswith("192.0.2.1 added\n")
