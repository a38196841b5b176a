"""Who a container's program is, by its rootfs: two files that are an image's, and may hold or be anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SandboxError
from sandbox.pod import users
from sandbox.pod.users import User, find, read, resolve

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
web:x:1000:1000:Web,,,:/home/web:/bin/sh
second:x:1000:77:the first line holds:/second:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
homeless:x:1001:1001:::/bin/false
"""
GROUP = """\
root:x:0:
web:x:1000:web
disk:x:6:root,web
audio:x:29: web , root
empty:x:30:
nogroup:x:65534:
"""


def resolved(uid: int, gid: int | None = None, groups: tuple[int, ...] = (), passwd: str = PASSWD) -> User:
    return resolve(uid, gid, groups, passwd=passwd, group=GROUP)


def test_a_user_has_the_group_the_groups_and_the_home_that_the_image_gives_it() -> None:
    """# A5"""
    assert resolved(1000) == User(1000, 1000, (1000, 6, 29), "/home/web")
    assert resolved(0) == User(0, 0, (0, 6, 29), "/root")


def test_a_user_that_the_image_does_not_know_is_of_group_0_and_has_no_home() -> None:
    assert resolved(4711) == User(4711, 0, (0,), "/")
    assert resolved(4711, passwd="") == User(4711, 0, (0,), "/")


def test_a_group_that_is_asked_for_comes_before_the_images_and_its_others_stay() -> None:
    assert resolved(1000, 5) == User(1000, 5, (5, 6, 29), "/home/web")
    assert resolved(4711, 5) == User(4711, 5, (5,), "/")


def test_supplementary_groups_are_merged_each_once_and_the_primary_is_among_them() -> None:
    """# A5"""
    assert resolved(1000, None, (2000, 29, 2000)).groups == (1000, 6, 29, 2000)
    assert resolved(4711, 0, (3000, 0)).groups == (0, 3000)


def test_an_empty_home_is_the_root_directory() -> None:
    assert resolved(1001).home == "/"


@pytest.mark.parametrize(
    "line",
    [
        "web:x:1000:1000:too:few",
        "web:x:1000:1000:one:too:many:fields",
        ":x:1000:1000:no name:/x:/bin/sh",
        "web:x:abc:1000:no number:/x:/bin/sh",
        "web:x:-1000:1000:negative:/x:/bin/sh",
        "web:x:1000:4294967295:what setresgid takes for 'leave it':/x:/bin/sh",
        "web:x:1000:2147483648:one too large:/x:/bin/sh",
        "web:x:1000:99999999999999999999:far too large:/x:/bin/sh",
        "web:x:1000::no group:/x:/bin/sh",
        "web:x:１０００:1000:digits of another script:/x:/bin/sh",
        "web:x:1000:1000:a NUL:/x\0:/bin/sh",
        "+::::::",
        "",
    ],
)
def test_a_line_that_is_none_is_passed_over(line: str) -> None:
    assert resolved(1000, passwd=f"{line}\n").home == "/"
    assert resolved(1000, passwd=f"{line}\nweb:x:1000:5::/after:/bin/sh\n") == User(1000, 5, (5, 6, 29), "/after")


def test_odd_groups_are_passed_over() -> None:
    group = "a:x:4294967295:web\nb:x:nine:web\nc:x:9\nd:x:10:web\ne:x:11:webb,we\n:x:12:web\nf:x:13:,,web,\n"
    assert resolve(1000, None, (), passwd=PASSWD, group=group).groups == (1000, 10, 13)


def test_more_groups_than_a_process_can_have_are_refused() -> None:
    group = "".join(f"g{number}:x:{number}:web\n" for number in range(2, 65540))
    with pytest.raises(SandboxError, match="user 1000 is in 65538 groups, and a process can be in 65536"):
        resolve(1000, None, (), passwd=PASSWD, group=group)


@given(st.text(), st.text())
def test_whatever_the_files_hold_there_is_a_user_that_can_be_become(passwd: str, group: str) -> None:
    user = resolve(0, None, (), passwd=passwd, group=group)
    assert all(0 <= number < 2**31 for number in (user.gid, *user.groups))
    assert "\0" not in user.home


# ---- the files ----


def a_rootfs(tmp_path: Path) -> Path:
    (tmp_path / "rootfs" / "etc").mkdir(parents=True)
    return tmp_path / "rootfs"


def test_the_files_of_the_rootfs_are_read_and_the_hosts_are_not(tmp_path: Path) -> None:
    rootfs = a_rootfs(tmp_path)
    assert find(rootfs, 0, None, ()) == User(0, 0, (0,), "/")
    (rootfs / "etc" / "passwd").write_text(PASSWD)
    (rootfs / "etc" / "group").write_text(GROUP)
    assert find(rootfs, 1000, None, (7,)) == User(1000, 1000, (1000, 6, 29, 7), "/home/web")


@pytest.mark.parametrize("link", ["/real/passwd", "../real/passwd", "../../../../../real/passwd"])
def test_a_link_is_followed_inside_the_rootfs(tmp_path: Path, link: str) -> None:
    rootfs = a_rootfs(tmp_path)
    (rootfs / "real").mkdir()
    (rootfs / "real" / "passwd").write_text("inside")
    (rootfs / "etc" / "passwd").symlink_to(link)
    assert read(rootfs, "/etc/passwd") == "inside"


def test_a_link_leads_nowhere_out_of_it(tmp_path: Path) -> None:
    rootfs = a_rootfs(tmp_path)
    (tmp_path / "secret").write_text("outside")
    (rootfs / "etc" / "passwd").symlink_to(tmp_path / "secret")
    assert read(rootfs, "/etc/passwd") == ""
    (rootfs / "etc" / "group").symlink_to("../../secret")
    assert read(rootfs, "/etc/group") == ""


def test_a_directory_of_it_that_is_a_link_leads_nowhere_out_either(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "passwd").write_text("outside")
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    (rootfs / "etc").symlink_to("../outside")
    assert read(rootfs, "/etc/passwd") == ""


def test_a_file_in_the_place_of_the_directory_means_that_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    assert read(tmp_path, "/etc/passwd") == ""


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    rootfs = a_rootfs(tmp_path)
    (rootfs / "etc" / "passwd").symlink_to("passwd")
    with pytest.raises(SandboxError, match=r"open /etc/passwd: .*ELOOP"):
        find(rootfs, 0, None, ())


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    rootfs = a_rootfs(tmp_path)
    os.mkfifo(rootfs / "etc" / "passwd")
    with pytest.raises(SandboxError, match="the image's /etc/passwd is not a file"):
        find(rootfs, 0, None, ())
    (rootfs / "etc" / "passwd").unlink()
    (rootfs / "etc" / "passwd").mkdir()
    with pytest.raises(SandboxError, match="the image's /etc/passwd is not a file"):
        find(rootfs, 0, None, ())


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    rootfs = a_rootfs(tmp_path)
    with (rootfs / "etc" / "group").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SandboxError, match=f"the image's /etc/group is larger than {users.MAX_BYTES} bytes"):
        find(rootfs, 0, None, ())


def test_bytes_that_are_no_text_come_through(tmp_path: Path) -> None:
    rootfs = a_rootfs(tmp_path)
    (rootfs / "etc" / "passwd").write_bytes(b"web:x:5:6:\xff:/home/\xfe:/bin/sh\n")
    assert os.fsencode(find(rootfs, 5, None, ()).home) == b"/home/\xfe"


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    test_what_is_no_file_is_not_opened(tmp_path)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
