"""Namespaces in which other runtimes may do what they do to a machine, and that go with their processes.

A user, mount, network and cgroup namespace: /sys/fs/cgroup is the contender's own cgroup, so that this is a pure cgroup
v2 host whatever this one is; /run is empty; links, addresses and firewall rules are nobody else's.  Being in a user
namespace, a runtime leaves out the eBPF program that guards devices, which is work that it need not do.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contender import Commands, Contender, Missing, Program

# The cgroup namespace begins at the contender's cgroup: where the mount has `nsdelegate`, nobody inside can move a
# process elsewhere.  We ourselves go into one below it, or it could have no controllers for others.
_ENTER = """
echo unshared
read -r mapped
echo $$ >"$0/programs/cgroup.procs" &&
mount --make-rprivate / && mount --bind "$0" /sys/fs/cgroup && mount -t tmpfs tmpfs /run && mkdir /run/lock &&
ip link set lo up && exec "$@"
"""
IDS = "0 0 65536"


def enter(contender: Contender, stack: ExitStack) -> Commands:
    """A program inside that runs commands."""
    for needed in ("unshare", "mount", "ip"):
        if shutil.which(needed) is None:
            raise Missing(f"{needed} is not installed")
    unshare = ["unshare", "--user", "--net", "--mount", "--cgroup", "--"]
    program = Program(
        [*unshare, "sh", "-c", _ENTER, contender.cgroup.path, sys.executable, "-m", "benchmarks.loop"],
        contender.cgroup,
        stack,
    )
    program.hear()
    # The maps are written by us: only who is outside may map more than itself.
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{program.pid}/{kind}").write_text(IDS)
    program.tell("mapped")
    return Commands(program)
