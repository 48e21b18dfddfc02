"""How the threads of one computation wait for each other."""

import os

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
