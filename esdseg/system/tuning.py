"""Settings of this process for its memory allocator and for the threads of PyTorch."""

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

SPIN_COUNT_VARIABLE = "GOMP_SPINCOUNT"
"""Rounds in which a thread of GNU's OpenMP looks for work before it sleeps; read when PyTorch is imported."""

WAIT_POLICY_VARIABLE = "OMP_WAIT_POLICY"
"""The OpenMP standard's own variable for the same, in coarser steps."""

SPIN_ROUNDS = 10_000
"""A fraction of a millisecond. By default threads look for work for many, on cores that others need."""


def tune_process() -> None:
    """Let this process reuse the memory of freed arrays, and let its waiting threads sleep soon.

    GNU's malloc maps every array of more than 32 MB anew and unmaps it when it is freed, so that each step of
    a training pays for the same pages again: that took two fifths of a training's time. Threads that wait for
    each other keep a core busy which drawing, reading and the user's other programs need. What the user has
    set in the environment stands. Call it before PyTorch is imported.
    """
    os.environ.setdefault(HUGE_PAGES_VARIABLE, "1")
    if WAIT_POLICY_VARIABLE not in os.environ:
        os.environ.setdefault(SPIN_COUNT_VARIABLE, str(SPIN_ROUNDS))
    _call_malloc("mallopt", _M_MMAP_MAX, _NONE)
    _call_malloc("mallopt", _M_TRIM_THRESHOLD, _NEVER)


def give_back_freed_memory() -> None:
    """Give the memory of freed arrays back to the system, which :func:`tune_process` has kept."""
    _call_malloc("malloc_trim", 0)


def _call_malloc(function: str, *arguments: int) -> None:
    """Call a function of GNU's C library; elsewhere nothing happens."""
    if sys.platform.startswith("linux"):
        found = getattr(ctypes.CDLL(None), function, None)
        if found is not None:
            found(*arguments)
