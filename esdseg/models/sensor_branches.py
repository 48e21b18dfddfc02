"""SensorBranches: a network shaped like the sensors, with its context on the label grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import SensorBranchesConfig
from esdseg.datasets.pixel_grid import FEWEST_PIXELS_PER_CELL, PixelGrid, grid_of, pixels_per_cell
from esdseg.models.layers import convolution_block
from esdseg.sensors.channels import Channel

FUSED_PIXELS_PER_CELL = 10
"""Side of a label cell on the grid where the branches meet: 50 m, a whole share of a cell."""


class SensorBranches(nn.Module):
    """A branch a sensor and native resolution, fused at 50 m, judged cell by cell among their neighbours.

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
        branches = _branch_positions(channels)
        light = [
            position for position, channel in enumerate(channels) if channel.sensor.kind == "night_light"
        ]
        self.grids = tuple(grid_of(channels, positions) for positions in branches)
        if light:
            self.grids += (PixelGrid(tuple(light), FEWEST_PIXELS_PER_CELL),)
        self.branches = nn.ModuleList(
            Branch(len(grid.channels), _branch_width(grid, width), grid.pixels_per_cell)
            for grid in self.grids[: len(branches)]
        )
        self.night_light = NightLight([channels[position] for position in light]) if light else None
        n_light = self.night_light.out_channels if self.night_light is not None else 0
        n_fused = sum(_branch_width(grid, width) for grid in self.grids[: len(branches)])
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
        cells = []
        if self.fusion is not None:
            fused = self.fusion(torch.cat([b(g) for b, g in zip(self.branches, grids, strict=False)], dim=1))
            cells += [F.max_pool2d(fused, FUSED_PIXELS_PER_CELL), F.avg_pool2d(fused, FUSED_PIXELS_PER_CELL)]
        light = self.night_light(grids[-1]) if self.night_light is not None else None
        if light is not None:
            cells.append(light)
        logits: Tensor = self.head(self.context(self.entry(torch.cat(cells, dim=1))), light)
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        return self.classify(*self.sample(image))


class Branch(nn.Module):
    """One convolution at a sensor's resolution, and its maximum on the grid where branches meet.

    Args:
        in_channels: Bands times dates.
        out_channels: Channels of the result.
        pixels_per_cell: Of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, pixels_per_cell: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.normalization = nn.BatchNorm2d(out_channels)
        self.pixels_per_cell = pixels_per_cell

    def forward(self, image: Tensor) -> Tensor:
        """Map pixels (N, c, pk, pk) to features (N, d, 10k, 10k)."""
        features = self.convolution(image)
        factor, rest = divmod(self.pixels_per_cell, FUSED_PIXELS_PER_CELL)
        if rest:
            side = features.shape[-1] // self.pixels_per_cell * FUSED_PIXELS_PER_CELL
            features = F.adaptive_max_pool2d(features, side)
        elif factor > 1:
            features = F.max_pool2d(features, factor)
        return F.relu(self.normalization(features))


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


def _branch_positions(channels: Sequence[Channel]) -> list[list[int]]:
    """Group the channels that go through one branch: those of a sensor and spacing, night light apart."""
    groups: dict[tuple[str, int], list[int]] = {}
    for position, channel in enumerate(channels):
        if channel.sensor.kind != "night_light":
            groups.setdefault((channel.sensor.name, pixels_per_cell(channel)), []).append(position)
    return list(groups.values())


def _branch_width(grid: PixelGrid, width: int) -> int:
    """Coarse bands, which see the air above all, get half the channels."""
    return width if grid.pixels_per_cell > FEWEST_PIXELS_PER_CELL else max(1, width // 2)


class NightLight(nn.Module):
    """Describes the light of each label cell over all nights; nothing is learned.

    The median over the nights leaves out a moonlit night and a glitch. The maximum keeps a lamp that a cloud
    hid on the other nights. A pixel of the sensor is about as large as a cell but does not line up with it,
    so a cell's brightest pixel tells more of a lamp in it than the mean does.

    Args:
        channels: The channels of the input: nights, projections over nights, or both.

    Attributes:
        out_channels: Numbers that describe a cell.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        super().__init__()
        self.nights = [index for index, channel in enumerate(channels) if channel.place is not None]
        self.projections = [index for index, channel in enumerate(channels) if channel.place is None]
        self.out_channels = 4 * bool(self.nights) + len(self.projections)

    def forward(self, image: Tensor) -> Tensor:
        """Describe the cells of an image.

        Args:
            image: Normalised light (N, c, 10k, 10k).

        Returns:
            Numbers (N, ``out_channels``, k, k): maximum and median over the nights of a cell's brightest
            pixel, the same two of its mean, then the mean of each projection.
        """
        mean = F.avg_pool2d(image, FEWEST_PIXELS_PER_CELL)
        numbers = []
        if self.nights:
            brightest = F.max_pool2d(image[:, self.nights], FEWEST_PIXELS_PER_CELL)
            for cells in (brightest, mean[:, self.nights]):
                numbers += [cells.amax(1, keepdim=True), _median(cells)]
        if self.projections:
            numbers.append(mean[:, self.projections])
        return torch.cat(numbers, dim=1)


def _median(cells: Tensor) -> Tensor:
    """Return the median over the nights (N, 1, k, k) of cells (N, nights, k, k)."""
    # torch.median gives the lower of two middle values; preprocessing takes their mean, as NumPy does.
    ordered, last = cells.sort(dim=1).values, cells.shape[1] - 1
    return (ordered[:, [last // 2]] + ordered[:, [(last + 1) // 2]]) / 2


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
