"""Starts commands, one after the other, and measures each: in whatever cgroup and namespaces this program is.

A line of JSON {"argv", "env"} is answered by {"wall_ms", "code", "output"}.  With it podman, in namespaces that cost
time to enter, and a command line that does not enter any are started and timed by the same code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import IO, Any


def run(argv: list[str], env: dict[str, str], output: IO[bytes]) -> dict[str, Any]:
    """Output goes to a file: a daemon that keeps it open must not keep us waiting, as it would with a pipe."""
    output.seek(0)
    output.truncate()
    began = time.perf_counter_ns()
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **env}, check=False
    )
    took = time.perf_counter_ns() - began
    output.seek(0)
    return {"wall_ms": took / 1e6, "code": done.returncode, "output": output.read().decode(errors="replace")}


def main() -> None:
    with tempfile.TemporaryFile(buffering=0) as output:
        for line in sys.stdin:
            request = json.loads(line)
            print(json.dumps(run(request["argv"], request["env"], output)), flush=True)


if __name__ == "__main__":
    main()
