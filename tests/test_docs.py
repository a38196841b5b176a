"""The examples of the documentation, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runner import TIMEOUT

LIBRARY = (Path(__file__).parent.parent / "docs" / "library.md").read_text()
BLOCKS = re.findall(r"^## ([^\n]+)\n|^```python\n(.*?)^```$", LIBRARY, re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Each block of Python with the heading that it stands below."""
    heading, found = "", []
    for title, code in BLOCKS:
        heading = title or heading
        if code:
            found.append((f"{heading} {sum(known.startswith(heading) for known, _ in found) + 1}", code))
    return found


def test_there_are_examples_in_every_part_of_the_guide() -> None:
    assert len(examples()) == LIBRARY.count("```python") >= 9


@pytest.mark.root
@pytest.mark.parametrize("code", [code for _, code in examples()], ids=[name for name, _ in examples()])
def test_an_example_of_the_library_guide_does_what_it_says(code: str, root: Path, no_leaks: None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
        env={**os.environ, "SEEDPOD_ROOT": str(root)},
    )
    assert (done.returncode, done.stderr) == (0, ""), code
