"""SensorBranches: a network shaped like the sensors, with its context on the label grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import SensorBranchesConfig
from esdseg.datasets.pixel_grid import FEWEST_PIXELS_PER_CELL, PixelGrid, summary_grids
from esdseg.models.layers import ContextBlock, convolution_block, has_data
from esdseg.models.night_light import NightLight, SettlementLightHead
from esdseg.sensors.channels import Channel

FUSED_PIXELS_PER_CELL = 10
"""Side of a label cell on the grid where the branches meet: 50 m, a whole share of a cell."""


class SensorBranches(nn.Module):
    """A branch a sensor and native resolution, fused at 50 m, judged cell by cell among their neighbours.

    What is seen of a band is its lowest, median and highest value over the dates: it makes no difference
    which date is which, how many there are, or where the clouds were on each of them.

    A branch is one convolution and a maximum: a roof is one or two pixels, and what tells it from its
    surroundings is its contrast to them. Its maximum is taken before batch normalisation, on a map up to 25
    times smaller. Maximum and mean over each label cell, and the cell's night light, are what convolutions
    on the label grid get to see; the more cells an image has, the more context.

    Args:
        channels: The C channels of the images; any sensors, bands and dates.
        width: Channels of a branch.
        context_width: Channels on the label grid.
        context_blocks: Residual blocks of two convolutions on the label grid.
        dropout: Share of the channels on the label grid that a training step leaves out.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        width: int,
        context_width: int,
        context_blocks: int,
        dropout: float,
    ) -> None:
        super().__init__()
        branch_grids, light_grids = (
            summary_grids(channels, of_light=False),
            summary_grids(channels, of_light=True),
        )
        self.grids = branch_grids + light_grids
        branches = [Branch(grid, width) for grid in branch_grids]
        # Not "branches": files of the network that saw dates one by one have that name, and do not fit.
        self.summary_branches = nn.ModuleList(branches)
        self.night_light = NightLight(light_grids) if light_grids else None
        n_light = self.night_light.out_channels if self.night_light is not None else 0
        n_fused = sum(branch.out_channels for branch in branches)
        self.fusion = convolution_block(n_fused, 4 * width, 2, 3) if n_fused else None
        n_cell = 8 * width if n_fused else 0
        self.entry = convolution_block(n_cell + n_light, context_width, 1, 1)
        self.context = nn.Sequential(
            *(ContextBlock(context_width, dropout) for _ in range(context_blocks)), nn.Dropout(dropout)
        )
        self.head = SettlementLightHead(context_width, n_light)

    def sample(self, image: Tensor) -> tuple[Tensor, ...]:
        """Take each branch's pixels from images (N, C, 50k, 50k), normalised or not: (N, c, pk, pk) each."""
        return tuple(grid.sample(image) for grid in self.grids)

    def classify(self, *grids: Tensor) -> Tensor:
        """Map normalised pixels of :meth:`sample` to logits (N, 4, k, k)."""
        n_branches = len(self.summary_branches)
        cells = []
        if self.fusion is not None:
            features = [branch(grid) for branch, grid in zip(self.summary_branches, grids, strict=False)]
            fused = self.fusion(torch.cat(features, dim=1))
            cells += [F.max_pool2d(fused, FUSED_PIXELS_PER_CELL), F.avg_pool2d(fused, FUSED_PIXELS_PER_CELL)]
        light = self.night_light(*grids[n_branches:]) if self.night_light is not None else None
        if light is not None:
            cells.append(light)
        logits: Tensor = self.head(self.context(self.entry(torch.cat(cells, dim=1))), light)
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        return self.classify(*self.sample(image))


class Branch(nn.Module):
    """One convolution at a sensor's resolution, and its maximum on the grid where branches meet.

    Of an image without data it gives the average of its features.

    Args:
        grid: The pixels that it takes.
        width: Channels of the result; coarse bands, which see the air above all, get half as many.
    """

    def __init__(self, grid: PixelGrid, width: int) -> None:
        super().__init__()
        is_coarse = grid.pixels_per_cell == FEWEST_PIXELS_PER_CELL
        self.out_channels = max(1, width // 2) if is_coarse else width
        self.convolution = nn.Conv2d(len(grid.channels), self.out_channels, 3, padding=1, bias=False)
        self.normalization = nn.BatchNorm2d(self.out_channels)
        self.pixels_per_cell = grid.pixels_per_cell

    def forward(self, image: Tensor) -> Tensor:
        """Map pixels (N, c, pk, pk) to features (N, d, 10k, 10k)."""
        features = self.convolution(image)
        factor, rest = divmod(self.pixels_per_cell, FUSED_PIXELS_PER_CELL)
        if rest:
            side = features.shape[-1] // self.pixels_per_cell * FUSED_PIXELS_PER_CELL
            features = F.adaptive_max_pool2d(features, side)
        elif factor > 1:
            features = F.max_pool2d(features, factor)
        normalized = self.normalization(features)
        average = self.normalization.bias[:, None, None].to(normalized.dtype)
        return F.relu(torch.where(has_data(image), normalized, average))


def build_sensor_branches(
    config: SensorBranchesConfig, channels: Sequence[Channel], subtile_size: int
) -> SensorBranches:
    """Build the network from its settings; ``subtile_size`` was checked."""
    return SensorBranches(channels, config.width, config.context_width, config.context_blocks, config.dropout)
