"""The order in which subtiles are read, by one process or by several."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from esdseg.datasets.seeding import derived_generator


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
