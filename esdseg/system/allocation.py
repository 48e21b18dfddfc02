"""Keeping freed memory for the next array, rather than giving it back to the system each time."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
"""Parameters of mallopt(3), as GNU's malloc.h numbers them."""

_NEVER = -1
_NONE = 0

HUGE_PAGES_VARIABLE = "THP_MEM_ALLOC_ENABLE"
"""Lets PyTorch ask for huge pages for large tensors on the CPU; read at its first allocation."""


def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed arrays, and take it in huge pages.

    GNU's malloc maps every array of more than 32 MB anew and unmaps it when it is freed, so that each step
    of a training pays for the same pages again: that took two fifths of a training's time. Elsewhere than on
    Linux with glibc nothing changes. To be called before PyTorch is imported.
    """
    os.environ.setdefault(HUGE_PAGES_VARIABLE, "1")
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, _NONE)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
