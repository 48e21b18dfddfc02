"""What a label cell's pixels look like as a few numbers: the features of models without convolutions."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from esdseg.sensors.classes import CELL_SIZE_PX

STATISTICS = ("mean", "standard deviation", "95 % quantile")
"""Of each channel over a cell's pixels, in the order in which :class:`CellStatistics` gives them."""

_PIXELS = CELL_SIZE_PX**2

Count = TypeVar("Count", int, Tensor)


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
        describe = _describe_on_processor if image.device.type == "cpu" else _describe_with_gaps
        # A cell at a time: copies of a whole image would not fit the processor's cache.
        rows = [
            torch.stack([describe(cell) for cell in strip.split(CELL_SIZE_PX, dim=2)])
            for one in image
            for strip in one.split(CELL_SIZE_PX, dim=1)
        ]
        return torch.stack(rows).reshape(len(image), -1, *rows[0].shape)


def _describe_on_processor(cell: Tensor) -> Tensor:
    """Describe a cell (C, 50, 50) as (3C,); channels without gaps, which most are, take a short way."""
    pixels = cell.float().flatten(1)
    total = pixels.sum(dim=-1)
    is_whole = torch.isfinite(total)
    if bool(is_whole.all()):
        return _describe_whole(pixels, total)
    features = torch.empty(len(STATISTICS), len(pixels))
    features[:, is_whole] = _describe_whole(pixels[is_whole], total[is_whole]).reshape(3, -1)
    features[:, ~is_whole] = _describe_with_gaps(cell[~is_whole]).reshape(3, -1)
    return features.flatten()


def _describe_whole(pixels: Tensor, total: Tensor) -> Tensor:
    """Describe pixels (C, 2500) that are all known, given their sums (C,)."""
    mean = total / _PIXELS
    std = ((pixels - mean.unsqueeze(-1)).square_().sum(dim=-1) / _PIXELS).sqrt()
    # NumPy partitions many times faster than PyTorch selects.
    position = _rank(_PIXELS) - 1
    quantile = np.partition(pixels.detach().numpy(), position, axis=-1)[:, position]
    return torch.cat([mean, std, torch.from_numpy(quantile)])


def _describe_with_gaps(cell: Tensor) -> Tensor:
    """Describe a cell (C, 50, 50), pixels of which may be unknown, as (3C,)."""
    pixels = cell.float().flatten(1)
    known = torch.isfinite(pixels)
    count = known.sum(dim=-1)
    mean = torch.where(known, pixels, 0.0).sum(dim=-1) / count
    deviations = torch.where(known, pixels - mean.unsqueeze(-1), 0.0)
    std = (deviations.square().sum(dim=-1) / count).sqrt()
    return torch.cat([mean, std, _upper_quantile(pixels, known, count)])


def _upper_quantile(pixels: Tensor, known: Tensor, count: Tensor) -> Tensor:
    """Return the smallest value that at least 95 % of the known pixels do not exceed, NaN without any.

    That is ``numpy.quantile(values, 0.95, method="inverted_cdf")``. Its rank from the top is at most that
    among all pixels, whatever is missing, so the highest few are enough to find it in every channel.
    """
    highest = _PIXELS - _rank(_PIXELS) + 1
    falling = torch.where(known, pixels, -torch.inf).topk(highest, dim=-1).values
    from_the_top = (count - _rank(count)).unsqueeze(-1)
    return torch.where(count > 0, falling.gather(-1, from_the_top).squeeze(-1), torch.nan)


def _rank(count: Count) -> Count:
    """Return ``ceil(0.95 * count)`` in whole numbers."""
    return (19 * count + 19) // 20
