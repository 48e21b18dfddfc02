"""Cutting a tile's grids into subtiles, and putting them together again."""

import torch
from torch import Tensor

from esdseg.grid import GRID_SIZE


def slice_tile(tile: Tensor, subtile_size: int) -> Tensor:
    """Cut a tile into its subtiles.

    Args:
        tile: A tile of any resolution, (..., 16 s, 16 s) with s values along a cell's side: s = 1 for labels
            and predictions, 50 for pixels.
        subtile_size: Side k of a subtile in label cells; divides 16.

    Returns:
        Subtiles (16 / k, 16 / k, ..., k s, k s), the first two axes being row and column from the top left.

    Raises:
        ValueError: The tile is no square of whole cells, or ``subtile_size`` does not divide 16.
    """
    *_, height, width = tile.shape
    if height != width or height % GRID_SIZE or GRID_SIZE % subtile_size:
        raise ValueError(
            f"a tile of {height} x {width} values has no subtiles of {subtile_size} x {subtile_size} cells"
        )
    side = height // GRID_SIZE * subtile_size
    subtiles = tile.unfold(-2, side, side).unfold(-2, side, side)
    return subtiles.movedim((-4, -3), (0, 1))


def stitch_subtiles(subtiles: Tensor) -> Tensor:
    """Put the subtiles of a tile together: the inverse of :func:`slice_tile`.

    Args:
        subtiles: All subtiles of a tile, (rows, columns, ..., h, w).

    Returns:
        The tile (..., rows h, columns w).
    """
    return torch.cat([torch.cat(list(row), dim=-1) for row in subtiles], dim=-2)
