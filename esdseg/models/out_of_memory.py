"""Saying what was too large where memory runs out, on the CPU or on a GPU."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from esdseg.errors import OutOfMemoryError

_CPU_FAULT = re.compile(r"can't allocate memory|not enough memory|std::bad_alloc")
"""PyTorch's allocators for the CPU raise a bare ``RuntimeError``."""

_BYTES_ASKED = re.compile(
    r"allocate (\d+) bytes|allocate ([\d.]+ [KMGT]iB)|Unable to allocate ([\d.]+ [KMGT]iB)"
)


@contextmanager
def naming_memory_faults(what: str, advice: str) -> Iterator[None]:
    """Say what did not fit into memory in the block, and what to try.

    Args:
        what: What was being computed, with its sizes, such as ``a batch of 64 windows``.
        advice: What takes less memory.

    Raises:
        OutOfMemoryError: There was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        raise OutOfMemoryError(f"Out of memory with {what}{_asked(error)}. {advice}") from error


def is_memory_fault(error: Exception) -> bool:
    """Say whether an error is of memory that could not be had."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and _CPU_FAULT.search(str(error)) is not None
    )


def _asked(error: Exception) -> str:
    asked = _BYTES_ASKED.search(str(error))
    if asked is None:
        return ""
    size = f"{int(asked[1]) / 1e9:.2f} GB" if asked[1] else asked[2] or asked[3]
    return f" ({size} more could not be had)"
