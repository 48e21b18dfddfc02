"""SensorBranches: a network shaped like the sensors, with its context on the label grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import SensorBranchesConfig
from esdseg.datasets.pixel_grid import FEWEST_PIXELS_PER_CELL, PixelGrid, pixels_per_cell
from esdseg.models.layers import convolution_block
from esdseg.sensors.channels import Channel

FUSED_PIXELS_PER_CELL = 10
"""Side of a label cell on the grid where the branches meet: 50 m, a whole share of a cell."""

DATA_STEP_PX = 5
"""Spacing of the pixels by which an image without data is known."""


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


class ContextBlock(nn.Module):
    """Two convolutions on the label grid beside a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *convolution_block(width, width, 1, 3),
            nn.Dropout2d(dropout),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, cells: Tensor) -> Tensor:
        """Map features (N, width, k, k) to features of the same shape."""
        return F.relu(cells + self.convolutions(cells))


def build_sensor_branches(
    config: SensorBranchesConfig, channels: Sequence[Channel], subtile_size: int
) -> SensorBranches:
    """Build the network from its settings; ``subtile_size`` was checked."""
    return SensorBranches(channels, config.width, config.context_width, config.context_blocks, config.dropout)


def has_data(image: Tensor) -> Tensor:
    """Say which images (N, c, H, W) have data, (N, 1, 1, 1): no data is the same number everywhere."""
    # Some pixels tell, and cost no time.
    pixels = image[..., ::DATA_STEP_PX, ::DATA_STEP_PX]
    return (pixels.amax((2, 3), keepdim=True) > pixels.amin((2, 3), keepdim=True)).any(1, keepdim=True)


def summary_grids(channels: Sequence[Channel], *, of_light: bool) -> tuple[PixelGrid, ...]:
    """Return a grid for each sensor and spacing, of bands summarised over dates.

    Args:
        channels: The channels of the images.
        of_light: Whether the sensors of night light are meant, or all others. Projections over nights have a
            grid of their own.
    """
    groups: dict[tuple[str, int, bool], dict[str, list[int]]] = {}
    for position, channel in enumerate(channels):
        if (channel.sensor.kind == "night_light") == of_light:
            spacing = FEWEST_PIXELS_PER_CELL if of_light else pixels_per_cell(channel)
            bands = groups.setdefault((channel.sensor.name, spacing, channel.place is None), {})
            bands.setdefault(channel.band, []).append(position)
    return tuple(
        PixelGrid.over_dates(tuple(bands.values()), spacing) for (_, spacing, _), bands in groups.items()
    )


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
