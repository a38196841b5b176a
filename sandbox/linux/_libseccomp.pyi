"""What mypy sees of the compiled extension; csrc/libseccomp.h is the truth."""

from typing import Any

ffi: Any
lib: Any
