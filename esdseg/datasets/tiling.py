"""Putting a tile's subtiles together again."""

import torch
from torch import Tensor


def stitch_subtiles(subtiles: Tensor) -> Tensor:
    """Put the subtiles of a tile together.

    Args:
        subtiles: All subtiles of a tile, (rows, columns, ..., h, w).

    Returns:
        The tile (..., rows h, columns w).
    """
    return torch.cat([torch.cat(list(row), dim=-1) for row in subtiles], dim=-2)
