"""What tests of security contexts have in common: pods that stay, and what their programs say of themselves."""

from __future__ import annotations

import json

from tests.runner import Manifest, Seedpod

STAYS = "mkfifo /tmp/f; exec 3<> /tmp/f; trap 'exit 0' TERM; read _ <&3"
STAYS_READ_ONLY = "trap 'exit 0' TERM; while :; do sleep 1; done"  # where no pipe can be made

# Says what a program is: its ids, and of /proc/self/status what privileges it has.
WHO = "id; grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status"

# The ways into a container beside its own program.
SHARING = {
    "own": {},
    "shared": {"shareProcessNamespace": True},
    "host": {"hostPID": True},
}


def standing(seedpod: Seedpod, *pods: Manifest) -> None:
    """Have the pods run, and every container be ready."""
    result = seedpod.command("run", "-d", "--wait", "-", input="\n---\n".join(map(json.dumps, pods)))
    assert result.returncode == 0, result


def executed(seedpod: Seedpod, script: str, *, container: str = "c", pod: str = "web") -> str:
    """What a shell script prints that joins a container."""
    result = seedpod.command("exec", pod, "-c", container, "--", "sh", "-c", script)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


def both(seedpod: Seedpod, script: str, *, container: str = "c", pod: str = "web") -> tuple[str, str]:
    """What a container's own program has printed, and what the script prints that joins it."""
    logs = seedpod.command("logs", pod, "-c", container)
    assert (logs.returncode, logs.stderr) == (0, ""), logs
    return logs.stdout, executed(seedpod, script, container=container, pod=pod)


def status(text: str) -> dict[str, str]:
    """The fields of /proc/self/status that are among the lines of a program."""
    rows = (line.split(":", 1) for line in text.splitlines() if ":\t" in line)
    return {name: value.strip() for name, value in rows}


def caps(text: str) -> dict[str, int]:
    """The five sets of capabilities in it."""
    return {name: int(value, 16) for name, value in status(text).items() if name.startswith("Cap")}


def sets(bounding: int, permitted: int | None = None) -> dict[str, int]:
    """What `caps` finds of a program with these; ambient and inheritable are always empty."""
    had = bounding if permitted is None else permitted
    return {"CapInh": 0, "CapPrm": had, "CapEff": had, "CapBnd": bounding, "CapAmb": 0}
