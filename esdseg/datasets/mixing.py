"""Mixing the samples of a batch: a rectangle of cells from another one in a sample's place."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from esdseg.config.training import AugmentationConfig


def mix_cells(
    pixels: Sequence[Tensor], labels: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> None:
    """Put a rectangle of another sample into samples of a batch at random, in place.

    CutMix (Yun et al. 2019, arXiv:1905.04899) on the label grid: whole cells move with their labels, to where
    they lay, so no cell is ever part of both. The rectangle's share of the sample is drawn evenly, as there;
    it has its proportions, and leaves at least a row and a column.

    Args:
        pixels: Images of the same samples, one or several resolutions, each (N, C, H, W) with H = W.
        labels: Their labels (N, k, k).
        config: How often.
        generator: On the CPU.
    """
    count, side = labels.shape[:2]
    if not config.mixing_probability or count < 2 or side < 2:
        return
    draws = torch.rand((count, 5), generator=generator).tolist()
    moves = []
    for sample, (chance, who, share, top, left) in enumerate(draws):
        if chance < config.mixing_probability:
            partner = (sample + 1 + int(who * (count - 1))) % count
            size = min(max(1, round(side * math.sqrt(share))), side - 1)
            places = side - size + 1
            moves.append((sample, partner, int(top * places), int(left * places), size))
    for grid in (*pixels, labels):
        scale = grid.shape[-1] // side
        # All are taken out before the first is put in, since a partner may be mixed too.
        parts = [
            _part(grid, partner, top, left, size, scale).clone() for _, partner, top, left, size in moves
        ]
        for (sample, _, top, left, size), part in zip(moves, parts, strict=True):
            _part(grid, sample, top, left, size, scale).copy_(part)


def _part(grid: Tensor, sample: int, top_cell: int, left_cell: int, size_cells: int, scale: int) -> Tensor:
    rows, columns = (slice(start * scale, (start + size_cells) * scale) for start in (top_cell, left_cell))
    return grid[sample, ..., rows, columns]
