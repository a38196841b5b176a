"""The errors themselves: one line, every attribute, and whole after a trip between processes."""

from __future__ import annotations

import errno
import pickle

from cgroups import CgroupError, NoSuchCgroup, Unsupported


def test_the_message_is_one_line_with_file_reason_value_and_cure() -> None:
    error = CgroupError(errno.EBUSY, None, "/cg/cgroup.procs", value="12", hint="use a child cgroup")
    assert str(error) == "/cg/cgroup.procs: Device or resource busy (EBUSY, writing '12'): use a child cgroup"


def test_a_value_with_line_breaks_stays_on_one_line() -> None:
    assert "\n" not in str(CgroupError(errno.EINVAL, None, "/cg/x", value="a\nb"))


def test_what_is_unsupported_says_what_it_needs() -> None:
    error = Unsupported(errno.ENOENT, "no such cgroup file", "/cg/cgroup.kill", needs="kernel >= 5.14", value="1")
    assert str(error) == "/cg/cgroup.kill: no such cgroup file (ENOENT, writing '1'): needs kernel >= 5.14"


def test_every_error_is_an_oserror_with_its_fields() -> None:
    for error in (NoSuchCgroup(errno.ENODEV, None, "/cg/x"), Unsupported(errno.ENOENT, None, "/cg/x", needs="y")):
        assert isinstance(error, CgroupError)
        assert isinstance(error, OSError)
        assert error.filename == "/cg/x"
        assert error.value is None


def test_an_error_survives_pickling() -> None:
    error = Unsupported(errno.ENOENT, None, "/cg/cgroup.kill", needs="kernel >= 5.14", value="1")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert type(copy) is Unsupported
