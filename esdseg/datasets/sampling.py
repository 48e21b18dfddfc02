"""The order in which subtiles are read, by one process or by several."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from esdseg.datasets.seeding import derived_generator


class ShuffledSampler(Sampler[int]):
    """Training order: every epoch a new permutation, dealt out to the processes.

    The permutation depends on seed and epoch alone. Where the processes do not divide it, its first items
    are dealt out once more, so that all processes make the same number of steps.

    Args:
        indices: The samples to train on.
        seed: The run's seed.
        rank: Number of this process.
        processes: How many there are.
    """

    def __init__(self, indices: Sequence[int], seed: int, rank: int = 0, processes: int = 1) -> None:
        self._indices = tuple(indices)
        self._seed = seed
        self._rank = rank
        self._processes = processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; Lightning calls this before each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = derived_generator(self._seed, "order", self._epoch)
        order = torch.randperm(len(self._indices), generator=generator).tolist()
        for position in range(self._rank, len(self) * self._processes, self._processes):
            yield self._indices[order[position % len(order)]]

    def __len__(self) -> int:
        return -(-len(self._indices) // self._processes)


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
