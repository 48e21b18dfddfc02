"""Thinning a resampled image back to about the native pixels of its sensor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, PIXEL_SIZE_M

FEWEST_PIXELS_PER_CELL = 10
"""Coarser bands are not thinned further: their pixels do not line up with the cells, and each must be met."""


@dataclass(frozen=True)
class PixelGrid:
    """Some channels of an image, at one spacing.

    Attributes:
        channels: Their positions in the image.
        pixels_per_cell: Pixels along each side of a label cell, 1 to 50.
    """

    channels: tuple[int, ...]
    pixels_per_cell: int

    @property
    def pixels_per_tile(self) -> int:
        """Pixels along each side of a tile."""
        return GRID_SIZE * self.pixels_per_cell

    def sample(self, image: Tensor) -> Tensor:
        """Return these channels of images (N, C, 50k, 50k), thinned to (N, c, pk, pk) by nearest neighbour.

        Rasters are resampled by nearest neighbour, so nothing is lost that a coarser sensor saw. Every cell
        is thinned alike: the pixels of a part of a tile are that part of the tile's pixels. The result may
        share the image's memory.
        """
        step, rest = divmod(CELL_SIZE_PX, self.pixels_per_cell)
        if rest == 0:
            # Thinned first: only what is left has to be copied.
            return self._choose(image[..., step // 2 :: step, step // 2 :: step])
        # The pixel under the centre of each new one, in every cell alike.
        centres = (torch.arange(self.pixels_per_cell, device=image.device) + 0.5) / self.pixels_per_cell
        starts = torch.arange(0, image.shape[-1], CELL_SIZE_PX, device=image.device)
        pixels = (starts[:, None] + (centres * CELL_SIZE_PX).long()).flatten()
        return self._choose(image).index_select(-2, pixels).index_select(-1, pixels)

    def spread(self, pixels: Tensor) -> Tensor:
        """Spread pixels (N, c, pk, pk) of :meth:`sample` to (N, c, 50k, 50k) by nearest neighbour."""
        if self.pixels_per_cell == CELL_SIZE_PX:
            return pixels
        cells = pixels.shape[-1] // self.pixels_per_cell
        centres = (torch.arange(CELL_SIZE_PX * cells, device=pixels.device) + 0.5) / CELL_SIZE_PX
        nearest = (centres * self.pixels_per_cell).long()
        return pixels.index_select(-2, nearest).index_select(-1, nearest)

    def _choose(self, image: Tensor) -> Tensor:
        first, end = self.channels[0], self.channels[-1] + 1
        if self.channels == tuple(range(first, end)):
            return image[:, first:end]
        return image[:, list(self.channels)]


def whole_image(n_channels: int) -> PixelGrid:
    """Return the grid that takes all of an image."""
    return PixelGrid(tuple(range(n_channels)), CELL_SIZE_PX)


def pixels_per_cell(channel: Channel) -> int:
    """Return how many pixels of a channel lie along a label cell: 50 at 10 m, 25 at 20 m, 17 at 30 m."""
    band = channel.sensor_band or channel.sensor.all_bands[0]
    size_m = band.read_at_m or band.native_size_m
    return max(FEWEST_PIXELS_PER_CELL, round(CELL_SIZE_PX * PIXEL_SIZE_M / size_m))


def grid_of(channels: Sequence[Channel], positions: Sequence[int]) -> PixelGrid:
    """Return the grid of the channels at ``positions``, at the finest of their spacings."""
    return PixelGrid(tuple(positions), max(pixels_per_cell(channels[position]) for position in positions))


def native_grids(channels: Sequence[Channel]) -> tuple[PixelGrid, ...]:
    """Return grids that hold all channels of an image, each at its own spacing: a third of the pixels.

    Args:
        channels: The C channels of the image.
    """
    groups: dict[int, list[int]] = {}
    for position, channel in enumerate(channels):
        groups.setdefault(min(pixels_per_cell(channel), CELL_SIZE_PX), []).append(position)
    return tuple(PixelGrid(tuple(positions), spacing) for spacing, positions in groups.items())


def whole_image_of(pixels: Sequence[Tensor], grids: Sequence[PixelGrid]) -> Tensor:
    """Return images (N, C, 50k, 50k) of the pixels (N, c, pk, pk) that grids took, by nearest neighbour.

    Args:
        pixels: What :meth:`PixelGrid.sample` returned.
        grids: The grids, which together hold each channel once.
    """
    fine = [grid.spread(part) for part, grid in zip(pixels, grids, strict=True)]
    held = [position for grid in grids for position in grid.channels]
    order = sorted(range(len(held)), key=held.__getitem__)
    image = torch.cat(fine, dim=1) if len(fine) > 1 else fine[0]
    return image if order == list(range(len(held))) else image[:, order]
