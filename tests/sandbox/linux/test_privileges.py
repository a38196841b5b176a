"""What this process holds, as the kernel itself writes it down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.capabilities import CAPABILITIES, bits
from sandbox.linux import privileges

EVERY = bits(CAPABILITIES)


def written(name: str, status: str) -> int:
    (line,) = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1], 16) & EVERY


def test_they_are_what_proc_says() -> None:
    status = Path("/proc/thread-self/status").read_text()
    assert privileges.effective() == written("CapEff", status)
    assert privileges.held() == written("CapPrm", status) & written("CapBnd", status)


@pytest.mark.root
def test_what_is_not_in_the_bounding_set_cannot_be_handed_on_and_what_is_not_in_effect_is_missing() -> None:
    script = (
        "import prctl; from sandbox.linux import privileges as p; from sandbox.capabilities import names\n"
        "before = p.held(); prctl.capbset_drop(prctl.CAP_SYS_TIME); prctl.cap_effective.kill = False\n"
        "print(*names(before & ~p.held())); print(*p.missing(('KILL', 'SYS_TIME', 'CHOWN')))"
    )
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["SYS_TIME", "KILL"]


def test_a_thread_goes_by_its_name_however_long() -> None:
    script = (
        "from sandbox.linux import privileges\n"
        "for name in ('seedpod:engine', 'x' * 40):\n"
        "    privileges.name_thread(name)\n"
        "    print(open('/proc/self/comm').read(), end='')"
    )
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["seedpod:engine", "x" * 15]
