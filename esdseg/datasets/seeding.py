"""Random streams that follow from the run's seed and a place in the run, never from what ran before.

A resumed run therefore draws in an epoch exactly what an undisturbed one would have drawn.
"""

from typing import Literal

import numpy as np
import torch

Stream = Literal["order", "augmentation", "network"]

_STREAM_NUMBERS: dict[Stream, int] = {"order": 0, "augmentation": 1, "network": 2}


def derived_seed(seed: int, stream: Stream, *place: int) -> int:
    """Mix a run's seed with a purpose and a place into a seed that is independent of all others.

    Args:
        seed: The run's seed.
        stream: What the numbers are for.
        place: Where in the run: epoch, and process where the processes differ.

    Returns:
        A seed of 63 bits, by NumPy's ``SeedSequence``.
    """
    words = np.random.SeedSequence((seed, _STREAM_NUMBERS[stream], *place)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def derived_generator(seed: int, stream: Stream, *place: int) -> torch.Generator:
    """Return a generator on the CPU seeded by :func:`derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, stream, *place))
