"""The one clone of a Python program's: it copies no page tables, holds no lock and loses no signal."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from cgroups import Cgroup
from sandbox.errors import KernelError
from sandbox.linux import native
from sandbox.pod.podmon import POD_NAMESPACES
from tests.program import fds_of, program

pytestmark = pytest.mark.root

TIMEOUT = 60
HEAP = 32 << 20


@contextmanager
def launched(scope: Cgroup) -> Iterator[native.Launched]:
    """A podmon in that cgroup, killed and reaped at the end of the block."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with its, scope.fd() as cgroup:
            made = native.launch(namespaces=POD_NAMESPACES, control=its.fileno(), cgroup=cgroup, title="test")
        try:
            yield made
        finally:
            signal.pidfd_send_signal(made.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, made.pidfd, os.WEXITED | native.WALL)
            os.close(made.pidfd)


def faults_of_writing(heap: mmap.mmap) -> int:
    """How many page faults this thread has when it writes a byte of every page."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for at in range(0, len(heap), mmap.PAGESIZE):
        heap[at] = 1
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def test_the_pages_of_who_launches_are_neither_copied_nor_write_protected(pod_slice: Cgroup) -> None:
    """After a clone that copies page tables each page that is written costs a fault, and the clone the copying."""
    with mmap.mmap(-1, HEAP, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as heap:
        heap.madvise(mmap.MADV_NOHUGEPAGE)
        pages = HEAP // mmap.PAGESIZE
        assert faults_of_writing(heap) >= pages * 0.9, "the heap is there, page by page"
        assert faults_of_writing(heap) < pages / 100
        with launched(pod_slice.create_child("podmon.scope")):
            assert faults_of_writing(heap) < pages / 100


def test_its_times_are_in_the_order_of_what_they_time(pod_slice: Cgroup) -> None:
    with launched(pod_slice.create_child("podmon.scope")) as made:
        assert 0 < made.exec_ns < made.elapsed_ns
        assert 0 < made.cpu_ns < made.elapsed_ns


def test_other_threads_run_while_one_launches_and_its_signals_wait_for_it(pod_slice: Cgroup) -> None:
    """A child that is born into a frozen cgroup does not come to execve before that is thawed, and so long the caller
    waits: only another thread can end that, and a signal that the caller is sent meanwhile is not lost."""
    scope = pod_slice.create_child("podmon.scope")
    scope.freeze()
    script = """
        import signal, sys, threading
        from pathlib import Path
        from cgroups import Cgroup
        from tests.sandbox.linux.test_launch import launched

        scope, main, heard = Cgroup(Path(sys.argv[1])), threading.get_ident(), []
        signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))

        def thaw():
            while not scope.procs():
                pass
            signal.pthread_kill(main, signal.SIGUSR1)
            steps.append(list(heard))
            scope.thaw()

        steps = []
        other = threading.Thread(target=thaw)
        other.start()
        with launched(scope):
            other.join()
        assert (steps, heard) == ([[]], [signal.SIGUSR1]), (steps, heard)
        """
    with program(script, pod_slice.path, scope.path) as running:
        try:
            assert running.process.wait(TIMEOUT) == 0
        finally:
            scope.kill()  # first: a child that is frozen still holds the pipes of its parent


def test_many_threads_launch_at_once_and_each_has_its_own(pod_slice: Cgroup) -> None:
    all_there = threading.Barrier(8)

    def launch(number: int) -> tuple[int, str]:
        scope = pod_slice.create_child(f"podmon{number}.scope")
        all_there.wait(TIMEOUT)
        with launched(scope) as made:
            assert scope.procs() == [made.pid] == [native.pid_of(made.pidfd)]
        return made.pid, scope.name

    with ThreadPoolExecutor(8) as pool:
        pids = {pid for pid, _ in pool.map(launch, range(8))}
    assert len(pids) == 8


def test_a_launch_that_fails_has_opened_nothing(pod_slice: Cgroup) -> None:
    scope = pod_slice.create_child("podmon.scope")
    before = fds_of()
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its, pytest.raises(KernelError, match="clone3"), scope.fd() as cgroup:
        native.launch(namespaces=1, control=its.fileno(), cgroup=cgroup, title="test")
    assert fds_of() == before
    assert scope.procs() == []
