"""A podmon whose engine dies before it has asked it for anything."""

from __future__ import annotations

import os
import select
import signal
import socket

import pytest

from cgroups import Cgroup
from sandbox.linux import native
from tests.runner import TIMEOUT

pytestmark = pytest.mark.root


def test_it_ends_with_the_connection_as_nobody_else_can_ever_reach_it(pod_slice: Cgroup) -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its, pod_slice.create_child("podmon.scope").fd() as cgroup:
        launched = native.launch(namespaces=native.CLONE_NEWPID, control=its.fileno(), cgroup=cgroup, title="unasked")
    try:
        ours.close()
        assert select.select([launched.pidfd], [], [], TIMEOUT)[0], "it goes on, and nobody can end it"
    finally:
        signal.pidfd_send_signal(launched.pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, launched.pidfd, os.WEXITED | native.WALL)
        os.close(launched.pidfd)
