"""What is said on stderr, whatever stderr is."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from sandbox.front import errors, serving


class Full(io.StringIO):
    """A disk without room, or a pipe that nobody reads any more."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("say", [errors.say, errors.print_warning, serving._log])
def test_a_stderr_that_takes_no_more_is_no_error_of_whoever_says_something(
    say: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", full := Full())
    say("what went wrong")
    assert "what went wrong" in full.getvalue()
