"""What a label cell's pixels look like as a few numbers: the features of models without convolutions."""

import torch
from torch import Tensor, nn

from esdseg.grid import CELL_SIZE_PX

STATISTICS = ("mean", "standard deviation", "95 % quantile")
"""Of each channel over a cell's pixels, in the order in which :class:`CellStatistics` gives them."""

_PIXELS = CELL_SIZE_PX**2


class CellStatistics(nn.Module):
    """Describes every label cell by statistics of each channel; fitting and predicting both go through it.

    Nothing is learned, and every shape follows from the image's, so it runs on any device.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Describe the cells of images.

        Args:
            image: Images (N, C, 50k, 50k) as the store holds them; NaN and infinities are no data.

        Returns:
            Features (N, k, k, 3C), float32: all means, then all standard deviations, then all 95 % quantiles;
            NaN where a channel has no data in a cell.
        """
        # A row of cells at a time: copies of a whole image would not fit the processor's cache.
        rows = [torch.stack([_describe(strip) for strip in one.split(CELL_SIZE_PX, dim=1)]) for one in image]
        return torch.stack(rows)


def _describe(strip: Tensor) -> Tensor:
    """Describe a row of k cells (C, 50, 50k) as (k, 3C)."""
    channels, _, width = strip.shape
    cells = strip.float().reshape(channels, CELL_SIZE_PX, width // CELL_SIZE_PX, CELL_SIZE_PX)
    pixels = cells.permute(2, 0, 1, 3).reshape(-1, channels, _PIXELS)
    known = torch.isfinite(pixels)
    count = known.sum(dim=-1)
    mean = torch.where(known, pixels, 0.0).sum(dim=-1) / count
    deviations = torch.where(known, pixels - mean.unsqueeze(-1), 0.0)
    std = (deviations.square().sum(dim=-1) / count).sqrt()
    return torch.cat([mean, std, _upper_quantile(pixels, known, count)], dim=-1)


def _upper_quantile(pixels: Tensor, known: Tensor, count: Tensor) -> Tensor:
    """Return the smallest value that at least 95 % of the known pixels do not exceed, NaN without any.

    That is ``numpy.quantile(values, 0.95, method="inverted_cdf")``. Unknown pixels are filled with minus and
    plus infinity in such numbers that the wanted value has the same rank in every cell, whatever is missing.
    """
    low_fillers = _rank(torch.full_like(count, _PIXELS)) - _rank(count)
    missing_so_far = (~known).cumsum(dim=-1, dtype=torch.int16)
    fillers = torch.where(missing_so_far <= low_fillers.unsqueeze(-1), -torch.inf, torch.inf)
    filled = torch.where(known, pixels, fillers.to(pixels.dtype))
    from_the_top = _PIXELS - 19 * _PIXELS // 20 + 1
    quantile = filled.topk(from_the_top, dim=-1, sorted=False).values.amin(dim=-1)
    return torch.where(count > 0, quantile, torch.nan)


def _rank(count: Tensor) -> Tensor:
    """Return ``ceil(0.95 * count)`` in whole numbers."""
    return (19 * count + 19) // 20
