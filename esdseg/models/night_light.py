"""What the nights say of each label cell: its light over all dates, on the label grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.datasets.pixel_grid import FEWEST_PIXELS_PER_CELL
from esdseg.sensors.channels import Channel

STATISTICS = 4
"""Of the dated channels: see :meth:`NightLight.forward`."""


class NightLight(nn.Module):
    """Describes each cell by the median and the maximum of its light over dates; nothing is learned.

    The median leaves out a moonlit night and a glitch, the maximum keeps a lamp that a cloud hid on the
    other nights. A native pixel is about as large as a cell but does not line up with it, so a cell's
    brightest pixel says more of a lamp in it than the mean.

    Args:
        channels: The channels of the input: dates, projections over dates, or both.

    Attributes:
        out_channels: Numbers a cell.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        super().__init__()
        self.dated = [index for index, channel in enumerate(channels) if channel.acquired is not None]
        self.projected = [index for index, channel in enumerate(channels) if channel.acquired is None]
        self.out_channels = STATISTICS * bool(self.dated) + len(self.projected)

    def forward(self, image: Tensor) -> Tensor:
        """Describe cells.

        Args:
            image: Normalised light (N, c, 10k, 10k).

        Returns:
            Numbers (N, ``out_channels``, k, k): of a cell's brightest pixel the maximum and the median over
            dates, of its mean the same two; then the mean of each projection.
        """
        mean = F.avg_pool2d(image, FEWEST_PIXELS_PER_CELL)
        numbers = []
        if self.dated:
            brightest = F.max_pool2d(image[:, self.dated], FEWEST_PIXELS_PER_CELL)
            for cells in (brightest, mean[:, self.dated]):
                numbers += [cells.amax(1, keepdim=True), cells.median(1, keepdim=True).values]
        if self.projected:
            numbers.append(mean[:, self.projected])
        return torch.cat(numbers, dim=1)
