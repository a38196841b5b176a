"""What the fuzzer has found once, and what the engine's encoder writes, passes the sanitizers.

No fuzzer is needed for that, and no clang.  `make fuzz` goes on from here; see docs/decisions/0014-checks-of-csrc.md.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sandbox.linux import native
from sandbox.linux.ops import Op
from tests.fuzz import seeds

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="session")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the harnesses, built with gcc and its sanitizers."""
    directory = tmp_path_factory.mktemp("replay")
    subprocess.run(["make", "-s", "-C", seeds.CSRC / "fuzz", f"OUT={directory}", "replay"], check=True)
    return directory


@pytest.mark.parametrize("harness", ["ops", "podmon"])
def test_every_input_that_is_kept_or_written_passes(replay: Path, tmp_path: Path, harness: str) -> None:
    seeds.write(tmp_path)
    kept = sorted((CORPUS / harness).iterdir())
    assert len(kept) > 50, "the corpus is there"
    inputs = [*kept, *sorted((tmp_path / harness).iterdir())]
    ran = subprocess.run([replay / f"replay_{harness}", *inputs], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, f"{ran.stdout.splitlines()[-1]}: {ran.stderr}"


def test_every_op_is_among_the_seeds() -> None:
    assert {type(op) for op in seeds.SAMPLES} == set(Op.__subclasses__())
    assert seeds.kinds() == set(range(native.OP["COUNT"]))


def test_every_request_is_among_the_seeds() -> None:
    requests = {name for name, number in native.MESSAGE.items() if number < native.MESSAGE["READY"]}
    assert {kind for life in seeds.LIVES.values() for kind in life().asked} == requests
