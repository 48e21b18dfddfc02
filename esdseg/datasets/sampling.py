"""The order in which training reads windows, the random streams of a run, and the weights of classes."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

ClassWeighting = Literal["none", "balanced", "sqrt"]
"""How much rare classes count."""

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


class ShuffledSampler(Sampler[int]):
    """Training order: every epoch a new permutation, dealt out to the processes.

    Both the permutation and what is drawn depend on seed and epoch alone. Where the processes do not divide
    them, the first items are dealt out once more, so that all processes make the same number of steps.

    Args:
        candidates: For each item of an epoch, the samples that one is drawn from; mostly a single one.
        seed: The run's seed.
        rank: Number of this process.
        processes: How many there are.
    """

    def __init__(
        self, candidates: Sequence[Sequence[int]], seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self._candidates = tuple(candidates)
        self._seed = seed
        self._rank = rank
        self._processes = processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; Lightning calls this before each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = derived_generator(self._seed, "order", self._epoch)
        order = torch.randperm(len(self._candidates), generator=generator).tolist()
        shares = torch.rand(len(order), dtype=torch.float64, generator=generator).tolist()
        for position in range(self._rank, len(self) * self._processes, self._processes):
            item = order[position % len(order)]
            choices = self._candidates[item]
            yield choices[int(shares[item] * len(choices))]

    def __len__(self) -> int:
        return -(-len(self._candidates) // self._processes)


class OrderedSampler(Sampler[int]):
    """Validation order: every sample once, whatever the number of processes.

    Processes may get one sample more or less than others. PyTorch's own ``DistributedSampler`` repeats
    samples instead, which would count some cells twice.

    Args:
        size: How many samples there are.
        rank: Number of this process.
        processes: How many there are.
    """

    def __init__(self, size: int, rank: int = 0, processes: int = 1) -> None:
        self._positions = range(rank, size, processes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)


def class_weights(kind: ClassWeighting, cell_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Weigh classes by how rare they are among the training cells.

    Args:
        kind: ``balanced`` gives every class the same total weight (scikit-learn's formula), ``sqrt`` takes
            the square root of those weights, ``none`` gives every cell the weight 1.
        cell_counts: Training cells of each class (4,).

    Returns:
        Weights (4,), scaled so that the mean over the training cells is 1 and learning rates mean the same
        for every kind. A class without training cells gets 1: it acts on validation losses alone.
    """
    present = cell_counts > 0
    if kind == "none" or not present.any():
        return np.ones(len(cell_counts))
    total = cell_counts.sum()
    balanced = total / (present.sum() * np.where(present, cell_counts, 1))
    weights = balanced if kind == "balanced" else np.sqrt(balanced)
    weights = weights * total / (weights * cell_counts).sum()
    return np.where(present, weights, 1.0)
