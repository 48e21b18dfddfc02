"""Settings of the process for its allocator and threads; made before PyTorch is imported."""

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


SPIN_COUNT_VARIABLE = "GOMP_SPINCOUNT"
"""Rounds in which a thread of GNU's OpenMP looks for work before it sleeps; read when PyTorch is imported."""

WAIT_POLICY_VARIABLE = "OMP_WAIT_POLICY"
"""The standard's own, coarser way to say so."""

SPIN_ROUNDS = 10_000
"""A fraction of a millisecond. Left alone, threads look for work for many, on cores that others need."""


def wait_briefly() -> None:
    """Let threads that wait for each other sleep soon, unless the user has decided how they wait.

    Then what is drawn or read meanwhile, and the user's other programs, get the core that was kept busy with
    waiting. To be called before PyTorch is imported.
    """
    if WAIT_POLICY_VARIABLE not in os.environ:
        os.environ.setdefault(SPIN_COUNT_VARIABLE, str(SPIN_ROUNDS))
