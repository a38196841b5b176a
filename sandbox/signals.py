"""The signals that a container can be stopped with, by the names that the API has.

Real-time signals are counted as the C library has them, which keeps the kernel's first two.  Pure, and of no layer.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

_NAMES = (
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO",
    "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP",
    "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM",
    "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX",
)  # fmt: skip

# SIGRTMIN+15 and SIGRTMAX-14 are neighbours.
STOP_SIGNALS: Mapping[str, int] = {
    **{name: int(getattr(signal, name)) for name in _NAMES},
    **{f"SIGRTMIN+{above}": signal.SIGRTMIN + above for above in range(1, 16)},
    **{f"SIGRTMAX-{below}": signal.SIGRTMAX - below for below in range(1, 15)},
}
