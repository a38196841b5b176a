"""What a program runs with, and in which order its first process gives up the rest: the end of every list of ops.

Pure.  The order is not free, as each step may take what the next one needs:

    step            needs
    Own             CAP_CHOWN
    Ids             CAP_SETUID, CAP_SETGID
    Caps            CAP_SETPCAP, to leave capabilities out of the bounding set
    Signals         nothing
    Seccomp         no_new_privs or CAP_SYS_ADMIN
    Fork            clone, sendmsg, recvfrom, setsid and, for a terminal, ioctl
    Exec            after Ready: execve alone

What comes after Seccomp the profile must allow.  So that is last, right before execve: a profile has to allow what the
program needs and no more.  Without no_new_privs CAP_SYS_ADMIN is kept until there, and goes with execve, which gives no
more than the bounding set.  But it must never be seen in a pid namespace that the container is in (whoever has
CAP_SYS_PTRACE there could take it): a process that is to Fork puts its filter on before, and drops CAP_SYS_ADMIN under
it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox import capabilities
from sandbox.linux.ops import Caps, Exec, Fork, Ids, NoNewPrivs, Op, Own, Ready, Seccomp, Signals

_DEFAULT = capabilities.bits(capabilities.DEFAULT)
_SYS_ADMIN = capabilities.bits(("SYS_ADMIN",))


@dataclass(frozen=True)
class Privileges:
    """What a program is, may become, and may ask the kernel for.

    `bounding` and `permitted` are bits of capabilities.  execve gives uid 0 all of `bounding` and others none, unless
    the program's file has capabilities of its own.
    """

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    bounding: int = _DEFAULT
    permitted: int = _DEFAULT
    no_new_privs: bool = False
    filter: Seccomp | None = None


DEFAULT_PRIVILEGES = Privileges()  # what a manifest that says nothing asks for


def compile_program(privileges: Privileges, program: Exec, *, fork: Fork | None = None) -> list[Op]:
    """Become what `privileges` say and run `program`; with `fork` as a member of a pid namespace entered before."""
    bounding, permitted = privileges.bounding, privileges.permitted
    own: list[Op] = [Own(privileges.uid)] if privileges.uid else []
    begin = [*own, Ids(privileges.uid, privileges.gid, privileges.groups)]
    if privileges.no_new_privs:
        begin.append(NoNewPrivs())
    join = [] if fork is None else [fork]
    if privileges.filter is None:
        return [*begin, Caps(bounding, permitted), Signals(), *join, program]
    if privileges.no_new_privs:
        return [*begin, Caps(bounding, permitted), Signals(), *join, Ready(), privileges.filter, program]
    begin += [Caps(bounding, permitted | _SYS_ADMIN), Signals(), Ready(), privileges.filter]
    if fork is None:
        return [*begin, program]
    return [*begin, Caps(bounding, permitted), fork, program]
