"""The night light of each label cell, and the head that answers on light by itself."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.datasets.pixel_grid import FEWEST_PIXELS_PER_CELL, PixelGrid
from esdseg.models.layers import has_data


class NightLight(nn.Module):
    """Describes the light of each label cell; nothing is learned.

    The median over the nights leaves out a moonlit night and a glitch. The maximum keeps a lamp that a cloud
    hid on the other nights. A pixel of the sensor is about as large as a cell but does not line up with it,
    so a cell's brightest pixel tells more of a lamp in it than the mean does.

    Args:
        grids: The nights, summarised over dates, and projections over nights, or one of both.

    Attributes:
        out_channels: Numbers that describe a cell.
    """

    def __init__(self, grids: Sequence[PixelGrid]) -> None:
        super().__init__()
        self.out_channels = 2 * sum(len(grid.channels) for grid in grids) + 1

    def forward(self, *grids: Tensor) -> Tensor:
        """Describe the cells of images.

        Args:
            grids: Normalised light, each (N, c, 10k, 10k).

        Returns:
            Numbers (N, ``out_channels``, k, k): a cell's brightest pixel in every channel, its mean in every
            channel, and 1 where there is no data, else 0.
        """
        image = torch.cat(grids, dim=1)
        brightest = F.max_pool2d(image, FEWEST_PIXELS_PER_CELL)
        is_missing = (~has_data(image)).to(image.dtype).expand(-1, 1, *brightest.shape[2:])
        return torch.cat([brightest, F.avg_pool2d(image, FEWEST_PIXELS_PER_CELL), is_missing], dim=1)


class SettlementLightHead(nn.Module):
    """Answers for each cell whether people live there and whether there is light; four classes follow.

    The log-probabilities of the two answers add up to those of the classes. So the rare electrified
    settlements share what is learned of settlements with the many dark ones, and what is learned of light
    with the lit cells where nobody lives.

    Args:
        width: Channels of the features.
        n_light: Numbers of night light per cell, which the answer on light sees directly; 0 without.
    """

    def __init__(self, width: int, n_light: int) -> None:
        super().__init__()
        self.settlement = nn.Conv2d(width, 1, 1)
        self.light = nn.Conv2d(width + n_light, 1, 1)

    def forward(self, features: Tensor, night_light: Tensor | None) -> Tensor:
        """Map features (N, width, k, k) and night light (N, n_light, k, k) to log-probabilities (N, 4, k, k).

        The classes are in the order of :data:`esdseg.sensors.classes.CLASSES`.
        """
        settled = self.settlement(features).float()
        seen = features if night_light is None else torch.cat([features, night_light], dim=1)
        lit = self.light(seen).float()
        yes, no = F.logsigmoid(settled), F.logsigmoid(-settled)
        light, dark = F.logsigmoid(lit), F.logsigmoid(-lit)
        return torch.cat([yes + dark, no + dark, yes + light, no + light], dim=1)
